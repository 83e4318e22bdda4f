"""Rules of large coverage that are certified for new rows, by counting a table's rows in two parts.

The rule of largest coverage among thousands owes its share of hits partly to luck, so the rows that it was chosen on
say too much for it. Here the rows are split at random, once and for all. On the first part, for *selection*, all
conjunctions are counted and a few are chosen and put in a fixed order, from one that will surely pass the test to a
gamble of larger coverage. On the second part, for the *test*, they are tested in this order, each at the full error
probability, until one fails; the last one that passed is certified.

Why no error probability is shared out among them (the fixed-sequence procedure; Maurer, Hothorn and Lehmacher 1995,
Westfall and Krishen 2001): given the first part, the order is fixed. To certify any rule whose precision is below the
threshold, the procedure must in particular pass the first such rule in the order. That is one rule, which the test
rows have not chosen, and its hits among those of them that satisfy it are binomial. Its chance to pass is at most
delta, given the first part and hence also without.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors._shapes import Float, Int
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.count.binomial import at_least, lower_end
from torch_anchors.tables.count.enumerate_rules import Conjunctions, enumerate_rules, poisson_bounds
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.count.split_table import SplitTable
from torch_anchors.tables.discretizer import Predicates

RUNGS = (2.4, 1.5, 0.7, 0.0, -0.7, -1.5)
"""Predicted standard errors above what the test asks: a rule is proposed for each, in this order.

