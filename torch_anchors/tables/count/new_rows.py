"""What a search by rows drawn from the training rows found, said of new rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch_anchors.search.protocol import Status, Step
from torch_anchors.tables.count.certified_rules import interval_of_any


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
