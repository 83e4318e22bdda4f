"""Which rows a job has drawn, against dictionaries and loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.cases import FreshRows, Strip
from torch_anchors.engine.memory import Memory
from torch_anchors.perturb.masks import pack, unpack
from torch_anchors.perturb.protocol import Sampler


def codes_of(masks: list[list[int]] | np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pack(np.asarray(masks, dtype=bool)))


def strip(n_parts: int, *, independent: bool = True, repeatable: bool = True) -> Strip:
    sampler = Strip(n_parts)
    sampler.independent, sampler.repeatable = independent, repeatable
    return sampler


def test_equal_rows_share_a_slot_and_new_ones_follow_in_order() -> None:
    memory = Memory(Strip(3))
    slots, new = memory.split(codes_of([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1]]), first=7)
    assert slots.tolist() == [7, 8, 7, 9]
    assert unpack(new, 3).int().tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]
    slots, new = memory.split(codes_of([[1, 1, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]), first=20)
    assert slots.tolist() == [9, 20, 8, 21]
    assert unpack(new, 3).int().tolist() == [[0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("width", [1, 2, 88])
def test_no_rows_need_no_slots(width: int) -> None:
    memory = Memory(Strip(8 * width))
    slots, new = memory.split(torch.zeros(0, width, dtype=torch.uint8), first=3)
    assert slots.size == 0
    assert new.shape == (0, width)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=8), st.integers(0, 5))
def test_splitting_is_what_a_loop_does(batches: list[list[int]], gap: int) -> None:
    memory, slot_of, first = Memory(Strip(6)), {}, 0
    for batch in batches:
        first += gap  # slots that other jobs took in between
        masks = (np.array(batch, dtype=np.int64)[:, None] >> np.arange(6)) & 1
        slots, new = memory.split(codes_of(masks), first)
        expected, fresh = [], []
        for mask in batch:
            if mask not in slot_of:
                slot_of[mask] = first + len(fresh)
                fresh.append(mask)
            expected.append(slot_of[mask])
        assert slots.tolist() == expected
        assert (unpack(new, 6).long() @ (1 << torch.arange(6))).tolist() == fresh
        first += len(fresh)


def test_rows_that_are_no_function_of_their_code_are_never_shared() -> None:
    memory = Memory(FreshRows(2))
    rows = torch.tensor([[0.5, 1.0], [0.5, 1.0]])
    slots, new = memory.split(rows, first=4)
    assert slots.tolist() == [4, 5]
    assert new is rows
    again, new = memory.split(rows, first=9)
    assert again.tolist() == [9, 10]
    assert new is rows


@pytest.mark.parametrize("anchor", [(), (0,), (2,), (0, 2), (1, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("asked_after", [{7}, {0, 1, 4, 7}, set(range(8))])
def test_the_pool_is_every_draw_of_a_smaller_anchor_that_satisfies_this_one(
    repeatable: bool, anchor: tuple[int, ...], asked_after: set[int]
) -> None:
    """Whenever it is asked for, each draw comes once, and the block drawn last comes first."""
    rng = np.random.default_rng(3)
    memory, drawn, first = Memory(strip(4, repeatable=repeatable)), [], 0
    for step, drawn_for in enumerate([(), (0,), (2,), (0, 2), (1,), (), (0, 1, 3), (0,)]):
        keep = rng.random((20, 4)) < 0.5
        keep[:, list(drawn_for)] = True
        codes = codes_of(keep)
        slots, new = memory.split(codes, first)
        first += new.shape[0]
        memory.add(drawn_for, codes, slots)
        rows = zip(keep, slots.tolist(), strict=True)
        drawn = [(set(drawn_for), row.tolist(), slot) for row, slot in rows] + drawn
        if step in asked_after:
            counting = [(n, row) for for_, row, n in drawn if for_ <= set(anchor) and all(row[k] for k in anchor)]
            slots, codes = memory.uncounted(anchor)
            rows = [] if codes is None else unpack(codes, 4).tolist()
            assert list(zip(slots.tolist(), rows, strict=True)) == counting
            assert memory.pool(anchor).last_slot >= max(slots, default=-1)
            drawn = []


def test_a_pool_waits_for_the_last_of_its_rows_whichever_request_drew_it() -> None:
    memory = Memory(Strip(4))
    memory.add((), codes_of([[1, 1, 1, 1]]), np.array([9]))
    assert memory.uncounted((2,))[0].tolist() == [9]
    memory.add((2,), codes_of([[0, 1, 1, 1]]), np.array([5]))
    assert memory.uncounted((2,))[0].tolist() == [5]
    assert memory.pool((2,)).last_slot == 9


def test_before_the_first_row_there_is_no_pool() -> None:
    memory = Memory(Strip(4))
    slots, codes = memory.uncounted((1,))
    assert slots.size == 0
    assert codes is None
    assert (memory.pool((1,)).n, memory.pool((1,)).last_slot) == (0, -1)
    memory.add((), codes_of(np.zeros((0, 4), dtype=bool)), np.zeros(0, dtype=np.int64))
    assert memory.uncounted((1,))[0].size == 0


def test_the_pool_is_about_masks_whatever_their_backgrounds() -> None:
    sampler = Strip(2, n_backgrounds=2)
    memory = Memory(sampler)
    codes = torch.tensor([[0b11, 0, 0], [0b11, 1, 0], [0b01, 1, 0]], dtype=torch.uint8)
    slots, _ = memory.split(codes, first=0)
    assert slots.tolist() == [0, 1, 2]  # another background is another row
    memory.add((), codes, slots)
    pooled, rows = memory.uncounted((1,))
    assert pooled.tolist() == [0, 1]
    assert sampler.keep(rows).tolist() == [[True, True], [True, True]]


def test_rows_of_an_anchor_are_each_distinct_one_that_satisfies_it() -> None:
    rng = np.random.default_rng(1)
    memory, first = Memory(Strip(5)), 5
    for _ in range(4):
        slots, new = memory.split(codes_of(rng.random((25, 5)) < 0.6), first)
        first += new.shape[0]
    slots, codes, own = memory.every((1, 4))
    keep = unpack(codes, 5).numpy()
    assert own.tolist() == keep[:, [1, 4]].all(1).tolist()
    assert 3 < own.sum() < len(own)
    assert len({tuple(row) for row in keep.tolist()}) == len(keep) == len(set(slots.tolist()))
    assert sorted(slots) == slots.tolist()
    again, none = memory.split(codes, first)
    assert again.tolist() == slots.tolist()
    assert none.shape[0] == 0


@pytest.mark.parametrize("repeatable", [True, False])
def test_nothing_is_known_before_the_first_row(repeatable: bool) -> None:
    memory = Memory(strip(5, repeatable=repeatable))
    slots, codes, own = memory.every((1,))
    assert slots.size == own.size == 0
    assert codes is None


def test_rows_that_are_no_function_of_their_code_are_all_draws_those_of_an_anchor_satisfy_it() -> None:
    memory = Memory(strip(3, repeatable=False))
    for first, anchor, drawn in [(0, (), [[1, 0, 1], [0, 1, 1], [1, 0, 1]]), (3, (0,), [[1, 1, 0], [1, 0, 1]])]:
        memory.add(anchor, codes_of(drawn), memory.split(codes_of(drawn), first)[0])
    slots, codes, own = memory.every((2,))
    assert slots.tolist() == [0, 1, 2, 3, 4]
    assert unpack(codes, 3).int().tolist() == [[1, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 0, 1]]
    assert own.tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("sampler", [FreshRows(1), strip(8, independent=False)])
def test_rows_of_an_anchor_without_sharing_are_those_drawn_for_it_itself(sampler: Sampler) -> None:
    memory = Memory(sampler)
    assert memory.every((0,))[0].size == 0
    assert memory.every((0,))[1] is None
    for first, anchor in [(0, (0,)), (2, (1,)), (4, (0,))]:
        rows = torch.arange(first, first + 2, dtype=torch.uint8 if sampler.repeatable else torch.float32)[:, None]
        memory.add(anchor, rows, memory.split(rows, first)[0])
    slots, rows, own = memory.every((0,))
    assert slots.tolist() == [0, 1, 2, 3, 4, 5]
    assert rows.flatten().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert own.tolist() == [True, True, False, False, True, True]


def test_new_slots_are_consecutive() -> None:
    memory = Memory(Strip(12))
    slots, new = memory.split(codes_of(np.random.default_rng(0).random((60, 12)) < 0.5), first=100)
    assert all(b - a == 1 for a, b in pairwise(sorted(set(slots.tolist()))))
    assert min(slots) == 100
    assert new.shape[0] == max(slots) - 99
