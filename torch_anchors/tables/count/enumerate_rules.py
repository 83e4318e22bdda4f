"""Conjunctions of instances' predicates, from small to large, with their counts on training rows.

Of each size all conjunctions are counted that are one of the size below with one predicate more, or, if these are too
many (`COUNTED`), the extensions of as many as that allows, those that are worth most. So in a table of few
columns all conjunctions are counted; in a wide one, where there are millions, those that grow out of the best smaller
ones.

Coverage only falls as a rule grows, so that a conjunction that can lead to nothing better than what is known is not
extended (the pruning of Agrawal and Srikant's Apriori, VLDB 1994); what is better, and worth most, `Leaders` say. Which
ones are extended depends on the instance alone, and never on others. No model is called.

Conjunctions and predicates that several instances have in common are counted once for all of them. The device is waited
for once in every `Extensions.n_bases` conjunctions that are extended, however many instances they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Int
from torch_anchors.errors import ArgumentError
from torch_anchors.tables.count.conjunctions import Conjunctions
from torch_anchors.tables.count.extensions import Extensions
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.discretizer import Predicates

COUNTED = 2**19
"""Conjunctions of each size and instance that are counted: all pairs of 724 predicates, all triples of 101."""
LARGE, COUNTED_LARGE = 4, 2**16
"""Those of this size and more, of which there are too many in any table."""
SAMPLES = (2**13, 2**16)
"""Numbers of rows of the samples on which the largest conjunctions of a table with many more rows are judged first."""
LOOKED_AT_ONCE = 2**18
"""Counts that are looked at together: what stays in a processor's cache is several times as fast."""


