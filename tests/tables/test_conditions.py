"""Anchors as conditions on columns, and their bit sets against plain masks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from tests.tables.masks import holds, random_conditions, random_table, rows_in
from torch_anchors.tables import conditions
from torch_anchors.tables.conditions import ConditionBits, Conditions

#                    x > cut 0  x <= cut 2  y == 3        and another instance with fewer predicates
COLUMN, LOW, HIGH = [[0, 0, 4], [2, 4, -1]], [[1, 0, 3], [5, 1, 0]], [[3, 2, 3], [6, 1, 0]]
BINS = np.array([COLUMN, LOW, HIGH])


def test_conditions_of_anchors_meet_on_a_column() -> None:
    c = Conditions.of_anchors(BINS, [0, 1, 0, 0], [(0, 1, 2), (0, 1), (), (1,)])
    assert c.column.tolist() == [[0, 4], [2, 4], [-1, -1], [0, -1]]
    real = c.column >= 0
    assert c.low[real].tolist() == [1, 3, 5, 1, 0]
    assert c.high[real].tolist() == [2, 3, 6, 1, 2]


def test_some_of_the_anchors() -> None:
    c = Conditions.of_anchors(BINS, [0, 1, 0, 0], [(0, 1, 2), (0, 1), (), (1,)])
    assert len(c) == 4
    assert len(c[1:3]) == 2
    for whole, part in ((c.column, c[1:3].column), (c.low, c[1:3].low), (c.high, c[1:3].high)):
        assert part.tolist() == whole[1:3].tolist()


def test_no_anchors_and_only_empty_anchors() -> None:
    bins = np.zeros((3, 1, 1), dtype=np.int64)
    assert Conditions.of_anchors(bins, [], []).column.shape == (0, 0)
    assert Conditions.of_anchors(bins, [0, 0], [(), ()]).column.shape == (2, 0)


def bits_of(binned: np.ndarray) -> ConditionBits:
    return ConditionBits(torch.as_tensor(binned).T.contiguous())


def check(bits: ConditionBits, binned: np.ndarray, c: Conditions) -> None:
    """The slots of all conditions hold the rows of their plain masks."""
    slots = bits.slots(c)
    assert slots.shape == c.column.shape
    for (anchor, position), slot in np.ndenumerate(slots):
        assert rows_in(bits.words[slot], len(binned)) == np.flatnonzero(holds(binned, c, anchor, position)).tolist()


@pytest.mark.parametrize("pack_bytes", [1, conditions.PACK_BYTES])
def test_bits_are_those_of_plain_masks(pack_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "PACK_BYTES", pack_bytes)
    rng, binned = random_table(4)
    bits = bits_of(binned)
    for n_anchors in (5, 1, 8):
        c = random_conditions(rng, n_anchors, 4, 4)
        check(bits, binned, c)
        assert (bits.slots(c)[c.column < 0] == 0).all()


def test_conditions_keep_their_slots_while_there_is_room() -> None:
    rng, binned = random_table(5)
    bits = bits_of(binned)
    first = random_conditions(rng, 4, 4, 4)
    slots = bits.slots(first)
    bits.slots(random_conditions(rng, 4, 4, 4))
    assert bits.slots(first).tolist() == slots.tolist()


def test_bits_forgotten_for_lack_of_memory_are_packed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "CACHE_BYTES", 0)  # room for one condition a column, and no more
    rng, binned = random_table(0, n_columns=3)
    bits = bits_of(binned)
    assert bits.capacity == 4
    for _ in range(30):
        check(bits, binned, random_conditions(rng, 1, 3, 4))


@pytest.mark.parametrize("copied", [lambda bits: pickle.loads(pickle.dumps(bits)), copy.deepcopy])
def test_a_copy_packs_its_conditions_anew(copied) -> None:
    rng, binned = random_table(6)
    bits = bits_of(binned)
    c = random_conditions(rng, 5, 4, 4)
    bits.slots(c)
    assert len(pickle.dumps(bits)) < 10_000 < bits.words.nbytes
    again = copied(bits)
    check(again, binned, c)
    again.words.zero_()
    check(bits, binned, c)  # which shares no memory with it


def test_bins_of_further_columns_are_demanded_as_well():
    conditions = Conditions(np.array([[0, 2], [1, -1]]), np.array([[1, 0], [2, 0]]), np.array([[3, 1], [2, 0]]))
    both = conditions.and_bins([3, 4], np.array([[5, 6], [7, 8]]))
    assert both.column.tolist() == [[0, 2, 3, 4], [1, -1, 3, 4]]
    assert both.low.tolist() == [[1, 0, 5, 6], [2, 0, 7, 8]]
    assert both.high.tolist() == [[3, 1, 5, 6], [2, 0, 7, 8]]
