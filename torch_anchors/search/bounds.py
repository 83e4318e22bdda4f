"""Anytime-valid tests and bounds on the mean of Bernoulli rows, vectorised over anchors.

All of them come from one test martingale. Against "precision <= t" bet, for every `u` in (0, 1], that the precision is
q = t + (1 - t) u; after S hits and F misses the bet has multiplied its stake by

    (q / t)^S ((1 - q) / (1 - t))^F  =  (1 + u (1 - t) / t)^S (1 - u)^F ,

which is a non-negative supermartingale for every true precision <= t, and so is a mixture over fixed `u`. By Ville's
inequality its chance of ever reaching 1 / alpha is at most alpha, whenever one looks and however one stops (Ville
1939; Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 2021). Written in `u`, the wealth
falls as t grows, so that the bounds are its roots, and agree with the test.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = int | float | np.number[Any] | Sequence[int] | Sequence[float] | NDArray[Any]
"""One number or an array of them. (`numpy.typing.ArrayLike` does not name int, so that no checker accepts one.)"""

N_NODES = 48
_STEPS = 5
"""Steps of Newton's method to a bound, after which it is off by less than `_PARTS` shows."""
_CLOSE = 1e-7
"""The excess of log wealth from which one more step is the last: its square is less than rounding."""
_PARTS = 2.0**36
"""Bounds are rounded down to this part of 1, so that rounding errors do not show."""


def _mixture() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes u and log weights of the mixture.

    A Beta(1.5, 1.5) density in u, and an atom at u = 1 for the frequent anchor that always holds. Chosen among
    a few shapes for the fewest rows to accept precisions between 0.97 and 1 at a threshold of 0.95.
    """
    inner = (np.arange(N_NODES - 1) + 0.5) / (N_NODES - 1)
    weights = np.sqrt(inner * (1 - inner))
    atom = 0.15
    weights = np.append((1 - atom) * weights / weights.sum(), atom)
    return np.append(inner, 1.0), np.log(weights)


_U, _LOG_WEIGHTS = _mixture()
with np.errstate(divide="ignore"):
    _LOG_1_MINUS_U = np.log1p(-_U)


def log_wealth(n_hits: Numbers, n_misses: Numbers, threshold: Numbers) -> NDArray[np.float64]:
    """Log of the mixture martingale against "precision <= threshold"; arguments broadcast.

    The hypothesis is rejected, and an anchor certified, when this reaches ``log(1 / alpha)``. A threshold of 1
    can never be rejected: the value is then at most 0.

    >>> bool(log_wealth(90, 0, 0.95) > np.log(1 / 0.05))
    True
    """
    hits = np.asarray(n_hits, dtype=np.float64)[..., None]
    misses = np.asarray(n_misses, dtype=np.float64)[..., None]
    # At t = 0 a single hit is a proof: so large a wealth is proof enough, and stays finite.
    t = np.maximum(np.asarray(threshold, dtype=np.float64), 1e-300)[..., None]
    from_hits = hits * np.log1p(_U * (1 - t) / t)
    with np.errstate(invalid="ignore"):
        # Without misses the term is 0 even at u = 1, where the logarithm is infinite.
        from_misses = np.where(misses > 0, misses * _LOG_1_MINUS_U, 0.0)
    terms = _LOG_WEIGHTS + from_hits + from_misses
    top = np.maximum.reduce(terms, axis=-1, keepdims=True)  # finite, as the terms of all u < 1 are
    terms -= top
    return np.asarray(top[..., 0] + np.log(np.add.reduce(np.exp(terms, out=terms), axis=-1)))


def log_wealth_below(n_hits: Numbers, n_misses: Numbers, threshold: Numbers) -> NDArray[np.float64]:
    """Log of the mirrored martingale, against "precision >= threshold": the same bet on misses."""
    return log_wealth(n_misses, n_hits, 1 - np.asarray(threshold, dtype=np.float64))


def lower_bound(n_hits: Numbers, n: Numbers, alpha: Numbers) -> NDArray[np.float64]:
    """Largest t such that "precision <= t" is rejected at level `alpha`; 0 when none is.

    The true precision is below it, at any time ever, with probability at most `alpha`.
    """
    hits, total, level = (np.asarray(one, dtype=np.float64)[..., None] for one in (n_hits, n, alpha))
    goal, misses, least = -np.log(level), total - hits, 1 / (16 * _PARTS)
    hits = np.maximum(hits, least)  # without a hit the root is at 0
    with np.errstate(invalid="ignore", over="ignore"):
        fixed = np.where(misses > 0, misses * _LOG_1_MINUS_U, 0.0) + (_LOG_WEIGHTS - goal)
        odds = np.expm1(-fixed / hits) / _U  # (1 - t) / t where a single bet reaches the goal
    # The mixture reaches it no earlier. Its log is convex in log t, so that steps from there do not go beyond the root.
    odds = np.minimum.reduce(odds, axis=-1, keepdims=True)
    t = np.maximum(1 / (1 + np.maximum(odds, 0.0)), least)
    for _ in range(_STEPS):
        terms = np.log1p(_U * (1 / t - 1))
        terms *= hits
        terms += fixed
        top = np.maximum.reduce(terms, axis=-1, keepdims=True)
        terms -= top
        shares = np.exp(terms, out=terms)
        total_share = np.add.reduce(shares, axis=-1, keepdims=True)
        excess = top + np.log(total_share)
        shares *= _U / (t + _U * (1 - t))
        slope = hits * np.add.reduce(shares, axis=-1, keepdims=True) / total_share
        t = np.minimum(np.maximum(t * np.exp(np.minimum(excess / slope, 99.0)), least), 1.0)
        if (excess < _CLOSE).all():
            break
    return np.asarray(np.minimum(np.floor(_PARTS * t[..., 0]), _PARTS - 1) / _PARTS)


def upper_bound(n_hits: Numbers, n: Numbers, alpha: Numbers) -> NDArray[np.float64]:
    """Smallest t such that "precision >= t" is rejected at level `alpha`; 1 when none is."""
    hits, total = np.asarray(n_hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return np.asarray(1 - lower_bound(total - hits, total, alpha))


@lru_cache(maxsize=1 << 16)
def log_wealth_of(n_hits: int, n_misses: int, threshold: float) -> float:
    """`log_wealth` of one anchor, remembered: thousands of searches meet the same few counts."""
    return float(log_wealth(n_hits, n_misses, threshold))


@lru_cache(maxsize=1 << 16)
def lower_bound_of(n_hits: int, n: int, alpha: float) -> float:
    """`lower_bound` of one anchor, remembered."""
    return float(lower_bound(n_hits, n, alpha))


@lru_cache(maxsize=1 << 16)
def bounds_of(n_hits: int, n: int, alpha_low: float, alpha_high: float) -> tuple[float, float]:
    """Lower and upper bound of one anchor's precision, remembered."""
    return float(lower_bound(n_hits, n, alpha_low)), float(upper_bound(n_hits, n, alpha_high))


