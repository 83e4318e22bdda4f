"""Superpixels within superpixels: a coarse segmentation, its superpixels cut into smaller ones, and these again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.filters import gaussian
from skimage.segmentation import slic

from torch_anchors._checks import between, whole
from torch_anchors._shapes import Float, Int

LEAST_PIXELS = 8
"""Superpixels are not cut into parts of fewer pixels than this on average."""


@dataclass(frozen=True, slots=True)
class Superpixels:
    """The superpixels of an image and, of a hierarchy, the larger ones that they are parts of.

    Attributes:
        labels: superpixel of each pixel, 0 .. K-1; the finest there are.
        levels: for each coarser level, the coarsest first, the number of the larger superpixel that each is part of.
    """

    labels: Int[np.ndarray, "height width"]
    levels: tuple[Int[np.ndarray, " superpixels"], ...] = ()


def hierarchy(
    image: Float[np.ndarray, "height width 3"],
    n_segments: int = 8,
    n_children: int = 4,
    n_levels: int = 3,
    compactness: int | float = 30,
    sigma: int | float = 0.5,
) -> Superpixels:
    """SLIC superpixels, each cut by SLIC into smaller ones, and these again.

    Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods" (PAMI 2012); inside a superpixel
    it is scikit-image's SLIC of a mask. Superpixels are numbered so that the parts of one have consecutive numbers.

    Args:
        image: red, green and blue in [0, 1].
        n_segments: about how many superpixels the coarsest level has.
        n_children: about how many parts a superpixel of average size is cut into; a larger one into more, so that
            those of a level are of about one size.
        n_levels: levels, the coarsest and the finest included; at the default about 8, 32 and 128 superpixels.
        compactness: how much nearness counts against likeness of colour; see `skimage.segmentation.slic`. With less,
            few large superpixels are left with slivers of others.
        sigma: width in pixels of the blur before.

    Raises:
        ArgumentError: a setting is out of range.
    """
    whole("n_segments", n_segments, least=1)
    whole("n_children", n_children, least=2)
    whole("n_levels", n_levels, least=1)
    between("compactness", compactness, "a weight", most=math.inf)
    between("sigma", sigma, "a width in pixels", most=math.inf, closed="both")
    labels = slic(image, n_segments, compactness, sigma=sigma, channel_axis=-1, start_label=0).astype(np.int64)
    maps = [labels]
    if n_levels > 1:
        seen = rgb2lab(_stretched(image))  # as SLIC sees it
        colours = gaussian(seen, sigma, channel_axis=-1)  # type: ignore[no-untyped-call]
    for level in range(1, n_levels):
        size = labels.size / (n_segments * n_children**level)
        labels = _cut(colours, labels, size, compactness)
        maps.append(labels)
    first = np.unique(labels, return_index=True)[1]  # a pixel of each of the finest superpixels
    return Superpixels(labels, tuple(level.ravel()[first] for level in maps[:-1]))


def _stretched(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """The image on the scale 0..1, from its lowest to its highest value."""
    low, high = image.min(), image.max()
    return (image - low) / (high - low if high > low else 1)


def _cut(
    colours: NDArray[np.floating], labels: NDArray[np.int64], size: float, compactness: int | float
) -> NDArray[np.int64]:
    """The label map in which each superpixel is cut into parts of about `size` pixels, which follow each other."""
    finer = np.zeros_like(labels)
    n = 0
    for number, box in enumerate(ndimage.find_objects(labels + 1)):
        inside = labels[box] == number
        parts = inside.astype(np.int64)
        n_parts = round(inside.sum() / max(size, LEAST_PIXELS))
        if n_parts > 1:
            parts = _parts(colours[box], inside, n_parts, compactness)
        names, own = np.unique(parts[inside], return_inverse=True)
        finer[box][inside] = n + own
        n += len(names)
    return finer


def _parts(
    colours: NDArray[np.floating], inside: NDArray[np.bool_], n_parts: int, compactness: int | float
) -> NDArray[np.int64]:
    """Numbers from 1 of the parts of one superpixel; pixels that SLIC leaves out belong to the nearest part.

    scikit-image stretches the colours that it is given to 0..1. The stretch is taken back by `compactness`, or else
    parts of an even superpixel would follow its noise.
    """
    values = colours[inside]
    spread = float(values.max() - values.min()) or 1.0
    parts = slic(
        colours,
        n_segments=n_parts,
        compactness=compactness / spread,
        mask=inside,
        sigma=0,
        convert2lab=False,
        channel_axis=-1,
        start_label=1,
    )
    if (parts[inside] > 0).all():
        return parts
    if not (parts > 0).any():
        return inside.astype(np.int64)
    nearest = ndimage.distance_transform_edt(parts <= 0, return_distances=False, return_indices=True)
    return parts[tuple(nearest)]
