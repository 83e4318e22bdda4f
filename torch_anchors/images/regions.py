"""From what a user means by a part of an image, numbers or a region, to the superpixels that it consists of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._checks import is_whole, said
from torch_anchors._shapes import Bool, Int, Shaped
from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import ArgumentError, words_of

EXPECTED = "numbers of superpixels, a boolean mask (H, W), or a callable (image, segments) that gives either"


def superpixels_of(
    region: Any,
    image: Shaped[np.ndarray, "height width *channels"],
    segments: Int[np.ndarray, "height width"],
    *,
    name: str,
) -> tuple[int, ...]:
    """The numbers of some superpixels, in ascending order.

    Args:
        region: None for no superpixel; their numbers, in any order; a mask of pixels (H, W), which means the
            superpixels of which more than half is in it; or a callable from the image and its label map to either.
        image: what a callable is given, as it is given to a segmentation.
        segments: superpixel of each pixel, 0 .. K-1.
        name: the argument that an error is about.

    Raises:
        ArgumentError: it is nothing of the kind, a number is no superpixel's, the mask is of another shape or holds no
            superpixel, or the callable fails.

    Example:
        >>> segments = np.array([[0, 0, 1, 1], [2, 2, 3, 3]])
        >>> left = np.array([[True, True, True, False], [True, True, False, False]])
        >>> superpixels_of(left, segments, segments, name="fixed")
        (0, 2)
    """
    region = _called(region, image, segments, name) if _is_function(region) else region
    if region is None:
        return ()
    array = _as_array(region, name)
    if array.dtype == np.bool_:
        return _inside(array, segments, name)
    numbers = array.ravel().tolist()
    n_superpixels = int(segments.max()) + 1
    if array.ndim > 1 or not all(is_whole(k) and 0 <= k < n_superpixels for k in numbers):
        remedy = " Of a mask in numbers pass mask > 0." if array.ndim > 1 else ""
        raise ArgumentError(
            f"{name} must be {EXPECTED}; there are the superpixels 0 to {n_superpixels - 1}, "
            f"got {said(region)}.{remedy}"
        )
    return tuple(sorted(set(map(int, numbers))))


def region_words(region: Any) -> Any:
    """What metadata says of a region: numbers as they are, and of a mask or a callable what tells it from others."""
    if region is None or _is_function(region):
        return region if region is None else f"callable {digest_of(region)}"
    array = _as_array(region, "region")
    return array.tolist() if array.ndim < 2 else f"mask {digest_of(array)}"


def _is_function(region: Any) -> bool:
    return callable(region) and not isinstance(region, Tensor)


def _as_array(region: Any, name: str) -> NDArray[Any]:
    """Numbers or a mask as an array; whatever is neither is an array of objects or of other numbers."""
    if isinstance(region, Tensor):
        return region.detach().cpu().numpy()
    if isinstance(region, Iterable) and not isinstance(region, (np.ndarray, str, bytes)):
        region = list(region)
    try:
        array = np.asarray(region)
    except (TypeError, ValueError):  # ragged lists
        raise ArgumentError(f"{name} must be {EXPECTED}, got {said(region)}.") from None
    return array.astype(np.int64) if array.size == 0 else array


def _inside(mask: Bool[np.ndarray, "..."], segments: Int[np.ndarray, "height width"], name: str) -> tuple[int, ...]:
    """The superpixels of which more than half is in the mask."""
    if mask.shape != segments.shape:
        raise ArgumentError(
            f"{name} must be a mask of the image's {segments.shape} pixels, got one of shape {mask.shape}. For "
            "images of several sizes pass a callable (image, segments) that makes the mask."
        )
    labels = segments.ravel()
    inside = 2 * np.bincount(labels, weights=mask.ravel()) > np.bincount(labels)
    if not inside.any():
        raise ArgumentError(
            f"{name} must hold more than half of some superpixel, got a mask of {int(mask.sum())} pixels that holds "
            "none. Mark a larger region, name superpixels by their numbers, or use finer ones."
        )
    return tuple(np.flatnonzero(inside).tolist())


def _called(function: Any, image: NDArray[Any], segments: NDArray[np.integer], name: str) -> Any:
    try:
        return function(image.copy(), segments.copy())  # which the user may write to
    except Exception as error:
        raise ArgumentError(f"{name} raised {words_of(error)} (on an image of shape {image.shape}).") from error
