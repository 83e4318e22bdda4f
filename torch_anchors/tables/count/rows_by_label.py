"""Training rows grouped by the model's label of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Int


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
    def n_labels(self) -> int:
        return len(self.n_by_label)

    def sample(self, n: int) -> RowsByLabel:
        """About `n` of the rows, the same share of those of each label."""
        sizes = tuple(-(-k * n // self.n_rows) for k in self.n_by_label)
        blocks = zip(torch.split(self.by_column, list(self.n_by_label), dim=1), sizes, strict=True)
        return RowsByLabel(torch.cat([block[:, :k] for block, k in blocks], dim=1), sizes)

    def chunks(self, n: int) -> Iterator[tuple[int, Int[Tensor, "columns chunk"]]]:
        """Stretches of up to `n` rows that have one label, with that label."""
        first = 0
        for label, n_own in enumerate(self.n_by_label):
            for start in range(first, first + n_own, n):
                yield label, self.by_column[:, start : min(start + n, first + n_own)]
            first += n_own
