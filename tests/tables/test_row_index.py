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
        assert found.holds[:, anchor].tolist() == [mask.any() for mask in masks[1:]]
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


@pytest.mark.parametrize("anchors", [slice(0, 1), slice(0, 3)])
def test_rows_are_chosen_where_the_conditions_hold(anchors, device):
    """Two conditions that hold together, two that never do and then come from rows of their own, and one."""
    binned = torch.tensor([[0, 2], [1, 1], [2, 0], [2, 1]], dtype=torch.int16)
    c = Conditions(np.array([[0, 1], [0, 1], [1, -1]]), np.array([[2, 0], [2, 2], [1, 0]]), np.full((3, 2), 2))
    c = Conditions(c.column, c.low, np.array([[2, 1], [2, 2], [1, 2]]))[anchors]
    owner = np.repeat(np.arange(len(c)), 12)
    share = np.tile((np.arange(12) + 0.5) / 12, len(c))
    chosen, (sent,) = (
        RowIndex.build(binned).to(device).choose(c, owner, share, np.stack([share, share], axis=1), [share])
    )
    assert sent.cpu().numpy().tolist() == share.tolist()
    joint = chosen.joint.cpu().numpy().reshape(-1, 12)
    source = chosen.source.cpu().numpy().reshape(-1, 12, 2)
    for rows, possible in zip(joint, [{2, 3}, {2, 3}, {1, 3}], strict=False):
        assert set(rows) == possible
    assert (source[0] == joint[0, :, None]).all()
    if len(c) > 1:
        assert (source[1, :, 0] == joint[1]).all()
        assert (source[1, :, 1] == 0).all()
        assert (source[2, :, 0] == joint[2]).all()


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
        return {i: (index.count(asked[i]).tolist(), index.prefixes(asked[i][:1]).words.tolist()) for i in order}

    alone = counted(0)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(counted, (0, 15, 30, 45)):
            assert found == alone
    assert [alone[i][0] for i in range(len(asked))] == expected
