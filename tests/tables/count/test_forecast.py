"""What is expected of the test: its formulas against each other and against plain search."""

from __future__ import annotations

import math

import numpy as np
import pytest

from torch_anchors.tables.count.forecast import Forecast


def test_a_forecast_is_higher_for_more_hits_and_for_more_rows() -> None:
    forecast = Forecast(1.5, 0.9, 0.1)
    few, some, all_, more = forecast.score(np.array([100, 100, 100, 1000]), np.array([85, 95, 100, 950]))
    assert few < 0 < some < all_
    assert some < more
    assert forecast.score(np.array([5]), np.array([5])).tolist() == [-np.inf]  # too few to pass with hits alone
    assert 0.9 ** (1.5 * forecast.fewest) == pytest.approx(0.1)
    assert Forecast(1.5, 1.0, 0.1).fewest == np.inf
    assert Forecast(0.0, 0.9, 0.1).fewest == np.inf


@pytest.mark.parametrize("threshold", [0.6, 0.95, 0.99])
@pytest.mark.parametrize(("alpha", "ratio"), [(0.01, 1.5), (0.1, 0.7), (0.6, 4.0)])
@pytest.mark.parametrize("least", [2.4, 0.7, 0.0, -0.7, -1.5])
def test_the_hits_that_a_score_takes_are_the_fewest(threshold: float, alpha: float, ratio: float, least: float) -> None:
    forecast = Forecast(ratio, threshold, alpha)
    n = np.arange(500)
    needed = forecast.hits_needed(n, least)
    for k in n.tolist():
        hits = np.arange(k + 1)
        enough = hits[forecast.score(np.full(k + 1, k), hits) >= least - 1e-9]
        assert needed[k] == (enough.min() if len(enough) else math.inf), k


def test_many_rows_need_hits_above_the_threshold_for_a_score_above_zero() -> None:
    n = np.array([10_000])
    needed = [Forecast(1.5, 0.9, 0.1).hits_needed(n, least)[0] for least in (-1.5, 0.0, 2.4)]
    assert 0.89 * 10_000 < needed[0] < needed[1] < needed[2] < 0.92 * 10_000
    assert needed[1] > 9_000


def test_no_hits_suffice_where_nothing_can_pass() -> None:
    for forecast in (Forecast(1.5, 1.0, 0.1), Forecast(0.0, 0.9, 0.1)):
        assert np.isinf(forecast.hits_needed(np.arange(100), -1.5)).all()


def test_a_lower_bound_without_misses_is_as_the_ladder_thinks() -> None:
    forecast, n = Forecast(1.5, 0.9, 0.05), np.array([1, 10, 1000])
    assert forecast.lower_bound(n, n) == pytest.approx(n / (n + forecast.z**2))
    assert forecast.lower_bound(np.array([0]), np.array([0])).tolist() == [-1.0]
    assert forecast.lower_bound(np.array([50]), np.array([25])) < 0.5
