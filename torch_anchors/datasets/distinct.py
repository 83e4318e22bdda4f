"""Explanations of a table's rows whose rules differ, and the rows of a table on which each of these rules holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors._checks import said
from torch_anchors._shapes import Bool
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.tables import bitsets
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.tables.schema import TableSchema

_TOGETHER = 256  # rules that are packed at once


class DistinctRules:
    """The different rules of some explanations that reach their threshold, and where each of them holds.

    Rules of the same conditions and the same label are one, that of the first explanation that has it. Explanations
    without `success` are left out, as their rules promise nothing.

    Args:
        explanations: of rows of a table.
        X: any table that the explainer takes, with at least one row.

    Attributes:
        explanations: the first of each rule, in their order.
        n_rows: of `X`.
        holds: the rows of `X` on which each rule holds, as bit sets (rules, words).

    Raises:
        ArgumentError: explanations of something else, or none that reaches its threshold; a table without rows, or with
            other columns.
    """

    def __init__(self, explanations: Iterable[Explanation], X: Any) -> None:
        given = of_rows(explanations)
        first: dict[Any, TabularExplanation] = {}
        for explanation in given:
            if explanation.success:
                first.setdefault(_key(explanation), explanation)
        if not first:
            raise ArgumentError(
                f"explanations must have some that reach their threshold (success); of {len(given):,} none does. "
                "Explain more rows, or ask for a lower threshold."
            )
        self.explanations = tuple(first.values())
        masks, packed = holding(self.explanations, X), []
        while some := list(islice(masks, _TOGETHER)):
            self.n_rows = len(some[0])
            packed.append(bitsets.pack(torch.from_numpy(np.stack(some))))
        self.holds = torch.cat(packed)
        if not self.n_rows:
            raise ArgumentError("X must be a table of at least one row, got none.")


def of_rows(explanations: Iterable[Explanation]) -> list[TabularExplanation]:
    """The explanations, all of which must be about rows of a table.

    Raises:
        ArgumentError: they are not; the message says why pictures have no part in this.
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
        found.append(one)
    return found


def holding(explanations: Iterable[TabularExplanation], X: Any) -> Iterator[Bool[np.ndarray, " rows"]]:
    """For each explanation, on which rows of a table its rule holds; the table is encoded once."""

    @cache
    def encoded(schema: TableSchema) -> NDArray[np.float64]:
        return schema.encode(X)

    return (one.rule.holds(encoded(one.rule.schema)) for one in explanations)


def _key(explanation: TabularExplanation) -> tuple[Any, ...]:
    """What two explanations of the same rule have in common."""
    conditions = frozenset((one.column, one.operator, one.code) for one in explanation.predicates)
    return explanation.rule.schema, conditions, explanation.label
