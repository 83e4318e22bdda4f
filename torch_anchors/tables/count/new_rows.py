"""What a search by rows drawn from the training rows found, said of new rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torch_anchors.search.protocol import Status, Step
from torch_anchors.tables.count.binomial import lower_end


@dataclass(frozen=True, slots=True)
class OfNewRows:
    """Precision, bounds that hold it, and status of a rule on new rows like those of the table."""

    precision: float
    precision_interval: tuple[float, float]
    status: Status


def of_new_rows(
    status: Status, precision: float, counted: Step, *, n_predicates: int, threshold: float, delta: float
) -> OfNewRows:
    """A rule that was found by rows drawn from the training rows.

    The search's own certificate is about the table, whose rows the rule was chosen on. A certificate for new rows needs
    an interval that holds for whatever rule was chosen.

    Args:
        status: how the search ended.
        precision: that it found.
        counted: the rule on the training rows.
        n_predicates: that rules may be made of.
        threshold: the precision that was asked for.
        delta: 1 - confidence.
    """
    n_hits = round(counted.precision * counted.n)
    interval = interval_of_any(counted.n, n_hits, size=len(counted.anchor), n_predicates=n_predicates, delta=delta)
    found = status in (Status.CERTIFIED, Status.EMPTY_HOLDS)
    certified = interval[0] >= threshold
    return OfNewRows(
        counted.precision if counted.n else precision,  # what the interval is about
        interval,
        Status.COUNTED if found and not certified else status,
    )


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
