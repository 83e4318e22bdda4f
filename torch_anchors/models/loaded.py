"""A classifier with all that is needed to show it a photograph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from torch_anchors._shapes import Float, Shaped, UInt8
from torch_anchors.errors import ArgumentError
from torch_anchors.images.pixels import hwc, to_chw

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean red, green and blue of ImageNet's photographs on the scale 0..1: what most networks subtract."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviations that go with `IMAGENET_MEAN`."""

_LONGEST = 16
"""How many times as long as wide a picture is resized; of a longer one only the middle is, which the crop keeps."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What stands between pixels and a network: resize, centre crop, and normalisation.

    Everything is a batched tensor operation on the device of the pixels, with nothing copied from the host.
    Pixels that already have the size `input_size` are only normalised, so that perturbed copies of an image
    that was prepared once by `fit` cost no resizing.

    Args:
        input_size: (height, width) that the network takes.
        mean: of each channel, on the scale 0..1.
        std: standard deviation of each channel, on the scale 0..1.
        resize: length of the shorter side before the centre crop; the shorter side of the crop unless given.
        interpolation: of the resizing, which is antialiased.

    Example:
        >>> import torch
        >>> preprocess = Preprocess((224, 224))
        >>> preprocess(torch.zeros(2, 3, 300, 400, dtype=torch.uint8)).shape
        torch.Size([2, 3, 224, 224])
    """

    input_size: tuple[int, int]
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    resize: int | None = None
    interpolation: InterpolationMode = InterpolationMode.BICUBIC

    def __call__(
        self, pixels: Shaped[Tensor, "rows channels height width"]
    ) -> Float[Tensor, "rows channels out_height out_width"]:
        """The network's input for a batch of pixels 0..255 (bytes or floats)."""
        return self.normalize(self.fit(pixels))

    def fit(
        self, pixels: Shaped[Tensor, "*rows channels height width"]
    ) -> Shaped[Tensor, "*rows channels out_height out_width"]:
        """The pixels 0..255 resized and cropped to the input size; bytes stay bytes."""
        size = tuple(pixels.shape[-2:])
        if size == self.input_size:
            return pixels
        pixels = self._middle(pixels)
        size = tuple(pixels.shape[-2:])
        shorter = self.resize if self.resize is not None else min(self.input_size)
        # At least the crop's size, whatever the shape of the image: a crop never gets an empty margin.
        scale = max(shorter / min(size), *(new / old for new, old in zip(self.input_size, size, strict=True)))
        resized = F.resize(
            pixels,
            [max(new, round(old * scale)) for new, old in zip(self.input_size, size, strict=True)],
            interpolation=self.interpolation,
            antialias=True,
        )
        return F.center_crop(resized, list(self.input_size)).clamp(0, 255)  # bicubic floats overshoot

    def _middle(
        self, pixels: Shaped[Tensor, "*rows channels height width"]
    ) -> Shaped[Tensor, "*rows channels middle_height middle_width"]:
        """The pixels without the ends of a very long picture, which would take gigabytes and are cropped anyway."""
        longest = math.ceil(min(pixels.shape[-2:]) * _LONGEST * max(self.input_size) / min(self.input_size))
        for axis in (-2, -1):
            length = pixels.shape[axis]
            if length > longest:
                pixels = pixels.narrow(axis, (length - longest) // 2, longest)
        return pixels

    def normalize(
        self, pixels: Shaped[Tensor, "rows channels height width"]
    ) -> Float[Tensor, "rows channels height width"]:
        """(pixels / 255 - mean) / std of each channel, in single precision."""
        normalized = pixels.to(torch.float32, copy=True)
        # Plain numbers, channel by channel: a tensor of means would be a copy from the host at each call.
        for channel, mean, std in zip(normalized.unbind(-3), self.mean, self.std, strict=True):
            channel.sub_(255 * mean).div_(255 * std)
        return normalized


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A classifier that is ready to explain.

    Args:
        name: as it was asked for.
        module: the network in evaluation mode; takes what `preprocess` returns and returns one score a class.
        preprocess: from pixels 0..255, (N, 3, H, W), to the network's input.
        class_names: one a class, or None where they are not known.
    """

    name: str
    module: nn.Module
    preprocess: Preprocess
    class_names: tuple[str, ...] | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return self.preprocess.input_size

    def fit(self, image: Any) -> UInt8[np.ndarray, "height width 3"]:
        """What the network sees of an image: resized and cropped to its input size, but not normalised.

        An explanation of this is faster than one of a larger image, as its perturbed copies are smaller and
        `preprocess` has only to normalise them.

        Args:
            image: a tensor (C, H, W), an array (H, W, C) or (H, W), or a PIL image, in bytes.

        Raises:
            ArgumentError: `image` is something else.
        """
        if (dtype := hwc(image).dtype) != np.uint8:
            raise ArgumentError(f"image must have pixels of type uint8, in 0..255, got {dtype}; convert it first.")
        pixels = to_chw(image).expand(3, -1, -1)  # grey becomes red, green and blue
        fitted = self.preprocess.fit(pixels).round().to(torch.uint8)
        return np.ascontiguousarray(fitted.permute(1, 2, 0).numpy())