def standard_error(n_hits: int, n: int) -> float:
    """Standard error of a share of `n` rows, smoothed by a pseudo hit and a pseudo miss so that it is never 0."""
    smoothed = (n_hits + 1) / (n + 2)
    return math.sqrt(smoothed * (1 - smoothed) / max(n, 1))


def standard_errors(n_hits: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.float64]:
    """`standard_error` of many shares."""
    smoothed = (n_hits + 1) / (n + 2)
    return np.sqrt(smoothed * (1 - smoothed) / np.maximum(n, 1))


def kl_bernoulli(p: Numbers, q: Numbers) -> NDArray[np.float64]:
    """Kullback-Leibler divergence of Bernoulli(p) from Bernoulli(q), in nats."""
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(p > 0, p * np.log(p / q), 0.0)
        miss = np.where(p < 1, (1 - p) * np.log((1 - p) / (1 - q)), 0.0)
    return np.asarray(hit + miss)


@lru_cache(maxsize=1 << 16)
def kl_of(p: float, q: float) -> float:
    """`kl_bernoulli` of two numbers, remembered."""
    return float(kl_bernoulli(p, q))


@lru_cache(maxsize=1 << 16)
def hits_to_accept(n_hits: int, n_misses: int, threshold: float, alpha: float, limit: int) -> int | None:
    """Fewest further rows that would certify if all of them were hits; None if more than `limit`, or never."""
    if threshold >= 1:
        return None
    goal = -math.log(alpha)

    def accepted(extra: int) -> bool:
        return log_wealth_of(n_hits + extra, n_misses, threshold) >= goal

    if not accepted(limit):
        return None
    low, high = -1, limit  # not accepted at low (or low = -1), accepted at high
    while high - low > 1:
        middle = (low + high) // 2
        if accepted(middle):
            high = middle
        else:
            low = middle
    return high
