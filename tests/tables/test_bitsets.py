import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_anchors.engine.device_copy import on_device
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
    assert bitsets.sizes(words).tolist() == members.sum(1).tolist()


@pytest.mark.parametrize("counts_bits", [True, False])
def test_popcount_of_every_kind_of_word(counts_bits, monkeypatch):
    if not counts_bits:  # as NumPy before 2.0, and devices, do not
        monkeypatch.setattr(bitsets, "_COUNT", None)
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


def test_sets_are_accumulated_from_the_first_on():
    for n in range(9):
        sets = torch.randint(-(2**31), 2**31 - 1, (n, 3), dtype=torch.int32)
        sets |= torch.randint(-(2**31), 2**31 - 1, (n, 3), dtype=torch.int32)
        found = bitsets.accumulated(torch.cat([torch.full((bitsets.n_before(n), 3), -1, dtype=torch.int32), sets]), n)
        expected = [torch.full((3,), -1, dtype=torch.int32)]
        for own in sets:
            expected.append(expected[-1] & own)
        assert torch.equal(found, torch.stack(expected))


MEMBERS = [[0], [69], [3, 31, 32, 33, 64, 69], list(range(70))]


def packed_members(device="cpu"):
    members = torch.zeros(len(MEMBERS), 70, dtype=torch.bool, device=device)
    for line, rows in zip(members, MEMBERS, strict=True):
        line[rows] = True
    return bitsets.pack(members)


def test_choose_reaches_each_member_of_the_owners_set_equally_often(device):
    # Entropy 0, 1, 2, ... goes through the members in a cycle.
    owner, entropy = np.repeat(np.arange(4), 420), np.tile(np.arange(420), 4)
    chosen = bitsets.choose(packed_members(device), owner, entropy).view(4, 420)
    for rows, line in zip(MEMBERS, chosen.tolist(), strict=True):
        assert sorted(line) == sorted(rows * (420 // len(rows)))


def test_a_device_chooses_the_members_that_a_host_does(device):
    rng = np.random.default_rng(0)
    owner, entropy = np.sort(rng.integers(4, size=999)), rng.integers(2**53, size=999)
    owner = owner[owner != 1]  # a set that nothing is drawn from
    entropy, words = entropy[: len(owner)], packed_members()
    expected = bitsets.choose(words, owner, entropy)
    table = bitsets.draw_table(owner, entropy, len(words))
    chosen = bitsets.choose_by_table(words.to(device), *on_device(table, device))
    assert chosen.tolist() == expected.tolist()


@pytest.mark.parametrize("n_rows", [1, 31, 32, 33, 1000])
def test_every_row_is_in_the_full_set(n_rows):
    words = bitsets.pack(torch.ones(1, n_rows, dtype=torch.bool))
    chosen = bitsets.choose(words, np.zeros(n_rows, dtype=np.int64), np.arange(n_rows))
    assert sorted(chosen.tolist()) == list(range(n_rows))
