"""An image as the user has it <-> a float tensor (channels, height, width), and back.

Tensors are channels-first and arrays are channels-last, as in PyTorch and in NumPy's image libraries; the type
of the object decides, never a guess from its shape. Pixel values keep their scale: 0..255 stays 0..255.
An image has one to four channels: grey, grey and alpha, colour, colour and alpha, or whatever the model makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from torch_anchors._checks import is_number, said
from torch_anchors._shapes import Float, Shaped
from torch_anchors.errors import ArgumentError
from torch_anchors.images.opaque import opaque, scaling_line
from torch_anchors.packing import Fields, pack_array

MOST_WHOLE = 2**24
"""Largest whole number of a pixel: beyond it float32 does not tell one from the next."""


def to_chw(image: Any, *, name: str = "image") -> Float[Tensor, "channels height width"]:
    """A copy of the image as a float32 tensor on the CPU, its values on the scale they came in.

    Args:
        image: a tensor (1 to 4, height, width) or (height, width), an array (height, width, 1 to 4) or (height, width),
            or a PIL image with 8 bits a channel; floating point and finite, or whole numbers of any type up to 2^24.
        name: what the error messages call the image.

    Raises:
        ArgumentError: another type, shape or dtype, a batch, NaN or infinity, or whole numbers beyond 2^24.

    Example:
        >>> to_chw(np.zeros((224, 160, 3), dtype=np.uint8)).shape
        torch.Size([3, 224, 160])
    """
    raw = _checked(image, name)
    if isinstance(raw, np.ndarray):
        pixels = torch.from_numpy(np.array(raw, dtype=np.float32))
        pixels = pixels.permute(2, 0, 1).contiguous() if raw.ndim == 3 else pixels
    else:
        pixels = raw.detach().to("cpu", torch.float32, copy=True)
    if not np.isfinite(pixels.numpy()).all():
        raise ArgumentError(f"{name} must have finite pixels, got NaN or infinity; replace them first.")
    if _is_whole(raw.dtype) and bool((pixels.abs() > MOST_WHOLE).any()):
        raise ArgumentError(
            f"{name} must have whole numbers up to 2**24, that float32 can hold, got {float(pixels.abs().max()):.0f}; "
            "pass image / image.max()."
        )
    return pixels if pixels.ndim == 3 else pixels[None]


def hwc(image: Any, *, name: str = "image") -> Shaped[np.ndarray, "height width *channels"]:
    """The image as an array (height, width, channels), or (height, width) where it has no channel axis.

    The type of the pixels is kept. Takes and raises what `to_chw` does, except that values are not looked at.
    """
    raw = _checked(image, name)
    if isinstance(raw, np.ndarray):
        return raw
    raw = raw.detach().cpu()
    if raw.dtype == torch.bfloat16:  # NumPy has no such type.
        raw = raw.float()
    return (raw.permute(1, 2, 0) if raw.ndim == 3 else raw).numpy()


def copied(image: Any) -> Any:
    """A copy of the image that shares no memory with it; tensors come to the CPU, PIL images as `opaque` has them."""
    if isinstance(image, Tensor):
        return image.detach().to("cpu", copy=True)
    return opaque(image).copy() if isinstance(image, Image.Image) else image.copy()


_KINDS = ("tensor", "array", "PIL")


def pack_image(image: Any) -> dict[str, Any]:
    """The user's image in values that JSON knows, without loss; `read_image` gives it back in its own kind.

    Raises:
        ArgumentError: pixels of a type that not every computer has.
    """
    if isinstance(image, Tensor):
        halved = image.dtype == torch.bfloat16  # NumPy has no such type
        array = (image.view(torch.int16) if halved else image).numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
        return {"kind": "tensor", "bfloat16": halved, "pixels": pack_array(array, name="image")}
    kind = "PIL" if isinstance(image, Image.Image) else "array"
    return {"kind": kind, "bfloat16": False, "pixels": pack_array(np.asarray(image), name="image")}


def read_image(fields: Fields) -> Any:
    """The image that `pack_image` gave.

    Raises:
        ArgumentError: it is no image that can be explained.
    """
    kind, halved = fields.word("kind", _KINDS), fields.truth("bfloat16")
    pixels = fields.array("pixels", kinds="i" if halved else "iuf", ndim=(2, 3))
    if kind == "PIL":
        fits = pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2] == 3) and pixels.size > 0
        fields.check(fits, "pixels", "bytes of shape (height, width) or (height, width, 3)")
        return Image.fromarray(pixels)
    if kind == "array":
        return _checked(pixels, "pixels")
    tensor = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels))
    fields.check(not halved or tensor.dtype == torch.int16, "pixels", "of type int16")
    return _checked(tensor.view(torch.bfloat16) if halved else tensor, "pixels")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the user's image was laid out and typed, so that pictures of it can be handed back in the same way.

    `has_channels` tells whether there was a channel axis. `dtype` is the type of the pixels: torch's for a tensor,
    NumPy's for an array or a PIL image.
    """

    has_channels: bool
    dtype: torch.dtype | np.dtype

    @classmethod
    def of(cls, image: Any, *, name: str = "image") -> Layout:
        """The layout of `image`, which is anything that `to_chw` takes."""
        raw = _checked(image, name)
        return cls(has_channels=raw.ndim == 3, dtype=raw.dtype)

    @property
    def is_tensor(self) -> bool:
        """Whether the image is a tensor."""
        return isinstance(self.dtype, torch.dtype)

    @property
    def in_bytes(self) -> bool:
        """Whether the pixels are bytes, 0..255."""
        return self.dtype in (torch.uint8, np.dtype(np.uint8))

    def restore(self, pixels: Float[Tensor, "channels height width"]) -> Any:
        """`pixels` as a CPU tensor or an array of the remembered layout and type.

        Whole numbers are rounded, and clipped to the range of their type. A PIL image comes back as an array.
        """
        pixels = pixels.detach().cpu()
        if not self.has_channels:
            pixels = pixels[0]
        if _is_whole(self.dtype):
            range_ = torch.iinfo(self.dtype) if isinstance(self.dtype, torch.dtype) else np.iinfo(self.dtype)
            pixels = pixels.round().clamp(max(range_.min, -MOST_WHOLE), min(range_.max, MOST_WHOLE))
        if isinstance(self.dtype, torch.dtype):
            return pixels.to(self.dtype)
        array = (pixels.permute(1, 2, 0) if self.has_channels else pixels).numpy()
        return np.ascontiguousarray(array).astype(self.dtype)


