"""For which counts each row of some requests matters, as the host knows it; which rows are hits only the device knows.

A row matters for the hits of its request, for those among its fresh rows if it is one, and for those of every
predicate that holds in it. The sums of these columns over the hits are all that a search is told of labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from torch_anchors._shapes import Bool, Float
from torch_anchors.engine.replies import Ask, AskPool, Counts, codes_of

_FRESH, _ALL, _PREDICATES = 0, 1, 2
"""The columns: fresh rows, all rows, and from the last on the predicates."""


class CountMatrix:
    """The rows of some requests against what they count for.

    Args:
        families: the requests.

    Attributes:
        asks: the requests, one family after the other.
        owners: the number of the request that each row is of (rows,).
        values: 1 where a row counts for a column, else 0 (rows, columns), float32.
    """

    def __init__(self, families: Sequence[Sequence[Ask]]) -> None:
        self.asks = [ask for family in families for ask in family]
        sizes = np.array([ask.slots.size for ask in self.asks], dtype=np.int64)
        n_fresh = np.array([ask.n_fresh for ask in self.asks], dtype=np.int64)
        self._starts, self._sizes = np.cumsum(sizes) - sizes, sizes
        self.owners = np.repeat(np.arange(len(sizes)), sizes)
        keeps = [_kept(family) for family in families]
        width = max((keep.shape[1] for keep in keeps), default=0)
        self.values = np.zeros((len(self.owners), _PREDICATES + width), dtype=np.float32)
        self.values[:, _FRESH] = np.arange(len(self.owners)) < np.repeat(self._starts + n_fresh, sizes)
        self.values[:, _ALL] = 1
        start = 0
        for keep in keeps:
            end = start + len(keep)
            self.values[start:end, _PREDICATES : _PREDICATES + keep.shape[1]] = keep
            start = end
        self._keeps = [part for keep, family in zip(keeps, families, strict=True) for part in _split(keep, family)]

    def counts(self, hits: Float[np.ndarray, "asks columns"]) -> Iterator[Counts]:
        """What is told of each request, given the sums of the columns over the rows that are hits."""
        n = np.zeros(hits.shape, dtype=np.int64)
        has_rows = self._sizes > 0
        if has_rows.any():
            n[has_rows] = np.add.reduceat(self.values, self._starts[has_rows], axis=0)
        whole = hits.astype(np.int64)
        of_rows = whole[:, :_PREDICATES].tolist()
        for (n_fresh, n_all), with_each, n_each, keep in zip(of_rows, whole, n, self._keeps, strict=True):
            own = slice(_PREDICATES, _PREDICATES + keep.shape[1])
            yield Counts(n_fresh, n_all, with_each[own], keep, n_each[own])


def _kept(family: Sequence[Ask]) -> Bool[np.ndarray, "rows predicates"]:
    """Which predicates hold in the rows of a family; none where rows say nothing about predicates."""
    first = family[0]
    if not isinstance(first, AskPool) or first.codes is None:
        return np.zeros((sum(ask.slots.size for ask in family), 0), dtype=bool)
    codes = [codes_of(ask).numpy() for ask in family]
    return first.sampler.kept(codes[0] if len(codes) == 1 else np.concatenate(codes))


def _split(keep: Bool[np.ndarray, "rows predicates"], family: Sequence[Ask]) -> list[NDArray[np.bool_]]:
    """The rows of each request of a family."""
    if len(family) == 1:
        return [keep]
    return np.split(keep, np.cumsum([ask.slots.size for ask in family])[:-1])
