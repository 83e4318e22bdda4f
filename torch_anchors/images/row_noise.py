"""Uniform noise that is another one in each perturbed row."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.images.row_fill import RowFill
from torch_anchors.perturb.mask_sampler import MOST_BACKGROUNDS

_ROUNDS = ((16, 0x7FEB352D), (15, 0x846CA68B - (1 << 32)))
"""Shift and multiplier of each round of the integer hash lowbias32 (C. Wellons, hash-prospector, 2018).

Each bit that is put in changes nearly half of those that come out.
"""
_BITS = 24
"""Of a number in [0, 1): float32 holds no more."""


class RowNoise(RowFill):
    """Backgrounds of uniform noise between an image's least and greatest value, made when they are shown.

    It is indexed like a tensor of backgrounds, but holds no more than one image: a value is a hash of its place and of
    the background's number. So it is the same on every device, in any order, and costs no random stream.

    Args:
        image: whose shape, range, device and dtype the noise has.
        keys: of the places and of the numbers, 32 bits each.

    Attributes:
        shape: (backgrounds, channels, height, width).
        keys: as they were given.
    """

    def __init__(self, image: Float[Tensor, "channels height width"], keys: tuple[int, int]) -> None:
        self.shape, self.keys = (MOST_BACKGROUNDS, *image.shape), keys
        places = torch.arange(image.numel(), dtype=torch.int32, device=image.device).reshape(image.shape)
        self._places = _mixed(places ^ keys[0])
        self._least, self._greatest = image.amin(), image.amax()

    @classmethod
    def drawn(cls, image: Float[Tensor, "channels height width"], rng: np.random.Generator) -> RowNoise:
        """Noise whose keys come from a random stream."""
        places, numbers = rng.integers(-(2**31), 2**31, size=2, dtype=np.int32).tolist()
        return cls(image, (places, numbers))

    def rows(
        self, shown: Float[Tensor, "rows 1 height width"], numbers: Int[Tensor, " rows"] | None
    ) -> Float[Tensor, "rows channels height width"]:
        """As `RowFill.rows`; all of a background is noise, whatever is shown of it."""
        assert numbers is not None, "there are several backgrounds"
        return self[numbers]

    def __getitem__(self, numbers: Int[Tensor, " rows"]) -> Float[Tensor, "rows channels height width"]:
        """The backgrounds of these numbers."""
        of_row = _mixed(numbers.to(torch.int32) ^ self.keys[1]).view(-1, 1, 1, 1)
        bits = _mixed(of_row ^ self._places).bitwise_and_((1 << _BITS) - 1)
        uniform = bits.to(torch.float32).mul_(2.0**-_BITS)
        return (uniform.mul_(self._greatest - self._least) + self._least).to(self._least.dtype)


def _mixed(x: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """The hash of 32-bit integers, in place; products wrap around."""
    for shift, multiplier in _ROUNDS:
        x.bitwise_xor_(_shifted(x, shift)).mul_(multiplier)
    return x.bitwise_xor_(_shifted(x, 16))


def _shifted(x: Tensor, n: int) -> Tensor:
    """All bits moved down by `n`; zeros follow, where ``>>`` would repeat the sign."""
    return (x >> n).bitwise_and_((1 << (32 - n)) - 1)