def as_picture(image: Shaped[np.ndarray, "height width *channels"]) -> Shaped[np.ndarray, "height width *channels"]:
    """The image on a scale on which matplotlib's ``imshow`` shows it right.

    Whole numbers in 0..255 become bytes, and floats in 0..1 stay as they are; all others are scaled linearly, their
    least value to 0 and their greatest to 1.
    """
    least, greatest = image.min(), image.max()
    if image.dtype.kind in "iu" and least >= 0 and greatest <= 255:
        return image.astype(np.uint8)
    inside = image.dtype.kind == "f" and least >= 0 and greatest <= 1
    return image if inside else scale_image(image, (0, 1)).astype(np.float32)


def scale_image(image: NDArray[Any], scale: Sequence[int | float] = (0, 255)) -> NDArray[np.floating]:
    """The image scaled linearly so that its least value becomes `scale[0]` and its greatest `scale[1]`.

    Args:
        image: array of any shape.
        scale: the least and the greatest value wanted. An image of one value becomes `scale[0]`.

    Raises:
        ArgumentError: `scale` is not two finite numbers, lesser first, or the image is empty or not finite.

    Example:
        >>> scale_image(np.array([[0.0, 0.5, 1.0]]))
        array([[  0. , 127.5, 255. ]])
    """
    two = isinstance(scale, Sequence | np.ndarray) and len(scale) == 2 and all(map(is_number, scale))
    if not two or not scale[0] < scale[1]:
        raise ArgumentError(f"scale must be two finite numbers in ascending order such as (0, 255), got {said(scale)}.")
    pixels = np.asarray(image)
    pixels = pixels if np.issubdtype(pixels.dtype, np.floating) else pixels.astype(np.float64)
    if pixels.size == 0 or not np.isfinite(pixels).all():
        raise ArgumentError("image must have at least one pixel and finite values only; replace NaN and infinity.")
    least, greatest = pixels.min(), pixels.max()
    spread = greatest - least
    unit = (pixels - least) / spread if spread > 0 else np.zeros_like(pixels)
    return unit * (scale[1] - scale[0]) + scale[0]


