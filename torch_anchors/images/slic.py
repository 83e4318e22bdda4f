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
from torch.nn.functional import pad

from torch_anchors._checks import MOST, is_number, said, whole
from torch_anchors._shapes import Float, Int
from torch_anchors.errors import ArgumentError
from torch_anchors.images.components import connected_components, merge_small
from torch_anchors.images.gaussian import gaussian_blur
from torch_anchors.images.group_mean import FixedPoint

# A pixel may join a centre at most this many steps of the grid away along each axis, as in scikit-image.
_REACH = 2


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

    least, greatest = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    stretched = (images - least) / (greatest - least).clamp(min=torch.finfo(images.dtype).tiny)
    colour = rgb_to_lab(stretched)
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
    n_centres = len(rows) * len(cols)
    tiling = _Tiling.of(height, width, rows, cols, features.device)
    pixels = tiling.cut(features)
    outside = tiling.cut(torch.ones_like(features[:, :1]))[..., 0] == 0
    addends = FixedPoint.of(pixels.flatten(1, 3))

    centres = features[:, :, rows.start :: rows.step, cols.start :: cols.step].flatten(2).transpose(1, 2)
    centres = torch.cat([torch.zeros_like(centres[..., :3]), centres[..., 3:]], dim=2)  # At first place alone counts.
    for _ in range(n_iter):
        labels = _nearest(pixels, centres, tiling.candidates)
        # Padding forms a group of its own, which is dropped.
        group = torch.where(outside, n_centres, labels).flatten(1)
        means = addends.mean_by(group, n_centres + 1)[:, :-1]
        centres = torch.where(means.isnan(), centres, means)
    return tiling.join(labels, height, width)


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
        self, maps: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tiles tile_height tile_width channels"]:
        """The tiles of the maps, row by row, padded with zeros."""
        below = self.rows * self.tile_height - maps.shape[2]
        beside = self.cols * self.tile_width - maps.shape[3]
        grid = pad(maps, (0, beside, 0, below)).reshape(
            *maps.shape[:2], self.rows, self.tile_height, self.cols, self.tile_width
        )
        return grid.permute(0, 2, 4, 3, 5, 1).flatten(1, 2).contiguous()

    def join(
        self, labels: Int[Tensor, "batch tiles tile_height tile_width"], height: int, width: int
    ) -> Int[Tensor, "batch height width"]:
        """The map whose tiles are `labels`, without the padding."""
        grid = labels.reshape(-1, self.rows, self.cols, self.tile_height, self.tile_width)
        return grid.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :height, :width]


def _windows(size: int, ticks: range, device: torch.device) -> tuple[int, Int[Tensor, "tiles window"]]:
    """Length of the tiles along one axis, and for each tile the `ticks` (centres) in its reach, by number."""
    window = torch.arange(min(len(ticks), 2 * _REACH + 1), device=device)
    if len(window) == len(ticks):  # Every centre is in reach of every pixel: no need to cut.
        return size, window[None]
    tiles = torch.arange(math.ceil(size / ticks.step), device=device)
    first = (tiles - _REACH).clamp(0, len(ticks) - len(window))
    return ticks.step, first[:, None] + window


def _nearest(
    pixels: Float[Tensor, "batch tiles tile_height tile_width 5"],
    centres: Float[Tensor, "batch centres 5"],
    candidates: Int[Tensor, "tiles candidates"],
) -> Int[Tensor, "batch tiles tile_height tile_width"]:
    """The nearest of its tile's candidates for each pixel, if at most `_REACH` steps away along each axis."""
    near = centres[:, candidates]  # (batch, tiles, candidates, 5)
    # |p - c|^2 = |p|^2 - 2 (p.c - |c|^2 / 2), of which only the bracket depends on c. One product for each
    # tile, so that its rounding does not depend on the size of the batch.
    closeness = (pixels.flatten(2, 3) @ near.transpose(2, 3)).reshape(*pixels.shape[:4], -1)
    half_norms = near.square().sum(dim=-1)[:, :, None, None] / 2
    # Place is measured in steps, and the pixels of a row (column) of a tile share their y (x).
    too_high = (pixels[:, :, :, :1, None, 3] - near[:, :, None, None, :, 3]).abs() > _REACH
    too_wide = (pixels[:, :, :1, :, None, 4] - near[:, :, None, None, :, 4]).abs() > _REACH
    closeness -= half_norms.masked_fill(too_high, math.inf)
    closeness -= torch.zeros_like(half_norms).masked_fill(too_wide, math.inf)
    choice = closeness.argmax(dim=-1)
    return candidates.expand(len(pixels), -1, -1).gather(2, choice.flatten(2)).view_as(choice)


def _renumbered(pieces: Int[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """The pieces of each map numbered 0..K-1 in the order of the pixels that name them."""
    flat = pieces.flatten(1)  # (batch, pixels), flat indices in the whole batch
    offset = torch.arange(len(flat), device=flat.device)[:, None] * flat.shape[1]
    flat = flat - offset
    used = torch.zeros_like(flat).scatter_(1, flat, 1)
    return (used.cumsum(1) - 1).gather(1, flat).view_as(pieces)
