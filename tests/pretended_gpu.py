"""A GPU that is not there, with values: device "cuda" on a machine without one.

Its tensors say that they are on "cuda:0" and compute on the host, with the very same results as on the CPU. As on a
real GPU, an operation whose tensors are on different devices raises, NumPy cannot read them, and a copy to the host has
garbage in it until it is waited for. What waits for the device is counted.

In contrast to PyTorch's fake tensors, whole explanations can be made on it, searches and all. It knows no gradients,
for which the host stands in, no TorchScript, and not how to load a file of weights right onto the device.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from torch_anchors.tables.propose import surrogate

CUDA = torch.device("cuda", 0)

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_dim", "_unique2")
"""Operations whose result the host needs before it can go on."""
_TAKES_HOST_INDICES = ("index", "index_put_", "index_put", "_index_put_impl_")
"""Operations that copy indices to the device by themselves."""
_COPIES = ("copy_", "_to_copy", "copy")

waited: Counter[str] = Counter()
"""How often the host waited for the device, by the operation."""


class OnGpu(Tensor):
    """A tensor on the pretended GPU. `host` has its values."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> OnGpu:
        made = Tensor._make_wrapper_subclass(
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            device=CUDA,
            requires_grad=False,
        )
        made.host = host
        return made

    def __repr__(self, **_: Any) -> str:
        return f"OnGpu({self.host!r})"

    def tolist(self) -> Any:
        waited["tolist"] += 1
        return self.host.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class PretendedGpu(TorchDispatchMode):
    """Makes tensors on device "cuda" pretended ones."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


class Event:
    """Stands in for ``torch.cuda.Event``: until it is waited for, copies to the host that came before are not made."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._under_way: list[Callable[[], object]] = []

    def record(self, *_: Any) -> None:
        self._under_way, _Copies.under_way = _Copies.under_way, []

    def synchronize(self) -> None:
        for arrive in self._under_way:
            arrive()
        self._under_way = []


class Stream:
    """Stands in for ``torch.cuda.Stream``."""

    def __init__(self, device: torch.device) -> None:
        assert torch.device(device) == CUDA


@contextmanager
def streaming(stream: Stream) -> Iterator[None]:
    """Stands in for ``torch.cuda.stream``: waits in a stream of its own are counted as such."""
    before = waited.copy()
    yield
    new = sum((waited - before).values())
    waited.clear()
    waited.update(before)
    waited["aside"] += new


class _Copies:
    """Copies to the host that no event was recorded after yet."""

    under_way: ClassVar[list[Callable[[], object]]] = []


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation gives: on the host if all it takes is there, otherwise on the pretended GPU."""
    name = func.overloadpacket.__name__
    if name == "to":  # which is one of several operations, and comes undivided in inference mode
        with PretendedGpu():
            return func.decompose(*args, **kwargs)
    target = kwargs.get("device")
    target = None if target is None else torch.device(target)
    leaves = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_gpu = [leaf for leaf in leaves if isinstance(leaf, OnGpu)]
    if kwargs.get("pin_memory"):
        kwargs = {**kwargs, "pin_memory": False}
    if not on_gpu and (target is None or target.type != "cuda"):
        return func(*args, **kwargs)
    if name not in _COPIES and on_gpu:
        _require_one_device(name, args, leaves)
    if name in WAITS:
        waited[name] += 1
    if name == "copy_" and not isinstance(args[0], OnGpu):
        return _to_host(args[0], args[1].host, non_blocking=_non_blocking(args, kwargs))
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if target is not None and target.type != "cuda":
        waited["_to_copy"] += target.type == "cpu"
        return func(*_hosts(args), **{**_hosts(kwargs), "device": target}).clone()
    with torch.utils._python_dispatch._disable_current_modes():
        out = func(*_hosts(args), **_hosts(kwargs))
    if name == "_to_copy" and any(out is leaf for leaf in leaves):
        out = out.clone()
    same = {id(leaf.host): leaf for leaf in on_gpu}
    is_view = func.is_view and bool(on_gpu)
    # A view is an inference tensor if what it is a view of is one, whatever mode it is made in.
    with torch.inference_mode(on_gpu[0].is_inference() if is_view else torch.is_inference_mode_enabled()):
        return tree_map(lambda one: _wrapped(one, same), out)


def _wrapped(one: Any, same: dict[int, OnGpu]) -> Any:
    if not isinstance(one, Tensor):
        return one
    return same[id(one)] if id(one) in same else OnGpu(one)


def _require_one_device(name: str, args: Any, leaves: list[Tensor]) -> None:
    """Raises where some tensors are on the host, but for single numbers and for indices."""
    apart = [leaf for leaf in leaves if not isinstance(leaf, OnGpu) and leaf.dim() > 0]
    if name in _TAKES_HOST_INDICES and isinstance(args[0], OnGpu):
        apart = [leaf for leaf in apart if not any(leaf is index for index in tree_leaves(args[1]))]
    if apart:
        raise RuntimeError(f"{name}: expected all tensors on one device, got one of {tuple(apart[0].shape)} on the cpu")


def _to_host(target: Tensor, source: Tensor, non_blocking: bool) -> Tensor:
    """The copy: made at once, or garbage until an event after it is waited for."""
    if not non_blocking:
        waited["copy_"] += 1
        return target.copy_(source)
    then = source.clone()
    target.view(-1).view(torch.uint8).fill_(0x5A)
    _Copies.under_way.append(lambda: target.copy_(then))
    return target


def _non_blocking(args: Any, kwargs: dict[str, Any]) -> bool:
    return bool(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))


def _hosts(values: Any) -> Any:
    return tree_map(lambda one: one.host if isinstance(one, OnGpu) else one, values)


def fitted_on_host(codes: Tensor, target: Tensor, n_codes: int) -> tuple[Tensor, Tensor]:
    """Stands in for the one function of the package that needs gradients."""
    assert isinstance(codes, OnGpu)
    assert isinstance(target, OnGpu)
    weight, intercept = _FIT_WEIGHTS(codes.host, target.host, n_codes)
    return OnGpu(weight), OnGpu(intercept)


_FIT_WEIGHTS = surrogate._fit_weights


@contextmanager
def pretended_gpu() -> Iterator[Counter[str]]:
    """Device "cuda" is pretended while this lasts, in all threads that start meanwhile; gives what `waited` counts."""
    run = threading.Thread.run

    def run_pretending(thread: threading.Thread) -> None:
        torch._C._set_only_lift_cpu_tensors(True)
        with PretendedGpu():
            run(thread)

    present = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_properties": lambda *_: SimpleNamespace(major=8, minor=0, total_memory=2**33),
        "_lazy_init": lambda: None,
        "synchronize": lambda *_: None,
        "Event": Event,
        "Stream": Stream,
        "stream": streaming,
    }
    waited.clear()
    with ExitStack() as stack:
        torch._C._ensureCUDADeviceGuardSet()  # one that does nothing, as there is no device
        overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # new parameters: the old cannot change kind
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # so that ``torch.tensor(..., device="cuda")`` asks for no driver
        stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        for name, stand_in in present.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, stand_in))
        stack.enter_context(mock.patch.object(surrogate, "_fit_weights", fitted_on_host))
        stack.enter_context(mock.patch.object(threading.Thread, "run", run_pretending))
        stack.enter_context(PretendedGpu())
        yield waited
