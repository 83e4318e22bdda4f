"""Rows and hits of many anchors, against a dictionary."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_anchors.search.tally_table import Tally, TallyTable, extended


def test_an_anchor_without_rows_has_precision_0():
    assert Tally().precision == 0.0
    assert Tally().optimistic == 0.5  # of a pseudo hit and a pseudo miss, whose standard error is a half


@pytest.mark.parametrize(("n", "n_hits"), [(1, 0), (1, 1), (10, 7), (400, 400)])
def test_a_tally_is_a_share_and_a_standard_error(n, n_hits):
    smoothed = (n_hits + 1) / (n + 2)
    assert Tally(n, n_hits).precision == n_hits / n
    assert Tally(n, n_hits).optimistic == pytest.approx(n_hits / n + math.sqrt(smoothed * (1 - smoothed) / n))


@pytest.mark.parametrize("anchor", [(), (0,), (5,), (1, 4), (0, 1, 5), (0, 1, 2, 3, 4, 5)])
def test_an_anchor_with_each_predicate_is_sorted_and_has_none_twice(anchor):
    assert extended(anchor, 6) == tuple(tuple(sorted({*anchor, k})) for k in range(6))


def test_an_anchor_that_was_never_looked_at_has_no_rows_and_gets_no_place() -> None:
    table = TallyTable()
    table[(3,)] = Tally(10, 9)
    hits, n = table.counts([(), (3,), (3, 4)])
    assert (hits.tolist(), n.tolist()) == ([0, 9, 0], [0, 10, 0])
    assert (table.n_drawn((3,)), table.n_drawn((4,))) == (10, 0)
    assert list(table) == [(3,)]
    with pytest.raises(KeyError):
        table[(4,)]


@pytest.mark.parametrize("n_predicates", [5, 63, 64, 300])
def test_there_is_room_for_all_extensions_and_for_those_of_extensions(n_predicates: int) -> None:
    rng, table, truth = np.random.default_rng(0), TallyTable(), {}
    for anchor in [(), (2,), (4,), (2, 4)]:
        n = rng.integers(0, 50, n_predicates)
        own = int(n.max())
        n[list(anchor)] = own
        table.learn_pool(anchor, own, own // 2)
        table.learn_extensions(anchor, n, n // 2)
        children = [tuple(sorted((*anchor, k))) for k in range(n_predicates) if k not in anchor]
        for one, count in [(anchor, own), *zip(children, np.delete(n, list(anchor)).tolist(), strict=True)]:
            truth[one] = max(count, truth.get(one, 0))
    assert dict(table) == {anchor: Tally(n, n // 2) for anchor, n in truth.items()}
    assert table.counts([(999,)])[1].tolist() == [0]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 3), max_size=3), st.lists(st.integers(0, 9), min_size=4, max_size=4)),
        max_size=12,
    )
)
def test_what_is_learned_is_what_a_dictionary_of_larger_counts_learns(turns: list[tuple[set[int], list[int]]]) -> None:
    table, truth = TallyTable(), {}
    for members, counts in turns:
        anchor, own = tuple(sorted(members)), max(counts)
        n = np.array([own if k in members else count for k, count in enumerate(counts)])
        table.learn_pool(anchor, own, own // 2)
        table.learn_extensions(anchor, n, n // 2)
        truth.setdefault(anchor, 0)
        truth[anchor] = max(own, truth[anchor])
        for k in sorted(set(range(4)) - members):
            one, count = tuple(sorted((*anchor, k))), counts[k]
            truth[one] = max(count, truth.get(one, 0))
    assert dict(table) == {anchor: Tally(n, n // 2) for anchor, n in truth.items()}
    assert list(table) == list(truth)


def test_what_was_asked_before_is_answered_with_what_was_learned_since() -> None:
    table, anchors = TallyTable(), [(0,), (1,)]
    table.add((1,), 10, 7)
    assert table.counts(anchors)[1].tolist() == [0, 10]
    table.add((0,), 3, 3)
    assert table.counts(anchors)[1].tolist() == [3, 10]
    for _ in range(100):  # more places than there was room for
        table[(2, len(table))] = Tally(1, 1)
    table.add((1,), 5, 5)
    assert [counted.tolist() for counted in table.counts(anchors)] == [[3, 12], [3, 15]]


def test_rows_of_an_anchor_add_up() -> None:
    table = TallyTable()
    table.add((1,), 10, 7)
    table.add((1,), 5, 5)
    assert table == {(1,): Tally(15, 12)}
