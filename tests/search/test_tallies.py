"""What a search has learned of its anchors, and how it asks for more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.oracles import (
    ArmsOracle,
    MaskOracle,
    brute_force_precision,
    coin_table,
    drive,
    planted_table,
)
from torch_anchors.search.budget import BudgetSpent
from torch_anchors.search.certify import Certifier
from torch_anchors.search.protocol import (
    EnumeratedHits,
    EnumerateRequest,
    SampleCounts,
    SampleRequest,
    SearchConfig,
)
from torch_anchors.search.tallies import Tallies
from torch_anchors.search.tally_table import Tally

K = 6


def tallies_of(space, **settings):
    config = SearchConfig(**settings)
    return Tallies(space, config, Certifier(config))


def table_tallies(**settings):
    """Of anchors whose rows say nothing of each other."""
    return tallies_of(ArmsOracle(K, lambda anchor: 0.5).space(), **settings)


def image_tallies(**settings):
    """Of independent predicates with two backgrounds."""
    return tallies_of(MaskOracle(K, lambda keep, background: keep[:, 0], n_backgrounds=2).space(), **settings)


def told(asking, *replies):
    """What a generator asks for, one set of replies after the other, and what it returns."""
    asked = [next(asking)]
    for reply in replies[:-1]:
        asked.append(asking.send(reply))
    with pytest.raises(StopIteration) as stop:
        asking.send(replies[-1])
    return asked, stop.value.value


# -------------------------------------------------------------------------------------------------------- learning


def test_rows_of_a_table_add_up():
    tallies = table_tallies()
    tallies.learn((1,), SampleCounts(10, 7))
    tallies.learn((1,), SampleCounts(5, 5))
    tallies.learn((2,), SampleCounts(3, 0))
    assert tallies.tallies == {(1,): Tally(15, 12), (2,): Tally(3, 0)}


def counts(pool_n, pool_hits, child_n=None, child_hits=None):
    children = (None, None) if child_n is None else (np.array(child_n), np.array(child_hits))
    return SampleCounts(1, 1, 1, pool_n, pool_hits, *children)


def test_a_pool_is_cumulative_and_tells_of_every_extension():
    tallies = image_tallies()
    tallies.learn((2,), counts(10, 6, [4, 5, 10, 0, 3, 6], [4, 1, 6, 0, 3, 2]))
    assert tallies.tallies == {
        (2,): Tally(10, 6),
        (0, 2): Tally(4, 4),
        (1, 2): Tally(5, 1),
        (2, 3): Tally(0, 0),
        (2, 4): Tally(3, 3),
        (2, 5): Tally(6, 2),
    }
    tallies.learn((2,), counts(25, 20, [8, 9, 25, 4, 3, 12], [8, 2, 20, 4, 3, 9]))
    assert tallies.tallies[(2,)] == Tally(25, 20)
    assert tallies.tallies[(2, 5)] == Tally(12, 9)


def test_of_two_pools_that_tell_of_one_anchor_the_larger_counts():
    """They overlap, so that a sum would count rows twice."""
    tallies = image_tallies()
    tallies.learn((2,), counts(10, 6, [0, 5, 10, 0, 0, 0], [0, 1, 6, 0, 0, 0]))
    tallies.learn((1,), counts(10, 9, [0, 10, 7, 0, 0, 0], [0, 9, 6, 0, 0, 0]))
    assert tallies.tallies[(1, 2)] == Tally(7, 6)
    tallies.learn((2,), counts(11, 6, [0, 6, 11, 0, 0, 0], [0, 2, 6, 0, 0, 0]))
    assert tallies.tallies[(1, 2)] == Tally(7, 6)
    tallies.learn((1, 2), counts(3, 3))
    assert tallies.tallies[(1, 2)] == Tally(7, 6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sets(st.integers(0, 4), max_size=3), st.integers(0, 20)), max_size=8), st.integers(0, 99))
def test_tallies_are_rows_that_were_drawn(requests, seed):
    """Of each anchor no more rows, and no other hits, than there are among all rows drawn for it or a smaller one."""
    oracle = MaskOracle.of_table(coin_table(5, 0.6, np.random.default_rng(seed)), seed)
    tallies = tallies_of(oracle.space())
    for members, n in requests:
        anchor = tuple(sorted(members))
        drive(tallies.sample([anchor], n), oracle)
        keep, hits = (np.concatenate(part) for part in zip(*((k, h) for _, k, h in oracle.blocks), strict=True))
        drawn = [k[list(anchor)].all() and set(a) <= members for a, rows, _ in oracle.blocks for k in rows]
        assert tallies.tallies[anchor].n >= n
        assert (tallies.n_drawn(anchor), tallies.tallies[anchor].n_hits) == (sum(drawn), hits[drawn].sum())
        for known, tally in tallies.tallies.items():
            held = keep[:, list(known)].all(1)
            assert tally.n <= held.sum()
            assert tally.n_hits <= hits[held].sum()


# ---------------------------------------------------------------------------------------------------------- asking


def test_nothing_to_ask_is_not_asked():
    with pytest.raises(StopIteration) as stop:
        next(table_tallies().ask([]))
    assert stop.value.value == ()


def test_what_is_asked_is_answered_in_its_order_and_every_new_row_counts():
    tallies = table_tallies(max_rows_total=100)
    replies = (SampleCounts(10, 3, 8), SampleCounts(20, 9, 20))
    requests = [SampleRequest((1,), 10), SampleRequest((2,), 20)]
    assert told(tallies.count(requests), replies) == ([tuple(requests)], replies)
    assert tallies.budget.spent == 28
    assert tallies.tallies == {}  # `sample` learns


def test_sampling_asks_for_as_many_rows_of_each_anchor_as_said():
    tallies = table_tallies()
    replies = (SampleCounts(7, 3, 7), SampleCounts(7, 6, 7))
    asked, _ = told(tallies.sample([(1,), (2,)], 7), replies)
    assert asked == [(SampleRequest((1,), 7), SampleRequest((2,), 7))]
    asked, _ = told(tallies.sample([(1,), (2,)], [5, 2]), replies)
    assert asked == [(SampleRequest((1,), 5), SampleRequest((2,), 2))]
    assert tallies.tallies == {(1,): Tally(14, 6), (2,): Tally(14, 12)}
    assert tallies.budget.spent == 28


def test_enumerating_asks_for_every_row_once():
    tallies = image_tallies()
    replies = (EnumeratedHits(np.ones(2), 4),)
    asked, found = told(tallies.enumerate([(0, 1, 2, 3, 4)]), replies)
    assert asked == [(EnumerateRequest((0, 1, 2, 3, 4)),)]
    assert found == replies
    assert tallies.budget.spent == 4


@pytest.mark.parametrize(
    ("left", "wanted", "allowed"),
    [
        (30, [10, 20], [10, 20]),
        (29, [10, 20], [10, 19]),
        (11, [10, 20], [10, 1]),
        (10, [10, 20], None),
        (9, [10, 20], None),
        (25, [10, 10, 10], [10, 10, 5]),
        (20, [10, 10, 1], None),
        (10, [10, 0], [10, 0]),
        (0, [0, 0], [0, 0]),
        (0, [1], None),
        (1, [5], [1]),
    ],
)
def test_requests_are_cut_to_the_budget_and_refused_where_nothing_is_left(left, wanted, allowed):
    tallies = table_tallies(max_rows_total=50)
    tallies.budget.spend(50 - left)
    asking = tallies.ask([SampleRequest((k,), n) for k, n in enumerate(wanted)])
    if allowed is None:
        with pytest.raises(BudgetSpent):
            next(asking)
        assert tallies.budget.spent == 50 - left
    else:
        assert [request.n for request in next(asking)] == allowed


@pytest.mark.parametrize(
    ("left", "n", "allowed"), [(12, 4, True), (11, 4, True), (9, 4, True), (8, 4, False), (7, 0, False), (8, 0, True)]
)
def test_an_enumeration_is_asked_for_whole_or_not_at_all(left, n, allowed):
    """Of the anchor's 8 rows; the sample behind it is cut."""
    tallies = image_tallies(max_rows_total=50)
    tallies.budget.spend(50 - left)
    asking = tallies.ask([EnumerateRequest((0, 1, 2, 3)), SampleRequest((1,), n)])
    if allowed:
        assert next(asking) == (EnumerateRequest((0, 1, 2, 3)), SampleRequest((1,), min(n, left - 8)))
    else:
        with pytest.raises(BudgetSpent):
            next(asking)


