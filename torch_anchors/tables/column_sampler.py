"""Perturbed copies of a table's row: each column has the row's own value, or that of a training row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int, Shaped, UInt8
from torch_anchors.perturb.mask_sampler import MOST_BACKGROUNDS, MaskSampler

MOST_ROWS = MOST_BACKGROUNDS
"""Most training rows that values are taken from; of more than these a table chooses as many at random."""


@dataclass(frozen=True, slots=True)
class Replacements:
    """Training rows that values are replaced by: their `values`, and their `numbers`, None for all of them."""

    values: Float[Tensor, "rows columns"]
    numbers: Int[Tensor, " rows"] | None = None

    @classmethod
    def of(cls, values: Float[Tensor, "training columns"], rng: np.random.Generator) -> Replacements:
        """All training rows or, of more than there may be, as many as that at random."""
        if len(values) <= MOST_ROWS:
            return cls(values)
        numbers = torch.from_numpy(np.sort(rng.choice(len(values), MOST_ROWS, replace=False))).to(values.device)
        return cls(values[numbers], numbers)


class ColumnSampler(MaskSampler):
    """Draws perturbed copies of one row to find out which of its values are necessary for the model's answer.

    A predicate says that a column's value is *replaced*. All replaced values of a perturbed row are those of one and
    the same random training row, so that they fit each other as they do there; which row that is, is its background.
    A column of the anchor is always replaced, each other one with probability `p_sample`.

    Args:
        row: the explained row, numbers and category codes; NaN where a value is missing.
        rows: training rows on the device, at most `MOST_ROWS`, all equally likely.
        to_model: turns rows into what the model reads, such as one-hot columns.
        fixed: columns that always keep the row's value.
        exclude: columns that are in no anchor.
        p_sample: probability that a column outside the anchor is replaced, in (0, 1].
        repeatable: whether equal rows have equal answers.
        dtype: of the model's rows.
    """

    def __init__(
        self,
        row: Float[np.ndarray, " columns"],
        rows: Float[Tensor, "rows columns"],
        *,
        to_model: Callable[[Tensor], Tensor],
        fixed: Sequence[int] = (),
        exclude: Sequence[int] = (),
        p_sample: float = 0.5,
        repeatable: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(
            len(row),
            p_sample=p_sample,
            fixed=fixed,
            exclude=exclude,
            hides=True,
            n_backgrounds=len(rows),
            repeatable=repeatable,
            device=rows.device,
            dtype=dtype,
        )
        self._to_model = to_model
        self._row = torch.as_tensor(row, dtype=rows.dtype).to(rows.device)
        self._rows = rows

    def values(self, codes: UInt8[Tensor, "rows bytes"]) -> Float[Tensor, "rows columns"]:
        """Numbers and category codes of perturbed rows, on the device."""
        codes = codes.to(self.device, non_blocking=True)
        return torch.where(self.shown(codes), self._row, self._rows.index_select(0, self.background(codes)))

    def row_shape(self) -> tuple[int, ...]:
        """The number of columns that the model reads, alone in a tuple."""
        return tuple(self._to_model(self._rows[:1]).shape[1:])

    def render(
        self, codes: UInt8[Tensor, "rows bytes"], out: Shaped[Tensor, "rows features"] | None = None
    ) -> Shaped[Tensor, "rows features"]:
        """The model's rows; written into `out` when given."""
        rows = self._to_model(self.values(codes))
        return rows.to(self.dtype, copy=True) if out is None else out.copy_(rows)

    def n_changes(self, codes: UInt8[Tensor, "rows bytes"], instance: Any = None) -> Int[Tensor, " rows"]:
        """How many values of each row are not the explained row's; a replaced value may be the same."""
        return self.changed(self.values(codes)).sum(dim=1)

    def changed(self, values: Float[Tensor, "rows columns"]) -> Bool[Tensor, "rows columns"]:
        """Which values are not the explained row's; a missing one is like a missing one."""
        return (values != self._row) & ~(values.isnan() & self._row.isnan())
