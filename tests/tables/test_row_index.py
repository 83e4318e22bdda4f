"""The index of conditions and rows against plain NumPy masks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tables.masks import holds, random_conditions, random_table, rows_in
from torch_anchors.tables import bitsets, conditions
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.row_index import RowIndex


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


def test_an_anchor_without_conditions_holds_everywhere():
    index = RowIndex.build(torch.zeros(5, 1, dtype=torch.int16))
    none = np.zeros((2, 0), dtype=np.int64)
    assert index.count(Conditions(none, none, none)).tolist() == [5, 5]
    assert index.count(Conditions(none[:0], none[:0], none[:0])).tolist() == []


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


@pytest.mark.parametrize("cache_bytes", [0, conditions.CACHE_BYTES])
def test_several_threads_may_count_on_one_index(monkeypatch, cache_bytes):
    """Also where there is room for one condition a column only, so that they take it from each other."""
    monkeypatch.setattr(conditions, "CACHE_BYTES", cache_bytes)
    rng, binned = random_table(3)
    asked = [random_conditions(rng, 3, 4, 4) for _ in range(60)]
    expected = [RowIndex.build(torch.as_tensor(binned)).count(c).tolist() for c in asked]
    index = RowIndex.build(torch.as_tensor(binned))

    def counted(first):
        order = [(first + i) % len(asked) for i in range(len(asked))]
        return {i: (index.count(asked[i]).tolist(), index.prefixes(asked[i][:1]).length.tolist()) for i in order}

    alone = counted(0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(counted, (0, 15, 30, 45)):
            assert found == alone
    assert [alone[i][0] for i in range(len(asked))] == expected
