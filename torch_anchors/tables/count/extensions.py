"""Counts of conjunctions with one predicate more on training rows, by matrix products."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.discretizer import within

CHUNK_ROWS = 2**16
"""Most training rows in one product; float32 counts are exact to 2^24."""
CHUNK_CELLS = 2**24
"""Most rows times predicates in one product, which bounds its memory, and what is kept from one to the next."""
COUNTED_AT_ONCE = 2**22
"""Most counts of one product."""


class Extensions:
    """Counts, for rows of each label, how many of them satisfy a conjunction and one predicate more.

    With one line of 0s and 1s for each conjunction of size s, and one for each predicate, the matrix product over the
    rows of one label counts the hits of every conjunction of size s + 1.

    Args:
        rows: training rows by label.
        column, low, high: of the predicates, on the device of the rows; one of column -1 holds on no row.
    """

    def __init__(
        self,
        rows: RowsByLabel,
        column: Int[Tensor, " predicates"],
        low: Int[Tensor, " predicates"],
        high: Int[Tensor, " predicates"],
    ) -> None:
        self.rows, self._column, self._low, self._high = rows, column, low, high
        self._chunk_rows = max(1, min(CHUNK_ROWS, CHUNK_CELLS // max(len(column), 1)))
        small = rows.n_rows * len(column) <= CHUNK_CELLS
        self._kept = list(self._made()) if small else None

    @property
    def n_predicates(self) -> int:
        return len(self._column)

    @property
    def n_bases(self) -> int:
        """How many bases to extend in one product: few prune more, many fill it."""
        by_rows = 2**24 // max(self.rows.n_rows, 1)
        by_counts = COUNTED_AT_ONCE // max(self.rows.n_labels * self.n_predicates, 1)
        return max(16, min(256, by_rows, by_counts))

    def count(self, bases: Int[Tensor, "bases size"]) -> Int[Tensor, "labels bases predicates"]:
        """Rows of each label that satisfy both a base, given by its predicates' numbers, and one more predicate."""
        shape = self.rows.n_labels, len(bases), self.n_predicates
        counts = torch.zeros(shape, dtype=torch.int32, device=bases.device)
        for label, held in self._made() if self._kept is None else self._kept:
            satisfied = torch.ones(len(bases), held.shape[1], device=bases.device)
            for members in bases.unbind(1):
                satisfied = satisfied * held[members]
            counts[label] += (satisfied @ held.T).int()
        return counts

    def _made(self) -> Iterator[tuple[int, Float[Tensor, "predicates chunk"]]]:
        """Where the predicates hold, 0 or 1, in stretches of rows that have one label, with that label."""
        there = self._column[:, None] >= 0
        for label, chunk in self.rows.chunks(self._chunk_rows):
            yield label, (within(chunk[self._column.clamp(min=0)], self._low, self._high) & there).float()
