"""What the test rows say of the candidates of some instances, and which of these pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from torch_anchors.tables.count.binomial import at_least, lower_end

TEST_SHARE, LOWER_SHARE, UPPER_SHARE = 0.95, 0.025, 0.025
"""Parts of delta for the tests, and for lower ends above the threshold and upper ends of the intervals."""


@dataclass(frozen=True, slots=True)
class OnTestRows:
    """Counts of candidates on the test rows, in favour of neither error.

    An instance may be a row of the table or a new one that is equal to it, and only in the first case is that row
    to be left out. Lower ends and acceptances leave out a hit, upper ends a miss, and keep the other: either count
    is right in one of the cases and errs to the safe side in the other.
    """

    n: NDArray[np.int64]
    n_hits: NDArray[np.int64]
    n_above: NDArray[np.int64]  # for upper ends
    n_hits_above: NDArray[np.int64]

    @classmethod
    def of(cls, counts: NDArray[np.int64], twin: NDArray[np.int64], classes: NDArray[np.int64]) -> OnTestRows:
        """From the counts of candidates, the class of the row equal to each one's instance, and their classes."""
        _, n, n_hits = counts.T
        hit = (twin == classes).astype(np.int64)
        miss = ((twin >= 0) & (twin != classes)).astype(np.int64)
        return cls(n - hit, n_hits - hit, n - miss, n_hits)

    def passes(self, threshold: float, alpha: float) -> NDArray[np.bool_]:
        """Whether so many hits have a chance of at most `alpha` where the precision is the threshold."""
        return (self.n > 0) & (self.n_hits > 0) & (at_least(self.n_hits, self.n, threshold) <= alpha)

    def intervals(
        self,
        chosen: NDArray[np.int64],
        certified: NDArray[np.bool_],
        sizes: NDArray[np.int64],
        threshold: float,
        delta: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper ends for the chosen candidates, valid although the test rows have a say in the choice.

        An acceptance is itself a lower bound, the threshold, and was paid for. A higher one, and the upper end, are
        paid for as if all of an instance's candidates got one. Without an acceptance the first candidate is chosen
        whatever its counts, and the level of the test is left for its lower end.
        """
        alpha = np.where(certified, LOWER_SHARE * delta / sizes, TEST_SHARE * delta)
        low = lower_end(self.n_hits[chosen], self.n[chosen], alpha)
        low = np.where(certified, np.maximum(low, threshold), np.minimum(low, threshold))
        n_misses = self.n_above[chosen] - self.n_hits_above[chosen]
        return low, 1 - lower_end(n_misses, self.n_above[chosen], UPPER_SHARE * delta / sizes)


def last_passed(
    passed: NDArray[np.bool_], first: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each instance the last candidate before one that fails, or else the first; and whether it passed."""
    failures = np.cumsum(~passed)
    before: NDArray[np.int64] = failures[first] - ~passed[first]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    n_passed = np.bincount(owner, weights=failures == before[owner], minlength=len(sizes)).astype(np.int64)
    return first + np.maximum(n_passed - 1, 0), n_passed > 0
