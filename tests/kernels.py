"""Counts what a device is told to do: every operation that starts a kernel or a copy, by the step it belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_NONE = frozenset({"device", "empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided"})
"""Operations that compute nothing, beside those that return a view of what they were given."""

_SEVERAL = {"scatter": 2, "index_add": 2, "repeat_interleave": 2, "constant_pad_nd": 2, "sort": 2, "argsort": 2}
"""Kernels of operations that have more than one, where they are known: most copy first what they then write to."""


class Launches(TorchDispatchMode):
    """Counts kernels and copies of a device while it is active; an operation is one kernel unless `_SEVERAL` says more.

    Attributes:
        found: how many, by step and operation.
    """

    def __init__(self, device_type: str = "cuda") -> None:
        super().__init__()
        self.found: Counter[tuple[str, str]] = Counter()
        self._type = device_type
        self._step = ""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """What is counted meanwhile belongs to this step."""
        before, self._step = self._step, name
        try:
            yield
        finally:
            self._step = before

    def within(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as a step of this name."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return function(*args, **kwargs)

        return counted

    def by_step(self) -> Counter[str]:
        """The sums over operations."""
        sums: Counter[str] = Counter()
        for (step, _), n in self.found.items():
            sums[step] += n
        return sums

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        if name in _NONE:
            return func(*args, **kwargs)
        with self:  # in inference mode, operations that are made of others come as they were called
            out = func.decompose(*args, **kwargs)
        if out is not NotImplemented:
            return out
        out = func(*args, **kwargs)
        given = _tensors((args, kwargs))
        is_there = any(tensor.device.type == self._type for tensor in (*given, *_tensors(out)))
        if is_there and not (_is_alias(func) and _storages(out) <= _storages(given)):
            self.found[self._step, name] += _SEVERAL.get(name, 1)
        return out


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _storages(values: Any) -> set[int]:
    """The pieces of memory of some tensors."""
    return {tensor.untyped_storage()._cdata for tensor in _tensors(values)}


def _is_alias(func: Any) -> bool:
    """Whether what is returned may be a view of what was given, which is not written to."""
    returned = func._schema.returns
    return bool(returned) and all(one.alias_info is not None and not one.alias_info.is_write for one in returned)
