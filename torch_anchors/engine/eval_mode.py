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


@dataclass(slots=True)
class _Root:
    """How many predict with a module as a whole, and its parts."""

    n: int
    parts: list[nn.Module]


_ROOTS: WeakKeyDictionary[nn.Module, _Root] = WeakKeyDictionary()
_PARTS: WeakKeyDictionary[nn.Module, _Held] = WeakKeyDictionary()  # two modules may share parts
_LOCK = threading.Lock()


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode of the module for the time of the block.

    Blocks may be nested, and several threads may be in one: the first to come changes the mode, and the last to leave
    restores every part's flag, also where a forward pass has called ``train()``.
    """
    with _LOCK:
        root = _ROOTS.setdefault(module, _Root(0, []))
        root.n += 1
        if root.n == 1:
            root.parts = _with_a_mode(module)
            _hold(module)
    try:
        yield
    finally:
        with _LOCK:
            root.n -= 1
            if root.n == 0:
                del _ROOTS[module]
                _release(module)


def keep_eval(module: nn.Module) -> None:
    """Puts parts of a module that is in eval mode back into it where a forward pass has called ``train()``."""
    root = _ROOTS.get(module)
    for part in () if root is None else root.parts:
        if part.training:
            with _LOCK:
                _set_training(part, False)


def _with_a_mode(module: nn.Module) -> list[nn.Module]:
    """The parts of a module that can be trained; those of a frozen TorchScript module have no mode any more."""
    return [part for part in module.modules() if hasattr(part, "training")]


def _hold(module: nn.Module) -> None:
    for part in _with_a_mode(module):
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
