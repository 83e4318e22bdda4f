"""What margins tell of anchors that were never drawn: a ridge regression of the margin on which predicates hold.

A label says on which side of the border a row is, a margin how far; so a few dozen rows rank anchors that thousands of
labels would be needed for. With independent predicates the margin of a row drawn for an anchor is a sum of many small
effects, close to normal, and the anchor's precision is the chance that it is positive. This only ever chooses what to
sample next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from torch_anchors.search.protocol import Anchor

PENALTIES = 10.0 ** np.arange(-1, 4.5, 0.5)
"""Ridge penalties that are tried, in rows: the best is chosen by generalised cross-validation."""


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

    def add(self, keep: NDArray[np.bool_], margins: NDArray[np.float64]) -> None:
        """Takes in rows: which predicates hold (n, K), and the margins (n,)."""
        self._keep.append(keep.astype(np.float64))
        self._margins.append(margins)
        self.n += len(margins)

    def fit(self) -> None:
        """Estimates the effects anew from all rows (Golub, Heath and Wahba, Technometrics 1979, for the penalty)."""
        self._keep, self._margins = [np.concatenate(self._keep)], [np.concatenate(self._margins)]
        keep, margins = self._keep[0], self._margins[0]
        center, mean = keep.mean(axis=0), margins.mean()
        x, y = keep - center, margins - mean
        wide = x.shape[0] < x.shape[1]
        values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
        values = np.maximum(values, 0.0)
        along = vectors.T @ (y if wide else x.T @ y)
        # Of each penalty: how much of each direction stays unexplained, and the squares of what is left of y.
        kept = values / (values + PENALTIES[:, None])
        explained = along**2 if wide else along**2 / np.maximum(values, 1e-12)
        left = np.maximum(y @ y - (explained * kept * (2 - kept)).sum(axis=1), 0.0)
        errors = len(y) * left / np.maximum(len(y) - 1 - kept.sum(axis=1), 0.5) ** 2
        best = int(errors.argmin())
        weights = vectors @ (along / (values + PENALTIES[best]))
        self.effects = x.T @ weights if wide else weights
        self._base = float(mean - center @ self.effects)
        self._error = float(errors[best])
        self.explained = 1 - self._error / max(float(y.var()), 1e-12)

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
