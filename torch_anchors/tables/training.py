"""The training table as the sampler needs it: its values, their bins and an index of them, on one device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.tables.discretizer import Discretizer
from torch_anchors.tables.row_index import RowIndex


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Training rows that perturbed rows are made of; make one with `TrainingRows.fit`.

    `values` are numbers and category codes; `index` holds their bins, by `discretizer`, on the same device.
    """

    values: Float[Tensor, "rows columns"]
    discretizer: Discretizer
    index: RowIndex

    @classmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "rows columns"],
        n_categories: Sequence[int | None],
        percentiles: Sequence[float | int] = (25, 50, 75),
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> TrainingRows:
        """The rows with their bins, by `Discretizer.fit`, on `device`.

        Args:
            rows: numbers, finite, and category codes.
            n_categories: number of categories of each column, or None for a numeric column.
            percentiles: cut points of the numeric columns.
            device: where rows will be drawn.
            dtype: of `values`; float32 where the device has no float64, which may put values within rounding of a
                cut point on its other side.
        """
        values = torch.as_tensor(rows, dtype=dtype)
        discretizer = Discretizer.fit(values.numpy(), n_categories, percentiles)
        return cls(values, discretizer, RowIndex.build(discretizer.bin(values))).to(device)

    def to(self, device: torch.device | str) -> TrainingRows:
        """The same rows on `device`."""
        return TrainingRows(self.values.to(device), self.discretizer, self.index.to(device))

    @property
    def binned(self) -> Int[Tensor, "rows columns"]:
        """The bin of every value, on the device."""
        return self.index.binned
