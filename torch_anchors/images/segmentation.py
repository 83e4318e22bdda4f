"""An image cut into superpixels: a map of labels 0..K-1."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb, quickshift
from skimage.segmentation import slic as slic_skimage
from torch import Tensor

from torch_anchors._checks import said, whole
from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.errors import ArgumentError, words_of
from torch_anchors.images.hierarchy import Superpixels, hierarchy
from torch_anchors.images.pixels import scale_image, to_chw
from torch_anchors.images.slic import slic as slic_torch

DEFAULT_SEGMENTATION_KWARGS: dict[str, dict[str, Any]] = {
    "felzenszwalb": {},
    "quickshift": {},
    "slic": {"n_segments": 10, "compactness": 10, "sigma": 0.5},
    "grid": {"rows": 4, "cols": 4},
    "slic_torch": {"n_segments": 10, "compactness": 10, "sigma": 0.5},
    "hierarchy": {"n_segments": 8, "n_children": 4, "n_levels": 3, "compactness": 30, "sigma": 0.5},
}
"""Settings of the built-in segmentations where the user gives none."""

_SPARSE = 4
"""Labels up to this many times the pixels are counted; larger ones are sorted."""


def segment(
    image: Shaped[np.ndarray, "height width *channels"],
    segmentation_fn: Any = "slic",
    kwargs: Mapping[str, Any] | None = None,
) -> Int[np.ndarray, "height width"]:
    """Labels 0..K-1 without gaps, one for each pixel, as int64.

    Args:
        image: array (height, width, 1 to 4) or (height, width). The built-in segmentations see it in colour: three
            times the first of one or two channels, the first three of four.
        segmentation_fn: "slic", "felzenszwalb" or "quickshift" (scikit-image's), "slic_torch" (ours), "grid"
            (`rows` x `cols` rectangles), "hierarchy" (superpixels within superpixels, of which these are the finest;
            see `superpixels`), a callable that is given `image` as it is and returns a label map, or a
            ready label map. Label maps are (height, width) whole numbers >= 0, of an integer or floating type, which
            need neither start at 0 nor be consecutive.
        kwargs: settings of a built-in segmentation, over those of `DEFAULT_SEGMENTATION_KWARGS`.

    Raises:
        ArgumentError: an unknown name or setting, a callable that fails, or a label map of another shape or type.

    Example:
        >>> segment(np.zeros((4, 6), dtype=np.uint8), "grid", {"rows": 1, "cols": 3})
        array([[0, 0, 1, 1, 2, 2],
               [0, 0, 1, 1, 2, 2],
               [0, 0, 1, 1, 2, 2],
               [0, 0, 1, 1, 2, 2]])
    """
    return superpixels(image, segmentation_fn, kwargs).labels


def superpixels(
    image: Shaped[np.ndarray, "height width *channels"],
    segmentation_fn: Any = "slic",
    kwargs: Mapping[str, Any] | None = None,
) -> Superpixels:
    """As `segment`, with the larger superpixels that those of "hierarchy" are parts of.

    Raises:
        ArgumentError: as of `segment`.
    """
    labels: Any
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(key, str) for key in kwargs)):
        raise ArgumentError(f"segmentation_kwargs must be a dictionary of settings or None, got {said(kwargs)}.")
    if isinstance(segmentation_fn, str):
        labels = _built_in(segmentation_fn, image, kwargs or {})
    elif kwargs:
        raise ArgumentError(
            f"segmentation_kwargs are for the built-in segmentations, got {sorted(kwargs)} with "
            f"{_kind(segmentation_fn)}; bind them to a callable with functools.partial."
        )
    elif callable(segmentation_fn) and not isinstance(segmentation_fn, Tensor):
        labels = _called(segmentation_fn, image)
    else:
        labels = segmentation_fn
    if isinstance(labels, Superpixels):
        return labels
    return Superpixels(_consecutive(labels, image.shape[:2], _kind(segmentation_fn)))


def unit_range(image: Shaped[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The image as float32 in [0, 1]: bytes / 255, floats in [0, 1] as they are, others stretched to it.

    Whole numbers of any type are taken for bytes if they are in 0..255.

    Colour conversion to CIELAB, and with it what `compactness` means, rests on this range.
    """
    if image.dtype.kind in "iu" and image.size and image.min() >= 0 and image.max() <= 255:
        return (image / np.float32(255)).astype(np.float32)
    pixels = image.astype(np.float32)
    inside = pixels.size > 0 and pixels.min() >= 0 and pixels.max() <= 1
    return pixels if inside else scale_image(pixels, (0, 1)).astype(np.float32)


def segment_batch(
    images: Float[Tensor, "batch channels height width"], kwargs: Mapping[str, Any] | None = None
) -> Int[Tensor, "batch height width"]:
    """Labels of many images of one size by "slic_torch", on their device: those that `segment` gives one by one.

    Args:
        images: 1 or 3 channels, on any scale.
        kwargs: settings of "slic_torch".

    Raises:
        ArgumentError: an unknown setting, or one out of range.
    """
    settings = _settings("slic_torch", kwargs or {})
    return slic_torch(images.expand(-1, 3, -1, -1), **settings)


def in_colour(image: Shaped[np.ndarray, "height width *channels"]) -> Shaped[np.ndarray, "height width 3"]:
    """Three channels: the first of one or two, which is grey, three times; the first three of four."""
    channels = image[..., None] if image.ndim == 2 else image
    return channels[..., :3] if channels.shape[2] > 2 else np.repeat(channels[..., :1], 3, axis=2)


def _slic(image: NDArray[Any], **settings: Any) -> NDArray[Any]:
    return slic_skimage(unit_range(image), channel_axis=-1, **{"start_label": 0, **settings})


def _felzenszwalb(image: NDArray[Any], **settings: Any) -> NDArray[Any]:
    return felzenszwalb(unit_range(image), channel_axis=-1, **settings)


def _quickshift(image: NDArray[Any], **settings: Any) -> NDArray[Any]:
    return quickshift(unit_range(image), **settings)  # type: ignore[no-untyped-call]


def _slic_torch(image: NDArray[Any], **settings: Any) -> NDArray[Any]:
    return segment_batch(to_chw(image)[None], settings)[0].numpy()


def _hierarchy(image: NDArray[Any], **settings: Any) -> Superpixels:
    return hierarchy(unit_range(image), **settings)


def _grid(image: NDArray[Any], rows: int, cols: int) -> Superpixels:
    height, width = image.shape[:2]
    whole("rows", rows, least=1)
    whole("cols", cols, least=1)
    if not (1 <= rows <= height and 1 <= cols <= width):
        raise ArgumentError(
            f"rows and cols must be between 1 and the image's {height} x {width} pixels, got {rows} x {cols}."
        )
    return Superpixels(_cells(height, width, rows, cols).copy())


@lru_cache(maxsize=16)
def _cells(height: int, width: int, rows: int, cols: int) -> NDArray[np.int64]:
    """The grid of all images of one size, which nobody writes to."""
    return (np.arange(height) * rows // height)[:, None] * cols + np.arange(width) * cols // width


_BUILT_IN: dict[str, tuple[Callable[..., NDArray[Any] | Superpixels], Callable[..., Any]]] = {
    "slic": (_slic, slic_skimage),
    "felzenszwalb": (_felzenszwalb, felzenszwalb),
    "quickshift": (_quickshift, quickshift),
    "grid": (_grid, _grid),
    "slic_torch": (_slic_torch, slic_torch),
    "hierarchy": (_hierarchy, hierarchy),
}
"""By name, the function and the one whose parameters are its settings."""

# What we set ourselves, and what would make the function return something other than a full label map.
_NOT_SETTINGS = {"image", "images", "channel_axis", "mask", "return_tree"}


def _settings(name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a built-in segmentation with the user's settings over them."""
    allowed = _setting_names(name)
    if unknown := sorted(set(kwargs) - set(allowed)):
        raise ArgumentError(f"segmentation_kwargs of {name!r} may be {list(allowed)}, got {unknown}.")
    return DEFAULT_SEGMENTATION_KWARGS[name] | dict(kwargs)


@cache
def _setting_names(name: str) -> tuple[str, ...]:
    """What a built-in segmentation can be told; reading a signature takes as long as cutting a small image."""
    _, documented = _BUILT_IN[name]
    return tuple(key for key in inspect.signature(documented).parameters if key not in _NOT_SETTINGS)


def _built_in(name: str, image: NDArray[Any], kwargs: Mapping[str, Any]) -> NDArray[Any] | Superpixels:
    if name not in _BUILT_IN:
        raise ArgumentError(
            f"segmentation_fn must be one of {sorted(_BUILT_IN)}, a callable or a label map, got {said(name)}."
        )
    settings = _settings(name, kwargs)
    try:
        return _BUILT_IN[name][0](in_colour(image), **settings)
    except ArgumentError:
        raise
    except Exception as error:
        raise ArgumentError(
            f"segmentation {name!r} failed with segmentation_kwargs {said(settings)}: {words_of(error)}"
        ) from error


def _called(function: Callable[[NDArray[Any]], Any], image: NDArray[Any]) -> Any:
    try:
        return function(image.copy())  # which the user may write to
    except Exception as error:
        raise ArgumentError(
            f"segmentation_fn raised {words_of(error)} (on an image of shape {image.shape} and type {image.dtype})."
        ) from error


def _kind(segmentation_fn: Any) -> str:
    if isinstance(segmentation_fn, str):
        return f"{segmentation_fn!r}"
    return "the ready label map" if isinstance(segmentation_fn, np.ndarray | Tensor) else "the callable"


def _consecutive(labels: Any, shape: tuple[int, ...], source: str) -> NDArray[np.int64]:
    """The label map checked, and renumbered 0..K-1 in ascending order of its labels."""
    try:
        array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    except Exception as error:  # ragged lists, tensors without values
        raise ArgumentError(
            f"segmentation_fn must give a label map, an array (H, W) of integers, got {type(labels).__name__} from "
            f"{source}, which is none: {words_of(error)}."
        ) from error
    if array.dtype.kind == "f" and array.size and np.array_equal(array, np.rint(array)) and np.isfinite(array).all():
        array = array.astype(np.int64)
    if array.shape != shape or not np.issubdtype(array.dtype, np.integer):
        raise ArgumentError(
            f"segmentation_fn must give a label map of whole numbers of the image's shape {shape}, "
            f"got {array.dtype} of shape {array.shape} from {source}."
        )
    if array.min() < 0:
        raise ArgumentError(f"segmentation_fn must give labels >= 0, got {array.min()} from {source}.")
    if array.max() > _SPARSE * array.size:
        _, inverse = np.unique(array, return_inverse=True)
        return inverse.reshape(shape).astype(np.int64)
    is_used = np.zeros(int(array.max()) + 1, dtype=bool)  # nothing has to be sorted
    is_used[array] = True
    return (np.cumsum(is_used, dtype=np.int64) - 1)[array]
