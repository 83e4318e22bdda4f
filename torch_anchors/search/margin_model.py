"""What margins tell of anchors that were never drawn: a ridge regression of the margin on which predicates hold.

A label says on which side of the border a row is, a margin how far; so a few dozen rows rank anchors that thousands of
labels would be needed for. With independent predicates the margin of a row drawn for an anchor is a sum of many small
effects, close to normal, and the anchor's precision is the chance that it is positive. This only ever chooses what to
sample next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtri
from scipy.special import ndtr

from torch_anchors.search.protocol import Anchor

PENALTIES = (0.1, 1e4)
"""The least and the largest penalty of the regression, in rows."""
CLOSE = 1.3
"""A penalty that is wrong by less than this factor is right enough."""


class MarginModel:
    """Margins as a sum of effects of the predicates that hold, and what precision an anchor then has.

    Args:
        n_predicates: K.
        p_keep: chance that a predicate outside the anchor holds.

    Attributes:
        n: rows taken in.
        effects: how much each predicate adds to the margin where it holds (K,).
        explained: share of the margins' variance that the effects explain in rows that were not used, at most 1.
    """

    def __init__(self, n_predicates: int, p_keep: float) -> None:
        self.n = 0
        self.effects: NDArray[np.float64] = np.zeros(n_predicates)
        self.explained = 0.0
        self._p_keep = p_keep
        self._keep: list[NDArray[np.float64]] = []
        self._margins: list[NDArray[np.float64]] = []
        self._base, self._error = 0.0, 1.0
        self._penalty, self._is_fitted = 1.0, False

    def add(self, keep: NDArray[np.bool_], margins: NDArray[np.float64]) -> None:
        """Takes in rows: which predicates hold (n, K), and the margins (n,)."""
        self._keep.append(keep.astype(np.float64))
        self._margins.append(margins)
        self.n += len(margins)
        self._is_fitted = False

    def fit(self) -> None:
        """Estimates the effects anew from all rows, where some are new.

        The penalty is the one of largest evidence, approached from that of the fit before by MacKay's iteration
        ("Bayesian Interpolation", Neural Computation 1992). The error in rows that were not used is estimated by
        generalised cross-validation (Golub, Heath and Wahba, Technometrics 1979).
        """
        if self._is_fitted:
            return
        self._keep, self._margins = [np.concatenate(self._keep)], [np.concatenate(self._margins)]
        (keep,), (margins,) = self._keep, self._margins
        center, mean = keep.mean(axis=0), float(margins.mean())
        x, y = keep - center, margins - mean
        gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
        ridge = _Ridge.of(x, y, gram, self._penalty)
        self._penalty = ridge.likelier
        if not 1 / CLOSE < self._penalty / ridge.penalty < CLOSE:
            ridge = _Ridge.of(x, y, gram, self._penalty)
            self._penalty = ridge.likelier
        self.effects = ridge.effects
        self._base = mean - float(center @ self.effects)
        self._error = ridge.error
        self.explained = 1 - self._error / max(float(y.var()), 1e-12)
        self._is_fitted = True

    def precision(self, anchor: Anchor) -> float:
        """Guess of the precision of one anchor."""
        inside = np.zeros(self.effects.size, dtype=bool)
        inside[list(anchor)] = True
        mean = self._base + self.effects[inside].sum() + self._p_keep * self.effects[~inside].sum()
        return float(ndtr(mean / math.sqrt(self._variance(self.effects[~inside]) + 1e-12)))

    def ranked(self, excluded: Sequence[int] = ()) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The predicates by their effects, the largest first, and the guesses (K + 1,) for the first 0, 1, .. K.

        Those that are `excluded` come last: they are not among the predicates (K - excluded,) that are given, but they
        have guesses as if they were.
        """
        order = np.argsort(-self.effects, kind="stable")
        banned = np.isin(order, list(excluded))
        order, n_ranked = np.concatenate([order[~banned], order[banned]]), order.size - int(banned.sum())
        effects = self.effects[order]
        inside = np.concatenate([[0.0], np.cumsum(effects)])
        mean = self._base + self._p_keep * effects.sum() + (1 - self._p_keep) * inside
        squares = np.concatenate([[0.0], np.cumsum(effects**2)])
        spread = self._p_keep * (1 - self._p_keep) * np.maximum(squares[-1] - squares, 0.0) + self._error
        return order[:n_ranked], ndtr(mean / np.sqrt(spread + 1e-12))

    def _variance(self, outside: NDArray[np.float64]) -> float:
        return float(self._p_keep * (1 - self._p_keep) * (outside**2).sum() + self._error)


@dataclass(frozen=True, slots=True)
class _Ridge:
    """A ridge regression through the origin by one Cholesky factor.

    Attributes:
        penalty: what each squared effect costs, in squared residuals.
        effects: the coefficients (K,).
        misfit: sum of the squared residuals and of the penalties.
        n_fitted: trace of the hat matrix, to how many free effects the penalised ones come.
        n_rows: n.
    """

    penalty: float
    effects: NDArray[np.float64]
    misfit: float
    n_fitted: float
    n_rows: int

    @classmethod
    def of(cls, x: NDArray[np.float64], y: NDArray[np.float64], gram: NDArray[np.float64], penalty: float) -> _Ridge:
        """The regression of y (n,) on x (n, K); `gram` is the smaller one of x^T x and x x^T."""
        n_sides = len(gram)
        is_wide = n_sides < x.shape[1]
        target = y if is_wide else y @ x
        shifted = gram.copy()
        shifted.flat[:: n_sides + 1] += penalty
        factor, _ = dpotrf(shifted.T, lower=1, overwrite_a=1)  # LAPACK's order: nothing is copied
        weights, _ = dpotrs(factor, target, lower=1)
        inverse, _ = dtrtri(factor, lower=1)
        misfit = penalty * (y @ weights) if is_wide else y @ y - target @ weights
        n_fitted = n_sides - penalty * np.vdot(inverse.T, inverse.T)
        return cls(penalty, weights @ x if is_wide else weights, max(float(misfit), 0.0), float(n_fitted), len(y))

    @property
    def _squares(self) -> float:
        return float(self.effects @ self.effects)

    @property
    def error(self) -> float:
        """Mean squared error to expect in rows that were not used; one of the rows' degrees of freedom is the mean."""
        residuals = max(self.misfit - self.penalty * self._squares, 0.0)
        return self.n_rows * residuals / max(self.n_rows - 1 - self.n_fitted, 0.5) ** 2

    @property
    def likelier(self) -> float:
        """A penalty of more evidence, or this one where there is none: the noise's variance through an effect's."""
        noise, signal = self.misfit / max(self.n_rows - 1, 1), self._squares / max(self.n_fitted, 1e-12)
        return min(max(noise / max(signal, 1e-300), PENALTIES[0]), PENALTIES[1])