def test_without_a_limit_everything_is_asked():
    requests = [SampleRequest((1,), 10**9), EnumerateRequest(())]
    assert next(image_tallies().ask(requests)) == tuple(requests)


# ------------------------------------------------------------------------------------------------------- accepting


@pytest.mark.parametrize(
    ("limit", "left", "anchor", "expected"),
    [
        (8, None, (0, 1, 2, 3), True),
        (7, None, (0, 1, 2, 3), False),
        (8, 8, (0, 1, 2, 3), True),
        (8, 7, (0, 1, 2, 3), False),
        (127, None, (), False),
        (128, None, (), True),
    ],
)
def test_an_anchor_of_few_rows_is_enumerable(limit, left, anchor, expected):
    """Two rows of each mask, one for each background."""
    assert image_tallies(max_rows_total=left).enumerable(anchor, limit) is expected


def test_rows_that_cannot_be_counted_are_not_enumerable():
    assert not table_tallies().enumerable((0, 1, 2, 3, 4, 5), 10**9)


@pytest.mark.parametrize("anchor", [(1, 4), (1,), ()])
def test_an_enumerated_anchor_is_accepted_by_its_exact_precision(anchor):
    hits = planted_table(7, (1, 4), 1.0)
    oracle = MaskOracle.of_table(hits, p_keep=0.7)
    tallies = tallies_of(oracle.space())
    truth = brute_force_precision(hits, anchor, 0.7)
    accepted = drive(tallies.enumerate_alone(anchor), oracle).result
    assert tallies.exact == {anchor: pytest.approx(truth, abs=1e-12)}
    assert accepted == ([anchor] if truth >= 0.95 else [])
    assert (truth == 1) == (anchor == (1, 4))


