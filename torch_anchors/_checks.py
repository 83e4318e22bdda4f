"""Checks of settings: each raises an error that names the argument, what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import numpy as np

from torch_anchors.errors import ArgumentError

MOST = 10**9
"""Most rows, threads or predicates that a setting may ask for, unless it says otherwise: more is a slip."""

LONGEST = 120
"""Characters of a value that an error message shows."""


def said(value: object) -> str:
    """A value as an error message shows it: in full if it is short, an array by its shape."""
    shape = None if isinstance(value, type) else getattr(value, "shape", None)
    if shape:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    try:
        text = repr(value)
    except Exception:  # the user's own class
        return type(value).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def flag(name: str, value: object) -> bool:
    """A bool, and nothing that merely counts as one: the text "False" would be true."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentError(f"{name} must be True or False, got {said(value)}.")
    return bool(value)


def whole(name: str, value: Any, *, least: int = 0, most: int | None = None, or_none: bool = False) -> int | None:
    """A whole number from `least` to `most`; also None if `or_none`."""
    if value is None and or_none:
        return None
    too_much = is_whole(value) and most is not None and value > most
    if not is_whole(value) or value < least or too_much:
        expected = f"{'None or ' if or_none else ''}a whole number of at least {least}"
        expected += f" and at most {most:,}" if too_much else ""
        raise ArgumentError(f"{name} must be {expected}, got {said(value)}.")
    return int(value)


def is_whole(value: object) -> bool:
    """Whether it is one whole number, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def is_number(value: object) -> bool:
    """Whether it is one finite real number, and no bool."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and math.isfinite(value)


def between(name: str, value: Any, what: str, *, least: float = 0, most: float = 1, closed: str = "neither") -> float:
    """A number between `least` and `most`, of which `closed` says which is allowed: "neither", "both" or "most"."""
    ok = is_number(value)
    ok = ok and (least <= value if closed == "both" else least < value)
    ok = ok and (value <= most if closed in ("both", "most") else value < most)
    if not ok:
        range_ = f"{'[' if closed == 'both' else '('}{least}, {most}{')' if closed == 'neither' else ']'}"
        raise ArgumentError(f"{name} must be {what} in {range_}, got {said(value)}.")
    return float(value)


def one_of(name: str, value: Any, choices: Collection[str]) -> str:
    """One of some names."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ArgumentError(f"{name} must be one of {listed}, got {said(value)}.")
    return value
