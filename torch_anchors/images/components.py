"""Connected pieces of label maps, and the merging of small ones, for a batch of maps at once.

Pixels are joined as in the shortcutting algorithm of Y. Shiloach and U. Vishkin, "An O(log n) Parallel
Connectivity Algorithm", J. Algorithms 3 (1982) 57-67: trees hook onto neighbouring trees, then every pixel
follows the pointers to its root. The size of the map sets the number of rounds: nothing waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Int


def connected_components(labels: Int[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """For each pixel the first pixel, as flat index in `labels`, of its 4-connected piece of one label."""
    index = torch.arange(labels.numel(), device=labels.device).view_as(labels)
    starts_run = torch.ones_like(labels, dtype=torch.bool)
    starts_run[..., 1:] = labels[..., 1:] != labels[..., :-1]
    # The runs of a row are trees from the start: each pixel points at the first of its run.
    root = torch.where(starts_run, index, 0).cummax(dim=2).values
    joined = labels[:, 1:] == labels[:, :-1]  # each pixel with the one above it
    for _ in range(_log2(labels) // 2 + 1):
        upper, lower = root[:, :-1], root[:, 1:]
        least = torch.where(joined, torch.minimum(upper, lower), labels.numel())
        parent = index.flatten()
        parent = parent.scatter_reduce(0, upper.flatten(), least.flatten(), "amin")
        parent = parent.scatter_reduce(0, lower.flatten(), least.flatten(), "amin")
        before, root = root, _follow(parent, root)
        if _may_look(root) and torch.equal(before, root):
            break
    return root


def merge_small(pieces: Int[Tensor, "batch height width"], min_size: int) -> Int[Tensor, "batch height width"]:
    """The pieces after each one of fewer than `min_size` pixels was merged into a piece that it touches.

    As in scikit-image's SLIC, a small piece joins one that begins before it (of several, the one that its
    last border pixel touches), whether or not that one is small too.

    Args:
        pieces: names as `connected_components` gives them.
        min_size: least number of pixels of a piece that stays.
    """
    root = pieces
    index = torch.arange(pieces.numel(), device=pieces.device)
    # Pointers to earlier pieces form no circle, and every piece but its map's first touches an earlier one. So
    # only the first can still be small after one pass; in the second it joins any neighbour.
    for earlier_only in (True, False):
        size = torch.zeros_like(index).index_add_(0, root.flatten(), torch.ones_like(index))
        small = (size > 0) & (size < min_size)
        if _may_look(root) and not small.any():
            break
        neighbour = _last_neighbour(root, earlier_only)
        parent = torch.where(small & (neighbour >= 0), neighbour, index)
        root = _follow(parent, root)
    return root


def _last_neighbour(root: Int[Tensor, "batch height width"], earlier_only: bool) -> Int[Tensor, "pixels"]:
    """For each piece, at the place of its root: the piece that its last border pixel touches; -1 for none."""
    n_pixels = root.numel()
    index = torch.arange(n_pixels, device=root.device).view_as(root)
    last = torch.full_like(root, -1)  # the border pixel and the piece that it touches, in one number
    for axis in (1, 2):
        n = root.shape[axis] - 1
        for here, there in ((0, 1), (1, 0)):
            own, other = root.narrow(axis, here, n), root.narrow(axis, there, n)
            touches = other < own if earlier_only else other != own
            border = torch.where(touches, index.narrow(axis, here, n) * n_pixels + other, -1)
            half = last.narrow(axis, here, n)
            half.copy_(torch.maximum(half, border))
    none = torch.full((n_pixels,), -1, dtype=root.dtype, device=root.device)
    last = none.scatter_reduce(0, root.flatten(), last.flatten(), "amax")
    return torch.where(last >= 0, last % n_pixels, -1)


def _follow(
    parent: Int[Tensor, "pixels"], root: Int[Tensor, "batch height width"]
) -> Int[Tensor, "batch height width"]:
    """The pixel at the end of the chain of pointers that starts at each pixel's root."""
    for _ in range(_log2(root)):  # Each step doubles how far a pointer reaches.
        before, parent = parent, parent.gather(0, parent)
        if _may_look(root) and torch.equal(before, parent):
            break
    return parent.gather(0, root.flatten()).view_as(root)


def _may_look(maps: Tensor) -> bool:
    """Whether nothing waits when a program asks for a result: then a loop can end once nothing changes any more."""
    return maps.device.type == "cpu"


def _log2(maps: Tensor) -> int:
    """Logarithm of the number of pixels of one map, rounded up."""
    return (maps.shape[1] * maps.shape[2]).bit_length()
