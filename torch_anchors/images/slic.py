"""SLIC superpixels of many images at once, as tensor operations on their device.

Source: R. Achanta, A. Shaji, K. Smith, A. Lucchi, P. Fua, S. Susstrunk, "SLIC Superpixels Compared to
State-of-the-Art Superpixel Methods", IEEE TPAMI 34 (2012) 2274-2282; equation (3) is the distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from skimage.util import regular_grid
from torch import Tensor
from torch.nn.functional import pad, threshold

from torch_anchors._checks import MOST, is_number, said, whole
from torch_anchors._devices import dtype_of_products
from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.errors import ArgumentError
from torch_anchors.images.components import connected_components, merge_small
from torch_anchors.images.gaussian import gaussian_blur
from torch_anchors.images.group_mean import FixedPoint

# A pixel may join a centre less than this many steps of the grid away along each axis, as in scikit-image.
_REACH = 2
# The last bits of a distance make room for a candidate's number; there are at most (2 * _REACH + 1)^2 candidates.
_NUMBER_BITS = 0b11111
_DISTANCE_BITS = 0x7FFFFFFF - _NUMBER_BITS
# Sides of tiles that may be of any size, in pixels.
_SIDE = 32
# Distances at once on a CPU, where a megabyte of them stays in the cache.
_AT_ONCE = 2**18


def slic(
    images: Float[Tensor, "batch 3 height width"],
    n_segments: int = 10,
    compactness: int | float = 10.0,
    sigma: int | float = 0.5,
    n_iter: int = 10,
    min_size_factor: int | float = 0.5,
) -> Int[Tensor, "batch height width"]:
    """Connected superpixels 0..K-1 of each image, without gaps; about `n_segments`, not the same K for all.

    The result for one image does not depend on the others, and nothing waits for the device. The settings
    mean what they mean in scikit-image's `slic`; the boundaries are close to its, not equal.

    Args:
        images: RGB images of one size; each is first stretched to the range [0, 1].
        n_segments: number of superpixels wanted, before the grid of centres is fitted to the image.
        compactness: weight of distance in the plane against distance in colour, > 0; larger is squarer.
        sigma: standard deviation in pixels of the Gaussian that smooths the images first; 0 for none.
        n_iter: rounds of assigning pixels to centres and moving the centres.
        min_size_factor: pieces smaller than this share of the mean superpixel are merged into a neighbour.

    Raises:
        ArgumentError: a setting out of range, or images of another shape.

    Example:
        >>> labels = slic(torch.rand(2, 3, 64, 64), n_segments=16)
        >>> labels.shape
        torch.Size([2, 64, 64])
    """
    _check(images, n_segments, compactness, sigma, n_iter, min_size_factor)
    # One after the other on a CPU, where the maps of one image stay in the cache.
    parts = torch.split(images, 1 if images.device.type == "cpu" else len(images))
    return torch.cat([_labels(part, n_segments, compactness, sigma, n_iter, min_size_factor) for part in parts])


def _labels(
    images: Float[Tensor, "batch 3 height width"],
    n_segments: int,
    compactness: int | float,
    sigma: int | float,
    n_iter: int,
    min_size_factor: int | float,
) -> Int[Tensor, "batch height width"]:
    height, width = images.shape[2:]
    rows, cols = _centre_grid(height, width, n_segments)
    clusters = _k_means(_features(images, compactness, sigma, max(rows.step, cols.step)), rows, cols, n_iter)
    min_size = int(min_size_factor * height * width / (len(rows) * len(cols)))
    return _renumbered(merge_small(connected_components(clusters), min_size))


def _check(
    images: Tensor,
    n_segments: int,
    compactness: int | float,
    sigma: int | float,
    n_iter: int,
    min_size_factor: int | float,
) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ArgumentError(
            "images must be a floating-point tensor (batch, 3, height, width), "
            f"got {images.dtype} of shape {tuple(images.shape)}; repeat a grey channel three times."
        )
    whole("n_segments", n_segments, least=1, most=MOST)
    whole("n_iter", n_iter, least=1, most=MOST)
    for name, value, ok, expected in (
        ("compactness", compactness, is_number(compactness) and compactness > 0, "a number greater than 0"),
        ("sigma", sigma, is_number(sigma) and sigma >= 0, "a number of at least 0"),
        ("min_size_factor", min_size_factor, is_number(min_size_factor) and 0 <= min_size_factor < 1, "in [0, 1)"),
    ):
        if not ok:
            raise ArgumentError(f"{name} must be {expected}, got {said(value)}.")


def _centre_grid(height: int, width: int, n_segments: int) -> tuple[range, range]:
    """Rows and columns of the first centres, about `n_segments` of them, equally far apart."""
    rows, cols = regular_grid((height, width), n_segments)  # type: ignore[no-untyped-call]
    return range(height)[rows], range(width)[cols]


def _features(
    images: Float[Tensor, "batch 3 height width"], compactness: int | float, sigma: int | float, step: int
) -> Float[Tensor, "batch 5 height width"]:
    """Lab colour and place of each pixel, scaled so that squared distance is equation (3)'s D^2 over m^2."""
    from kornia.color import rgb_to_lab  # takes seconds, and few need it

    images = images.float()
    least, greatest = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    stretched = (images - least) / (greatest - least).clamp(min=torch.finfo(images.dtype).tiny)
    colour = rgb_to_lab(stretched.to(dtype_of_products(images.device))).to(images.dtype)
    if sigma > 0:
        colour = gaussian_blur(colour, sigma)
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device, dtype=colour.dtype)[:, None].expand(height, width)
    x = torch.arange(width, device=images.device, dtype=colour.dtype)[None, :].expand(height, width)
    place = torch.stack([y, x]).expand(len(images), 2, height, width)
    return torch.cat([colour / compactness, place / step], dim=1)


