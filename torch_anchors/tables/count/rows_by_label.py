"""Training rows grouped by the model's label of them, and counts of conjunctions on them by matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Int
from torch_anchors.tables.discretizer import within

CHUNK_ROWS = 2**16
"""Training rows in one product: bounds its memory, and float32 counts are exact to 2^24."""


@dataclass(frozen=True, slots=True)
class RowsByLabel:
    """Binned training rows in the order of their labels, to count conjunctions on; make one with `RowsByLabel.of`.

    Args:
        by_column: bins, one line a column, on the device.
        n_by_label: how many rows have each label.
    """

    by_column: Int[Tensor, "columns rows"]
    n_by_label: tuple[int, ...]

    @classmethod
    def of(cls, binned: Int[Tensor, "rows columns"], labels: Int[Tensor, " rows"], n_labels: int) -> RowsByLabel:
        """The rows of `binned` by `labels`, which are 0 to `n_labels` - 1, on their device.

        Those of each label are in random order, always the same.
        """
        dtype = torch.int16 if int(binned.max()) < 2**15 else torch.int32
        shuffled = torch.as_tensor(np.random.default_rng(0).permutation(len(labels)), device=labels.device)
        order = shuffled[labels[shuffled].argsort(stable=True)]
        by_column = torch.stack([codes[order] for codes in binned.to(dtype).unbind(1)])
        return cls(by_column, tuple(torch.bincount(labels, minlength=n_labels).tolist()))

    @property
    def n_rows(self) -> int:
        return self.by_column.shape[1]

    @property
    def n_bases(self) -> int:
        """How many bases to extend in one product: few prune more, many fill it."""
        return max(16, min(256, 2**24 // max(self.n_rows, 1)))

    def sample(self, n: int) -> RowsByLabel:
        """About `n` of the rows, the same share of those of each label."""
        sizes = tuple(-(-k * n // self.n_rows) for k in self.n_by_label)
        blocks = zip(torch.split(self.by_column, list(self.n_by_label), dim=1), sizes, strict=True)
        return RowsByLabel(torch.cat([block[:, :k] for block, k in blocks], dim=1), sizes)

    def count_extensions(
        self,
        column: Int[Tensor, " predicates"],
        low: Int[Tensor, " predicates"],
        high: Int[Tensor, " predicates"],
        bases: Int[Tensor, "bases size"],
    ) -> Int[Tensor, "labels bases predicates"]:
        """Rows of each label that satisfy both a base, given by its predicates' numbers, and one more predicate.

        A predicate with column -1 holds on no row.
        """
        shape = len(self.n_by_label), len(bases), len(column)
        counts = torch.zeros(shape, dtype=torch.int64, device=self.by_column.device)
        for label, chunk in self._chunks():
            held = (within(chunk[column.clamp(min=0)], low, high) & (column[:, None] >= 0)).float()
            satisfied = torch.ones(len(bases), chunk.shape[1], device=chunk.device)
            for members in bases.unbind(1):
                satisfied = satisfied * held[members]
            counts[label] += (satisfied @ held.T).long()
        return counts

    def _chunks(self) -> Iterator[tuple[int, Int[Tensor, "columns chunk"]]]:
        """Stretches of rows that have one label."""
        first = 0
        for label, n in enumerate(self.n_by_label):
            for start in range(first, first + n, CHUNK_ROWS):
                yield label, self.by_column[:, start : min(start + CHUNK_ROWS, first + n)]
            first += n
