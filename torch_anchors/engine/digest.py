"""What tells one model or function from another, in every process: a digest of its weights, arrays and code."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Mapping
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_DEEPEST = 6
"""How far containers, closures and objects are followed into each other."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


def digest_of(*things: Any) -> str:
    """A digest that is the same for equal things in every process, and another one where weights or code differ.

    Of a module these are its parts, parameters and buffers; of a function its code and what it has closed over; of an
    object with such things in its attributes, these. Objects that say nothing of what is in them, such as the trees of
    a forest, count by the name of their class only.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> digest_of(layer) == digest_of(layer), digest_of(layer) == digest_of(nn.Linear(2, 2))
        (True, False)
    """
    digest = _Digest()
    for thing in things:
        digest.take(thing)
    return digest.hexdigest()


class _Digest:
    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._open: set[int] = set()  # what is being looked into, so that circles end

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def take(self, thing: Any, *, of_object: bool = False) -> None:
        """Takes a thing into account; numbers and words as attributes of an object are not, as objects may count."""
        if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, torch.dtype, np.dtype, type)):
            if not of_object:
                self._add(type(thing).__name__, repr(thing))
            return
        if isinstance(thing, (Tensor, np.ndarray, np.generic)):
            self._take_array(thing)
            return
        if id(thing) in self._open or len(self._open) >= _DEEPEST:
            return
        self._open.add(id(thing))
        try:
            self._look_into(thing, of_object)
        finally:
            self._open.discard(id(thing))

    def _look_into(self, thing: Any, of_object: bool) -> None:
        if isinstance(thing, nn.Module):
            self._take_module(thing)
        elif isinstance(thing, Mapping):
            for key, value in sorted(thing.items(), key=lambda item: str(item[0])):
                self._add(str(key))
                self.take(value, of_object=of_object)
        elif isinstance(thing, (list, tuple)):
            self._add(f"{len(thing)} items")
            for value in thing:
                self.take(value, of_object=of_object)
        elif isinstance(thing, functools.partial):
            for part in (thing.func, thing.args, thing.keywords):
                self.take(part)
        elif isinstance(thing, MethodType):
            self.take(thing.__func__)
            self.take(thing.__self__)
        elif isinstance(thing, FunctionType):
            self._take_function(thing)
        elif isinstance(thing, CodeType):
            self._add(thing.co_code, *thing.co_names)
            self.take(thing.co_consts)
        else:
            self._take_object(thing)

    def _take_module(self, module: nn.Module) -> None:
        module = getattr(module, "_orig_mod", module)  # of torch.compile, which changes no weight
        self._add(_ADDRESS.sub("", repr(module)), getattr(module, "code", ""))
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            self._add(name)
            self._take_array(tensor)

    def _take_function(self, function: FunctionType) -> None:
        inner = getattr(function, "__wrapped__", None)
        self._add(f"{function.__module__}.{function.__qualname__}")
        self.take(function.__code__ if inner is None else inner)
        for cell in function.__closure__ or ():
            try:
                self.take(cell.cell_contents)
            except ValueError:  # not filled yet
                continue
        self.take((function.__defaults__, function.__kwdefaults__))

    def _take_object(self, thing: Any) -> None:
        kind = type(thing)
        self._add(f"{kind.__module__}.{kind.__qualname__}", getattr(thing, "__qualname__", ""))
        own = getattr(kind, "__getstate__", None)
        if own is not None and own is not getattr(object, "__getstate__", None):  # without caches
            state = thing.__getstate__()
        elif dataclasses.is_dataclass(thing):
            state = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
        else:
            state = getattr(thing, "__dict__", {})
        self.take(state, of_object=not dataclasses.is_dataclass(thing))

    def _take_array(self, array: Tensor | np.ndarray | np.generic) -> None:
        if isinstance(array, Tensor):
            array = array.detach().cpu()
            self._add(str(array.dtype), str(tuple(array.shape)))
            array = array.contiguous().flatten()
            array = (array.dequantize() if array.is_quantized else array).view(torch.uint8).numpy()
            self._add(array.tobytes() if array.ndim else b"")
            return
        values = np.asarray(array)
        self._add(str(values.dtype), str(values.shape))
        if values.dtype.hasobject:
            self.take(values.tolist())
        else:
            self._add(np.ascontiguousarray(values).tobytes())

    def _add(self, *parts: str | bytes) -> None:
        for part in parts:
            data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            self._hash.update(len(data).to_bytes(8, "little"))
            self._hash.update(data)
