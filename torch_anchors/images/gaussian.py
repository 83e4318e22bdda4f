"""Gaussian smoothing of images."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import pad

from torch_anchors._shapes import Float


def gaussian_blur(
    images: Float[Tensor, "batch channels height width"], sigma: int | float
) -> Float[Tensor, "batch channels height width"]:
    """The images smoothed by a Gaussian of standard deviation `sigma` > 0, in pixels.

    The border pixels are repeated outwards: a reflection would need images larger than the kernel. Shifted copies are
    added one by one: convolutions of a GPU may be of fewer digits (TF32), and small ones are slower on a CPU.
    """
    radius = math.ceil(3 * sigma)
    heights = [math.exp(-(i / sigma) * (i / sigma) / 2) for i in range(-radius, radius + 1)]
    first, *others = [height / sum(heights) for height in heights]
    for axis, borders in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
        length, padded = images.shape[axis], pad(images, borders, "replicate")
        images = first * padded.narrow(axis, 0, length)
        for shift, weight in enumerate(others, start=1):
            images.add_(padded.narrow(axis, shift, length), alpha=weight)
    return images
