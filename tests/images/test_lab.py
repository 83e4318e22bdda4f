from __future__ import annotations

import numpy as np
import torch
from skimage.color import rgb2lab
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.images.lab import rgb_to_lab


def test_colours_are_those_of_scikit_image(device):
    images = np.random.default_rng(0).random((2, 3, 40, 50), dtype=np.float32)
    images[0] **= 4  # dark ones, where the curves are straight lines
    images[1, :, :2] = [[[0]], [[1]], [[0.5]]]
    found = rgb_to_lab(torch.from_numpy(images).to(device)).cpu().numpy()
    np.testing.assert_allclose(found, rgb2lab(images.astype(np.float64), channel_axis=1), atol=5e-4)


def test_white_is_100_and_black_is_0_without_colour(device):
    ends = torch.tensor([0.0, 1.0], device=device)[:, None, None, None].expand(2, 3, 1, 1)
    lightness, a, b = rgb_to_lab(ends).cpu().flatten(1).unbind(1)
    torch.testing.assert_close(lightness, torch.tensor([0.0, 100.0]), atol=1e-3, rtol=0)
    assert max(a.abs().max(), b.abs().max()) < 2e-2


def test_nothing_waits_for_the_device():
    with FakeTensorMode():
        assert rgb_to_lab(torch.rand(1, 3, 9, 9, device="cuda")).device.type == "cuda"
