"""What stands in for an absent superpixel.

A fill is a function ``(image, segments, rng) -> (backgrounds, channels, height, width)``, called once for each
image. Where it gives several backgrounds, each perturbed row shows one of them, drawn at random.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_anchors._locks import Lock
from torch_anchors._shapes import Float, Int
from torch_anchors.errors import AnchorsWarning, ArgumentError, words_of
from torch_anchors.images.gaussian import gaussian_blur
from torch_anchors.images.group_mean import FixedPoint
from torch_anchors.images.infill import Infill
from torch_anchors.images.pixels import to_chw
from torch_anchors.images.row_fill import RowFill
from torch_anchors.images.row_noise import RowNoise

FillFunction = Callable[[Tensor, Tensor, np.random.Generator], Tensor | RowFill]
"""``(image (C, H, W), segments (H, W), rng) -> (B, C, H, W)`` on the image's device and in its dtype.

Or, instead of images, what makes one for each row: a `RowFill`.
"""

_EXPECTED = (
    'fill must be "mean", "blur", "infill", "noise", "constant", a number, one number for each channel or a callable'
)

MOST_SIZES = 4
"""Sizes of explained images for which resized backgrounds are kept."""

BLUR_SIGMA = 0.05
"""Standard deviation of the blur, as a share of the image's shorter side."""


def make_fill(
    fill: Any,
    images_background: Any,
    image: Float[Tensor, "channels height width"],
    segments: Int[Tensor, "height width"],
    rng: np.random.Generator,
) -> Float[Tensor, "backgrounds channels height width"] | RowFill:
    """The images that absent superpixels of `image` show, on its device, in its dtype and on its value scale.

    Short for ``resolve_fill(fill, images_background)(image, segments, rng)``; resolve once for many images.
    """
    return resolve_fill(fill, images_background)(image, segments, rng)


def resolve_fill(fill: Any = "mean", images_background: Any = None) -> FillFunction:
    """The fill function that the user's `fill` and `images_background` stand for.

    Args:
        fill: "mean" (colour of the superpixel), "blur", "infill" (from what the row shows around, smoothly), "noise",
            "constant" (0), a number or one number for each channel, or a callable
            ``(image (C, H, W), segments (H, W)) -> (C, H, W) or (B, C, H, W)``.
        images_background: images of which each row shows one in place of its absent superpixels: an array
            (B, H, W, C), a tensor (B, C, H, W), or a sequence of anything that `to_chw` reads. Those of another
            size than the explained image are resized, with a warning. Their values must be on its scale.

    Raises:
        ArgumentError: an unknown fill, both a fill and images, or images that cannot be read or are none.

    Example:
        >>> fill = resolve_fill(0.5)
        >>> fill(torch.rand(3, 8, 8), torch.zeros(8, 8, dtype=torch.int64), np.random.default_rng(0)).unique()
        tensor([0.5000])
    """
    if images_background is not None:
        if not (isinstance(fill, str) and fill == "mean"):
            raise ArgumentError(
                f'fill must be left at "mean" when images_background is given, got {fill!r}; give only one.'
            )
        return Backgrounds(images_background)
    if isinstance(fill, str):
        if fill not in _NAMED:
            raise ArgumentError(f"{_EXPECTED}, got {fill!r}.")
        return _NAMED[fill]
    return _Called(fill) if callable(fill) else Constant(fill)


def mean(
    image: Float[Tensor, "channels height width"],
    segments: Int[Tensor, "height width"],
    rng: np.random.Generator | None = None,
) -> Float[Tensor, "1 channels height width"]:
    """Each superpixel in its mean colour, which is not rounded even where the pixels are whole numbers."""
    pixels = image.flatten(1)[None]  # (1, channels, pixels)
    labels = segments.flatten()[None]  # (1, pixels)
    # As many groups as pixels: only the device knows the number of superpixels, and asking would wait for it.
    means = FixedPoint.of(pixels).mean_by(labels, n_groups=labels.shape[1])
    return means[:, :, labels[0]].reshape(1, *image.shape).to(image.dtype)


def blur(
    image: Float[Tensor, "channels height width"],
    segments: Int[Tensor, "height width"] | None = None,
    rng: np.random.Generator | None = None,
) -> Float[Tensor, "1 channels height width"]:
    """The image blurred by a Gaussian whose standard deviation is `BLUR_SIGMA` times its shorter side."""
    return gaussian_blur(image[None], BLUR_SIGMA * min(image.shape[1:]))


def infill(
    image: Float[Tensor, "channels height width"],
    segments: Int[Tensor, "height width"] | None = None,
    rng: np.random.Generator | None = None,
) -> Infill:
    """What each row shows, continued smoothly over what it hides."""
    return Infill(image)


def noise(
    image: Float[Tensor, "channels height width"],
    segments: Int[Tensor, "height width"] | None,
    rng: np.random.Generator,
) -> RowNoise:
    """Uniform noise between the image's least and greatest value, another one in each row."""
    return RowNoise.drawn(image, rng)


