"""Chances and bounds of a number of successes among independent rows, exact for every number of rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, betaincinv


def at_least(k: NDArray[np.int64], n: NDArray[np.int64], p: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Chance of `k` or more successes among `n`; `k` must be positive."""
    return bdtrc(k - 1.0, n, p)


def lower_end(k: NDArray[np.int64], n: NDArray[np.int64], alpha: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """The p for which `k` or more successes among `n` have the chance `alpha`; 0 where `k` is.

    The true p is below it with probability at most `alpha` (Clopper and Pearson, Biometrika 26, 1934). The upper end is
    one less the lower end of the failures.
    """
    return np.where(k > 0, betaincinv(np.maximum(k, 1), np.maximum(n - k, 0) + 1.0, alpha), 0.0)
