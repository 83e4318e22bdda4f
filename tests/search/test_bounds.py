"""Bounds against direct summation, against each other, and by their error rates in simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_anchors.search import bounds
from torch_anchors.search.bounds import (
    hits_to_accept,
    kl_bernoulli,
    log_wealth,
    log_wealth_below,
    lower_bound,
    upper_bound,
)

counts = st.integers(0, 400)
inner = st.floats(0.001, 0.999)
levels = st.floats(1e-6, 0.5)
many_cases = settings(deadline=None, max_examples=150)


def wealth_term_by_term(n_hits: int, n_misses: int, t: float) -> float:
    """The mixture as its definition reads: each bet's likelihood ratio, weighted and added up."""
    total = 0.0
    for u, log_weight in zip(bounds._U.tolist(), bounds._LOG_WEIGHTS.tolist(), strict=True):
        q = t + (1 - t) * u
        total += math.exp(log_weight) * (q / t) ** n_hits * ((1 - q) / (1 - t)) ** n_misses
    return total


def simulated_wealth(precision: float, t: float, n: int, runs: int, rng: np.random.Generator) -> np.ndarray:
    """Log wealth after each of `n` rows, in each of `runs` runs."""
    hits = (rng.random((runs, n)) < precision).cumsum(axis=1)
    misses = np.arange(1, n + 1) - hits
    table = log_wealth(np.arange(n + 1)[:, None], np.arange(misses.max() + 1), t)
    return table[hits, misses]


def test_weights_are_a_probability():
    assert math.fsum(np.exp(bounds._LOG_WEIGHTS)) == pytest.approx(1, abs=1e-12)
    assert ((bounds._U > 0) & (bounds._U <= 1)).all()


@many_cases
@given(st.integers(0, 150), st.integers(0, 40), st.floats(0.02, 0.98))
def test_wealth_is_the_weighted_sum_of_likelihood_ratios(n_hits, n_misses, t):
    direct = wealth_term_by_term(n_hits, n_misses, t)
    assert log_wealth(n_hits, n_misses, t) == pytest.approx(math.log(direct), abs=1e-8)


def test_wealth_is_close_to_the_integral_over_a_dense_grid():
    """48 nodes stand for a density in u: they lose no more than 0.05 nats against 20,000 nodes."""
    u = (np.arange(20_000) + 0.5) / 20_000
    density = np.sqrt(u * (1 - u))
    log_weights = np.log(0.85 * density / density.sum())
    for n_hits, n_misses, t in [(65, 0, 0.95), (130, 2, 0.95), (300, 9, 0.95), (50, 20, 0.6), (10, 30, 0.1)]:
        terms = log_weights + n_hits * np.log1p(u * (1 - t) / t) + n_misses * np.log1p(-u)
        atom = math.log(0.15) - n_hits * math.log(t) if n_misses == 0 else -math.inf
        dense = np.logaddexp(np.logaddexp.reduce(terms), atom)
        assert log_wealth(n_hits, n_misses, t) == pytest.approx(float(dense), abs=0.05)


def test_no_bet_gains_on_average_where_the_hypothesis_holds():
    """The expectation after one more row, of the wealth and of its mirror, is at most the wealth."""
    for n_hits, n_misses in [(0, 0), (30, 0), (90, 3), (200, 40)]:
        for t in (0.3, 0.8, 0.95):
            for precision in (0.5 * t, t):
                after = np.exp(log_wealth([n_hits + 1, n_hits], [n_misses, n_misses + 1], t))
                mean = precision * after[0] + (1 - precision) * after[1]
                assert mean <= np.exp(log_wealth(n_hits, n_misses, t)) * (1 + 1e-12)
            for precision in (t, (1 + t) / 2):
                after = np.exp(log_wealth_below([n_hits + 1, n_hits], [n_misses, n_misses + 1], t))
                mean = precision * after[0] + (1 - precision) * after[1]
                assert mean <= np.exp(log_wealth_below(n_hits, n_misses, t)) * (1 + 1e-12)


@many_cases
@given(counts, counts, inner, inner)
def test_wealth_falls_as_the_threshold_rises(n_hits, n_misses, t, s):
    low, high = min(t, s), max(t, s)
    assert log_wealth(n_hits, n_misses, low) >= log_wealth(n_hits, n_misses, high) - 1e-9


@many_cases
@given(counts, counts, levels, inner)
def test_lower_bound_agrees_with_acceptance(n_hits, n_misses, alpha, t):
    bound = float(lower_bound(n_hits, n_hits + n_misses, alpha))
    if abs(bound - t) > 1e-9:
        assert (bound >= t) == bool(log_wealth(n_hits, n_misses, t) >= -math.log(alpha))


@many_cases
@given(counts, counts, levels, inner)
def test_upper_bound_agrees_with_rejection(n_hits, n_misses, alpha, t):
    bound = float(upper_bound(n_hits, n_hits + n_misses, alpha))
    if abs(bound - t) > 1e-9:
        assert (bound <= t) == bool(log_wealth_below(n_hits, n_misses, t) >= -math.log(alpha))


@many_cases
@given(counts, counts, levels)
def test_bounds_enclose_the_estimate(n_hits, n_misses, alpha):
    n = n_hits + n_misses
    low, high = float(lower_bound(n_hits, n, alpha)), float(upper_bound(n_hits, n, alpha))
    assert 0 <= low <= high <= 1
    if n:
        assert low <= n_hits / n <= high


