"""Pieces of sentences that explanations, pictures and the command line share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

LabelNames = Sequence[str] | Mapping[Any, str] | None
"""What each label is called, by its number; labels without a name are called "label 7"."""


def label_name(label: int | str, label_names: LabelNames = None) -> str:
    """What a label is called, in quotation marks, or "label 7" when it has no name."""
    if isinstance(label, str):
        name: str | None = label_names.get(label, label) if isinstance(label_names, Mapping) else label
    elif isinstance(label_names, Mapping):
        name = label_names.get(label)
    else:
        name = label_names[label] if label_names is not None and 0 <= label < len(label_names) else None
    return f"label {label}" if name is None else f"“{name}”"


def listed(items: Sequence[Any], last: str = "and") -> str:
    """The items as in a sentence: "a", "a and b", "a, b and c"."""
    words = [str(item) for item in items]
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(n: int, noun: str) -> str:
    """ "1 row", "2,000 rows"."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def at_least(share: float) -> str:
    """A lower bound with three decimals, rounded down so that it stays one: "0.950" for 0.9509."""
    return f"{math.floor(round(share * 1000, 6)) / 1000:.3f}"


def at_most(share: float) -> str:
    """An upper bound with three decimals, rounded up."""
    return f"{math.ceil(round(share * 1000, 6)) / 1000:.3f}"
