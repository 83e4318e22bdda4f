"""Counts of candidates on the test rows: which pass, and what their intervals cost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom

from torch_anchors.tables.count.on_test_rows import LOWER_SHARE, TEST_SHARE, UPPER_SHARE, OnTestRows, last_passed


def test_intervals_pay_for_all_candidates_of_an_instance() -> None:
    """One that was certified, with 96 of 100 hits, and one that was not, of instances with 3 and 1 candidates."""
    n, n_hits, sizes = np.array([100, 100]), np.array([96, 96]), np.array([3, 1])
    tested = OnTestRows(n, n_hits, n - 1, n_hits)  # the explained row was a miss
    low, high = tested.intervals(np.array([0, 1]), np.array([True, False]), sizes, 0.8, 0.1)
    assert low[0] == pytest.approx(beta.ppf(LOWER_SHARE * 0.1 / 3, 96, 5))
    assert low[0] > 0.8
    assert low[1] == pytest.approx(min(0.8, beta.ppf(TEST_SHARE * 0.1, 96, 5)))
    assert high == pytest.approx(beta.ppf(1 - UPPER_SHARE * 0.1 / sizes, 97, 3))


def test_the_last_before_a_failure_is_taken_or_else_the_first() -> None:
    """Instances with candidates that all pass, that fail in the middle, at first, and one alone that fails."""
    passed = np.array([True, True, True, True, False, True, False, True, False])
    sizes = np.array([3, 3, 2, 1])
    chosen, certified = last_passed(passed, np.cumsum(sizes) - sizes, sizes)
    assert chosen.tolist() == [2, 3, 6, 8]
    assert certified.tolist() == [True, True, False, False]


@pytest.mark.parametrize("n_hits", [0, 60, 78, 80])
def test_it_takes_hits_that_would_be_rare_at_the_threshold(n_hits: int) -> None:
    counts = np.array([[200, 80, n_hits]])
    (passes,) = OnTestRows.of(counts, np.array([-1]), np.array([0])).passes(0.9, 0.05)
    assert passes == (n_hits > 0 and binom.sf(n_hits - 1, 80, 0.9) <= 0.05)


def test_the_row_itself_is_left_out_in_favour_of_neither_error() -> None:
    counts = np.array([[200, 80, 70]] * 3)
    tested = OnTestRows.of(counts, twin=np.array([-1, 1, 0]), classes=np.array([1, 1, 1]))  # none, a hit, a miss
    assert tested.n.tolist() == [80, 79, 80]
    assert tested.n_hits.tolist() == [70, 69, 70]
    assert tested.n_above.tolist() == [80, 80, 79]
    assert tested.n_hits_above.tolist() == [70, 70, 70]
