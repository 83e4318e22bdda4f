"""The rule of largest coverage among all conjunctions of an instance's predicates, by counting training rows.

Where precision is a share of training rows, the rows that satisfy a conjunction and those of each label among them
are entries of a matrix product: with one line of 0s and 1s for each conjunction of size s, and one for each
predicate, the product over the rows of one label counts the hits of every conjunction of size s + 1. Conjunctions
and predicates that several instances have in common are counted once for all of them.

Coverage only falls as a rule grows, so that a conjunction whose coverage is not above the best rule's so far is not
extended (the pruning of Agrawal and Srikant's Apriori, VLDB 1994, with the best rule as the support). Nothing is
lost by it: the rule returned is the best of all conjunctions up to the given size, and its counts are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Int
from torch_anchors.engine.labelled_rows import LabelledRows
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb.discretizer import Predicates
from torch_anchors.search.protocol import Anchor

SAMPLES = (2**13, 2**16)
"""Numbers of rows of the samples on which the largest conjunctions of a table with many more rows are judged first."""
CERTAIN = 6.0
"""Standard errors by which a sample must rule a conjunction out: a chance of about one in 10^9."""


@dataclass(frozen=True, slots=True)
class CountedRule:
    """A conjunction with its exact counts on all training rows.

    `holds` says whether its precision is at least the threshold with the confidence asked for.
    """

    anchor: Anchor
    n: int
    n_hits: int
    holds: bool

    @property
    def precision(self) -> float:
        """Share of hits among the training rows that satisfy the rule; 0 where there are none."""
        return self.n_hits / self.n if self.n else 0.0


def best_rules(
    rows: LabelledRows,
    predicates: Predicates,
    labels: Int[np.ndarray, " instances"],
    *,
    threshold: float = 0.95,
    delta: float = 0.1,
    max_size: int = 3,
) -> list[CountedRule]:
    """For each instance, the rule of largest coverage that holds, of all conjunctions of its predicates.

    A rule holds when it has more hits than `threshold` would give by chance with probability `delta`:
    n_hits - 1/2 - t n >= z sqrt(t (1 - t) n), Wilson's score test (JASA 1927) with the continuity correction. The
    largest of thousands of rules whose share of hits just reaches the threshold owes it to luck, and falls below on
    other rows; so does a rule that few rows satisfy. (At a threshold of 1 all that is asked is that every row be a
    hit.) Of equally large rules one with the fewest conditions wins. Where no rule holds, the one of those
    counted with the highest lower confidence bound on its precision is returned, with `holds` False.

    No model is called. The device is waited for once in every `LabelledRows.n_bases` conjunctions that are extended,
    however many instances they belong to. In a table of more than 4 times `SAMPLES` rows the conjunctions of `max_size`
    predicates are judged by a sample first, and those that it rules out beyond doubt are not counted.

    Args:
        rows: training rows with the model's labels of them.
        predicates: of the instances.
        labels: the model's label of each instance.
        threshold: precision that a rule must have, in (0, 1].
        delta: chance that a rule of lower precision passes the test, in (0, 1).
        max_size: most conditions in a rule.

    Raises:
        ArgumentError: `max_size` is negative.

    Example:
        >>> binned = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(100, 1)
        >>> rows = LabelledRows.of(binned, binned[:, 0], n_labels=2)
        >>> bins = torch.tensor([[1, 1]])
        >>> best_rules(rows, Predicates(torch.tensor([[0, 1]]), bins, bins), np.array([1]))
        [CountedRule(anchor=(0,), n=200, n_hits=200, holds=True)]
    """
    if max_size < 0:
        raise ArgumentError(f"max_size must be 0 or more, got {max_size}. Pass the most conditions in a rule.")
    table = _Table.of(predicates, labels, rows.by_column.device)
    leaders = _Leaders.none(len(labels), threshold, delta)
    level = _Conjunctions(
        instance=np.arange(len(labels)),
        members=np.zeros((len(labels), 0), dtype=np.int64),
        n=np.full(len(labels), rows.n_rows),
        n_hits=np.array(rows.n_by_label)[labels],
    )
    leaders.consider(level)
    for size in range(1, max_size + 1):
        if size == max_size:
            level = _narrow(rows, table, level, leaders)
        level = _extend(rows, table, level, leaders)
    return leaders.rules()


@dataclass(frozen=True, slots=True)
class _Conjunctions:
    """Conjunctions of equal size: whose they are, their predicates' ids, ascending, and their counts."""

    instance: NDArray[np.int64]
    members: NDArray[np.int64]  # (conjunctions, size)
    n: NDArray[np.int64]
    n_hits: NDArray[np.int64]

    def __getitem__(self, chosen: NDArray[np.generic]) -> _Conjunctions:
        return _Conjunctions(self.instance[chosen], self.members[chosen], self.n[chosen], self.n_hits[chosen])

    def __len__(self) -> int:
        return len(self.n)

    @staticmethod
    def none(size: int) -> _Conjunctions:
        zero = np.zeros(0, dtype=np.int64)
        return _Conjunctions(zero, np.zeros((0, size), dtype=np.int64), zero, zero)

    @staticmethod
    def concatenate(parts: Sequence[_Conjunctions]) -> _Conjunctions:
        columns = ([getattr(part, f.name) for part in parts] for f in fields(_Conjunctions))
        return _Conjunctions(*map(np.concatenate, columns))


