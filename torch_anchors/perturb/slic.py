"""SLIC superpixels of many images at once, as tensor operations on their device.

Source: R. Achanta, A. Shaji, K. Smith, A. Lucchi, P. Fua, S. Susstrunk, "SLIC Superpixels Compared to
State-of-the-Art Superpixel Methods", IEEE TPAMI 34 (2012) 2274-2282; equation (3) is the distance.
"""

from __future__ import annotations

import math

import torch
from kornia.color import rgb_to_lab
from kornia.filters import gaussian_blur2d
from skimage.util import regular_grid
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb.components import connected_components, merge_small
from torch_anchors.perturb.group_mean import group_mean

_REACH = 2  # A pixel may join a centre of its own grid cell or of up to so many cells further, as in scikit-image.


def slic(
    images: Float[Tensor, "batch 3 height width"],
    n_segments: int = 10,
    compactness: float = 10.0,
    sigma: float = 0.5,
    n_iter: int = 10,
    min_size_factor: float = 0.5,
) -> Int[Tensor, "batch height width"]:
    """Connected superpixels 0..K_b-1 of each image b, without gaps, about `n_segments` of them.

    The result for one image does not depend on the others. Nothing waits for the device. The settings mean what they
    mean in scikit-image's `slic`; the boundaries are close to its, not equal.

    Args:
        images: RGB images of one size; each is first stretched to the range [0, 1].
        n_segments: number of superpixels wanted, before the grid of centres is fitted to the image.
        compactness: weight of distance in the plane against distance in colour, > 0; larger is squarer.
        sigma: standard deviation in pixels of the Gaussian that smooths the images first; 0 for none.
        n_iter: rounds of assigning pixels to centres and moving the centres.
        min_size_factor: pieces smaller than this share of the mean superpixel are merged into a neighbour.

    Raises:
        ArgumentError: a setting out of range.

    Example:
        >>> labels = slic(torch.rand(2, 3, 64, 64), n_segments=16)
        >>> labels.shape
        torch.Size([2, 64, 64])
    """
    _check_settings(n_segments, compactness, sigma, n_iter, min_size_factor)
    height, width = images.shape[2:]
    rows, cols = (range(size)[ticks] for size, ticks in zip((height, width), regular_grid((height, width), n_segments), strict=True))
    step = max(rows.step, cols.step)
    features = _features(images, compactness, sigma, step)
    clusters = _k_means(features, rows, cols, n_iter)
    pieces = connected_components(clusters)
    min_size = int(min_size_factor * height * width / (len(rows) * len(cols)))
    return _renumbered(merge_small(pieces, min_size))
