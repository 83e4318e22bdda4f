"""Means of rows by group, the same on every device and in every run."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int

_BITS = 30  # Of a fixed-point value; int64 leaves room for the sum of 2^32 of them.


def group_mean(
    values: Float[Tensor, "batch rows channels"], group: Int[Tensor, "batch rows"], n_groups: int
) -> Float[Tensor, "batch {n_groups} channels"]:
    """Mean of the rows of each group, as float32; NaN for a group without rows.

    Args:
        values: finite rows.
        group: the group of each row, in 0..n_groups-1; the items of the batch have groups of their own.
        n_groups: number of groups of each item.
    """
    n_batch, n_rows, n_channels = values.shape
    # A GPU adds in no fixed order, and sums of floats depend on the order. Sums of whole numbers do not, so values
    # become fixed-point numbers, scaled by a power of two (which costs no digit) to fill the bits.
    values = values.float()
    _, exponent = torch.frexp(values.abs().amax(dim=(1, 2), keepdim=True))
    exponent = exponent.clamp(min=-90)  # 2^(30 - exponent) must be a float32, whatever the values.
    fixed = torch.ldexp(values, _BITS - exponent).round().long()
    offset = torch.arange(n_batch, device=values.device)[:, None] * n_groups
    flat_group = (group + offset).flatten()  # (batch * rows,)
    sums = fixed.new_zeros(n_batch * n_groups, n_channels).index_add_(0, flat_group, fixed.flatten(0, 1))
    counts = fixed.new_zeros(n_batch * n_groups).index_add_(0, flat_group, torch.ones_like(flat_group))
    means = (sums / counts[:, None]).reshape(n_batch, n_groups, n_channels)
    return torch.ldexp(means, exponent - _BITS)
