"""Eval mode of modules for as long as anybody predicts with them, in whichever thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import nn


@dataclass(slots=True)
class _Held:
    """How many hold a module, or a part of one, in eval mode, and the flag that it had before."""

    n: int
    training: bool


_ROOTS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()  # how many predict with a module as a whole
_PARTS: WeakKeyDictionary[nn.Module, _Held] = WeakKeyDictionary()  # two modules may share parts
_LOCK = threading.Lock()


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode of the module for the time of the block.

    Blocks may be nested, and several threads may be in one: the first to come changes the mode, and the last to leave
    restores every part's flag, also where a forward pass has called ``train()``.
    """
    with _LOCK:
        _ROOTS[module] = _ROOTS.get(module, 0) + 1
        if _ROOTS[module] == 1:
            _hold(module)
    try:
        yield
    finally:
        with _LOCK:
            _ROOTS[module] -= 1
            if _ROOTS[module] == 0:
                del _ROOTS[module]
                _release(module)


def _hold(module: nn.Module) -> None:
    for part in module.modules():
        held = _PARTS.setdefault(part, _Held(0, part.training))
        held.n += 1
        if part.training:
            _set_training(part, False)


def _release(module: nn.Module) -> None:
    for part in module.modules():
        held = _PARTS.get(part)
        if held is None:  # it was added by a forward pass
            continue
        held.n -= 1
        if held.n == 0:
            del _PARTS[part]
            if part.training != held.training:
                _set_training(part, held.training)


def _set_training(part: nn.Module, training: bool) -> None:
    """``part.training = training``, which for a module in Python takes ten times as long."""
    if "training" in vars(part):
        vars(part)["training"] = training
    else:  # a TorchScript module
        part.training = training
