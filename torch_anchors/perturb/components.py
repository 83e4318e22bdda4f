"""Connected pieces of label maps, and the merging of small ones, for a batch of maps at once.

Pixels are joined as in the shortcutting algorithm of Y. Shiloach and U. Vishkin, "An O(log n) Parallel Connectivity
Algorithm", J. Algorithms 3 (1982) 57-67: each tree hooks onto a neighbouring one, then every pixel follows its
pointers to the root. The number of rounds is fixed by the size of the map, so that nothing waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Int

_MERGE_ROUNDS = 6


def connected_components(labels: Int[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """For each pixel, the flat index in `labels` of the first pixel of its 4-connected piece of one label."""
    index = torch.arange(labels.numel(), device=labels.device).view_as(labels)
    starts_run = torch.ones_like(labels, dtype=torch.bool)
    starts_run[..., 1:] = labels[..., 1:] != labels[..., :-1]
    # The runs of a row are trees from the start: each pixel points at the first of its run.
    root = torch.where(starts_run, index, 0).cummax(dim=2).values
    joined = labels[:, 1:] == labels[:, :-1]  # with the pixel above
    for _ in range(_log2(labels) // 2):
        upper, lower = root[:, :-1], root[:, 1:]
        least = torch.where(joined, torch.minimum(upper, lower), labels.numel())
        parent = index.flatten()
        parent = parent.scatter_reduce(0, upper.flatten(), least.flatten(), "amin")
        parent = parent.scatter_reduce(0, lower.flatten(), least.flatten(), "amin")
        root = _follow(parent, root)
    return root


def merge_small(pieces: Int[Tensor, "batch height width"], min_size: int) -> Int[Tensor, "batch height width"]:
    """The pieces after those of fewer than `min_size` pixels were merged into the largest piece that they touch.

    A piece is named by the flat index of one of its pixels, as `connected_components` does. Small pieces among
    themselves merge too, until one is large enough (in an image of noise a few may stay small).
    """
    root, n_pixels = pieces, pieces.numel()
    index = torch.arange(n_pixels, device=pieces.device)
    for _ in range(_MERGE_ROUNDS):
        size = torch.zeros_like(index).index_add_(0, root.flatten(), torch.ones_like(index))
        # Ordered by size, ties by name: pieces merge upwards only, so that pointers never form a circle.
        rank = size * n_pixels + index
        largest = _largest_neighbour(rank.gather(0, root.flatten()).view_as(root))
        target = rank.scatter_reduce(0, root.flatten(), largest.flatten(), "amax")
        parent = torch.where(size < min_size, target % n_pixels, index)
        root = _follow(parent, root)
    return root


def _largest_neighbour(rank: Int[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """The largest rank among each pixel and the four beside it."""
    largest = rank.clone()
    for axis in (1, 2):
        n = rank.shape[axis] - 1
        first, second = rank.narrow(axis, 0, n), rank.narrow(axis, 1, n)
        for half, other in ((largest.narrow(axis, 0, n), second), (largest.narrow(axis, 1, n), first)):
            half.copy_(torch.maximum(half, other))
    return largest


def _follow(parent: Int[Tensor, "pixels"], root: Int[Tensor, "batch height width"]) -> Int[Tensor, "batch height width"]:
    """The pixel at the end of the chain of pointers that starts at each pixel's root."""
    for _ in range(_log2(root)):  # Each step doubles how far a pointer reaches.
        parent = parent.gather(0, parent)
    return parent.gather(0, root.flatten()).view_as(root)


def _log2(maps: Tensor) -> int:
    """Logarithm of the number of pixels of one map, rounded up."""
    return (maps.shape[1] * maps.shape[2]).bit_length()