@dataclass(frozen=True, slots=True)
class _Table:
    """The distinct predicates of all instances, and which of them each instance's predicates are.

    `allowed[i, a, b]` tells whether predicate b of instance i may follow its predicate a in a conjunction.
    """

    bins: tuple[Tensor, Tensor, Tensor]  # column, low and high of each, on the device
    number: Int[np.ndarray, "instances predicates"]
    real: Bool[np.ndarray, "instances predicates"]
    allowed: Bool[np.ndarray, "instances predicates predicates"]
    label: Int[np.ndarray, " instances"]

    @classmethod
    def of(cls, predicates: Predicates, labels: NDArray[np.int64], device: torch.device) -> _Table:
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


@dataclass(slots=True)
class _Leaders:
    """The best rule of each instance so far, and what a conjunction must have for a larger one to beat it."""

    threshold: float
    z: float
    anchor: list[Anchor]
    n: NDArray[np.int64]
    n_hits: NDArray[np.int64]
    holds: NDArray[np.bool_]
    bound: NDArray[np.float64]  # lower bound on the precision, of rules that do not hold

    @classmethod
    def none(cls, n_instances: int, threshold: float, delta: float) -> _Leaders:
        zero = np.zeros(n_instances, dtype=np.int64)
        z = max(NormalDist().inv_cdf(1 - delta), 0.0)
        return cls(threshold, z, [()] * n_instances, zero, zero.copy(), zero > 0, np.full(n_instances, -1.0))

    def needed(self, n: NDArray[np.int64]) -> NDArray[np.float64]:
        """Fewest hits with which a rule on `n` rows holds."""
        t = self.threshold
        return t * n + (0.5 + self.z * np.sqrt(t * (1 - t) * n) if t < 1 else 0.0)

    def promising(self, level: _Conjunctions) -> NDArray[np.bool_]:
        """Whether adding predicates, which loses rows and hits, may yet give a rule that beats the leader."""
        more = np.where(self.holds, self.n, 0)[level.instance] + 1
        return (level.n >= more) & (level.n_hits >= self.needed(more))

    def reach(self, sampled: _Conjunctions, scale: float) -> NDArray[np.int64]:
        """The most rows that conjunctions may have, by counts on a sample; 0 where they surely do not hold."""
        n_misses = sampled.n - sampled.n_hits
        most_hits, fewest_misses = _bounds(sampled.n_hits)[1], _bounds(n_misses)[0]
        may_hold = most_hits * (1 - self.threshold) >= fewest_misses * self.threshold
        return np.where(may_hold, np.ceil(_bounds(sampled.n)[1] * scale), 0).astype(np.int64)

    def consider(self, level: _Conjunctions) -> None:
        """Let conjunctions of one size compete; earlier ones win ties."""
        hold = (level.n > 0) & (level.n_hits >= self.needed(level.n))
        for chosen, score, best in (
            (~hold, self._lower_bound(level), np.where(self.holds, np.inf, self.bound)),
            (hold, level.n.astype(np.float64), np.where(self.holds, self.n, 0)),
        ):
            entry = np.flatnonzero(chosen)
            entry = entry[np.lexsort((-score[entry], level.instance[entry]))]
            instance, first = np.unique(level.instance[entry], return_index=True)
            better = score[entry[first]] > best[instance]
            entry, instance = entry[first[better]], instance[better]
            self.n[instance], self.n_hits[instance] = level.n[entry], level.n_hits[entry]
            self.holds[instance], self.bound[instance] = hold[entry], score[entry]
            for i, members in zip(instance.tolist(), level.members[entry].tolist(), strict=True):
                self.anchor[i] = tuple(members)

    def rules(self) -> list[CountedRule]:
        counts = zip(self.anchor, self.n.tolist(), self.n_hits.tolist(), self.holds.tolist(), strict=True)
        return [CountedRule(*rule) for rule in counts]

    def _lower_bound(self, level: _Conjunctions) -> NDArray[np.float64]:
        """Wilson's lower bound on the precision, at the confidence of the test."""
        n, z2 = np.maximum(level.n, 1), self.z**2
        p = level.n_hits / n
        bound = p + z2 / (2 * n) - self.z * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2))
        return np.where(level.n > 0, bound / (1 + z2 / n), -np.inf)


def _bounds(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and largest mean of a Poisson variable that is `CERTAIN` standard errors or less from its counts."""
    middle, width = counts + CERTAIN**2 / 2, CERTAIN * np.sqrt(counts + CERTAIN**2 / 4)
    return middle - width, middle + width


def _extend(rows: LabelledRows, table: _Table, level: _Conjunctions, leaders: _Leaders) -> _Conjunctions:
    """The conjunctions of `level` with one predicate more that may lead to a better rule; `leaders` hears of all."""
    larger = [_Conjunctions.none(level.members.shape[1] + 1)]
    for _, found in _extensions(rows, table, level, leaders):
        leaders.consider(found)
        larger.append(found[leaders.promising(found)])
    return _Conjunctions.concatenate(larger)


def _narrow(rows: LabelledRows, table: _Table, level: _Conjunctions, leaders: _Leaders) -> _Conjunctions:
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
    rows: LabelledRows, table: _Table, level: _Conjunctions, leaders: _Leaders
) -> Iterator[tuple[NDArray[np.int64], _Conjunctions]]:
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
        yield part[entry], _Conjunctions(instance, np.column_stack([members[entry], predicate]), n, n_hits)
