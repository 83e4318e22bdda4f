"""Absent superpixels filled from those that are shown around them, smoothly."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from torch_anchors._shapes import Float, Int
from torch_anchors.images.row_fill import RowFill

_SWEEPS, _COARSE_SWEEPS = 4, 8
"""At the image's own size, and at each smaller one, where they cost little and spread further."""
_SMOOTHEST = 0.05
"""Of the eigenvalues of a sweep's errors, which lie in (0, 2), the least that the sweeps are tuned to."""
_INNER = 1e-3
"""Weight of a shown pixel that touches no absent one, beside those that do: these alone decide where there are any."""

_IN_CACHE = 8
"""Rows that are filled together on a CPU: of many, it would mostly wait for its memory."""


class Infill(RowFill):
    """A membrane stretched over what a row hides: each absent pixel is the mean of its neighbours.

    That is the discrete Laplace equation, whose boundary values are the shown pixels around. It is solved to a few
    percent of the image's range, by the same operations on every row: pixels are averaged into ever smaller images, the
    last of them one pixel, and from there each solution is the start of the next larger one, on which some Jacobi
    sweeps with the weights of Chebyshev polynomials follow (the cascadic multigrid method of F. Bornemann and
    P. Deuflhard, Numerische Mathematik 75, 1996). A row that shows nothing is the image's mean colour.

    Args:
        image: pixels, on any scale.
    """

    keys = ()

    def __init__(self, image: Float[Tensor, "channels height width"]) -> None:
        self.shape = (1, *image.shape)
        self._dtype = image.dtype
        self._image = image.float()[None]
        self._mean = self._image.mean((2, 3), keepdim=True)
        self._least = self._image.amin((2, 3), keepdim=True)
        self._greatest = self._image.amax((2, 3), keepdim=True)
        sizes = [tuple(image.shape[1:])]
        while max(sizes[-1]) > 1:
            sizes.append(tuple(-(-length // 2) for length in sizes[-1]))
        self._steps, self._coarse_steps = _steps(_SWEEPS, image.device), _steps(_COARSE_SWEEPS, image.device)
        ones = (torch.ones(1, 1, *size, device=image.device) for size in sizes[:-1])
        self._n_neighbours = [_neighbour_sum(one) for one in ones]  # fewer at the edges

    def rows(
        self, shown: Float[Tensor, "rows 1 height width"], numbers: Int[Tensor, " rows"] | None = None
    ) -> Float[Tensor, "rows channels height width"]:
        """As `RowFill.rows`; what is shown is returned as it is, up to rounding."""
        if shown.device.type == "cpu" and shown.shape[0] > _IN_CACHE:
            return torch.cat([self.rows(part) for part in torch.split(shown, _IN_CACHE)])
        # Pixel by pixel there are only sums and products, each rounded by itself: a row is the same in every batch.
        weight = shown * (_neighbour_sum(1 - shown).clamp_(max=1) + _INNER)
        levels = [(self._image * weight, weight)]
        for _ in self._n_neighbours:
            weighted, weight = levels[-1]
            levels.append((_halved(weighted), _halved(weight)))
        weighted, weight = levels.pop()
        solved = torch.where(weight > 0, weighted / weight, self._mean)
        for n_neighbours in reversed(self._n_neighbours):
            weighted, weight = levels.pop()
            hidden = (weight == 0).float()
            start = _doubled(solved, weighted) * hidden + weighted / (weight + hidden)
            solved = _swept(start, hidden, n_neighbours, self._coarse_steps if levels else self._steps)
        # Steps longer than to the mean spread faster, but may lead out of the image's range.
        return torch.clamp(solved, self._least, self._greatest).to(self._dtype)


def _swept(
    start: Float[Tensor, "rows channels height width"],
    hidden: Float[Tensor, "rows 1 height width"],
    n_neighbours: Float[Tensor, "1 1 height width"],
    steps: Float[Tensor, "sweeps 1 1 1 1"],
) -> Float[Tensor, "rows channels height width"]:
    """The image after sweeps of these steps, each of which moves the hidden pixels to the means of their neighbours."""
    x = pad(start, (1, 1, 1, 1))
    inside = x[..., 1:-1, 1:-1]
    # For all sweeps together, as on a GPU each operation costs as much as a small image does.
    stays, per_neighbour = 1 - hidden * steps, hidden / n_neighbours * steps
    towards = torch.empty_like(start)
    for i in range(steps.shape[0]):
        _sum_around(x, towards).mul_(per_neighbour[i])
        inside.mul_(stays[i]).add_(towards)
    return inside


def _steps(n: int, device: torch.device) -> Float[Tensor, "sweeps 1 1 1 1"]:
    """How far each of `n` sweeps goes: the inverse roots of the Chebyshev polynomial on (`_SMOOTHEST`, 2)."""
    middle, reach = (2 + _SMOOTHEST) / 2, (2 - _SMOOTHEST) / 2
    steps = [1 / (middle + reach * math.cos(math.pi * (2 * i + 1) / (2 * n))) for i in range(n)]
    return torch.tensor(steps, device=device).reshape(-1, 1, 1, 1, 1)


def _neighbour_sum(x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows channels height width"]:
    """Sum over the up to four neighbours of each pixel."""
    return _sum_around(pad(x, (1, 1, 1, 1)), torch.empty_like(x))


def _sum_around(
    padded: Float[Tensor, "rows channels tall wide"], out: Float[Tensor, "rows channels height width"]
) -> Float[Tensor, "rows channels height width"]:
    """As `_neighbour_sum`, of an image with a border of zeros; written into `out`."""
    torch.add(padded[..., :-2, 1:-1], padded[..., 2:, 1:-1], out=out)
    return out.add_(padded[..., 1:-1, :-2]).add_(padded[..., 1:-1, 2:])


def _halved(x: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows channels half_height half_width"]:
    """Sums of two by two pixels; of an odd number of them, the last are alone."""
    height, width = x.shape[-2:]
    even = pad(x, (0, width % 2, 0, height % 2))
    pairs = even[..., ::2, :] + even[..., 1::2, :]
    return pairs[..., ::2] + pairs[..., 1::2]


def _doubled(
    x: Float[Tensor, "rows channels half_height half_width"], like: Float[Tensor, "rows channels height width"]
) -> Float[Tensor, "rows channels height width"]:
    """The image at twice the size, interpolated, without what is beyond that of `like`."""
    height, width = like.shape[-2:]
    return interpolate(x, scale_factor=2, mode="bilinear")[..., :height, :width]
