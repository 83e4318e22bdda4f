"""Arrays on their way from the host to the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ALIGNED = 16
"""Bytes at whose multiples each array begins, so that it can be read as its own type."""


def on_device(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """The arrays as tensors on the device; by one copy, from pinned memory, that the host does not wait for.

    On the host they are the arrays' own memory: what is written to the one is written to the other.
    """
    if device.type == "cpu":
        return [torch.from_numpy(array) for array in arrays]
    pieces, starts, end = [], [], 0
    for array in arrays:
        starts.append(end)
        padding = -array.nbytes % _ALIGNED
        pieces += [np.ascontiguousarray(array).reshape(-1).view(np.uint8), np.zeros(padding, dtype=np.uint8)]
        end += array.nbytes + padding
    there = _sent(torch.from_numpy(np.concatenate(pieces)), device)
    return [
        there[start : start + array.nbytes].view(torch.from_numpy(array[:0]).dtype).view(array.shape)
        for array, start in zip(arrays, starts, strict=True)
    ]


def named_on_device(arrays: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
    """As `on_device`, by the arrays' names."""
    return dict(zip(arrays, on_device(list(arrays.values()), device), strict=True))


def _sent(values: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)
    return values.to(device, non_blocking=True)
