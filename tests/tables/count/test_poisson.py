"""Bounds on the mean of a count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import poisson

from torch_anchors.tables.count.poisson import poisson_bounds


@pytest.mark.parametrize("n", [0, 1, 5, 100, 10_000])
def test_a_mean_is_beyond_its_bounds_by_a_great_accident_only(n: int) -> None:
    low, high = (float(end[0]) for end in poisson_bounds(np.array([n])))
    assert low <= n < high
    assert poisson.cdf(n, high) < 1e-8  # so few where so many are expected
    assert n < 100 or poisson.sf(n - 1, low) < 1e-7
    for mean in (low, high):
        assert abs(n - mean) == pytest.approx(6 * mean**0.5, abs=1e-9)