@pytest.mark.parametrize("precision", [0.95, 0.95 - 1e-13, 0.95 - 1e-9])
def test_rounding_costs_no_exact_anchor_its_acceptance(precision):
    tallies = image_tallies()
    _, accepted = told(tallies.enumerate_alone((0, 1, 2, 3, 4)), (EnumeratedHits(np.full(2, precision), 2),))
    assert accepted == ([(0, 1, 2, 3, 4)] if precision > 0.95 - 1e-10 else [])


def arms(precision, **settings):
    oracle = ArmsOracle(K, precision, seed=3)
    return oracle, tallies_of(oracle.space(), **settings)


def test_a_good_candidate_is_certified_on_its_own_rows():
    oracle, tallies = arms(lambda anchor: 1.0)
    run = drive(tallies.certify([(2,)]), oracle)
    assert run.result == (2,)
    certificate = tallies.tested[(2,)]
    assert certificate.accepted
    assert certificate.n == sum(request.n for request in run.samples) == tallies.tallies[(2,)].n
    assert {request.anchor for request in run.samples} == {(2,)}
    assert tallies.precision((2,)) == certificate.precision == 1.0


def test_rows_drawn_before_its_submission_do_not_certify_a_candidate():
    oracle, tallies = arms(lambda anchor: 1.0)
    drive(tallies.sample([(2,)], 5000), oracle)
    run = drive(tallies.certify([(2,)]), oracle)
    assert tallies.tested[(2,)].n == run.n_new < 5000


def test_a_hopeless_candidate_is_given_up():
    oracle, tallies = arms(lambda anchor: 0.3)
    run = drive(tallies.certify([(2,), (3, 4)]), oracle)
    assert run.result is None
    assert set(tallies.tested) == {(2,), (3, 4)}
    assert not any(certificate.accepted for certificate in tallies.tested.values())
    assert run.n_new < 200


def test_of_the_candidates_accepted_together_the_widest_is_taken():
    oracle, tallies = arms(lambda anchor: 1.0 if len(anchor) != 2 else 0.5)
    assert drive(tallies.certify([(0, 1, 2), (3,), (4, 5)]), oracle).result == (3,)
    assert [tallies.tested[anchor].accepted for anchor in [(0, 1, 2), (3,), (4, 5)]] == [True, True, False]


def test_no_candidate_is_no_anchor():
    oracle, tallies = arms(lambda anchor: 1.0)
    run = drive(tallies.certify([]), oracle)
    assert run.result is None
    assert run.rounds == []


