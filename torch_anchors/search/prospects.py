"""By what chance anchors would be certified, and after how many rows, where draws of their precision are at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from torch_anchors.search.bounds import kl_bernoulli

FIRST_LOOK, LONG_LOOK = 10, 150
"""Rows that no test ends before, and by which an anchor that is not good enough is given up."""
MIXTURE = 1.9
"""By how much the wealth of a test, which is spread over many bets, is behind that of the best of them, in logs."""
EXTREMES = (0.02, 0.998)
"""Precisions beyond these are taken for these: of few masks a share is easily 0 or 1."""
SPREAD = (1.2, 0.1)
"""Draws are taken to differ this many times as much as they do, and by this much more, in log-odds."""
_QUANTILES = ndtri((np.arange(32) + 0.5) / 32)


@dataclass(frozen=True, slots=True)
class Prospects:
    """What is expected of some anchors.

    Attributes:
        chance: that each is certified (anchors,).
        rows: new rows that its test is expected to take, however it ends (anchors,).
    """

    chance: NDArray[np.float64]
    rows: NDArray[np.float64]

    @classmethod
    def of(cls, draws: NDArray[np.float32], trials: Trials) -> Prospects:
        """Of anchors whose precisions were drawn (anchors, draws).

        The log-odds are taken for normal: a few draws do not say what the best ones of many would be.
        """
        clipped = np.clip(draws.astype(np.float64), *EXTREMES)
        log_odds = np.log(clipped / (1 - clipped))
        deviation = SPREAD[0] * log_odds.std(axis=1, keepdims=True) + SPREAD[1]
        precisions = 1 / (1 + np.exp(-log_odds.mean(axis=1, keepdims=True) - deviation * _QUANTILES))
        return cls(trials.pass_at(precisions).mean(axis=1), trials.rows_at(precisions).mean(axis=1))


@dataclass(frozen=True, slots=True)
class Trials:
    """The tests of some anchors against one threshold.

    Attributes:
        threshold: precision that an anchor must have.
        needed: what its log wealth must still gain (anchors, 1).
        most_rows: rows after which it is given up (anchors, 1).
        distinct: how many different rows the anchor has, infinite where none comes twice (anchors, 1).
        most_distinct: where an anchor has at most so many, they are all predicted rather than given up.
    """

    threshold: float
    needed: NDArray[np.float64]
    most_rows: NDArray[np.float64]
    distinct: NDArray[np.float64]
    most_distinct: int

    def pass_at(self, precisions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether an anchor of each of these precisions (anchors, n) is certified."""
        in_time = (self._to_pass(precisions) <= self.most_rows) | (self.distinct <= self.most_distinct)
        passes: NDArray[np.bool_] = (precisions > self.threshold) & in_time
        return passes

    def rows_at(self, precisions: NDArray[np.float64]) -> NDArray[np.float64]:
        """New rows that the test of an anchor of each of these precisions (anchors, n) takes."""
        with np.errstate(divide="ignore"):
            # Until the threshold is a standard error away.
            to_fail = FIRST_LOOK + precisions * (1 - precisions) / (self.threshold - precisions) ** 2
        to_pass = np.minimum(self._to_pass(precisions), self.most_rows)
        rows = np.where(self.pass_at(precisions), to_pass, np.minimum(to_fail, LONG_LOOK))
        with np.errstate(invalid="ignore"):
            different = -self.distinct * np.expm1(-rows / self.distinct)  # a row that comes again costs nothing
        return np.where(np.isfinite(self.distinct), different, rows)

    def _to_pass(self, precisions: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            rows: NDArray[np.float64] = self.needed / kl_bernoulli(precisions, self.threshold)
        return rows
