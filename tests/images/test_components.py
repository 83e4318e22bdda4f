from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from torch_anchors.images import components
from torch_anchors.images.components import connected_components, merge_small


def spiral(size: int) -> np.ndarray:
    """A one-pixel-wide path that winds to the middle: the longest connection that a map can have."""
    path = np.zeros((size, size), dtype=np.int64)
    y, x, dy, dx = 0, -1, 0, 1
    while True:
        length = 0
        while 0 <= y + dy < size and 0 <= x + dx < size and not path[y + dy, x + dx]:
            ahead = (y + 2 * dy, x + 2 * dx)
            if min(ahead) >= 0 and max(ahead) < size and path[ahead]:
                break
            y, x, length = y + dy, x + dx, length + 1
            path[y, x] = 1
        if length < 2:
            return path
        dy, dx = dx, -dy


def comb(size: int) -> np.ndarray:
    teeth = np.zeros((size, size), dtype=np.int64)
    teeth[:, ::2] = 1
    teeth[-1] = 1
    return teeth


def noise(size: int, share: float) -> np.ndarray:
    return (np.random.default_rng(size).random((size, size)) < share).astype(np.int64)


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(first)) == len(np.unique(second))


MAPS = {
    "spiral": spiral(101),
    "spiral, turned": spiral(101).T[::-1].copy(),
    "comb": comb(64),
    "comb, turned": comb(64)[::-1].copy(),
    "comb, on its side": comb(64).T.copy(),
    "sparse noise": noise(96, 0.41),
    "dense noise": noise(97, 0.59),
    "one label": np.zeros((9, 13), dtype=np.int64),
    "one pixel": np.zeros((1, 1), dtype=np.int64),
    "chequered": np.indices((8, 9)).sum(axis=0) % 2,
}


@pytest.mark.parametrize("name", MAPS)
def test_components_are_those_of_scikit_image(name, device):
    labels = MAPS[name]
    pieces = connected_components(torch.from_numpy(labels)[None].to(device))[0].cpu().numpy()
    assert same_partition(pieces, label(labels, background=-1, connectivity=1))
    assert (pieces <= np.arange(labels.size).reshape(labels.shape)).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 17), st.integers(1, 17), st.integers(1, 4))
def test_components_of_a_batch_are_those_of_each_map(seed, n_batch, height, width, n_labels):
    labels = np.random.default_rng(seed).integers(0, n_labels, (n_batch, height, width))
    pieces = connected_components(torch.from_numpy(labels)).numpy()
    size = height * width
    assert (pieces // size == np.arange(n_batch)[:, None, None]).all()
    for one, expected in zip(pieces, labels, strict=True):
        assert same_partition(one, label(expected, background=-1, connectivity=1))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 17), st.integers(1, 17), st.integers(1, 4), st.integers(1, 40))
def test_merged_pieces_are_connected_large_enough_and_unions_of_pieces(seed, height, width, n_labels, min_size):
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, n_labels, (2, height, width)))
    pieces = connected_components(labels)
    merged = merge_small(pieces, min_size)
    for before, after in zip(pieces.numpy(), merged.numpy(), strict=True):
        names, sizes = np.unique(after, return_counts=True)
        assert sizes.min() >= min(min_size, height * width)
        assert label(after, background=-1, connectivity=1).max() == len(names)
        pairs = np.unique(np.stack([before.ravel(), after.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(before))


@pytest.mark.parametrize("name", MAPS)
def test_rounds_that_nobody_looks_at_give_the_same(name, monkeypatch):
    labels = torch.from_numpy(MAPS[name])[None]
    pieces = connected_components(labels)
    merged = merge_small(pieces, min_size=9)
    monkeypatch.setattr(components, "_may_look", lambda maps: False)
    assert torch.equal(connected_components(labels), pieces)
    assert torch.equal(merge_small(pieces, min_size=9), merged)


def test_large_pieces_stay_and_a_small_one_joins_the_earlier_neighbour(device):
    labels = torch.tensor([[[0, 0, 0, 1, 1, 1], [0, 0, 2, 2, 1, 1], [0, 0, 0, 1, 1, 1]]], device=device)
    merged = merge_small(connected_components(labels), min_size=3)
    # Piece 2 touches piece 0 with its first pixels and piece 1 with its last one.
    assert merged.tolist() == [[[0, 0, 0, 3, 3, 3], [0, 0, 3, 3, 3, 3], [0, 0, 0, 3, 3, 3]]]
    assert torch.equal(merge_small(connected_components(labels), min_size=2), connected_components(labels))


def test_a_small_first_piece_joins_a_later_one(device):
    labels = torch.tensor([[[5, 0, 0], [0, 0, 0]]], device=device)
    assert merge_small(connected_components(labels), min_size=2).unique().numel() == 1
