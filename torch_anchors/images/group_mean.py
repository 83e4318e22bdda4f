"""Means of rows by group, the same on every device and in every run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int

_BITS = 30  # Of a fixed-point value; int64 leaves room for the sum of 2^32 of them.


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Rows of numbers as whole numbers, `whole` times `unit`, a power of two; the last channel is the rows' weights.

    A GPU adds in no fixed order, and sums of floats depend on the order; sums of whole numbers do not.
    """

    whole: Int[Tensor, "batch channels_and_weight rows"]
    unit: Float[Tensor, "batch 1 1"]

    @classmethod
    def of(
        cls, values: Float[Tensor, "batch channels rows"], weights: Float[Tensor, "batch rows"] | None = None
    ) -> FixedPoint:
        """The rows of `values` (finite), to 30 bits of the largest number of their batch item.

        Args:
            values: the numbers.
            weights: 1 for a row that counts and 0 for one that does not; without them all count.
        """
        values = values.float()
        counts = torch.ones_like(values[:, :1]) if weights is None else weights[:, None].float()
        # Scaling by a power of two costs no digit; the clamp keeps 2^(30 - exponent) a float32.
        _, exponent = torch.frexp(values.abs().amax(dim=(1, 2), keepdim=True))
        unit = torch.ldexp(torch.ones_like(counts[:, :, :1]), exponent.clamp(min=-90) - _BITS)
        whole = torch.cat([values / unit, counts], dim=1)
        return cls(whole.round_().mul_(counts).long(), unit)

    def mean_by(self, group: Int[Tensor, "batch rows"], n_groups: int) -> Float[Tensor, "batch channels {n_groups}"]:
        """Mean of the rows of each group as float32; NaN for a group without rows that count.

        Args:
            group: the group of each row, in 0..n_groups-1; the items of the batch have groups of their own.
            n_groups: number of groups of each item.
        """
        sums = self.whole.new_zeros(*self.whole.shape[:2], n_groups)
        sums.scatter_add_(2, group[:, None].expand_as(self.whole), self.whole)
        return sums[:, :-1] / sums[:, -1:] * self.unit