def _checked(image: Any, name: str) -> Tensor | NDArray[Any]:
    """The image as a tensor or an array whose type and shape are ones that we can read."""
    if isinstance(image, Image.Image):
        _check_depth(image, name)
        return np.array(opaque(image))  # a copy: what PIL lends is read-only, which PyTorch warns of
    if isinstance(image, Tensor):
        _check_tensor(image, name)
    elif isinstance(image, np.ndarray):
        _check_array(image, name)
    else:
        raise ArgumentError(
            f"{name} must be a tensor (C, H, W), an array (H, W, C) or (H, W), or a PIL image, "
            f"got {type(image).__name__}."
        )
    return image


def _check_depth(image: Image.Image, name: str) -> None:
    """Raises an ArgumentError where Pillow would clip more than 8 bits a channel, and says how to scale them."""
    if not image.mode.startswith(("I", "F")):
        return
    raise ArgumentError(
        f'{name} must be a PIL image with 8 bits a channel, got mode "{image.mode}", which convert() would clip; scale '
        f"it by {scaling_line(image.mode)}."
    )


_CHANNELS = range(1, 5)


def _is_whole(dtype: torch.dtype | np.dtype) -> bool:
    """Whether pixels are whole numbers of any type."""
    if isinstance(dtype, torch.dtype):
        return not (dtype.is_floating_point or dtype.is_complex or dtype is torch.bool)
    return dtype.kind in "iu"


def _check_tensor(image: Tensor, name: str) -> None:
    if image.is_nested or image.layout is not torch.strided:
        raise ArgumentError(f"{name} must be an ordinary tensor, got a sparse or nested one; pass image.to_dense().")
    if image.is_meta:
        raise ArgumentError(f"{name} must have values, got a tensor on the device meta, which has none.")
    remedy = ""
    if image.ndim == 4:
        remedy = " For one image of a batch pass image[0]."
    elif image.ndim == 3 and image.shape[0] not in _CHANNELS and image.shape[2] in _CHANNELS:
        remedy = " Tensors are channels-first: pass image.permute(2, 0, 1)."
    readable = image.ndim == 2 or (image.ndim == 3 and image.shape[0] in _CHANNELS)
    if not readable or image.numel() == 0:
        expected = "a tensor of shape (1 to 4, height, width) or (height, width)"
        raise ArgumentError(f"{name} must be {expected}, got {tuple(image.shape)}.{remedy}")
    if not (_is_whole(image.dtype) or image.is_floating_point()):
        _raise_dtype(name, image.dtype, "image.to(torch.uint8)", "image.float()")


def _check_array(image: NDArray[Any], name: str) -> None:
    remedy = ""
    if image.ndim == 4:
        remedy = " For one image of a batch pass image[0]."
    elif image.ndim == 3 and image.shape[2] not in _CHANNELS and image.shape[0] in _CHANNELS:
        remedy = " Arrays are channels-last: pass image.transpose(1, 2, 0), or a tensor."
    readable = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in _CHANNELS)
    if not readable or image.size == 0:
        expected = "an array of shape (height, width, 1 to 4) or (height, width)"
        raise ArgumentError(f"{name} must be {expected}, got {image.shape}.{remedy}")
    if image.dtype.kind not in "iuf":
        _raise_dtype(name, image.dtype, 'image.astype("uint8")', 'image.astype("float32")')


def _raise_dtype(name: str, dtype: Any, *remedies: str) -> None:
    raise ArgumentError(
        f"{name} must have pixels of whole numbers or floating point, got {dtype}; "
        f"pass {remedies[0]} for values in 0..255, {remedies[1]} for others."
    )
