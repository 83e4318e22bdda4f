"""Kinds of values that options take; argparse reports what they complain of."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, got {text!r}")
    return number


def value_or_word(kind: Callable[[str], Value], *words: str) -> Callable[[str], Value | str]:
    """A reader of options that are one of a few words or a number of a kind."""

    def read(text: str) -> Value | str:
        if text in words:
            return text
        try:
            return kind(text)
        except ValueError:
            expected = ", ".join(words)
            raise argparse.ArgumentTypeError(f"expected {expected} or a number, got {text!r}") from None

    return read