def _k_means(
    features: Float[Tensor, "batch 5 height width"], rows: range, cols: range, n_iter: int
) -> Int[Tensor, "batch height width"]:
    """The centre that each pixel belongs to after `n_iter` rounds; centres start at `rows` x `cols`."""
    height, width = features.shape[2:]
    tiling = _Tiling.of(height, width, rows, cols, features.device)
    pixels, inside = tiling.cut(features), tiling.cut(torch.ones_like(features[:, :1]))
    assignment = _Assignment.of(pixels, tiling.candidates)
    addends = FixedPoint.of(pixels.flatten(2), inside.flatten(1))

    centres = features[:, :, rows.start :: rows.step, cols.start :: cols.step].flatten(2)
    # In the first round place alone counts.
    y, x = torch.arange(height, device=features.device), torch.arange(width, device=features.device)
    first = _nearest_tick(y, rows)[:, None] * len(cols) + _nearest_tick(x, cols)
    labels = tiling.cut(first.expand(len(features), 1, height, width))[:, 0]
    for _ in range(n_iter - 1):
        means = addends.mean_by(labels.flatten(1), centres.shape[2])
        centres = torch.where(means.isnan(), centres, means)
        labels = assignment.nearest(centres)
    return tiling.join(labels, height, width)


def _nearest_tick(places: Int[Tensor, "n"], ticks: range) -> Int[Tensor, "n"]:
    """The number of the nearest of `ticks` (the centres along an axis) for each place; the first of two."""
    past = places - ticks.start + (ticks.step - 1) // 2
    return past.div(ticks.step, rounding_mode="floor").clamp(0, len(ticks) - 1)


@dataclass(frozen=True, slots=True)
class _Tiling:
    """The image cut into `rows` x `cols` tiles, padded; the pixels of a tile may join the same centres."""

    rows: int
    cols: int
    tile_height: int
    tile_width: int
    candidates: Int[Tensor, "tiles candidates"]

    @classmethod
    def of(cls, height: int, width: int, rows: range, cols: range, device: torch.device) -> _Tiling:
        """The tiling for centres at `rows` x `cols`."""
        tile_height, near_rows = _windows(height, rows, device)
        tile_width, near_cols = _windows(width, cols, device)
        candidates = near_rows[:, None, :, None] * len(cols) + near_cols[None, :, None, :]
        tiles = candidates.flatten(2).flatten(0, 1)
        return cls(len(near_rows), len(near_cols), tile_height, tile_width, tiles)

    def cut(
        self, maps: Shaped[Tensor, "batch channels height width"]
    ) -> Shaped[Tensor, "batch channels tiles tile_height tile_width"]:
        """The tiles of the maps, row by row, padded with zeros."""
        below = self.rows * self.tile_height - maps.shape[2]
        beside = self.cols * self.tile_width - maps.shape[3]
        grid = pad(maps, (0, beside, 0, below)).reshape(
            *maps.shape[:2], self.rows, self.tile_height, self.cols, self.tile_width
        )
        return grid.transpose(3, 4).flatten(2, 3)

    def join(
        self, labels: Int[Tensor, "batch tiles tile_height tile_width"], height: int, width: int
    ) -> Int[Tensor, "batch {height} {width}"]:
        """The map whose tiles are `labels`, without the padding."""
        grid = labels.reshape(-1, self.rows, self.cols, self.tile_height, self.tile_width).transpose(2, 3)
        return grid.flatten(3, 4).flatten(1, 2)[:, :height, :width]