The first will pass nearly surely (0.99), the last rarely (0.07). A gamble late in the order costs nothing, because
what was certified before it stays certified.
"""

TEST_SHARE, LOWER_SHARE, UPPER_SHARE = 0.95, 0.025, 0.025
"""Parts of delta for the tests, and for lower ends above the threshold and upper ends of the intervals."""


@dataclass(frozen=True, slots=True)
class CertifiedRule:
    """A conjunction, and what rows that had no part in choosing it say of it.

    With probability `1 - delta` over the draw of the table all of this is true: the precision on new rows is in
    `interval`, and at least the threshold if the rule is certified.

    Args:
        anchor: ids of the instance's predicates.
        n: test rows that satisfy the rule, without the explained row itself.
        n_hits: those of them with the explained class.
        certified: whether the precision on new rows is at least the threshold, with confidence.
        interval: of the precision on new rows.
        coverage: share of all rows that satisfy the rule.
        n_alternatives: how many sets of columns the candidates name, of which the test rows chose this one.
    """

    anchor: Anchor
    n: int
    n_hits: int
    certified: bool
    interval: tuple[float, float]
    coverage: float
    n_alternatives: int = 1

    @property
    def precision(self) -> float:
        """Share of hits among the test rows that satisfy the rule; 0 where there are none."""
        return self.n_hits / self.n if self.n else 0.0


def certified_rules(
    split: SplitTable,
    predicates: Predicates,
    instances: Float[np.ndarray, "instances columns"],
    classes: Int[np.ndarray, " instances"],
    *,
    threshold: float = 0.95,
    delta: float = 0.1,
    max_size: int = 3,
) -> list[CertifiedRule]:
    """For each instance a rule of large coverage, certified for new rows where the rows suffice for it.

    Where none is certified, the one that was likeliest to be is returned, with an interval that is as valid.

    Args:
        split: the table's rows in two parts.
        predicates: of the instances.
        instances: the explained rows, numbers and category codes. One that is a row of the table is no evidence for
            its own rule, which always holds on it; it is left out of the test.
        classes: the model's class of each instance, or the one to explain.
        threshold: precision that a rule must have on new rows, in (0, 1]; none is ever certified to have 1.
        delta: chance that what is said of an instance's rule is false, in (0, 1).
        max_size: most conditions in a rule.

    Raises:
        ArgumentError: `max_size` is negative.
    """
    candidates = proposed_rules(
        split.selection,
        predicates,
        classes,
        test_ratio=split.test_ratio,
        threshold=threshold,
        alpha=TEST_SHARE * delta,
        max_size=max_size,
    )
    sizes = np.array([len(own) for own in candidates], dtype=np.int64)
    owner = np.repeat(np.arange(len(candidates)), sizes)
    anchors = list(chain.from_iterable(candidates))
    bins = torch.stack([predicates.column, predicates.low, predicates.high]).cpu().numpy()
    counts = split.count(Conditions.of_anchors(bins, owner, anchors), classes[owner])
    tested = _Tested.of(counts, split.twins(instances)[owner], classes[owner])

    first = np.cumsum(sizes) - sizes
    chosen, certified = _last_passed(tested.passes(threshold, TEST_SHARE * delta), first, sizes)
    low, high = tested.intervals(chosen, certified, sizes, threshold, delta)
    n, n_hits, coverage = tested.n[chosen], tested.n_hits[chosen], counts[chosen, 0] / split.n_rows
    columns = (n, n_hits, certified, low, high, coverage)
    named = [len({frozenset(bins[0, i, list(a)].tolist()) for a in own}) for i, own in enumerate(candidates)]
    return [
        CertifiedRule(anchors[k], n, n_hits, certified, (low, high), coverage, n_alternatives)
        for k, n, n_hits, certified, low, high, coverage, n_alternatives in zip(
            chosen, *(c.tolist() for c in columns), named, strict=True
        )
    ]


# --------------------------------------------------------------------------------------------------------- selection


def proposed_rules(
    rows: RowsByLabel,
    predicates: Predicates,
    classes: Int[np.ndarray, " instances"],
    *,
    test_ratio: float,
    threshold: float,
    alpha: float,
    max_size: int,
) -> list[list[Anchor]]:
    """For each instance rules to test, in the order to test them in: ever larger and ever less sure to pass.

    Args:
        rows: the rows for selection; nothing else is looked at.
        predicates: of the instances.
        classes: of the instances.
        test_ratio: test rows for each row for selection.
        threshold, alpha: of the test.
        max_size: most conditions in a rule.

    Returns:
        At least one rule for each instance, and as many as there are `RUNGS` at most.
    """
    forecast = Forecast(test_ratio, threshold, alpha)
    ladder = _Ladder(len(classes), forecast)
    enumerate_rules(rows, predicates, classes, ladder, max_size)
    return ladder.proposals()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the rows for selection lead one to expect of the test. It decides what is tested, never what passes.

    Args:
        test_ratio: test rows for each row for selection.
        threshold, alpha: of the test.
    """

    test_ratio: float
    threshold: float
    alpha: float

    def score(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        """By how many standard errors the hits to come are expected to exceed those that the test asks for.

        The standard error is that of hits to come whose precision is known from these `n` rows alone. Minus infinity
        where even hits alone would be too few to pass.
        """
        t, n_test = self.threshold, np.maximum(n, 1) * self.test_ratio  # how many satisfy it is known well enough
        p = (n_hits + 0.5) / (np.maximum(n, 1) + 1)
        needed = t * n_test + 0.5 + self._z * np.sqrt(t * (1 - t) * n_test)
        error = np.sqrt(p * (1 - p) * n_test * (1 + self.test_ratio))
        score = (p * n_test - needed) / np.maximum(error, 1e-9)
        return np.where((n > 0) & (n >= self.fewest), score, -np.inf)

    def lower_bound(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        """Wilson's lower bound on the precision, to choose among rules that will not pass."""
        z2, n_rows = self._z**2, np.maximum(n, 1)
        p = n_hits / n_rows
        bound = p + z2 / (2 * n_rows) - self._z * np.sqrt(p * (1 - p) / n_rows + z2 / (4 * n_rows**2))
        return np.where(n > 0, bound / (1 + z2 / n_rows), -1.0)

    @property
    def _z(self) -> float:
        return max(NormalDist().inv_cdf(1 - self.alpha), 0.0)

    @property
    def fewest(self) -> float:
        """Rows for selection that a rule must have to leave it enough test rows to pass with hits alone."""
        if self.threshold >= 1 or self.test_ratio == 0:
            return math.inf
        return math.log(self.alpha) / math.log(self.threshold) / self.test_ratio


class _Ladder:
    """For each instance and rung, the rule of largest coverage so far whose score is at least the rung's.

    Beside the rungs it keeps the rule of highest lower bound, for instances that no rung has a rule for.
    """

    def __init__(self, n_instances: int, forecast: Forecast) -> None:
        self._forecast = forecast
        self._anchors: list[list[Anchor]] = [[()] * n_instances for _ in range(len(RUNGS) + 1)]
        self._n = np.zeros((len(RUNGS), n_instances), dtype=np.int64)  # 0 where there is none
        self._bound = np.full(n_instances, -np.inf)

    def consider(self, level: Conjunctions) -> None:
        """Let conjunctions of one size compete; earlier ones win ties, and so do those with more hits."""
        score = self._forecast.score(level.n, level.n_hits)
        order = np.lexsort((-score, -level.n, level.instance))
        for rung, least in enumerate(RUNGS):
            self._take(rung, level, order[score[order] >= least], level.n, self._n[rung])
        bound = self._forecast.lower_bound(level.n, level.n_hits)
        self._take(len(RUNGS), level, np.lexsort((-level.n, -bound, level.instance)), bound, self._bound)

    def promising(self, level: Conjunctions) -> NDArray[np.bool_]:
        """Whether adding predicates, which loses rows and hits, may yet give a rule that beats a leader."""
        # No extension has a higher lower bound than one that loses all misses and no hit.
        highest = self._forecast.lower_bound(level.n_hits, level.n_hits)
        found = (self._n[-1] == 0)[level.instance] & (highest > self._bound[level.instance])
        if math.isinf(self._forecast.fewest):
            return found
        for least, leader in zip(RUNGS, self._n, strict=True):
            needed = np.maximum(leader[level.instance] + 1, self._forecast.fewest)
            # At best no hit is lost, and of the misses as many as leaves the rows that are needed.
            best = self._forecast.score(np.maximum(needed, level.n_hits), level.n_hits)
            found |= (level.n >= needed) & (best >= least)
        return found

    def reach(self, sampled: Conjunctions, scale: float) -> NDArray[np.int64]:
        """The most rows that conjunctions may have, by counts on a sample; 0 where they surely are on no rung."""
        hits = np.ceil(poisson_bounds(sampled.n_hits)[1] * scale)
        misses = np.floor(np.maximum(poisson_bounds(sampled.n - sampled.n_hits)[0], 0) * scale)
        may_be = self._forecast.score(hits + misses, hits) >= RUNGS[-1]
        return np.where(may_be, np.ceil(poisson_bounds(sampled.n)[1] * scale), 0).astype(np.int64)

    def proposals(self) -> list[list[Anchor]]:
        """The rules of each instance from the highest rung down, each of larger coverage than the one before."""
        larger = np.diff(self._n, axis=0, prepend=0) > 0
        return [
            [self._anchors[rung][i] for rung in np.flatnonzero(new)] or [self._anchors[-1][i]]
            for i, new in enumerate(larger.T)
        ]

    def _take(
        self,
        rung: int,
        level: Conjunctions,
        order: NDArray[np.int64],
        value: NDArray[Any],
        best: NDArray[Any],
    ) -> None:
        """Put the first of each instance in `order` on a rung where its value exceeds the best there."""
        instance, place = np.unique(level.instance[order], return_index=True)
        entry = order[place]
        better = value[entry] > best[instance]
        entry, instance = entry[better], instance[better]
        best[instance] = value[entry]
        for i, members in zip(instance.tolist(), level.members[entry].tolist(), strict=True):
            self._anchors[rung][i] = tuple(members)


# -------------------------------------------------------------------------------------------------------------- test


@dataclass(frozen=True, slots=True)
class _Tested:
    """Counts of candidates on the test rows, in favour of neither error.

    An instance may be a row of the table or a new one that is equal to it, and only in the first case is that row
    to be left out. Lower ends and acceptances leave out a hit, upper ends a miss, and keep the other: either count
    is right in one of the cases and errs to the safe side in the other.
    """

    n: NDArray[np.int64]
    n_hits: NDArray[np.int64]
    n_above: NDArray[np.int64]  # for upper ends
    n_hits_above: NDArray[np.int64]

    @classmethod
    def of(cls, counts: NDArray[np.int64], twin: NDArray[np.int64], classes: NDArray[np.int64]) -> _Tested:
        """From the counts of candidates, the class of the row equal to each one's instance, and their classes."""
        _, n, n_hits = counts.T
        hit = (twin == classes).astype(np.int64)
        miss = ((twin >= 0) & (twin != classes)).astype(np.int64)
        return cls(n - hit, n_hits - hit, n - miss, n_hits)

    def passes(self, threshold: float, alpha: float) -> NDArray[np.bool_]:
        """Whether so many hits have a chance of at most `alpha` where the precision is the threshold."""
        return (self.n > 0) & (self.n_hits > 0) & (at_least(self.n_hits, self.n, threshold) <= alpha)

    def intervals(
        self,
        chosen: NDArray[np.int64],
        certified: NDArray[np.bool_],
        sizes: NDArray[np.int64],
        threshold: float,
        delta: float,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper ends for the chosen candidates, valid although the test rows have a say in the choice.

        An acceptance is itself a lower bound, the threshold, and was paid for. A higher one, and the upper end, are
        paid for as if all of an instance's candidates got one. Without an acceptance the first candidate is chosen
        whatever its counts, and the level of the test is left for its lower end.
        """
        alpha = np.where(certified, LOWER_SHARE * delta / sizes, TEST_SHARE * delta)
        low = lower_end(self.n_hits[chosen], self.n[chosen], alpha)
        low = np.where(certified, np.maximum(low, threshold), np.minimum(low, threshold))
        n_misses = self.n_above[chosen] - self.n_hits_above[chosen]
        return low, 1 - lower_end(n_misses, self.n_above[chosen], UPPER_SHARE * delta / sizes)


def interval_of_any(n: int, n_hits: int, *, size: int, n_predicates: int, delta: float) -> tuple[float, float]:
    """Bounds on a rule's precision on new rows, however it was chosen by the very rows that it is counted on.

    They hold for all rules that there are at once: `delta` is shared among the sizes s, by 1 / ((s + 1) (s + 2)), and
    among the rules of a size. So they are wide. The instance may be one of the rows, which then says nothing of new
    ones: the lower end leaves out a hit, the upper end a miss.

    Args:
        n, n_hits: rows that satisfy the rule, and those of them with the explained label.
        size: predicates of the rule.
        n_predicates: of the instance.
        delta: chance that the precision is outside.
    """
    alpha = np.array(delta / (2 * (size + 1) * (size + 2) * math.comb(n_predicates, size)))
    low, high = (lower_end(np.array(k - 1), np.array(n - 1), alpha) for k in (n_hits, n - n_hits))
    return float(low), float(1 - high)


def _last_passed(
    passed: NDArray[np.bool_], first: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each instance the last candidate before one that fails, or else the first; and whether it passed."""
    failures = np.cumsum(~passed)
    before: NDArray[np.int64] = failures[first] - ~passed[first]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    n_passed = np.bincount(owner, weights=failures == before[owner], minlength=len(sizes)).astype(np.int64)
    return first + np.maximum(n_passed - 1, 0), n_passed > 0
