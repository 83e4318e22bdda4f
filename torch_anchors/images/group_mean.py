"""Means of rows by group, the same on every device and in every run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int

_BITS = 30  # Of a fixed-point value; int64 leaves room for the sum of 2^32 of them.


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Rows of numbers as whole numbers, `whole` times 2^(`exponent` - 30).

    A GPU adds in no fixed order, and sums of floats depend on the order; sums of whole numbers do not.
    """

    whole: Int[Tensor, "batch rows channels"]
    exponent: Int[Tensor, "batch 1 1"]

    @classmethod
    def of(cls, values: Float[Tensor, "batch rows channels"]) -> FixedPoint:
        """The rows of `values` (finite), to 30 bits of the largest number of their batch item."""
        values = values.float()
        # Scaling by a power of two costs no digit; the clamp keeps 2^(30 - exponent) a float32.
        _, exponent = torch.frexp(values.abs().amax(dim=(1, 2), keepdim=True))
        exponent = exponent.clamp(min=-90)
        return cls(torch.ldexp(values, _BITS - exponent).round().long(), exponent)

    def mean_by(self, group: Int[Tensor, "batch rows"], n_groups: int) -> Float[Tensor, "batch {n_groups} channels"]:
        """Mean of the rows of each group as float32; NaN for a group without rows.

        Args:
            group: the group of each row, in 0..n_groups-1; the items of the batch have groups of their own.
            n_groups: number of groups of each item.
        """
        n_batch, _, n_channels = self.whole.shape
        offset = torch.arange(n_batch, device=group.device)[:, None] * n_groups
        flat_group = (group + offset).flatten()  # (batch * rows,)
        sums = self.whole.new_zeros(n_batch * n_groups, n_channels)
        sums.index_add_(0, flat_group, self.whole.flatten(0, 1))
        counts = self.whole.new_zeros(n_batch * n_groups)
        counts.index_add_(0, flat_group, torch.ones_like(flat_group))
        means = (sums / counts[:, None]).reshape(n_batch, n_groups, n_channels)
        return torch.ldexp(means, self.exponent - _BITS)