def test_nothing_is_known_before_the_first_row():
    assert lower_bound(0, 0, 0.1) == 0
    assert upper_bound(0, 0, 0.1) == 1
    assert log_wealth(0, 0, 0.95) == pytest.approx(0, abs=1e-12)


def test_thresholds_0_and_1_are_finite():
    """At 1 nothing is ever accepted; at 0 one hit is a proof, and without one nothing is."""
    assert (log_wealth([0, 1, 10**6], [0, 0, 0], 1.0) <= 1e-12).all()
    assert np.isfinite(log_wealth([5, 3], [2, 0], [0.0, 0.0])).all()
    assert log_wealth(1, 1000, 0.0) > 100
    assert log_wealth(0, 10, 0.0) <= 1e-12
    assert log_wealth_below(1000, 1, 1.0) > 100
    assert log_wealth_below(10, 0, 1.0) <= 1e-12


def test_arguments_broadcast():
    wealth = log_wealth(np.arange(5)[:, None], np.arange(3), 0.9)
    assert wealth.shape == (5, 3)
    assert wealth[4, 2] == pytest.approx(float(log_wealth(4, 2, 0.9)))
    low = lower_bound(np.array([5, 9]), 10, np.array([[0.1], [0.01]]))
    assert low.shape == (2, 2)
    assert low[1, 0] == pytest.approx(float(lower_bound(5, 10, 0.01)))


@pytest.mark.parametrize(("t", "alpha"), [(0.95, 0.2), (0.95, 0.05), (0.8, 0.1), (0.5, 0.1), (0.99, 0.1)])
def test_share_of_false_acceptances_whenever_one_looks(t, alpha):
    """At precision = t, looked at after each of 600 rows. A test with log(1 / (3 alpha)) fails this."""
    runs = 1500
    wealth = simulated_wealth(t, t, 600, runs, np.random.default_rng(round(1000 * t)))
    accepted = (wealth >= -math.log(alpha)).any(axis=1).mean()
    assert accepted <= alpha + 2.5 * math.sqrt(alpha * (1 - alpha) / runs)
    assert accepted > 0.1 * alpha  # it does spend its error: the simulation can see one


@pytest.mark.parametrize("precision", [0.5, 0.9, 0.97])
def test_interval_holds_at_the_worst_moment(precision):
    """Stopped wherever a bound is on the wrong side, if it ever is within 500 rows."""
    runs, alpha = 1000, 0.1
    goal = -math.log(alpha / 2)
    # The same rows twice: a bound is on the wrong side exactly where the true precision is rejected.
    above = simulated_wealth(precision, precision, 500, runs, np.random.default_rng(3)) >= goal
    hits = (np.random.default_rng(3).random((runs, 500)) < precision).cumsum(axis=1)
    table = log_wealth_below(np.arange(501)[:, None], np.arange(501), precision)
    below = table[hits, np.arange(1, 501) - hits] >= goal
    slack = 2.5 * math.sqrt(alpha * (1 - alpha) / runs)
    assert (above | below).any(axis=1).mean() <= alpha + slack


@pytest.mark.parametrize(("precision", "ceiling"), [(1.0, 64), (0.99, 120), (0.98, 230)])
def test_rows_to_accept(precision, ceiling):
    """Mean rows at threshold 0.95 and alpha 0.1, over runs that end within 4,000 rows (all but a few)."""
    wealth = simulated_wealth(precision, 0.95, 4000, 300, np.random.default_rng(0))
    accepted = wealth >= math.log(10)
    assert accepted.any(axis=1).mean() >= 0.99
    rows = accepted.argmax(axis=1)[accepted.any(axis=1)] + 1
    assert rows.mean() <= ceiling


@many_cases
@given(counts, st.integers(0, 30), st.floats(0.5, 0.99), st.floats(0.001, 0.2))
def test_hits_to_accept_is_the_fewest(n_hits, n_misses, t, alpha):
    needed = hits_to_accept(n_hits, n_misses, t, alpha, 100_000)
    assert needed is not None
    goal = -math.log(alpha)
    assert log_wealth(n_hits + needed, n_misses, t) >= goal
    assert needed == 0 or log_wealth(n_hits + needed - 1, n_misses, t) < goal


def test_hits_to_accept_beyond_the_limit():
    assert hits_to_accept(0, 0, 1.0, 0.1, 1000) is None
    assert hits_to_accept(0, 50, 0.95, 0.1, 100) is None


@many_cases
@given(st.floats(0, 1), inner)
def test_divergence(p, q):
    direct = sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)
    assert kl_bernoulli(p, q) == pytest.approx(direct, abs=1e-9)
    assert kl_bernoulli(p, q) >= -1e-15


def test_a_bound_is_what_a_plain_bisection_finds() -> None:
    rng = np.random.default_rng(0)
    n = np.append(rng.integers(0, 400, 200), [10**6, 10**6, 1, 0])
    hits, alpha = rng.binomial(n, rng.random(204) ** 0.2), np.exp(-rng.uniform(0, 40, 204))
    for k, total, level, bound in zip(hits, n, alpha, lower_bound(hits, n, alpha), strict=True):
        low, high = 0, 2**36
        while high - low > 1:
            middle = (low + high) // 2
            rejected = log_wealth(k, total - k, middle / 2**36) >= -np.log(level)
            low, high = (middle, high) if rejected else (low, middle)
        assert bound == low / 2**36
