"""What the rows for selection lead one to expect of the test that a rule must pass on other rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expectations of the test. They decide what is tested, never what passes.

    Args:
        test_ratio: test rows for each row for selection.
        threshold, alpha: of the test.
    """

    test_ratio: float
    threshold: float
    alpha: float

    def excess(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        """By how many standard errors the hits to come are expected to exceed those that the test asks for.

        The standard error is that of hits to come whose precision is known from these `n` rows alone.
        """
        n = np.maximum(n, 1)  # how many rows will satisfy it is known well enough
        p = (n_hits + 0.5) / (n + 1)
        n_test = n * self.test_ratio
        error = np.sqrt(p * (1 - p) * n_test * (1 + self.test_ratio))
        return (p * n_test - self._asked(n_test)) / np.maximum(error, 1e-9)

    def score(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        """The excess, or minus infinity where even hits alone would be too few to pass."""
        return np.where((n > 0) & (n >= self.fewest), self.excess(n, n_hits), -np.inf)

    def hits_needed(self, n: NDArray[Any], least: float) -> NDArray[np.float64]:
        """The fewest hits among `n` rows with which the score is at least `least`; infinite where none suffice.

        The excess is `least` where (p m - asked)^2 = least^2 p (1 - p) m (1 + test_ratio), m being the test rows: a
        quadratic equation in p, of which the larger root belongs to a positive excess and the smaller to a negative.
        """
        m, sign = n * self.test_ratio, math.copysign(1.0, least)
        asked, variance = self._asked(m), least**2 * m * (1 + self.test_ratio)
        under_root = variance * (variance / 4 + asked * (m - asked))
        root = m * asked + variance / 2 + sign * np.sqrt(np.maximum(under_root, 0.0))
        p = root / np.maximum(m**2 + variance, 1e-9)
        possible = (n > 0) & (n >= self.fewest) & (under_root >= 0) & (sign * (p * m - asked) >= -1e-9 * asked)
        hits = np.ceil(p * (n + 1) - 0.5 - 1e-9)
        return np.where(possible & (hits <= n), np.maximum(hits, 0.0), np.inf)

    def lower_bound(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        """Wilson's lower bound on the precision, to choose among rules that will not pass; -1 of no rows."""
        z2, n_rows = self.z**2, np.maximum(n, 1)
        p = n_hits / n_rows
        bound = p + z2 / (2 * n_rows) - self.z * np.sqrt(p * (1 - p) / n_rows + z2 / (4 * n_rows**2))
        return np.where(n > 0, bound / (1 + z2 / n_rows), -1.0)

    @property
    def z(self) -> float:
        """Standard errors of the test and of the lower bound."""
        return max(NormalDist().inv_cdf(1 - self.alpha), 0.0)

    @property
    def fewest(self) -> float:
        """Rows for selection that a rule must have to leave it enough test rows to pass with hits alone."""
        if self.threshold >= 1 or self.test_ratio == 0:
            return math.inf
        return math.log(self.alpha) / math.log(self.threshold) / self.test_ratio

    def _asked(self, n_test: NDArray[Any]) -> NDArray[np.float64]:
        """Hits that the test asks for, among so many rows."""
        t = self.threshold
        return t * n_test + 0.5 + self.z * np.sqrt(t * (1 - t) * n_test)
