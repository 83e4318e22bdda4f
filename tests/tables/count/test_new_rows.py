"""A rule that was drawn from the training rows, said of new ones."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from torch_anchors.search.protocol import Status, Step
from torch_anchors.tables.count.new_rows import interval_of_any, of_new_rows

ASKED = {"n_predicates": 12, "threshold": 0.9, "delta": 0.1}


@pytest.mark.parametrize(
    ("n", "status", "expected"),
    [
        (100_000, Status.CERTIFIED, Status.CERTIFIED),
        (100_000, Status.EMPTY_HOLDS, Status.EMPTY_HOLDS),
        (60, Status.CERTIFIED, Status.COUNTED),
        (60, Status.EMPTY_HOLDS, Status.COUNTED),
        (60, Status.NOT_FOUND, Status.NOT_FOUND),
        (100_000, Status.ROW_BUDGET, Status.ROW_BUDGET),
    ],
)
def test_it_is_certified_by_many_rows_only(n: int, status: Status, expected: Status) -> None:
    found = of_new_rows(status, 1.0, Step((2, 5), 0.95, 0.4, n), **ASKED)
    low, high = found.precision_interval
    assert found.status is expected
    assert found.precision == 0.95
    assert low < 0.95 < high
    assert (low >= 0.9) is (n > 60)


def test_a_rule_that_covers_no_row_keeps_what_the_search_says_and_promises_nothing() -> None:
    found = of_new_rows(Status.CERTIFIED, 0.97, Step((2,), 0.0, 0.0, 0), **ASKED)
    assert (found.precision, found.precision_interval, found.status) == (0.97, (0.0, 1.0), Status.COUNTED)


def test_longer_rules_are_one_of_more() -> None:
    low = [of_new_rows(Status.CERTIFIED, 1.0, Step(tuple(range(k)), 0.95, 0.4, 500), **ASKED) for k in (1, 4)]
    assert low[0].precision_interval[0] > low[1].precision_interval[0]


@pytest.mark.parametrize(("n", "n_hits"), [(0, 0), (40, 40), (40, 30), (40, 0), (5000, 4900)])
def test_an_interval_of_any_rule_is_clopper_and_pearsons_shared_among_all_rules(n: int, n_hits: int) -> None:
    alpha = 0.1 / (2 * 3 * 4 * 45)  # of size 2 among 10 predicates
    low, high = interval_of_any(n, n_hits, size=2, n_predicates=10, delta=0.1)
    assert low == pytest.approx(beta.ppf(alpha, n_hits - 1, n - n_hits + 1) if n_hits else 0.0)
    assert high == pytest.approx(beta.ppf(1 - alpha, n_hits + 1, n - n_hits - 1) if n_hits < n else 1.0)
    assert not n or low <= n_hits / n <= high


def test_all_rules_together_share_no_more_than_delta() -> None:
    assert sum(1 / ((size + 1) * (size + 2)) for size in range(1000)) <= 1
