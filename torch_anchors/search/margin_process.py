"""What margins tell of anchors where predicates act together: a Gaussian process of the margin over all masks.

The covariance of two masks' margins is a product over the predicates: 1 + r where both masks agree about one and 1 - r
where they do not, the exponential kernel of masks (Rasmussen and Williams, "Gaussian Processes for Machine Learning",
2006). Multiplied out it is a sum over sets of predicates. So margins are effects of every order, in which predicates of
large relevance r act alone and together, and the others hardly at all. Being such a sum it is diagonal in the Walsh
basis: functions are drawn at all 2^K masks at once, by fast transforms, and the share of hits among the masks of an
anchor is its precision. How these differ from draw to draw is how little the rows say of it. This only ever chooses
what to sample next.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from torch_anchors.search.border import Border

N_DRAWS = 16
"""Functions that are drawn."""
MEAN_VARIANCE = 10.0
"""Variance of the mean margin, in that of the rows' margins."""
FIRST_STEPS = 3
"""Steps to the relevances of largest evidence at the first fit; each later one goes a step on from there."""
DAMPING = 3.0
"""As many effects of each predicate are taken to be as large as expected, lest few rows rule it out."""
LEAST_RELEVANCE, MOST_RELEVANCE = 0.02, 0.95
"""The least relevance, as a share of their mean, and the largest."""
NOISE = (0.01, 2.0)
"""The least and the largest variance of what masks do not say, in that of the rows' margins."""
AT_ONCE = 4
"""Predicates whose part of a transform is one matrix product: fewer passes, each of more operations."""
LEAST_SLOPE = 0.3
"""Slope of the border from which on its offset is believed as it is."""
SHARPNESS = 1.7
"""The logistic function of this many standard errors is close to the normal distribution function."""