def test_a_candidate_of_few_rows_is_enumerated_instead():
    hits = planted_table(7, (1, 4), 1.0)
    oracle = MaskOracle.of_table(hits)
    tallies = tallies_of(oracle.space(), enumerate_below=32)
    run = drive(tallies.certify([(1, 4)]), oracle)
    assert run.result == (1, 4)
    assert run.rounds[0][0] == (EnumerateRequest((1, 4)),)
    assert tallies.tested == {}
    assert tallies.exact == {(1, 4): 1.0}


def test_a_candidate_too_close_to_the_threshold_is_enumerated_where_that_is_possible():
    """Every row is a hit; at a threshold of 1 no sample is enough."""
    oracle = MaskOracle.of_table(np.ones(1 << 9, dtype=bool))
    tallies = tallies_of(oracle.space(), threshold=1.0, enumerate_below=1, max_rows_candidate=256)
    run = drive(tallies.certify([(0,)]), oracle)
    assert run.result == (0,)
    assert isinstance(run.rounds[0][0][0], SampleRequest)
    assert run.rounds[-1][0] == (EnumerateRequest((0,)),)
    tallies = tallies_of(replace(oracle.space(), n_rows=lambda anchor: None), threshold=1.0, max_rows_candidate=256)
    assert drive(tallies.certify([(0,)]), oracle).result is None


def test_certifying_ends_with_the_budget():
    oracle, tallies = arms(lambda anchor: 1.0, max_rows_total=30)
    with pytest.raises(BudgetSpent):
        drive(tallies.certify([(2,)]), oracle)
    assert tallies.budget.spent == tallies.tested[(2,)].n == 30


# ------------------------------------------------------------------------------------------------------- estimates


def test_the_best_estimate_is_the_exact_one_then_the_certificates_then_that_of_the_tally():
    tallies = table_tallies()
    assert tallies.precision((1,)) == 0.0
    tallies.tallies[(1,)] = Tally(10, 9)
    assert tallies.precision((1,)) == 0.9
    tallies.tested[(1,)] = tallies.certifier.submit((1,))
    assert tallies.precision((1,)) == 0.9  # which has no rows yet
    tallies.tested[(1,)].add(4, 3)
    assert tallies.precision((1,)) == 0.75
    tallies.exact[(1,)] = 0.5
    assert tallies.precision((1,)) == 0.5


def test_larger_coverage_comes_before_higher_precision():
    tallies = table_tallies()
    for anchor, n_hits in (((1,), 5), ((2,), 7), ((1, 2), 10)):
        tallies.tallies[anchor] = Tally(10, n_hits)
    assert sorted([(1, 2), (1,), (2,)], key=tallies.rank, reverse=True) == [(2,), (1,), (1, 2)]
    assert tallies.rank((2,)) == (0.6, 0.7)


def test_rows_and_hits_of_an_anchor():
    tallies = table_tallies()
    assert tallies.n_drawn((1,)) == 0
    tallies.tallies[(1,)] = Tally(10, 9)
    assert tallies.n_drawn((1,)) == 10
    hits, n = tallies.counts([(1,), (2,), (1,)])
    assert (hits.tolist(), n.tolist()) == ([9, 0, 9], [10, 0, 10])


@given(st.floats(0, 1))
def test_an_enumerated_anchor_compares_as_if_it_had_rows_without_end(precision):
    tallies = table_tallies()
    tallies.tallies[(1,)] = Tally(10, 9)
    tallies.exact[(1,)] = precision
    (n_hits,), (n,) = tallies.counts([(1,)])
    assert n >= 10**6
    assert n_hits / n == pytest.approx(precision, abs=1e-6)


def test_each_search_has_a_budget_of_its_own():
    first, second = table_tallies(max_rows_total=9), table_tallies(max_rows_total=9)
    first.budget.spend(5)
    assert (first.budget.limit, first.budget.spent, second.budget.spent) == (9, 5, 0)
    assert table_tallies().budget.limit is None


def test_rows_that_were_sent_before_the_search_began_are_not_sent_again():
    tallies = table_tallies(max_rows_total=10, n_spent=1)
    assert next(tallies.ask([SampleRequest((1,), 10)])) == (SampleRequest((1,), 9),)
