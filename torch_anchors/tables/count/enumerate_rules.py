"""Conjunctions of instances' predicates, all of them up to a size, with their counts on training rows.

The rows that satisfy a conjunction and those of each label among them are entries of a matrix product: with one line of
0s and 1s for each conjunction of size s, and one for each predicate, the product over the rows of one label counts the
hits of every conjunction of size s + 1. Conjunctions and predicates that several instances have in common are counted
once for all of them.

Coverage only falls as a rule grows, so that a conjunction that can lead to nothing better than what is known is not
extended (the pruning of Agrawal and Srikant's Apriori, VLDB 1994); what is better, `Leaders` say. No model is called.
The device is waited for once in every `RowsByLabel.n_bases` conjunctions that are extended, however many instances they
belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int
from torch_anchors.errors import ArgumentError
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.discretizer import Predicates

SAMPLES = (2**13, 2**16)
"""Numbers of rows of the samples on which the largest conjunctions of a table with many more rows are judged first."""
EXHAUSTIVE = 3
"""Conditions of the largest rules that are all counted; there are too many of larger ones."""
WIDEST = 1000
"""Rules of more conditions are extensions of at most this many of each size and instance: those of most hits, which no
extension of theirs exceeds."""
CERTAIN = 6.0
"""Standard errors by which a sample must rule a conjunction out: a chance of about one in 10^9."""


@runtime_checkable
@runtime_checkable
class Leaders(Protocol):
    """The best conjunctions so far, and what a conjunction must have for a larger one to be better."""

    def consider(self, level: Conjunctions) -> None:
        """Let conjunctions of one size compete with the best so far."""
        ...

    def promising(self, level: Conjunctions) -> Bool[np.ndarray, " conjunctions"]:
        """Whether adding predicates, which loses rows and hits, may yet give a better one."""
        ...

    def reach(self, sampled: Conjunctions, scale: float) -> Int[np.ndarray, " conjunctions"]:
        """The most rows that conjunctions may have, by counts on a sample; 0 where they surely are not better."""
        ...


def enumerate_rules(
    rows: RowsByLabel,
    predicates: Predicates,
    labels: Int[np.ndarray, " instances"],
    leaders: Leaders,
    max_size: int,
) -> None:
    """Has all conjunctions of up to `max_size` predicates of each instance compete, but for hopeless ones.

    Of more than `EXHAUSTIVE` predicates, only extensions of the `WIDEST` smaller ones that have the most hits compete.

    In a table of more than 4 times `SAMPLES` rows the conjunctions of `max_size` predicates are judged by a sample
    first, and those that it rules out beyond doubt are not counted.

    Args:
        rows: training rows with the model's labels of them.
        predicates: of the instances.
        labels: the label of each instance whose rows are its hits.
        leaders: hear of every conjunction that is counted.
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
    for size in range(1, max_size + 1):
        if not len(level):
            break
        if size > EXHAUSTIVE:
            level = _of_most_hits(level)
        if size == max_size:
            level = _narrow(rows, table, level, leaders)
        level = _extend(rows, table, level, leaders)


@dataclass(frozen=True, slots=True)
class Conjunctions:
    """Conjunctions of equal size: whose they are, their predicates' ids, ascending, and their counts."""

    instance: NDArray[np.int64]
    members: NDArray[np.int64]  # (conjunctions, size)
    n: NDArray[np.int64]
    n_hits: NDArray[np.int64]

    def __getitem__(self, chosen: NDArray[np.generic]) -> Conjunctions:
        return Conjunctions(self.instance[chosen], self.members[chosen], self.n[chosen], self.n_hits[chosen])

    def __len__(self) -> int:
        return len(self.n)

    @staticmethod
    def none(size: int) -> Conjunctions:
        zero = np.zeros(0, dtype=np.int64)
        return Conjunctions(zero, np.zeros((0, size), dtype=np.int64), zero, zero)

    @staticmethod
    def concatenate(parts: Sequence[Conjunctions]) -> Conjunctions:
        columns = ([getattr(part, f.name) for part in parts] for f in fields(Conjunctions))
        return Conjunctions(*map(np.concatenate, columns))