def _windows(size: int, ticks: range, device: torch.device) -> tuple[int, Int[Tensor, "tiles window"]]:
    """Length of the tiles along one axis, and for each tile the `ticks` (centres) in its reach, by number."""
    window = torch.arange(min(len(ticks), 2 * _REACH + 1), device=device)
    # Where every centre is in reach of every pixel, tiles may be of any length; else they are about a step long.
    n_tiles = math.ceil(size / _SIDE) if len(window) == len(ticks) else len(ticks)
    length = math.ceil(size / n_tiles)
    middles = torch.arange(length // 2, size + length // 2, length, device=device)
    first = (_nearest_tick(middles, ticks) - _REACH).clamp(0, len(ticks) - len(window))
    return length, first[:, None] + window


@dataclass(frozen=True, slots=True)
class _Assignment:
    """What finds the nearest centre of each pixel of each tile.

    |p - c|^2 = |p|^2 - 2 p.c + |c|^2 for the colours p of a pixel and c of a centre, one number after the other: so
    that the rounding does not depend on the size of the batch.
    """

    colours: Float[Tensor, "batch 3 tiles 1 tile_height tile_width"]
    norms: Float[Tensor, "batch tiles 1 tile_height tile_width"]
    y: Float[Tensor, "tiles 1 tile_height 1"]
    x: Float[Tensor, "tiles 1 1 tile_width"]
    candidates: Int[Tensor, "tiles candidates"]

    @classmethod
    def of(
        cls,
        pixels: Float[Tensor, "batch 5 tiles tile_height tile_width"],
        candidates: Int[Tensor, "tiles candidates"],
    ) -> _Assignment:
        """The assignment of `pixels` to the `candidates` of their tile."""
        pixels = pixels.unsqueeze(3)
        colours, (y, x) = pixels[:, :3], pixels[0, 3:]  # The pixels of a row (column) of a tile share their y (x).
        return cls(colours, colours.square().sum(1), y[..., :1].contiguous(), x[:, :, :1].contiguous(), candidates)

    def nearest(self, centres: Float[Tensor, "batch 5 centres"]) -> Int[Tensor, "batch tiles tile_height tile_width"]:
        """The nearest of its tile's candidates for each pixel, if less than `_REACH` steps away along each axis."""
        index = self.candidates.flatten().expand(*centres.shape[:2], -1)
        near = centres.gather(2, index).reshape(-1, 5, *self.candidates.shape, 1, 1)
        rows = _closeness(self.y, near[:, 3]) - near[:, :3].square().sum(1)
        cols = _closeness(self.x, near[:, 4])
        numbers = torch.arange(near.shape[3], dtype=torch.int32, device=near.device)[:, None, None].expand_as(
            near[0, 0]
        )
        at_once = len(self.candidates)
        if centres.device.type == "cpu":
            at_once = max(1, _AT_ONCE // (near.shape[3] * self.norms.shape[-2:].numel()))
        tiles = (self.colours, self.norms, -2 * near[:, :3], rows, cols, numbers)
        parts = zip(*(torch.split(each, at_once, dim=-4) for each in tiles), strict=True)
        number = torch.cat([_number_of_nearest(*part) for part in parts], dim=1)
        return self.candidates.expand(len(centres), -1, -1).gather(2, number.flatten(2).long()).view_as(number)


def _closeness(place: Float[Tensor, "..."], near: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Minus the squared distances along one axis, in steps; minus infinity beyond the reach."""
    return threshold((place - near).square().neg(), -(_REACH**2), -math.inf)


def _number_of_nearest(
    colours: Float[Tensor, "batch 3 tiles 1 tile_height tile_width"],
    norms: Float[Tensor, "batch tiles 1 tile_height tile_width"],
    factors: Float[Tensor, "batch 3 tiles candidates 1 1"],
    rows: Float[Tensor, "batch tiles candidates tile_height 1"],
    cols: Float[Tensor, "batch tiles candidates 1 tile_width"],
    numbers: Int[Tensor, "tiles candidates 1 1"],
) -> Int[Tensor, "batch tiles tile_height tile_width"]:
    """For each pixel the number of the nearest of its tile's candidates, the first of equally near ones.

    Floats >= 0 are ordered as their bits are. With the number of a candidate in the last bits of its distance, one
    minimum over whole numbers finds both. (The sign, which only rounding can set, is dropped.)
    """
    distance = torch.addcmul(norms, colours[:, 0], factors[:, 0])  # (batch, tiles, candidates, height, width)
    distance.addcmul_(colours[:, 1], factors[:, 1]).addcmul_(colours[:, 2], factors[:, 2])
    distance -= rows
    distance -= cols
    bits = distance.view(torch.int32)
    bits &= _DISTANCE_BITS
    bits |= numbers
    return bits.amin(dim=2).bitwise_and_(_NUMBER_BITS)


def _renumbered(pieces: Int[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """The pieces of each map numbered 0..K-1 in the order of the pixels that name them."""
    flat = pieces.flatten(1)  # (batch, pixels), flat indices in the whole batch
    offset = torch.arange(len(flat), device=flat.device)[:, None] * flat.shape[1]
    flat = flat - offset
    used = torch.zeros_like(flat).scatter_(1, flat, 1)
    return (used.cumsum(1) - 1).gather(1, flat).view_as(pieces)
