"""Chances and bounds beside sums over all outcomes."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from torch_anchors.tables.count.binomial import at_least, lower_end


def chances(n: int, p: float) -> np.ndarray:
    return np.array([comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)])


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_the_chance_of_so_many_successes(p: float) -> None:
    k = np.arange(1, 13)
    tails = chances(12, p)[::-1].cumsum()[::-1]
    assert at_least(k, np.full(12, 12), p) == pytest.approx(tails[1:])


def test_at_the_lower_end_so_many_successes_have_the_chance_alpha() -> None:
    k, n = np.arange(1, 30), np.full(29, 29)
    ends = lower_end(k, n, 0.025)
    assert at_least(k, n, ends) == pytest.approx(np.full(29, 0.025))
    assert (np.diff(ends) > 0).all()


def test_without_a_success_the_lower_end_is_zero() -> None:
    assert lower_end(np.array([0, 0]), np.array([0, 50]), 0.1).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("p", [0.1, 0.6, 0.97])
@pytest.mark.parametrize("n", [5, 40])
def test_the_lower_end_is_above_the_truth_with_probability_at_most_alpha(n: int, p: float) -> None:
    ends = lower_end(np.arange(n + 1), np.full(n + 1, n), 0.05)
    assert chances(n, p)[ends > p].sum() <= 0.05