@dataclass(frozen=True, slots=True)
class _PredicateTable:
    """The distinct predicates of all instances, and which of them each instance's predicates are.

    `allowed[i, a, b]` tells whether predicate b of instance i may follow its predicate a in a conjunction.
    """

    bins: tuple[Tensor, Tensor, Tensor]  # column, low and high of each, on the device
    number: Int[np.ndarray, "instances predicates"]
    real: Bool[np.ndarray, "instances predicates"]
    allowed: Bool[np.ndarray, "instances predicates predicates"]
    label: Int[np.ndarray, " instances"]

    @classmethod
    def of(cls, predicates: Predicates, labels: NDArray[np.int64], device: torch.device) -> _PredicateTable:
        column, low, high = (bins.cpu().numpy() for bins in (predicates.column, predicates.low, predicates.high))
        triples = np.stack([column, low, high], axis=-1).reshape(-1, 3)
        distinct, number = np.unique(triples, axis=0, return_inverse=True)
        column_of, low_of, high_of = torch.as_tensor(distinct.T.copy(), device=device)

        def equal(bins: NDArray[np.int64]) -> NDArray[np.bool_]:
            return bins[:, :, None] == bins[:, None, :]

        # Of two bounds on the same side of a column the tighter implies the other.
        implied = equal(column) & (equal(low) | equal(high))
        later = np.triu(np.ones((column.shape[1], column.shape[1]), dtype=bool), 1)
        real = column >= 0
        return cls((column_of, low_of, high_of), number.reshape(column.shape), real, later & ~implied, labels)


def poisson_bounds(counts: NDArray[np.int64]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Least and largest mean of a Poisson variable that is `CERTAIN` standard errors or less from its counts."""
    middle, width = counts + CERTAIN**2 / 2, CERTAIN * np.sqrt(counts + CERTAIN**2 / 4)
    return middle - width, middle + width


def _extend(rows: RowsByLabel, table: _PredicateTable, level: Conjunctions, leaders: Leaders) -> Conjunctions:
    """The conjunctions of `level` with one predicate more that may lead to a better rule; `leaders` hears of all."""
    larger = [Conjunctions.none(level.members.shape[1] + 1)]
    for _, found in _extensions(rows, table, level, leaders):
        leaders.consider(found)
        larger.append(found[leaders.promising(found)])
    return Conjunctions.concatenate(larger)


def _of_most_hits(level: Conjunctions) -> Conjunctions:
    """For each instance the `WIDEST` conjunctions of most hits; of equals the first by their members."""
    order = np.lexsort((*level.members.T[::-1], -level.n_hits, level.instance))
    instance = level.instance[order]
    rank = np.arange(len(order)) - np.searchsorted(instance, instance)
    return level[np.sort(order[rank < WIDEST])]


def _narrow(rows: RowsByLabel, table: _PredicateTable, level: Conjunctions, leaders: Leaders) -> Conjunctions:
    """Those of `level` of which an extension may win, judged by samples; `n` falls to the most rows of one that may."""
    for n_sampled in SAMPLES:
        if 4 * n_sampled > rows.n_rows:
            break
        reach = np.zeros_like(level.n)
        for entry, found in _extensions(rows.sample(n_sampled), table, level, leaders):
            np.maximum.at(reach, entry, leaders.reach(found, rows.n_rows / n_sampled))
        level = replace(level, n=np.minimum(level.n, reach))
        level = level[leaders.promising(level)]
    return level


def _extensions(
    rows: RowsByLabel, table: _PredicateTable, level: Conjunctions, leaders: Leaders
) -> Iterator[tuple[NDArray[np.int64], Conjunctions]]:
    """Conjunctions that are one of `level`, named by its place, with one predicate more, and their counts.

    They come in parts, those of large coverage first, because rules found there prune the rest.
    """
    bases, base = np.unique(table.number[level.instance[:, None], level.members], axis=0, return_inverse=True)
    base = base.reshape(-1)
    largest = np.zeros(len(bases), dtype=np.int64)
    np.maximum.at(largest, base, level.n)
    order = np.lexsort((base, -largest[base]))
    while len(order):
        order = order[leaders.promising(level[order])]
        turn = np.cumsum(np.diff(base[order], prepend=base[order[:1]]) != 0)  # equal bases stand together
        now = turn < rows.n_bases
        part, turn, order = order[now], turn[now], order[~now]
        first = np.unique(turn, return_index=True)[1]
        counted = torch.as_tensor(bases[base[part[first]]], device=rows.by_column.device)
        counts = rows.count_extensions(*table.bins, counted).cpu().numpy()

        instance, members = level.instance[part], level.members[part]
        allowed = table.real[instance]
        for ids in members.T:
            allowed = allowed & table.allowed[instance, ids]
        entry, predicate = np.nonzero(allowed)
        instance, turn, number = instance[entry], turn[entry], table.number[instance[entry], predicate]
        n, n_hits = counts.sum(0)[turn, number], counts[table.label[instance], turn, number]
        yield part[entry], Conjunctions(instance, np.column_stack([members[entry], predicate]), n, n_hits)
