"""What margins tell of anchors that were never drawn: a ridge regression of the margin on which predicates hold.

A label says on which side of the border a row is, a margin how far; so a few dozen rows rank anchors that thousands of
labels would be needed for. With independent predicates the margin of a row drawn for an anchor is a sum of many small
effects, close to normal, and the anchor's precision is the chance that it is on the side of the hits. Where that border
is among the expected margins, and how sharp, the rows' labels say: margins are often far from normal, as those of a
class that many others could take the place of. This only ever chooses what to sample next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtri

from torch_anchors.search.border import Border
from torch_anchors.search.protocol import Anchor

PENALTIES = (0.1, 1e4)
"""The least and the largest penalty of the regression, in rows."""
CLOSE = 2.0
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
        self._fixed: list[NDArray[np.float64]] = []
        self._margins: list[NDArray[np.float64]] = []
        self._base, self._error = 0.0, 1.0
        self._penalty, self._border = 1.0, Border(0.0, 1.0)
        self._is_fitted = False

    def add(self, keep: NDArray[np.bool_], margins: NDArray[np.float64], anchor: Anchor | None = None) -> None:
        """Takes in rows: which predicates hold (n, K), the margins (n,), and the anchor that they are draws of."""
        fixed = np.ones(keep.shape[1])
        if anchor is not None:
            fixed[:] = 0.0
            fixed[list(anchor)] = 1.0
        self._keep.append(keep.astype(np.float64))
        self._fixed.append(np.broadcast_to(fixed, keep.shape))
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
        keep, _, margins = self._rows()
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
        self._error = ridge.error + 1e-12
        self.explained = 1 - ridge.error / max(float(y.var()), 1e-12)
        expected = (self._base + keep @ self.effects) / math.sqrt(self._error)
        self._border = self._border.likelier(expected, margins > 0)  # mostly it is where it was before
        self._is_fitted = True

    def order(self, excluded: Sequence[int] = ()) -> NDArray[np.intp]:
        """The predicates that are not `excluded`, those of largest effect first."""
        order = np.argsort(-self.effects, kind="stable")
        return order[~np.isin(order, list(excluded))] if excluded else order

    def precisions(self, anchors: Sequence[Anchor]) -> NDArray[np.float64]:
        """Guess of the precision of each anchor (anchors,)."""
        inside, p_keep = self._inside(anchors), self._p_keep
        mean = self._base + p_keep * self.effects.sum() + (1 - p_keep) * (inside @ self.effects)
        variance = p_keep * (1 - p_keep) * ((1 - inside) @ self.effects**2)
        return self._border.precisions(mean / math.sqrt(self._error), variance / self._error)

    def counts(self, anchors: Sequence[Anchor]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Hits among the rows that are draws of each anchor, and how many these are (anchors,).

        Of each anchor that is also a row of a smaller one that satisfies it.
        """
        keep, fixed, margins = self._rows()
        inside = self._inside(anchors)
        are_draws = ((1 - keep) @ inside.T + fixed @ (1 - inside).T) == 0
        return (margins > 0) @ are_draws.astype(np.float64), are_draws.sum(axis=0)

    def masks(self, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of the first masks drawn, at most so many, which predicates hold (masks, K) and the mean margin (masks,)."""
        keep, _, margins = self._rows()
        codes = keep @ 2.0 ** np.arange(keep.shape[1])
        _, first, mask, n = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
        earliest = np.argsort(first)[:most]
        return keep[first[earliest]], (np.bincount(mask, margins) / n)[earliest]

    def _rows(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Of all rows: what holds, what holds because it is in the anchor (n, K), and the margins (n,)."""
        if len(self._keep) > 1:
            self._keep, self._fixed = [np.concatenate(self._keep)], [np.concatenate(self._fixed)]
            self._margins = [np.concatenate(self._margins)]
        return self._keep[0], self._fixed[0], self._margins[0]

    def _inside(self, anchors: Sequence[Anchor]) -> NDArray[np.float64]:
        """1 where a predicate is in an anchor (anchors, K), else 0."""
        inside = np.zeros((len(anchors), self.effects.size))
        for row, anchor in zip(inside, anchors, strict=True):
            row[list(anchor)] = 1.0
        return inside


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
