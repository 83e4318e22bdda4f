"""Arrays that go to the device together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torch_anchors.engine.device_copy import on_device

ARRAYS = [
    np.arange(5, dtype=np.int64)[::2],
    np.arange(3, dtype=np.uint8),
    np.zeros((0, 4), dtype=np.float32),
    np.arange(6, dtype=np.float32).reshape(2, 3).T,
    np.array([[True, False]]),
]


@pytest.mark.parametrize("n", range(1, len(ARRAYS) + 1))
def test_arrays_arrive_as_they_were(n: int, device: torch.device) -> None:
    there = on_device(ARRAYS[:n], device)
    for array, tensor in zip(ARRAYS, there, strict=False):
        assert tensor.device.type == device.type
        assert tensor.dtype == torch.from_numpy(array.copy()).dtype
        np.testing.assert_array_equal(tensor.cpu().numpy(), array)
