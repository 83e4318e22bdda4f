"""Rules that differ, and the rows of a table on which each of them holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors._checks import said
from torch_anchors._shapes import Bool
from torch_anchors.datasets.found_rule import FoundRule
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.search.protocol import NECESSARY
from torch_anchors.tables import bitsets
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.tables.schema import TableSchema

_TOGETHER = 256  # rules that are packed at once


class DistinctRules:
    """The different ones of some rules, and where each of them holds.

    Rules of the same conditions and the same label are one, the first of them.

    Args:
        rules: at least one.
        X: any table that the explainer takes, with at least one row.

    Attributes:
        numbers: places in `rules` of the different ones, in ascending order.
        rules: these.
        n_rows: of `X`.
        holds: the rows of `X` on which each of these holds, as bit sets (rules, words).

    Raises:
        ArgumentError: a table without rows, or with other columns.
    """

    def __init__(self, rules: Sequence[FoundRule], X: Any) -> None:
        first: dict[Any, int] = {}
        for number, rule in enumerate(rules):
            first.setdefault(rule.key, number)
        self.numbers = list(first.values())
        self.rules = [rules[number] for number in self.numbers]
        masks, packed = holding(self.rules, X), []
        while some := list(islice(masks, _TOGETHER)):
            self.n_rows = len(some[0])
            packed.append(bitsets.pack(torch.from_numpy(np.stack(some))))
        self.holds = torch.cat(packed)
        if not self.n_rows:
            raise ArgumentError("X must be a table of at least one row, got none.")


def holding(rules: Iterable[FoundRule], X: Any) -> Iterator[Bool[np.ndarray, " rows"]]:
    """For each rule, on which rows of a table it holds; the table is encoded once."""

    @cache
    def encoded(schema: TableSchema) -> NDArray[np.float64]:
        return schema.encode(X)

    return (one.rule.holds(encoded(one.rule.schema)) for one in rules)


def successful(explanations: Iterable[Explanation]) -> list[TabularExplanation]:
    """Those explanations that reach their threshold, at least one; all must be about rows of a table.

    Raises:
        ArgumentError: they are not, and the message says why pictures have no part in this; or none reaches it.
    """
    found = of_rows(explanations)
    if not any(one.success for one in found):
        raise ArgumentError(
            f"explanations must have some that reach their threshold (success); of {len(found):,} none does. "
            "Explain more rows, or ask for a lower threshold."
        )
    return [one for one in found if one.success]


def of_rows(explanations: Iterable[Explanation]) -> list[TabularExplanation]:
    """The explanations, all of which must be about rows of a table.

    Raises:
        ArgumentError: they are not.
    """
    if not isinstance(explanations, Iterable):
        raise ArgumentError(f"explanations must be a list of explanations of rows, got {said(explanations)}.")
    found: list[TabularExplanation] = []
    for number, one in enumerate(explanations):
        if not isinstance(one, TabularExplanation):
            why = " Each picture has superpixels of its own, so that no anchor of one can hold on another."
            raise ArgumentError(
                f"explanations must be of rows of a table, got {type(one).__name__} as number {number}."
                f"{why if isinstance(one, Explanation) else ''}"
            )
        if one.question == NECESSARY:
            raise ArgumentError(
                "explanations must be about rules, which keep the label, got one of what is necessary as number "
                f"{number}. Explain with question='sufficient'."
            )
        found.append(one)
    return found
