"""What each fill that is made row by row promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.images.infill import Infill
from torch_anchors.images.row_fill import RowFill
from torch_anchors.images.row_noise import RowNoise


def fills_of(image: Tensor) -> list[RowFill]:
    return [RowNoise.drawn(image, np.random.default_rng(0)), Infill(image)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("which", [0, 1])
def test_rows_are_like_the_image_and_within_its_range(which: int, dtype: torch.dtype, device: torch.device) -> None:
    image = torch.rand(3, 9, 12, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    fill = fills_of(image)[which]
    shown = (torch.rand(5, 1, 9, 12, generator=torch.Generator().manual_seed(1)) < 0.5).float().to(device)
    rows = fill.rows(shown, torch.arange(5, device=device))
    assert fill.shape[1:] == image.shape
    assert (rows.shape, rows.dtype, rows.device) == ((5, 3, 9, 12), dtype, image.device)
    assert rows.min() >= image.min()
    assert rows.max() <= image.max()


def test_kinds_are_told_apart_by_how_many_keys_they_have() -> None:
    image = torch.rand(3, 4, 4)
    assert len({len(fill.keys) for fill in fills_of(image)}) == len(RowFill.__subclasses__())


@pytest.mark.parametrize("which", [0, 1])
def test_nothing_waits_for_the_device(which: int) -> None:
    with FakeTensorMode():
        fill = fills_of(torch.rand(3, 9, 12, device="cuda"))[which]
        rows = fill.rows(torch.zeros(4, 1, 9, 12, device="cuda"), torch.arange(4, device="cuda"))
    assert (rows.device.type, rows.shape) == ("cuda", (4, 3, 9, 12))