class MarginProcess:
    """Margins of masks as a Gaussian process, with a relevance for each predicate.

    Args:
        n_predicates: K; arrays have 2^K elements.
        p_keep: chance that a predicate outside an anchor holds.
    """

    def __init__(self, n_predicates: int, p_keep: float) -> None:
        self.relevance: NDArray[np.float64] = np.full(n_predicates, 1 / n_predicates)
        self._p_keep = p_keep
        self._noise, self._border = 0.1, Border(0.0, 1.0)
        self._n_steps = FIRST_STEPS

    def fit(self, keep: NDArray[np.float64], margins: NDArray[np.float64]) -> None:
        """Takes which predicates hold in each row (n, K), no two rows alike, and the margins (n,)."""
        self._signs, self._hits = 2 * keep - 1, margins > 0
        mean, deviation = float(margins.mean()), float(margins.std()) + 1e-9
        self._y, self._zero = (margins - mean) / deviation, -mean / deviation
        for _ in range(self._n_steps):
            self._step()
        self._n_steps = 1
        self._factor = self._factored(self._covariance())

    def _covariance(self) -> NDArray[np.float64]:
        """Of the rows' margins (n, n), without their mean and noise."""
        halves = np.arctanh(self.relevance)
        scale = 0.5 * float(np.log1p(-(self.relevance**2)).sum())
        covariance: NDArray[np.float64] = np.exp((self._signs * halves) @ self._signs.T + scale)
        return covariance

    def _factored(self, covariance: NDArray[np.float64]) -> NDArray[np.float64]:
        """The lower Cholesky factor of the covariance with mean and noise."""
        total = covariance + (MEAN_VARIANCE - 1)  # the product has 1 for the empty set
        total.flat[:: len(total) + 1] += self._noise
        factor: NDArray[np.float64] = dpotrf(total.T, lower=1, overwrite_a=1)[0]
        return factor

    def _step(self) -> None:
        """A step to relevances and noise of more evidence, and to a likelier border.

        MacKay's iteration ("Bayesian Interpolation", Neural Computation 1992): a variance is multiplied by the squares
        of its effects through what these are expected to be. The effects of a predicate are the terms of the product
        that it is in: where two rows agree about it r / (1 + r) of their covariance, and else -r / (1 - r).
        """
        covariance = self._covariance()
        factor = self._factored(covariance)
        weights = dpotrs(factor, self._y, lower=1)[0]
        inverse = np.tril(dpotri(factor, lower=1)[0])
        inverse += np.tril(inverse, -1).T
        r, signs, weighted, informed = self.relevance, self._signs, weights[:, None] * self._signs, inverse * covariance
        found = (weighted * (covariance @ weighted)).sum(axis=0) - r * (weights @ covariance @ weights)
        expected = (signs * (informed @ signs)).sum(axis=0) - r * informed.sum()
        share = r / (1 - r**2)
        r = r * (np.maximum(share * found, 0) + DAMPING) / (np.maximum(share * expected, 0) + DAMPING)
        self.relevance = np.clip(r, LEAST_RELEVANCE * r.mean(), MOST_RELEVANCE)
        # Each row as the others predict it.
        self._errors = 1 / np.sqrt(inverse.diagonal())
        predicted = (self._y - self._zero) / self._errors - weights * self._errors
        self._border = self._border.likelier(predicted, self._hits)
        self._noise = float(np.clip(self._noise * (weights @ weights) / np.trace(inverse), *NOISE))

    def precisions(self) -> NDArray[np.float32]:
        """Draws of the precision of every anchor (2^K, draws); bit k of an index says that predicate k is in it.

        The labels of masks that were seen are taken as they are.
        """
        codes = (self._signs > 0) @ (1 << np.arange(self.relevance.size))
        margins = self._draws(codes) - np.float32(self._border_margin)
        steepness = np.float32(-SHARPNESS / math.sqrt(self._noise))
        with np.errstate(over="ignore"):
            hits: NDArray[np.float32] = 1 / (1 + np.exp(steepness * margins))
        hits[codes] = self._hits[:, None]
        return folded(hits, self._p_keep)

    @property
    def _border_margin(self) -> float:
        """The margin, as standardised, from which on rows are rather hits."""
        errors = self._border.offset / max(self._border.slope, LEAST_SLOPE)
        return self._zero - errors * float(self._errors.mean())

    def _draws(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Standardised margins of all masks, drawn given the rows: draws of the prior, and what the rows correct."""
        spectrum = np.ones(1)
        for r in self.relevance:
            spectrum = np.concatenate([spectrum, r * spectrum])
        spectrum[0] = MEAN_VARIANCE
        variances = spectrum[:, None].astype(np.float32)
        drawn = walsh(np.sqrt(variances) * _normals(len(spectrum)))
        noise = math.sqrt(self._noise) * _normals(len(spectrum) + 1)[codes]
        missing = np.zeros_like(drawn)
        missing[codes] = dpotrs(self._factor, self._y[:, None] - drawn[codes] - noise, lower=1)[0]
        return drawn + walsh(variances * walsh(missing))


def walsh(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Walsh transform of each column (2^K, columns)."""
    return _transformed(values, ((1, 1), (1, -1)))


def folded(hits: NDArray[np.float32], p_keep: float) -> NDArray[np.float32]:
    """Precision of each anchor from the share of hits at each mask (2^K, columns)."""
    return _transformed(hits, ((1 - p_keep, p_keep), (0, 1)))


def _transformed(values: NDArray[np.float32], of_one: tuple[tuple[int | float, ...], ...]) -> NDArray[np.float32]:
    """Each column (2^K, columns) times the matrix of one predicate for each of them, some predicates at a time."""
    n, n_columns = values.shape
    step = 1
    while step < n:
        size = min(n // step, 1 << AT_ONCE)
        matrix = _power(of_one, size)
        values = np.matmul(matrix, values.reshape(-1, size, step * n_columns))
        step *= size
    return values.reshape(n, n_columns)


@lru_cache(maxsize=16)
def _power(of_one: tuple[tuple[int | float, ...], ...], size: int) -> NDArray[np.float32]:
    """The Kronecker power of a matrix that has so many lines."""
    matrix = np.ones((1, 1), dtype=np.float32)
    while len(matrix) < size:
        matrix = np.kron(matrix, np.array(of_one, dtype=np.float32))
    return matrix


@lru_cache(maxsize=8)
def _normals(n: int) -> NDArray[np.float32]:
    """Normal numbers (n, draws), always the same: draws after a few more rows differ by what these say alone."""
    return np.random.default_rng(n).standard_normal((n, N_DRAWS), dtype=np.float32)
