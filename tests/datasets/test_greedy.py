"""The choice beside a plain one of Python's sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from torch_anchors.datasets.greedy import chosen_greedily
from torch_anchors.tables import bitsets


def plainly(sets: np.ndarray, hits: np.ndarray, least: np.ndarray, k: int) -> list[int]:
    chosen: list[int] = []
    covered: set[int] = set()
    for _ in range(k):
        gains = []
        for own, agreeing, share in zip(sets, hits, least, strict=True):
            added = set(np.flatnonzero(own).tolist()) - covered
            n_hits = len(added & set(np.flatnonzero(agreeing).tolist()))
            gains.append(n_hits if n_hits >= share * len(added) else 0)
        if max(gains) == 0:
            break
        chosen.append(gains.index(max(gains)))
        covered |= set(np.flatnonzero(sets[chosen[-1]]).tolist())
    return chosen


def chosen(sets: np.ndarray, hits: np.ndarray, least: np.ndarray, k: int) -> list[int]:
    return chosen_greedily(*(bitsets.pack(torch.from_numpy(own)) for own in (sets, hits)), least, k)


@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_the_plain_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = rng.random((12, 70)) < rng.random((12, 1)) / 2
    hits = sets & (rng.random((12, 70)) < 0.8)
    for least in (np.zeros(12), rng.random(12)):
        assert chosen(sets, hits, least, 5) == plainly(sets, hits, least, 5)


@pytest.mark.parametrize("seed", range(5))
def test_it_covers_63_percent_of_what_the_best_would(seed: int) -> None:
    sets = np.random.default_rng(seed).random((9, 40)) < 0.2
    found = sets[chosen(sets, sets, np.zeros(9), 3)].any(0).sum()
    best = max(sets[list(some)].any(0).sum() for some in combinations(range(9), 3))
    assert (1 - 1 / np.e) * best <= found <= best


def test_it_ends_when_nothing_is_added_and_takes_the_first_of_equals() -> None:
    sets = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]], dtype=bool)
    assert chosen(sets, sets, np.zeros(4), 10) == [0, 2]
    assert chosen(sets, np.zeros_like(sets), np.zeros(4), 10) == []


def test_misses_among_the_rows_that_are_added_count_and_others_do_not() -> None:
    sets = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1]], dtype=bool)
    hits = np.array([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]], dtype=bool)
    assert chosen(sets, hits, np.array([0.9, 0.9]), 2) == [0, 1]  # its misses are answered by the first
    assert chosen(sets[1:], hits[1:], np.array([0.9]), 1) == []
    assert chosen(sets[1:], hits[1:], np.array([0.5]), 1) == [0]  # at least means at least
