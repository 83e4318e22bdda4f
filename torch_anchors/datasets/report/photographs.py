"""The photographs of a run, read again from their files for people to look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from torch_anchors._shapes import Shaped
from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.images.files import Picture, ValueRange, read_picture
from torch_anchors.images.pixels import hwc

Size = tuple[int, int]
"""Height and width."""

_ALIKE = 0.02
"""How much two shapes of a picture may differ, relatively, that was read at a fraction of its size."""


@dataclass(frozen=True, slots=True)
class Photographs:
    """Finds the photograph of an input by its id, and cuts out of it what the model saw.

    Args:
        folder: that ids are paths below.
        whole: whether the model saw pictures as they are.
        resize: length of the shorter side before the centre crop that the model saw; None where there was none, or
            where that is not known.
        transform: what was applied to each picture before it was explained, if that is at hand.
        enough: length that the shorter side of what is shown needs at most.
        value_range: how values of pictures with more than 8 bits a channel were read; see `read_picture`.
    """

    folder: Path
    whole: bool = False
    resize: int | None = None
    transform: Callable[[Any], Any] | None = None
    enough: int | None = None
    value_range: ValueRange | None = None

    def read(self, id: str, size: Size | None) -> Image.Image:
        """The part of the photograph that a mask of that size lies on; all of it where there is no mask.

        Raises:
            ArgumentError: there is no such file, it is no picture, or not the one that was explained, or nobody knows
                which part of it that was.
        """
        if self.transform is not None and size is not None:
            return _image_of(_transformed(self.transform, self._picture(id)))
        picture = Image.fromarray(self._picture(id, self.enough))
        if size is None:
            return picture
        if self.whole:
            return _same_shape(picture, size)
        if self.resize is None:
            raise ArgumentError("it was transformed before it was explained; give the transform to the report.")
        return _middle(picture, size, self.resize)

    def _picture(self, id: str, enough: int | None = None) -> Picture:
        return read_picture(self.folder / id, enough=enough, value_range=self.value_range)


def described(
    folder: Path | None, transform: Callable[[Any], Any] | None, value_range: ValueRange | None = None
) -> dict[str, Any] | None:
    """What `Photographs` has to know later, in values that JSON knows: the parameters but for the transform itself.

    The `fit` of a loaded model, or of its `preprocess`, says how it resizes and crops; other transforms do not.
    """
    if folder is None:
        return None
    owner = getattr(transform, "__self__", None)
    preprocess = getattr(owner, "preprocess", owner)
    resize, input_size = getattr(preprocess, "resize", None), getattr(preprocess, "input_size", None)
    if resize is None and input_size is not None:
        resize = min(input_size)
    about = {"folder": str(folder), "whole": transform is None, "resize": resize if isinstance(resize, int) else None}
    return about if value_range is None else about | {"value_range": value_range}


def photographs_of(
    description: Mapping[str, Any] | None, folder: Path | None, transform: Callable[[Any], Any] | None, enough: int
) -> Photographs | None:
    """The photographs of a run.

    Args:
        description: what `described` said; None for inputs that were no files.
        folder: where they are now; None for where they were.
        transform: as it was given to `evaluate`; None if it is not at hand.
        enough: length that the shorter side of what is shown needs at most.
    """
    description = description or {}
    where = folder if folder is not None else description.get("folder")
    if where is None:
        return None
    values = description.get("value_range")
    return Photographs(
        Path(where),
        bool(description.get("whole")),
        description.get("resize"),
        transform,
        enough,
        None if values is None else (values[0], values[1]),
    )


def _transformed(transform: Callable[[Any], Any], picture: Any) -> Shaped[np.ndarray, "height width *channels"]:
    try:
        return hwc(transform(picture))
    except AnchorsError:
        raise
    except Exception as error:  # the user's function may raise anything
        raise ArgumentError(f"transform raised {type(error).__name__}: {error}") from error


def _image_of(pixels: Shaped[np.ndarray, "height width *channels"]) -> Image.Image:
    """Bytes as they are, and other values on the scale from their least to their greatest."""
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        least, greatest = float(values.min()), float(values.max())
        pixels = ((values - least) * (255 / (greatest - least or 1))).round().astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).convert("RGB")


def _same_shape(picture: Image.Image, size: Size) -> Image.Image:
    aspect, expected = picture.width / picture.height, size[1] / size[0]
    if abs(aspect / expected - 1) > _ALIKE + 1 / min(picture.size):
        raise ArgumentError(f"the file has another shape than the {size[0]} x {size[1]} pixels that were explained.")
    return picture


def _middle(picture: Image.Image, size: Size, resize: int) -> Image.Image:
    """The middle that is left when the shorter side is resized to a length, and the size is cut out of that."""
    height, width = size
    scale = max(resize / min(picture.size), height / picture.height, width / picture.width)
    across, down = width / scale, height / scale
    left, top = (picture.width - across) / 2, (picture.height - down) / 2
    box = (left, top, left + across, top + down)
    return picture.resize((max(1, round(across)), max(1, round(down))), Image.Resampling.BILINEAR, box=box)
