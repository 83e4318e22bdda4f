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

SPREAD = 0.45
"""Standard deviation, in log-odds, of the error common to all anchors and of an anchor's own (measured on Adult)."""
GUESSES = (0.02, 0.997)
"""Guesses beyond these are taken for these: the log-odds of a surrogate's extremes mean nothing."""

_LOG_ODDS = np.linspace(-2.0, 8.0, 41)
_PRECISION = 1 / (1 + np.exp(-_LOG_ODDS))
_LOG_PROBABILITY = np.log(np.stack([_PRECISION, 1 - _PRECISION]))  # of a hit and of a miss
_COMMON = np.linspace(-2.5, 2.5, 11) * SPREAD
_LOG_COMMON = -0.5 * (_COMMON / SPREAD) ** 2
_TINY = 1e-300


class Belief:
    """Precision of some anchors, updated by rows drawn for any of them.

    Args:
        guesses: precision of each anchor, guessed before any row.
        threshold: precision that an anchor must have.
        alpha: level at which it will be tested.
        affordable: rows whose cost is as much as an anchor is worth.
    """

    def __init__(self, guesses: Sequence[float], threshold: float, alpha: float, affordable: int) -> None:
        guess = np.clip(guesses, *GUESSES)
        center = np.log(guess / (1 - guess))[:, None, None] + _COMMON[:, None]  # anchors, common, 1
        prior = (1 + ((_LOG_ODDS - center) / SPREAD) ** 2 / 3) ** -2  # anchors, common, log-odds
        prior /= prior.sum(axis=-1, keepdims=True)
        # What is integrated over the log-odds: the prior, and what an anchor is worth under it.
        self._priors = np.stack([prior, prior * _worth(threshold, alpha, affordable)], axis=1)
        self._counts = [(0, 0)] * len(guess)  # hits and misses
        # Of each anchor, given each common error: log of the rows' probability, and what it is then worth.
        self._log_evidence = np.zeros(prior.shape[:2])
        self._worth = self._priors[:, 1].sum(axis=-1)
        self._log_common = _LOG_COMMON.copy()

    def add(self, anchor: int, n: int, n_hits: int) -> None:
        """Counts of `n` rows drawn for an anchor, given by its place among the guesses."""
        hits, misses = self._counts[anchor]
        self._counts[anchor] = hits, misses = hits + n_hits, misses + n - n_hits
        evidence, worthy = self._priors[anchor] @ _likelihood(hits, misses)
        evidence += _TINY
        log_evidence = np.log(evidence)
        self._log_common += log_evidence - self._log_evidence[anchor]
        self._log_evidence[anchor] = log_evidence
        self._worth[anchor] = worthy / evidence

    def worth(self) -> NDArray[np.float64]:
        """Chance that each anchor can be certified, less the share of its worth that the rows will cost."""
        common = np.exp(self._log_common - self._log_common.max())
        return (self._worth @ common) / common.sum()


@lru_cache(maxsize=1 << 14)
def _likelihood(n_hits: int, n_misses: int) -> NDArray[np.float64]:
    """Probability of the counts at each log-odds, as a share of the largest; thousands of searches meet the same."""
    log_likelihood = np.array([n_hits, n_misses]) @ _LOG_PROBABILITY
    return np.exp(log_likelihood - log_likelihood.max())


@lru_cache(maxsize=64)
def _worth(threshold: float, alpha: float, affordable: int) -> NDArray[np.float64]:
    """What an anchor of each precision is worth: 1, less the share that the rows to certify it cost."""
    # Rows that certify an anchor are about log(1 / alpha) over what one row is expected to add to it.
    with np.errstate(divide="ignore"):
        rows = (1 - np.log(alpha)) / kl_bernoulli(_PRECISION, threshold)
    return np.where(threshold < _PRECISION, np.clip(1 - rows / affordable, 0, 1), 0)
