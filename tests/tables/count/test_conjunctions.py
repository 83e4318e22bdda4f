"""Conjunctions with their counts: parts of them, and those of highest rank against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from torch_anchors.tables.count.conjunctions import Conjunctions


def test_parts_of_conjunctions() -> None:
    level = Conjunctions(
        np.array([0, 0, 1]), np.array([[1, 2], [1, 3], [0, 4]]), np.array([9, 8, 7]), np.array([3, 2, 1])
    )
    part = level[np.array([True, False, True])]
    assert (len(level), len(part), len(Conjunctions.none(2))) == (3, 2, 0)
    assert (part.instance.tolist(), part.members.tolist()) == ([0, 1], [[1, 2], [0, 4]])
    assert (part.n.tolist(), part.n_hits.tolist()) == ([9, 7], [3, 1])
    both = Conjunctions.concatenate([part, Conjunctions.none(2), level])
    assert both.members.tolist() == [[1, 2], [0, 4], *level.members.tolist()]
    assert both.n.tolist() == [9, 7, 9, 8, 7]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n", [1, 3, 100])
def test_the_highest_of_each_instance_are_each_there_once(seed: int, n: int) -> None:
    """Pairs of few predicates, so that many come more than once, though never more often than they have members."""
    rng = np.random.default_rng(seed)
    every = [(i, a, b) for i in range(3) for a in range(6) for b in range(a + 1, 6) if rng.random() < 0.7]
    worth = {pair: rng.integers(0, 4) for pair in every}  # ties
    drawn = [pair for pair in every for _ in range(rng.integers(1, 3))]
    rng.shuffle(drawn)
    lines = np.array(drawn).reshape(-1, 3)
    level = Conjunctions(lines[:, 0], lines[:, 1:], np.arange(len(lines)), np.arange(len(lines)))
    found = level.highest(np.array([worth[tuple(line)] for line in lines.tolist()], dtype=float), n)
    expected = []
    for i in range(3):
        own = sorted((pair for pair in every if pair[0] == i), key=lambda pair: (-worth[pair], pair))
        expected += own[:n]
    assert [
        (i, *members) for i, members in zip(found.instance.tolist(), found.members.tolist(), strict=True)
    ] == expected


def test_of_none_there_is_none() -> None:
    assert len(Conjunctions.none(2).highest(np.zeros(0), 5)) == 0
