"""For each instance the rules to test, from one that will surely pass to a gamble of larger coverage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count.conjunctions import Conjunctions
from torch_anchors.tables.count.forecast import Forecast
from torch_anchors.tables.count.poisson import poisson_bounds

RUNGS = (2.4, 1.5, 0.7, 0.0, -0.7, -1.5)
"""Predicted standard errors above what the test asks: a rule is proposed for each, in this order.

The first will pass nearly surely (0.99), the last rarely (0.07). A gamble late in the order costs nothing, because
what was certified before it stays certified.
"""

_BOUND = len(RUNGS)
"""The place of the rule of highest lower bound, below the rungs."""


class Ladder:
    """For each instance and rung, the rule of largest coverage so far whose score is at least the rung's.

    Beside the rungs it keeps the rule of highest lower bound, for instances that no rung has a rule for. Of rules of
    equal coverage, or bound, the shortest stays, then that of more hits, or rows, then the first by its predicates: so
    the leaders do not depend on the order in which rules are considered.

    Args:
        n_instances: how many instances there are.
        n_rows: for selection.
        forecast: of the test.
    """

    def __init__(self, n_instances: int, n_rows: int, forecast: Forecast) -> None:
        self._forecast, self._rungs = forecast, _Rungs.of(forecast, n_rows)
        self._anchors: list[list[Anchor]] = [[()] * n_instances for _ in range(len(RUNGS) + 1)]
        shape = len(RUNGS) + 1, n_instances
        self._best = np.zeros(shape)  # rows of the leaders, 0 where there is none; the last line has lower bounds
        self._best[_BOUND] = -np.inf
        self._second = np.full(shape, -1)  # hits of the leaders, in the last line rows
        self._size = np.zeros(shape, dtype=np.int64)

    def consider(self, level: Conjunctions) -> None:
        """Let conjunctions of one size compete with the best so far."""
        for rung, needed in enumerate(self._rungs.hits_needed):
            on = np.flatnonzero(level.n_hits >= needed[level.n])
            self._take(rung, level[on], level.n[on], level.n_hits[on])
        on_no_rung = level[self._best[_BOUND - 1, level.instance] == 0]
        bound = self._forecast.lower_bound(on_no_rung.n, on_no_rung.n_hits)
        self._take(_BOUND, on_no_rung, bound, on_no_rung.n)

    def better(self, instance: NDArray[Any], n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.bool_]:
        """Which conjunctions may be better than a leader, or as good; a quick look that may let others pass."""
        on_rung = (n_hits >= self._rungs.hits_needed[-1][n]) & (n >= self._fewest_rows[instance])
        return on_rung | (n_hits >= self._wanted_share[instance] * n)  # no lower bound is above the share of hits

    def promising(self, instance: NDArray[Any], n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether adding predicates, which loses rows and hits, may yet give a rule as good as a leader."""
        enough = n_hits >= self._wanted_hits[instance]
        # At best no hit is lost, and of the misses as many as a rung asks for. The lowest rung reaches furthest, and
        # the leader of the highest has the fewest rows: most are seen off by these two.
        found = np.minimum(n, self._rungs.most_rows[-1][n_hits]) >= self._fewest_rows[instance]
        place = np.nonzero(found & ~enough)
        instance, n, n_hits = (np.broadcast_to(array, found.shape)[place] for array in (instance, n, n_hits))
        reaches = np.zeros(len(n), dtype=bool)
        for most, leader in zip(self._rungs.most_rows, np.maximum(self._best, 1).astype(np.int32), strict=False):
            reaches |= np.minimum(n, most[n_hits]) >= leader[instance]
        found[place] = reaches
        return found | enough

    def rank(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        """How near conjunctions are to what the test asks for: those of highest rank are extended."""
        return self._forecast.excess(n, n_hits)

    def reach(self, n: NDArray[Any], n_hits: NDArray[Any], scale: float) -> NDArray[np.int64]:
        """The most rows that conjunctions may have, by counts on a sample; 0 where they surely are on no rung."""
        hits = np.ceil(poisson_bounds(n_hits)[1] * scale)
        misses = np.floor(np.maximum(poisson_bounds(n - n_hits)[0], 0) * scale)
        may_be = self._forecast.score(hits + misses, hits) >= RUNGS[-1]
        return np.where(may_be, np.ceil(poisson_bounds(n)[1] * scale), 0).astype(np.int64)

    def proposals(self) -> list[list[Anchor]]:
        """The rules of each instance from the highest rung down, each of larger coverage than the one before."""
        larger = np.diff(self._best[:_BOUND], axis=0, prepend=0) > 0
        return [
            [self._anchors[rung][i] for rung in np.flatnonzero(new)] or [self._anchors[_BOUND][i]]
            for i, new in enumerate(larger.T)
        ]

    @property
    def _fewest_rows(self) -> NDArray[np.int32]:
        """Rows of each instance's leader that has the fewest, which is the one of the highest rung; 1 at least."""
        return np.maximum(self._best[0], 1).astype(np.int32)

    @property
    def _wanted_share(self) -> NDArray[np.float64]:
        """The highest lower bound of each instance that no rung has a rule for; of the others more than any."""
        return np.where(self._best[_BOUND - 1] > 0, 2.0, self._best[_BOUND])

    @property
    def _wanted_hits(self) -> NDArray[np.int32]:
        """Hits that give a lower bound, h / (h + z^2) if there are no misses, as high as `_wanted_share`."""
        share = np.maximum(self._wanted_share, 0.0)
        possible = share < 1
        hits = share * self._forecast.z**2 / np.where(possible, 1 - share, 1.0)
        most = self._rungs.n_rows + 1
        return np.where(possible, np.clip(np.ceil(hits - 1e-6), 1, most), most).astype(np.int32)

    def _take(self, rung: int, level: Conjunctions, best: NDArray[Any], second: NDArray[Any]) -> None:
        """Put the best conjunction of each instance on a rung, where it is better than the leader there."""
        old, size = self._best[rung], level.members.shape[1]
        compete = np.flatnonzero(best >= old[level.instance])
        keys = (*level.members[compete].T[::-1], -second[compete], -best[compete], level.instance[compete])
        order = compete[np.lexsort(keys)]
        instance, place = np.unique(level.instance[order], return_index=True)
        for i, entry in zip(instance.tolist(), order[place].tolist(), strict=True):
            anchor = tuple(level.members[entry].tolist())
            mine = best[entry], -size, second[entry]
            theirs = old[i], -self._size[rung, i], self._second[rung, i]
            if mine > theirs or (mine == theirs and anchor < self._anchors[rung][i]):
                self._best[rung, i], self._second[rung, i], self._size[rung, i] = best[entry], second[entry], size
                self._anchors[rung][i] = anchor


@dataclass(frozen=True, slots=True)
class _Rungs:
    """What rungs ask of numbers of rows and hits, from 0 up to all, one line a rung.

    Args:
        hits_needed: hits that so many rows must have; more than all where none suffice.
        most_rows: rows that may have so few hits; 0 where there are none.
    """

    hits_needed: NDArray[np.int32]
    most_rows: NDArray[np.int32]

    @property
    def n_rows(self) -> int:
        return self.most_rows.shape[1] - 1

    @staticmethod
    @lru_cache(maxsize=4)  # in a large table it takes as long as an explanation
    def of(forecast: Forecast, n_rows: int) -> _Rungs:
        numbers = np.arange(n_rows + 1)
        needed = np.stack([forecast.hits_needed(numbers, least) for least in RUNGS])
        ascending = np.minimum.accumulate(needed[:, ::-1], axis=1)[:, ::-1]
        most = np.stack([np.searchsorted(line, numbers, side="right") - 1 for line in ascending])
        return _Rungs(np.minimum(needed, n_rows + 1).astype(np.int32), np.maximum(most, 0).astype(np.int32))
