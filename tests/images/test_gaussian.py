from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.images.gaussian import gaussian_blur


@pytest.mark.parametrize("sigma", [0.01, 0.5, 2, 6.3])
def test_the_blur_is_scipy_s(sigma, device):
    images = np.random.default_rng(0).random((2, 3, 19, 23), dtype=np.float32)
    smoothed = gaussian_blur(torch.from_numpy(images).to(device), sigma).cpu().numpy()
    radius = math.ceil(3 * sigma)
    for image, found in zip(images.reshape(-1, 19, 23), smoothed.reshape(-1, 19, 23), strict=True):
        expected = gaussian_filter(image.astype(np.float64), sigma, mode="nearest", radius=radius)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nothing_waits_for_the_device():
    with FakeTensorMode():
        assert gaussian_blur(torch.rand(1, 3, 9, 9, device="cuda"), 2).device.type == "cuda"
