"""Packed masks against plain loops over their bits."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from torch_anchors.perturb.masks import every_mask, holds, n_bytes, pack, unpack, unpack_on_host

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=35))


@pytest.mark.parametrize(("n_predicates", "expected"), [(1, 1), (7, 1), (8, 1), (9, 2), (16, 2), (17, 3), (700, 88)])
def test_bytes_of_a_mask(n_predicates: int, expected: int) -> None:
    assert n_bytes(n_predicates) == expected


@settings(deadline=None, max_examples=50)
@given(masks)
def test_masks_survive_packing(keep: np.ndarray) -> None:
    codes = pack(keep)
    assert codes.shape == (keep.shape[0], n_bytes(keep.shape[1]))
    assert codes.dtype == np.uint8
    np.testing.assert_array_equal(unpack(torch.from_numpy(codes), keep.shape[1]).numpy(), keep)


def test_superpixel_k_is_bit_k_of_its_byte() -> None:
    keep = np.zeros((1, 11), dtype=bool)
    keep[0, [0, 3, 9]] = True
    assert pack(keep).tolist() == [[0b00001001, 0b00000010]]


def test_bytes_behind_the_mask_are_ignored(device: torch.device) -> None:
    keep = np.array([[True, False, True], [False, True, True]])
    codes = np.hstack([pack(keep), np.full((2, 2), 255, dtype=np.uint8)])
    assert unpack(torch.from_numpy(codes).to(device), 3).cpu().numpy().tolist() == keep.tolist()
    assert holds(codes, (0, 2)).tolist() == [True, False]
    assert unpack_on_host(codes, 3).tolist() == keep.tolist()


@settings(deadline=None, max_examples=50)
@given(masks, st.data())
def test_holding_is_what_a_loop_finds(keep: np.ndarray, data: st.DataObject) -> None:
    n_predicates = keep.shape[1]
    anchor = tuple(sorted(data.draw(st.sets(st.integers(0, n_predicates - 1)))))
    codes = pack(keep)
    assert holds(codes, anchor).tolist() == [all(row[k] for k in anchor) for row in keep]
    np.testing.assert_array_equal(unpack_on_host(codes, n_predicates), keep)


def test_no_rows_at_all() -> None:
    codes = pack(np.zeros((0, 9), dtype=bool))
    assert codes.shape == (0, 2)
    assert holds(codes, (1,)).shape == (0,)
    assert unpack_on_host(codes, 9).shape == (0, 9)
    assert unpack(torch.from_numpy(codes), 9).shape == (0, 9)


@pytest.mark.parametrize("anchor", [(), (1,), (0, 4), (0, 1, 2, 3, 4)])
def test_every_mask_of_an_anchor_once_and_in_order(anchor: tuple[int, ...]) -> None:
    free = [k for k in range(5) if k not in anchor]
    expected = []
    for bits in product([False, True], repeat=len(free)):  # the last bit changes fastest, so it is free[0]
        shown = dict(zip(free, reversed(bits), strict=True))
        expected.append([shown.get(k, True) for k in range(5)])
    assert every_mask(anchor, 5).tolist() == expected
