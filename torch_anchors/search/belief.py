"""What a search believes of the precision of each of several anchors, from a guess and from rows drawn.

The log-odds of an anchor's precision are those guessed, plus a normal error common to all anchors of the instance,
plus one of its own with heavy tails (Student's t with 3 degrees of freedom): a guess that is wrong for one anchor is
likely wrong in the same direction for the next, so that the rows of each anchor also tell something of the others.
A belief only ever chooses what to sample next.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from torch_anchors.search.bounds import kl_bernoulli

SPREAD = 0.3
"""Standard deviation, in log-odds, of the error common to all anchors and of an anchor's own. On five tables rules of
like coverage were found from 0.25 to 0.45, and the smaller it was, with fewer rows."""
GUESSES = (0.02, 0.997)
"""Guesses beyond these are taken for these: the log-odds of a surrogate's extremes mean nothing."""

_LOG_ODDS = np.linspace(-2.0, 8.0, 41)
_PRECISION = 1 / (1 + np.exp(-_LOG_ODDS))
_LOG_PROBABILITY = np.log(np.stack([_PRECISION, 1 - _PRECISION]))  # of a hit and of a miss
_COMMON = np.linspace(-2.5, 2.5, 11) * SPREAD
_LOG_COMMON = -0.5 * (_COMMON / SPREAD) ** 2
_TINY = 1e-300
_MIXTURE = 1.9
"""By how much the wealth of a test, which is spread over many bets, is behind that of the best of them, in logs."""
_FIRST_LOOK, _LONG_LOOK = 10, 150
"""Rows that no test ends before, and by which an anchor that is not good enough is given up."""


class Belief:
    """Precision of some anchors, updated by rows drawn for any of them.

    Args:
        guesses: precision of each anchor, guessed before any row.
        threshold: precision that an anchor must have.
        alpha: level at which it will be tested.
        most_rows: rows by which a test ends.
    """

    def __init__(self, guesses: Sequence[float], threshold: float, alpha: float, most_rows: int) -> None:
        guess = np.clip(guesses, *GUESSES)
        center = np.log(guess / (1 - guess))[:, None, None] + _COMMON[:, None]  # anchors, common, 1
        prior = (1 + ((_LOG_ODDS - center) / SPREAD) ** 2 / 3) ** -2  # anchors, common, log-odds
        self._prior = prior / prior.sum(axis=-1, keepdims=True)
        self._passes, self._rows = _test(threshold, alpha, most_rows)
        self._counts = [(0, 0)] * len(guess)  # hits and misses
        # Of each anchor, given each common error: log of the rows' probability, and what the test is then expected to
        # say and to cost.
        self._log_evidence = np.zeros(prior.shape[:2])
        self._outlook = self._prior @ np.stack([self._passes, self._rows], axis=1)  # anchors, common, 2
        self._log_common = _LOG_COMMON.copy()

    def add(self, anchor: int, n: int, n_hits: int) -> None:
        """Counts of `n` rows drawn for an anchor, given by its place among the guesses."""
        hits, misses = self._counts[anchor]
        self._counts[anchor] = hits, misses = hits + n_hits, misses + n - n_hits
        posterior = self._prior[anchor] * _likelihood(hits, misses)  # common, log-odds; not normalised
        evidence = posterior.sum(axis=-1) + _TINY
        log_evidence = np.log(evidence)
        self._log_common += log_evidence - self._log_evidence[anchor]
        self._log_evidence[anchor] = log_evidence
        left = np.maximum(self._rows - (hits + misses), _FIRST_LOOK)
        self._outlook[anchor] = posterior @ np.stack([self._passes, left], axis=1) / evidence[:, None]

    def outlook(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The chance that each anchor passes its test, and the rows that the test is expected to take from now on."""
        common = np.exp(self._log_common - self._log_common.max())
        chance, rows = self._outlook.T.swapaxes(1, 2) @ (common / common.sum())
        return chance, rows


@lru_cache(maxsize=1 << 14)
def _likelihood(n_hits: int, n_misses: int) -> NDArray[np.float64]:
    """Probability of the counts at each log-odds, as a share of the largest; thousands of searches meet the same."""
    log_likelihood = np.array([n_hits, n_misses]) @ _LOG_PROBABILITY
    return np.exp(log_likelihood - log_likelihood.max())


@lru_cache(maxsize=64)
def _test(threshold: float, alpha: float, most_rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of an anchor of each precision, whether it passes the test, and after how many rows the test ends."""
    is_above = threshold < _PRECISION
    with np.errstate(divide="ignore"):
        # What the test must gain, over what one row is expected to add to it.
        to_pass = (_MIXTURE - np.log(alpha)) / kl_bernoulli(_PRECISION, threshold)
        # Until the threshold is a standard error away.
        to_fail = _FIRST_LOOK + _PRECISION * (1 - _PRECISION) / (threshold - _PRECISION) ** 2
    rows = np.where(is_above, np.minimum(to_pass, most_rows), np.minimum(to_fail, _LONG_LOOK))
    return (is_above & (to_pass <= most_rows)).astype(np.float64), rows
