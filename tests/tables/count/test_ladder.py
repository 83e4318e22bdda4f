"""The rules to test: which stay, which are looked at and which may lead to better ones, against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count.conjunctions import Conjunctions
from torch_anchors.tables.count.forecast import Forecast
from torch_anchors.tables.count.ladder import RUNGS, Ladder

N_ROWS = 120
FORECASTS = (Forecast(1.5, 0.6, 0.1), Forecast(1.5, 0.8, 0.5), Forecast(3.0, 0.9, 0.2), Forecast(1.5, 1.0, 0.1))


def random_level(rng: np.random.Generator, n: int, size: int, n_instances: int = 3) -> Conjunctions:
    """Counts of conjunctions of which several are equal."""
    members = np.stack([np.sort(rng.choice(9, size, replace=False)) for _ in range(n)]).reshape(n, size)
    rows = rng.choice([0, 1, 20, 21, 60, N_ROWS], n)
    return Conjunctions(rng.integers(0, n_instances, n), members, rows, rng.binomial(rows, 0.85))


def root(rng: np.random.Generator) -> Conjunctions:
    """The empty conjunction of each instance."""
    return Conjunctions(np.arange(3), np.zeros((3, 0), dtype=np.int64), np.full(3, N_ROWS), rng.integers(0, N_ROWS, 3))


def best_rules(
    levels: list[Conjunctions], forecast: Forecast, i: int
) -> tuple[list[tuple[float, int, int, Anchor] | None], tuple[float, int, int, Anchor]]:
    """For each rung, and for lower bounds, the best rule of an instance: its rows, or bound, and what decides ties."""
    every = [
        (int(n), int(hits), tuple(members))
        for level in levels
        for owner, members, n, hits in zip(level.instance, level.members.tolist(), level.n, level.n_hits, strict=True)
        if owner == i
    ]
    rungs: list[tuple[float, int, int, Anchor] | None] = []
    for least in RUNGS:
        on = [r for r in every if r[1] >= forecast.hits_needed(np.array([r[0]]), least)[0]]
        rungs.append(min(((-n, len(a), -hits, a) for n, hits, a in on), default=None))
    bounds = [(-float(forecast.lower_bound(np.array(n), np.array(hits))), len(a), -n, a) for n, hits, a in every]
    return rungs, min(bounds)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), forecast=st.sampled_from(FORECASTS), n_parts=st.integers(1, 20))
def test_the_best_stay_in_whatever_order_they_come(seed: int, forecast: Forecast, n_parts: int) -> None:
    rng = np.random.default_rng(seed)
    levels = [root(rng), random_level(rng, 30, 1), random_level(rng, 40, 2)]
    ladder = Ladder(3, N_ROWS, forecast)
    for level in levels:
        order = rng.permutation(len(level))
        for part in np.array_split(order, n_parts):
            ladder.consider(level[part])
    for i, found in enumerate(ladder.proposals()):
        rungs, bound = best_rules(levels, forecast, i)
        expected: list[Anchor] = []
        most = 0.0
        for rule in rungs:
            if rule is not None and -rule[0] > most:
                most = -rule[0]
                expected.append(rule[-1])
        assert found == (expected or [bound[-1]])


def improves(ladder: Ladder, i: int, n: int, n_hits: int) -> bool:
    """Whether a conjunction with these counts, of more members than all before, would be proposed."""
    before = ladder.proposals()[i]
    ladder.consider(Conjunctions(np.array([i]), np.arange(100, 103)[None], np.array([n]), np.array([n_hits])))
    return ladder.proposals()[i] != before


def leaders(seed: int, forecast: Forecast) -> Ladder:
    """A ladder that knows some rules, always the same by the seed."""
    rng = np.random.default_rng(seed)
    ladder = Ladder(3, N_ROWS, forecast)
    ladder.consider(root(rng))
    ladder.consider(random_level(rng, int(rng.integers(3, 12)), 2))
    return ladder


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    forecast=st.sampled_from(FORECASTS),
    n=st.integers(0, N_ROWS),
    misses=st.integers(0, 30),
    fewer=st.integers(0, 40),
    fewer_misses=st.integers(0, 30),
)
def test_nothing_that_is_better_or_leads_to_better_is_passed_over(
    seed: int, forecast: Forecast, n: int, misses: int, fewer: int, fewer_misses: int
) -> None:
    """A conjunction, and another one with some of its hits and misses."""
    hits = max(n - misses, 0)
    hits_left, misses_left = max(hits - fewer, 0), max(n - hits - fewer_misses, 0)
    left = hits_left + misses_left
    for i in range(3):
        counts: tuple[NDArray[Any], ...] = np.array([i]), np.array([n]), np.array([hits])
        counts_left: tuple[NDArray[Any], ...] = np.array([i]), np.array([left]), np.array([hits_left])
        if improves(leaders(seed, forecast), i, n, hits):
            assert leaders(seed, forecast).better(*counts)
        if improves(leaders(seed, forecast), i, left, hits_left):
            assert leaders(seed, forecast).promising(*counts)
            assert leaders(seed, forecast).better(*counts_left)


@pytest.mark.parametrize("forecast", FORECASTS[:3])
def test_what_has_too_few_rows_or_hits_is_passed_over(forecast: Forecast) -> None:
    ladder = Ladder(1, N_ROWS, forecast)
    ladder.consider(Conjunctions(np.array([0]), np.array([[1]]), np.array([100]), np.array([100])))
    instance, n, n_hits = np.zeros(4, dtype=np.int64), np.array([100, 99, 120, 120]), np.array([100, 99, 50, 120])
    assert ladder.better(instance, n, n_hits).tolist() == [True, False, False, True]
    assert ladder.promising(instance, n, n_hits).tolist() == [True, False, False, True]
    shaped = ladder.promising(np.zeros((2, 1), dtype=np.int64), n.reshape(2, 2), n_hits.reshape(2, 2))
    assert shaped.tolist() == [[True, False], [False, True]]


def test_a_rule_nearer_to_the_test_is_worth_more() -> None:
    ladder = Ladder(1, N_ROWS, FORECASTS[2])
    near, far, nearer = ladder.rank(np.array([100, 100, 120]), np.array([80, 60, 118]))
    assert far < near < nearer


def test_the_reach_of_a_sampled_count_holds_what_all_rows_say() -> None:
    ladder = Ladder(1, 10_000, Forecast(1.5, 0.9, 0.1))
    n, n_hits = np.array([[500, 500, 3]]), np.array([[480, 200, 3]])
    (reach,) = ladder.reach(n, n_hits, 20.0)
    assert reach[0] > 10_000
    assert reach[1] == 0  # far below the threshold
    assert reach[2] > 60
