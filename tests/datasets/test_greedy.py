"""The choice beside a plain one of Python's sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from torch_anchors.datasets.greedy import chosen_greedily
from torch_anchors.tables import bitsets


def plainly(sets: np.ndarray, hits: np.ndarray, k: int, least: float = 0.0) -> list[int]:
    chosen: list[int] = []
    covered: set[int] = set()
    hit: set[int] = set()
    for _ in range(k):
        gains = []
        for own, agreeing in zip(sets, hits, strict=True):
            after = covered | set(np.flatnonzero(own).tolist())
            added = (after - covered) & set(np.flatnonzero(agreeing).tolist())
            gains.append(len(added) if len(hit | added) >= least * len(after) else 0)
        if max(gains) == 0:
            break
        chosen.append(gains.index(max(gains)))
        hit |= set(np.flatnonzero(hits[chosen[-1]]).tolist()) - covered
        covered |= set(np.flatnonzero(sets[chosen[-1]]).tolist())
    return chosen


def chosen(sets: np.ndarray, hits: np.ndarray, k: int, least: float = 0.0) -> list[int]:
    return chosen_greedily(*(bitsets.pack(torch.from_numpy(own)) for own in (sets, hits)), k, least)


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_the_plain_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = rng.random((12, 70)) < rng.random((12, 1)) / 2
    hits = sets & (rng.random((12, 70)) < 0.8)
    for least in (0.0, 0.7, 0.8, 0.9):
        assert chosen(sets, hits, 5, least) == plainly(sets, hits, 5, least)


@pytest.mark.parametrize("seed", range(5))
def test_it_covers_63_percent_of_what_the_best_would(seed: int) -> None:
    sets = np.random.default_rng(seed).random((9, 40)) < 0.2
    found = sets[chosen(sets, sets, 3)].any(0).sum()
    best = max(sets[list(some)].any(0).sum() for some in combinations(range(9), 3))
    assert (1 - 1 / np.e) * best <= found <= best


def test_it_ends_when_nothing_is_added_and_takes_the_first_of_equals() -> None:
    sets = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]], dtype=bool)
    assert chosen(sets, sets, 10) == [0, 2]
    assert chosen(sets, np.zeros_like(sets), 10) == []


def test_misses_count_where_no_set_before_covers_them() -> None:
    sets = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1]], dtype=bool)
    hits = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]], dtype=bool)
    assert chosen(sets, hits, 2, 0.9) == [0, 1]  # its misses are answered by the first
    assert chosen(sets[1:], hits[1:], 1, 0.9) == []
    assert chosen(sets[1:], hits[1:], 1, 0.5) == [0]  # at least means at least


def test_all_that_is_covered_has_the_share_of_hits() -> None:
    sets = np.zeros((2, 40), dtype=bool)
    sets[0, :30], sets[1, 30:36] = True, True
    hits = sets.copy()
    hits[1, 30:33] = False
    assert chosen(sets, hits, 2, 33 / 36) == [0, 1]  # half of the second are misses, and 3 of all 36
    assert chosen(sets, hits, 2, 0.92) == [0]
