import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_anchors.tables import bitsets


def members_of(words, n_rows):
    """The row numbers in one packed set, bit by bit."""
    width = bitsets.n_words(n_rows)
    return [r for r in range(n_rows) if (int(words[r % width]) >> (r // width)) & 1]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_packing_keeps_every_member_and_adds_none(n_rows, seed):
    members = np.random.default_rng(seed).random((3, n_rows)) < 0.4
    words = bitsets.pack(torch.as_tensor(members))
    assert words.shape == (3, bitsets.n_words(n_rows))
    assert words.dtype == torch.int32
    for line, expected in zip(words, members, strict=True):
        assert members_of(line, n_rows) == np.flatnonzero(expected).tolist()
    assert bitsets.popcount(words).sum(1).tolist() == members.sum(1).tolist()


def test_popcount_of_every_kind_of_word():
    words = [0, -1, 1, -(2**31), 2**31 - 1, 0x55555555, *np.random.default_rng(0).integers(-(2**31), 2**31, 500)]
    counted = bitsets.popcount(torch.tensor(words, dtype=torch.int32))
    assert counted.tolist() == [bin(int(w) & 0xFFFFFFFF).count("1") for w in words]


def test_nonempty_sees_any_bit():
    lone = [1, -(2**31), -1, 2**31 - 1]
    words = torch.zeros(len(lone) + 1, 5, dtype=torch.int32)
    for line, word in enumerate(lone):
        words[line, line] = word
    assert bitsets.nonempty(words).tolist() == [True] * len(lone) + [False]
    mixed = torch.tensor([[1, -1], [0, 0]], dtype=torch.int32)
    assert bitsets.nonempty(mixed).tolist() == [True, False]


def test_select_finds_each_set_bit_in_turn():
    for word in [-1, 1, -(2**31), 0b1011000, 0x40000001]:
        positions = [b for b in range(32) if (word >> b) & 1]
        words = torch.full((len(positions),), word, dtype=torch.int32)
        assert bitsets.select(words, torch.arange(len(positions))).tolist() == positions


def test_choose_reaches_each_member_of_the_owners_set_equally_often(device):
    n_rows = 70
    members = torch.zeros(4, n_rows, dtype=torch.bool, device=device)
    expected = [[0], [69], [3, 31, 32, 33, 64, 69], list(range(n_rows))]
    for line, rows in zip(members, expected, strict=True):
        line[rows] = True
    # Entropy 0, 1, 2, ... goes through the members in a cycle.
    owner = torch.arange(4, device=device).repeat_interleave(420)
    chosen = bitsets.choose(bitsets.pack(members), owner, torch.arange(420, device=device).repeat(4)).view(4, 420)
    for rows, line in zip(expected, chosen.tolist(), strict=True):
        assert sorted(line) == sorted(rows * (420 // len(rows)))


@pytest.mark.parametrize("n_rows", [1, 31, 32, 33, 1000])
def test_every_row_is_in_the_full_set(n_rows):
    words = bitsets.pack(torch.ones(1, n_rows, dtype=torch.bool))
    chosen = bitsets.choose(words, torch.zeros(n_rows, dtype=torch.int64), torch.arange(n_rows))
    assert sorted(chosen.tolist()) == list(range(n_rows))
