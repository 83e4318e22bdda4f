"""The image processors of Hugging Face's transformers, for whole batches on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_anchors._shapes import Float, Shaped
from torch_anchors.errors import ArgumentError, words_of
from torch_anchors.models.loaded import Preprocess
from torch_anchors.words import listed

_PROBES = ((97, 131), (131, 97))
"""Sizes of pictures, (height, width), that a processor is tried on."""
_COLOUR = (10, 120, 200)
_CLOSE = 1e-3
"""How far a normalised colour, which is a number around 1, may be from the processor's own."""


@dataclass(frozen=True, slots=True)
class Processor:
    """A processor that resizes, crops and normalises, whichever way its settings say that.

    Args:
        processor: of transformers.
        size: (height, width) of what it makes of any picture.
        mean: that it subtracts from each channel, on the scale 0..1.
        std: that it divides each channel by, on the scale 0..1.
    """

    processor: Any
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, processor: Any, name: str) -> Processor:
        """A processor of transformers, of which what it does is learned from pictures of one colour.

        Raises:
            ArgumentError: it does something else, or does not bring all pictures to one size.
        """
        try:
            sizes = [_called(processor, torch.zeros(1, 3, *size, dtype=torch.uint8)).shape for size in _PROBES]
            if sizes[0] != sizes[1]:
                raise ValueError(f"pictures become {listed([tuple(size[1:]) for size in sizes])}")
            black, white = _colour(processor, (0, 0, 0)), _colour(processor, (255, 255, 255))
            std = tuple(1 / (most - least) for least, most in zip(black, white, strict=True))
            mean = tuple(-least * scale for least, scale in zip(black, std, strict=True))
            found = _colour(processor, _COLOUR)
            for value, m, s, its in zip(_COLOUR, mean, std, found, strict=True):
                if not abs((value / 255 - m) / s - its) < _CLOSE:
                    raise ValueError(f"the colour {_COLOUR} becomes {listed([f'{one:.3g}' for one in found])}")
        except Exception as error:  # the processor's own, of any kind
            raise ArgumentError(
                f"The processor of {name} does something else than resize, crop and normalise colour pictures, or "
                f"makes no pictures of one size ({short(error)}). Give the network to AnchorImage, with a preprocess "
                "of your own."
            ) from error
        height, width = sizes[0][-2:]
        return cls(processor, (height, width), mean, std)

    def fit(
        self, pixels: Shaped[Tensor, "rows channels height width"]
    ) -> Float[Tensor, "rows channels out_height out_width"]:
        """The pixels 0..255 resized and cropped, but not normalised; whole numbers of bytes."""
        fitted = _called(self.processor, pixels).to(pixels.device)
        # Not every processor can leave a step out; taking it back is exact to a hundredth of a grey value.
        for channel, mean, std in zip(fitted.unbind(-3), self.mean, self.std, strict=True):
            channel.mul_(255 * std).add_(255 * mean)
        return (fitted if pixels.is_floating_point() else fitted.round()).clamp(0, 255)


@dataclass(frozen=True, slots=True)
class ProcessorPreprocess(Preprocess):
    """A `Preprocess` that resizes and crops as a processor of transformers does.

    To normalise is the same for all of them, and so is done for whole batches at once. Of pictures that do not have
    the input size already, the processor itself makes it.

    Args:
        processor: which does.
    """

    processor: Processor | None = None

    @classmethod
    def by(cls, processor: Processor) -> ProcessorPreprocess:
        """What the processor does."""
        return cls(processor.size, mean=processor.mean, std=processor.std, processor=processor)

    def fit(
        self, pixels: Shaped[Tensor, "*rows channels height width"]
    ) -> Shaped[Tensor, "*rows channels out_height out_width"]:
        """The pixels 0..255 as the processor resizes and crops them; bytes stay bytes."""
        if tuple(pixels.shape[-2:]) == self.input_size or self.processor is None:
            return Preprocess.fit(self, pixels)
        if self.processor.size != self.input_size:
            raise ArgumentError(
                f"input_size must be what the model's processor makes of a picture, {self.processor.size}, got "
                f"{self.input_size}. Leave it, or change the processor that is saved beside the model."
            )
        fitted = self.processor.fit(pixels.reshape(-1, *pixels.shape[-3:]))
        return fitted.to(pixels.dtype).reshape(*pixels.shape[:-2], *self.input_size)


def short(error: Exception) -> str:
    """An error of another library, which may be pages long, in one line."""
    return " ".join(words_of(error).split())[:300].rstrip(". ")


def _colour(processor: Any, colour: tuple[int, int, int]) -> list[float]:
    """What a picture of one colour becomes, in its middle."""
    picture = torch.tensor(colour, dtype=torch.uint8).reshape(1, 3, 1, 1).expand(1, 3, *_PROBES[0])
    out = _called(processor, picture)
    values: list[float] = out[0, :, out.shape[2] // 2, out.shape[3] // 2].tolist()
    return values


def _called(
    processor: Any, pixels: Shaped[Tensor, "rows channels height width"]
) -> Float[Tensor, "rows channels out_height out_width"]:
    """What a processor makes of pictures 0..255."""
    out: Tensor = processor(list(pixels), return_tensors="pt", input_data_format="channels_first")["pixel_values"]
    return out.float()
