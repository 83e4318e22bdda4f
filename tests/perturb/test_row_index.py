"""The index of conditions and rows against plain NumPy masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_anchors.perturb import bitsets, conditions
from torch_anchors.perturb.conditions import ConditionBits, Conditions
from torch_anchors.perturb.row_index import RowIndex


def random_table(seed, n_rows=100, n_columns=4, n_bins=4):
    rng = np.random.default_rng(seed)
    return rng, rng.integers(0, n_bins, (n_rows, n_columns)).astype(np.int16)


def random_conditions(rng, n_anchors, n_columns, n_bins):
    """Some columns of each line, ascending, then padding."""
    column = np.full((n_anchors, n_columns), -1)
    for line in column:
        chosen = np.sort(rng.choice(n_columns, rng.integers(0, n_columns + 1), replace=False))
        line[: len(chosen)] = chosen
    low = rng.integers(0, n_bins, column.shape)
    return Conditions(column, low, np.minimum(low + rng.integers(0, 2, column.shape), n_bins))


def holds(binned, c, anchor, position):
    if c.column[anchor, position] < 0:
        return np.ones(len(binned), dtype=bool)
    bins = binned[:, c.column[anchor, position]]
    return (bins >= c.low[anchor, position]) & (bins <= c.high[anchor, position])


def rows_in(words, n_rows):
    width = bitsets.n_words(n_rows)
    return [r for r in range(n_rows) if (int(words[r % width]) >> (r // width)) & 1]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 120))
def test_prefixes_and_counts_are_those_of_plain_masks(seed, n_rows):
    rng, binned = random_table(seed, n_rows)
    c = random_conditions(rng, 6, 4, 4)
    index = RowIndex.build(torch.as_tensor(binned))
    found, counts = index.prefixes(c), index.count(c)
    for anchor in range(6):
        masks = [np.ones(n_rows, dtype=bool)]
        for position in range(4):
            masks.append(masks[-1] & holds(binned, c, anchor, position))
        longest = max(length for length, mask in enumerate(masks) if mask.any())
        assert found.length[anchor] == longest
        assert rows_in(found.words[anchor], n_rows) == np.flatnonzero(masks[longest]).tolist()
        assert counts[anchor] == masks[-1].sum()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_spans_hold_exactly_the_rows_of_one_condition(seed):
    rng, binned = random_table(seed)
    c = random_conditions(rng, 6, 4, 5)
    index = RowIndex.build(torch.as_tensor(binned))
    start, length = index.spans(c)
    for anchor, position in np.ndindex(6, 4):
        if c.column[anchor, position] < 0:
            assert length[anchor, position] == 0
            continue
        first, n = start[anchor, position], length[anchor, position]
        rows = index.sorted_rows[c.column[anchor, position], first : first + n]
        assert sorted(rows.tolist()) == np.flatnonzero(holds(binned, c, anchor, position)).tolist()


def test_choose_in_spans_goes_through_all_rows_of_a_condition():
    binned = torch.tensor([[0, 2], [1, 1], [1, 2], [0, 0]], dtype=torch.int16)
    index = RowIndex.build(binned)
    c = Conditions(np.array([[0, 1]]), np.array([[1, 2]]), np.array([[1, 2]]))
    column, start, length = (torch.as_tensor(x).expand(4, -1) for x in (c.column, *index.spans(c)))
    chosen = index.choose_in_spans(column, start, length, torch.arange(4)[:, None].expand(-1, 2))
    assert sorted(chosen[:, 0].tolist()) == [1, 1, 2, 2]
    assert sorted(chosen[:, 1].tolist()) == [0, 0, 2, 2]


def test_conditions_of_anchors_meet_on_a_column():
    #                    x > cut 0  x <= cut 2  y == 3        and another instance with fewer predicates
    column, low, high = [[0, 0, 4], [2, 4, -1]], [[1, 0, 3], [5, 1, 0]], [[3, 2, 3], [6, 1, 0]]
    c = Conditions.of_anchors(np.array([column, low, high]), [0, 1, 0, 0], [(0, 1, 2), (0, 1), (), (1,)])
    assert c.column.tolist() == [[0, 4], [2, 4], [-1, -1], [0, -1]]
    real = c.column >= 0
    assert c.low[real].tolist() == [1, 3, 5, 1, 0]
    assert c.high[real].tolist() == [2, 3, 6, 1, 2]


def test_no_anchors_and_only_empty_anchors():
    bins = np.zeros((3, 1, 1), dtype=np.int64)
    assert Conditions.of_anchors(bins, [], []).column.shape == (0, 0)
    empty = Conditions.of_anchors(bins, [0, 0], [(), ()])
    assert empty.column.shape == (2, 0)
    index = RowIndex.build(torch.zeros(5, 1, dtype=torch.int16))
    assert index.count(empty).tolist() == [5, 5]


def test_bits_forgotten_for_lack_of_memory_are_packed_again(monkeypatch):
    monkeypatch.setattr(conditions, "CACHE_BYTES", 0)  # room for one condition a column, and no more
    rng, binned = random_table(0, n_columns=3)
    bits = ConditionBits(torch.as_tensor(binned).T.contiguous())
    assert bits.capacity == 4
    for _ in range(30):
        c = random_conditions(rng, 1, 3, 4)
        for position, slot in enumerate(bits.slots(c)[0]):
            assert rows_in(bits.words[slot], 100) == np.flatnonzero(holds(binned, c, 0, position)).tolist()


def test_bits_are_packed_once(monkeypatch):
    packed = []
    pack = bitsets.pack
    monkeypatch.setattr(bitsets, "pack", lambda members: packed.append(len(members)) or pack(members))
    rng, binned = random_table(1)
    index = RowIndex.build(torch.as_tensor(binned))
    c = random_conditions(rng, 50, 4, 4)
    first = index.count(c)
    n_packed = sum(packed)
    assert torch.equal(index.count(c), first)
    assert sum(packed) == n_packed
    assert n_packed <= 1 + 4 * 4 * 2  # all rows, and each distinct condition of 50 anchors once


@pytest.mark.parametrize("pack_bytes", [1, 10**9])
def test_packing_in_parts_changes_nothing(monkeypatch, pack_bytes):
    monkeypatch.setattr(conditions, "PACK_BYTES", pack_bytes)
    rng, binned = random_table(2)
    c = random_conditions(rng, 8, 4, 4)
    expected = [
        np.logical_and.reduce([holds(binned, c, anchor, position) for position in range(4)]).sum()
        for anchor in range(8)
    ]
    assert RowIndex.build(torch.as_tensor(binned)).count(c).tolist() == expected
