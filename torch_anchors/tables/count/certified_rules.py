"""Rules of large coverage that are certified for new rows, by counting a table's rows in two parts.

The rule of largest coverage among thousands owes its share of hits partly to luck, so the rows that it was chosen on
say too much for it. Here the rows are split at random, once and for all. On the first part, for *selection*,
conjunctions are counted (`enumerate_rules` says which), and a few are chosen and put in a fixed order, from one that
will surely pass the test to a gamble of larger coverage. On the second part, for the *test*, they are tested in this
order, each at the full error probability, until one fails; the last one that passed is certified.

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

import numpy as np
import torch

from torch_anchors._shapes import Float, Int
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.count.enumerate_rules import enumerate_rules, n_extended
from torch_anchors.tables.count.forecast import Forecast
from torch_anchors.tables.count.ladder import Ladder
from torch_anchors.tables.count.on_test_rows import TEST_SHARE, OnTestRows, last_passed
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.count.split_table import SplitTable
from torch_anchors.tables.discretizer import Predicates

HELD_AT_ONCE = 2**21
"""Most conjunctions of one size that are held together; those of the largest size are not."""


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
    tested = OnTestRows.of(counts, split.twins(instances)[owner], classes[owner])

    first = np.cumsum(sizes) - sizes
    chosen, certified = last_passed(tested.passes(threshold, TEST_SHARE * delta), first, sizes)
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
    forecast, found = Forecast(test_ratio, threshold, alpha), []
    for part in _parts(len(classes), predicates.column.shape[1], max_size):
        ladder = Ladder(len(classes[part]), rows.n_rows, forecast)
        enumerate_rules(rows, predicates[part], classes[part], ladder, max_size)
        found += ladder.proposals()
    return found


def _parts(n_instances: int, n_predicates: int, max_size: int) -> list[slice]:
    """Instances whose rules are looked for together, which bounds the memory that these take."""
    size = max(max_size - 2, 0)  # of those that are extended to what is held
    n_bases = min(n_extended(n_predicates, size), math.comb(n_predicates, size))
    n = max(1, HELD_AT_ONCE // max(n_bases * n_predicates, 1))
    return [slice(start, start + n) for start in range(0, n_instances, n)]