@dataclass(frozen=True, slots=True)
class Constant:
    """A fill of one value, a finite number or one for each channel, on the image's scale.

    Raises:
        ArgumentError: `value` is not finite numbers; from the fill, when there is not one for each channel.
    """

    value: Any

    def __post_init__(self) -> None:
        try:
            values = np.asarray(self.value, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{_EXPECTED}, got {self.value!r}.") from error
        if isinstance(self.value, bool) or values.ndim > 1 or not np.isfinite(values).all():
            raise ArgumentError(f"{_EXPECTED}; numbers must be finite, got {self.value!r}.")

    def __call__(
        self, image: Tensor, segments: Tensor | None = None, rng: np.random.Generator | None = None
    ) -> Float[Tensor, "1 channels height width"]:
        values = np.asarray(self.value, dtype=np.float32)
        if values.ndim == 1 and len(values) != len(image):
            raise ArgumentError(
                f"fill must be one number, or one for each of the image's {len(image)} channels, got {len(values)}."
            )
        return image.new_empty((1, *image.shape)).copy_(torch.from_numpy(values.reshape(-1, 1, 1).copy()))


class Backgrounds:
    """A fill by other images, one of which each row shows; see `resolve_fill` for what `images` may be.

    They are converted once, and resized once for each size of explained image; all images of a size share them.
    """

    def __init__(self, images: Any) -> None:
        if not isinstance(images, Tensor | np.ndarray | Sequence) or isinstance(images, str) or len(images) == 0:
            raise ArgumentError(
                "images_background must be an array (B, H, W, C), a tensor (B, C, H, W) or a sequence of images, "
                f"at least one, got {_described(images)}."
            )
        self._images = [to_chw(image, name=f"images_background[{i}]") for i, image in enumerate(images)]
        self._resized: dict[tuple[torch.Size, torch.dtype, torch.device], Tensor] = {}
        self._lock = Lock()

    def __call__(
        self, image: Tensor, segments: Tensor | None = None, rng: np.random.Generator | None = None
    ) -> Float[Tensor, "backgrounds channels height width"]:
        key = (image.shape, image.dtype, image.device)
        with self._lock:
            if key not in self._resized:
                while len(self._resized) >= MOST_SIZES:
                    del self._resized[next(iter(self._resized))]
                self._resized[key] = self._as_large_as(image)
            return self._resized[key]

    def _as_large_as(self, explained: Tensor) -> Tensor:
        n_channels, height, width = explained.shape
        for i, image in enumerate(self._images):
            if image.shape[0] != n_channels:
                raise ArgumentError(
                    f"images_background must have the {n_channels} channels of the explained image, "
                    f"got {image.shape[0]} in images_background[{i}]."
                )
        n_resized = sum(image.shape[1:] != explained.shape[1:] for image in self._images)
        if n_resized:
            warnings.warn(
                f"{n_resized} of {len(self._images)} images_background were resized to the explained image's "
                f"{height} x {width} pixels.",
                AnchorsWarning,
                stacklevel=3,
            )
        resized = [image if image.shape == explained.shape else _resize(image, height, width) for image in self._images]
        return torch.stack(resized).to(explained.device, explained.dtype)


@dataclass(frozen=True, slots=True)
class _Called:
    """The user's ``(image, segments) -> image or images`` as a fill; what it returns is checked."""

    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(
        self, image: Tensor, segments: Tensor, rng: np.random.Generator | None = None
    ) -> Float[Tensor, "backgrounds channels height width"]:
        try:
            returned = self.function(image.clone(), segments.clone())  # which the user may write to
        except Exception as error:
            raise ArgumentError(
                f"fill raised {words_of(error)} (on an image of shape {tuple(image.shape)})."
            ) from error
        expected = (
            f"fill must return a finite floating-point tensor of shape {tuple(image.shape)} or (B, *) with "
            f"B >= 1 on {image.device}"
        )
        if not isinstance(returned, Tensor) or not returned.is_floating_point():
            raise ArgumentError(f"{expected}, got {_described(returned)}.")
        filled = returned.detach()
        filled = filled[None] if filled.ndim == 3 else filled
        if filled.shape[1:] != image.shape or len(filled) == 0 or filled.device != image.device:
            raise ArgumentError(f"{expected}, got {_described(returned)}.")
        filled = filled.to(image.dtype)
        if not bool(filled.isfinite().all()):
            raise ArgumentError(f"{expected}, got NaN, infinity or values beyond {image.dtype}.")
        return filled


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    from torchvision.transforms.functional import resize  # takes seconds to import, and few need it

    return resize(image, [height, width], antialias=True)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {value.dtype} tensor of shape {tuple(value.shape)} on {value.device}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{type(value).__name__} of length 0" if isinstance(value, Sequence) and not value else type(value).__name__


_NAMED: dict[str, FillFunction] = {
    "mean": mean,
    "blur": blur,
    "infill": infill,
    "noise": noise,
    "constant": Constant(0.0),
}