@runtime_checkable
class Leaders(Protocol):
    """The best conjunctions so far, and what a conjunction must have for a larger one to be better.

    Arrays of instances, rows and hits may have any shapes that broadcast together.
    """

    def consider(self, level: Conjunctions) -> None:
        """Let conjunctions of one size compete with the best so far."""
        ...

    def better(self, instance: NDArray[Any], n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.bool_]:
        """Which conjunctions `consider` has to hear of: those that may be better than the best so far, or as good."""
        ...

    def promising(self, instance: NDArray[Any], n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether adding predicates, which loses rows and hits, may yet give a better one, or one as good."""
        ...

    def rank(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        """What conjunctions are worth where not all of them can be extended; the higher the better."""
        ...

    def reach(self, n: NDArray[Any], n_hits: NDArray[Any], scale: float) -> NDArray[np.int64]:
        """The most rows that conjunctions may have, by counts on a sample; 0 where they surely are not better."""
        ...


def enumerate_rules(
    rows: RowsByLabel,
    predicates: Predicates,
    labels: Int[np.ndarray, " instances"],
    leaders: Leaders,
    max_size: int,
) -> None:
    """Has conjunctions of up to `max_size` predicates of each instance compete, but for hopeless ones.

    They are all that there are, unless too many of one size are promising: see above.

    In a table of more than 4 times `SAMPLES` rows the conjunctions of `max_size` predicates are judged by a sample
    first, and those that it rules out beyond doubt are not counted.

    Args:
        rows: training rows with the model's labels of them.
        predicates: of the instances.
        labels: the label of each instance whose rows are its hits.
        leaders: hear of every conjunction that may be better than what they know.
        max_size: most conditions in a rule.

    Raises:
        ArgumentError: `max_size` is negative.
    """
    if max_size < 0:
        raise ArgumentError(f"max_size must be 0 or more, got {max_size}. Pass the most conditions in a rule.")
    table = _PredicateTable.of(predicates, labels, rows.by_column.device)
    level = Conjunctions(
        instance=np.arange(len(labels)),
        members=np.zeros((len(labels), 0), dtype=np.int64),
        n=np.full(len(labels), rows.n_rows),
        n_hits=np.array(rows.n_by_label)[labels],
    )
    leaders.consider(level)
    if not max_size:
        return
    extensions, complete = Extensions(rows, *table.bins), True
    for size in range(1, max_size):
        if not len(level):
            return
        found = list(_extended(extensions, table, level, leaders, complete))
        level = Conjunctions.concatenate([Conjunctions.none(level.members.shape[1] + 1), *found])
        # What is promising still, now that all of this size are known: the same in whatever order they came.
        level = level[leaders.promising(level.instance, level.n, level.n_hits)]
        widest = n_extended(table.number.shape[1], size)
        complete = complete and int(np.bincount(level.instance, minlength=1).max()) <= widest
        level = level.highest(leaders.rank(level.n, level.n_hits), widest)
    level = _narrow(extensions, table, level, leaders, complete)
    for _ in _extended(extensions, table, level, leaders, complete, last=True):
        pass


def n_extended(n_predicates: int, size: int) -> int:
    """How many conjunctions of one size and instance are extended, at most."""
    counted = COUNTED if size + 1 < LARGE else COUNTED_LARGE
    return max(1, counted // max(n_predicates, 1))


@dataclass(frozen=True, slots=True)
class _PredicateTable:
    """The distinct predicates of all instances, and which of them each instance's predicates are.

    Of two bounds on the same `side` of a column the tighter implies the other, so no conjunction has both.
    """

    bins: tuple[Tensor, Tensor, Tensor]  # column, low and high of each, on the device
    number: Int[np.ndarray, "instances predicates"]
    side: Int[np.ndarray, "instances predicates"]
    real: Bool[np.ndarray, "instances predicates"]
    label: Int[np.ndarray, " instances"]

    @classmethod
    def of(cls, predicates: Predicates, labels: NDArray[np.int64], device: torch.device) -> _PredicateTable:
        column, low, high = (bins.cpu().numpy() for bins in (predicates.column, predicates.low, predicates.high))
        triples = np.stack([column, low, high], axis=-1).reshape(-1, 3)
        distinct, number = np.unique(triples, axis=0, return_inverse=True)
        column_of, low_of, high_of = torch.as_tensor(distinct.T.copy(), device=device)
        side = (2 * column + (low > 0)).astype(np.int32)  # "at most", or "above" and single bins
        return cls((column_of, low_of, high_of), number.reshape(column.shape), side, column >= 0, labels)

    def allowed(self, level: Conjunctions, only_later: bool) -> Bool[np.ndarray, "conjunctions predicates"]:
        """Which predicates may be added to each conjunction, or only those that come later than its own."""
        side = self.side[level.instance]
        allowed = self.real[level.instance]
        for members in level.members.T:
            allowed &= side != np.take_along_axis(side, members[:, None], axis=1)
        if only_later and level.members.shape[1]:
            allowed &= np.arange(side.shape[1]) > level.members[:, -1:]
        return allowed


@dataclass(frozen=True, slots=True)
class _Counted:
    """Conjunctions of one size, by their places in a level, and their counts with each predicate of their instance."""

    place: Int[np.ndarray, " conjunctions"]
    allowed: Bool[np.ndarray, "conjunctions predicates"]
    n: Int[np.ndarray, "conjunctions predicates"]
    n_hits: Int[np.ndarray, "conjunctions predicates"]


def _extended(
    extensions: Extensions,
    table: _PredicateTable,
    level: Conjunctions,
    leaders: Leaders,
    complete: bool,
    last: bool = False,
) -> Iterator[Conjunctions]:
    """Conjunctions of `level` with one predicate more that are better or, but for the `last`, may lead to better ones.

    `leaders` hears of all of them. Where `level` is not complete, some come more than once.
    """
    for counted in _counts(extensions, table, level, leaders, complete):
        instance, members = level.instance[counted.place], level.members[counted.place]
        wanted = leaders.better(instance[:, None], counted.n, counted.n_hits)
        if not last:
            wanted |= leaders.promising(instance[:, None], counted.n, counted.n_hits)
        entry, predicate = np.nonzero(wanted & counted.allowed)
        larger = np.sort(np.column_stack([members[entry], predicate]), axis=1)
        n, n_hits = (counts[entry, predicate].astype(np.int64) for counts in (counted.n, counted.n_hits))
        found = Conjunctions(instance[entry], larger, n, n_hits)
        leaders.consider(found)
        yield found


def _narrow(
    extensions: Extensions, table: _PredicateTable, level: Conjunctions, leaders: Leaders, complete: bool
) -> Conjunctions:
    """Those of `level` of which an extension may win, judged by samples; `n` falls to the most rows of one that may."""
    rows = extensions.rows
    for n_sampled in SAMPLES:
        if 4 * n_sampled > rows.n_rows:
            break
        sample, reach = Extensions(rows.sample(n_sampled), *table.bins), np.zeros_like(level.n)
        for counted in _counts(sample, table, level, leaders, complete):
            most = leaders.reach(counted.n, counted.n_hits, rows.n_rows / n_sampled)
            reach[counted.place] = np.where(counted.allowed, most, 0).max(axis=1)
        level = replace(level, n=np.minimum(level.n, reach))
        level = level[leaders.promising(level.instance, level.n, level.n_hits)]
    return level


def _counts(
    extensions: Extensions, table: _PredicateTable, level: Conjunctions, leaders: Leaders, complete: bool
) -> Iterator[_Counted]:
    """The counts of the conjunctions of `level` with one predicate more, of those that are promising.

    They come in parts, those of large coverage first, because rules found there prune the rest.
    """
    bases, base = np.unique(table.number[level.instance[:, None], level.members], axis=0, return_inverse=True)
    base = base.reshape(-1)
    largest = np.zeros(len(bases), dtype=np.int64)
    np.maximum.at(largest, base, level.n)
    order = np.lexsort((base, -largest[base]))
    n_together = max(1, LOOKED_AT_ONCE // max(table.number.shape[1], 1))
    while len(order):
        order = order[leaders.promising(level.instance[order], level.n[order], level.n_hits[order])]
        turn = np.cumsum(np.diff(base[order], prepend=base[order[:1]]) != 0)  # equal bases stand together
        now = turn < extensions.n_bases
        part, turn, order = order[now], turn[now], order[~now]
        first = np.unique(turn, return_index=True)[1]
        bases_now = torch.as_tensor(bases[base[part[first]]], device=extensions.rows.by_column.device)
        counts = extensions.count(bases_now).cpu().numpy()
        total = counts.sum(axis=0, dtype=np.int32)
        for start in range(0, len(part), n_together):
            place, row = part[start : start + n_together], turn[start : start + n_together]
            instance = level.instance[place]
            cell = table.number[instance] + (row * total.shape[1])[:, None]
            n = total.take(cell)
            n_hits = counts.reshape(-1).take(cell + (table.label[instance] * total.size)[:, None])
            yield _Counted(place, table.allowed(level[place], complete), n, n_hits)
