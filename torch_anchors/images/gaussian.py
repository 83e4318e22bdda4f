"""Gaussian smoothing of images."""

from __future__ import annotations

import math

from torch import Tensor

from torch_anchors._devices import dtype_of_products
from torch_anchors._shapes import Float


def gaussian_blur(
    images: Float[Tensor, "batch channels height width"], sigma: int | float
) -> Float[Tensor, "batch channels height width"]:
    """The images smoothed by a Gaussian of standard deviation `sigma` > 0, in pixels.

    The border pixels are repeated outwards: a reflection would need images larger than the kernel.
    """
    from kornia.filters import filter2d_separable, get_gaussian_kernel1d  # takes seconds, and few need it

    # Kornia's gaussian_blur2d looks at the values of sigma, which under some versions waits for the device.
    kernel_size = 2 * math.ceil(3 * sigma) + 1
    dtype = dtype_of_products(images.device)
    kernel = get_gaussian_kernel1d(kernel_size, float(sigma), device=images.device, dtype=dtype)
    return filter2d_separable(images.to(dtype), kernel, kernel, "replicate").to(images.dtype)
