"""The search over proposed anchors, against coins with a planted truth."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.oracles import ArmsOracle, drive
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import EnumeratedHits, Proposals, SearchConfig, SearchSpace, Status
from torch_anchors.search.race import MAX_ROWS, race_search

CONFIG = SearchConfig()


def chain(*coverages):
    """Anchors (0,), (0, 1), (0, 1, 2), ... and a space that gives them these coverages."""
    anchors = [tuple(range(size)) for size in range(1, len(coverages) + 1)]
    table = dict(zip(anchors, coverages, strict=True))
    return anchors, SearchSpace(len(coverages), coverage=table.__getitem__)


def race(space, config, guesses, empty=0.5, shorter=None):
    """A race of anchors that are proposed with these guesses."""
    proposals = Proposals(guesses, empty) if shorter is None else Proposals(guesses, empty, shorter)
    return race_search(replace(space, proposals=lambda: proposals), config)


def search(precisions, coverages, guesses=None, config=CONFIG, seed=0, empty=0.5):
    anchors, space = chain(*coverages)
    truth = dict(zip(anchors, precisions, strict=True))
    guessed = dict(zip(anchors, precisions if guesses is None else guesses, strict=True))
    oracle = ArmsOracle(len(coverages), truth.__getitem__, seed)
    return drive(race(space, config, guessed, empty), oracle), truth


def test_the_planted_anchor_is_certified_from_few_rows():
    """The widest anchor that reaches the threshold is the third of five."""
    found, rows = [], []
    for seed in range(50):
        run, _ = search([0.6, 0.85, 0.99, 0.995, 1.0], [0.8, 0.5, 0.3, 0.1, 0.05], seed=seed)
        found.append(run.result.anchor)
        rows.append(run.n_new)
        assert run.result.status is Status.CERTIFIED
        assert run.result.precision_interval[0] >= 0.95
    assert found.count((0, 1, 2)) >= 45
    assert np.mean(rows) < 250


@pytest.mark.parametrize("guesses", [[0.99, 0.99, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5], [0.2, 0.9, 0.97, 0.9]])
def test_wrong_guesses_cost_rows_but_not_truth(guesses):
    certified = []
    for seed in range(60):
        run, truth = search([0.7, 0.9, 0.99, 1.0], [0.6, 0.4, 0.2, 0.1], guesses, seed=seed)
        assert run.n_new <= MAX_ROWS
        certified.append(run.result.success)
        if run.result.success:
            assert truth[run.result.anchor] >= 0.95
    assert np.mean(certified) > 0.5


@pytest.mark.parametrize("precision", [0.94, 0.95])
def test_false_certificates_are_rarer_than_delta(precision):
    """Every anchor is just not good enough, guesses praise them all, and the search may choose and stop as it likes."""
    false = [
        search([precision] * 8, np.linspace(0.5, 0.1, 8), [0.99] * 8, seed=seed)[0].result.success
        for seed in range(300)
    ]
    assert sum(false) <= CONFIG.delta * 300


def test_only_rows_drawn_after_submission_count():
    run, _ = search([0.97, 0.99], [0.4, 0.2], seed=3)
    drawn = {}
    for requests, replies in run.rounds:
        for request, reply in zip(requests, replies, strict=True):
            n, hits = drawn.get(request.anchor, (0, 0))
            drawn[request.anchor] = (n + reply.n, hits + reply.n_hits)
    assert drawn[run.result.anchor] == (run.result.n, run.result.n_hits)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    precisions=st.lists(st.sampled_from([0.3, 0.9, 0.94, 0.95, 0.96, 0.98, 1.0]), min_size=1, max_size=8),
    total=st.one_of(st.none(), st.integers(1, 700)),
    candidate=st.integers(1, 600),
    round_rows=st.sampled_from([1, 16, 256]),
    batch_size=st.integers(1, 150),
)
def test_row_caps_end_every_search(seed, precisions, total, candidate, round_rows, batch_size):
    config = SearchConfig(
        max_rows_total=total, max_rows_candidate=candidate, round_rows=round_rows, batch_size=batch_size
    )
    n = len(precisions)
    run, _ = search(precisions, np.linspace(0.9, 0.1, n), [0.96] * n, config, seed)
    assert run.n_new <= (MAX_ROWS if total is None else total)
    assert all(1 <= request.n <= batch_size for request in run.samples)
    per_anchor = {}
    for request in run.samples:
        per_anchor[request.anchor] = per_anchor.get(request.anchor, 0) + request.n
    if run.result.n < per_anchor[run.result.anchor]:  # a last look at what is shown for want of better
        assert (run.samples[-1].anchor, run.samples[-1].n) == (run.result.anchor, run.result.n)
        per_anchor[run.result.anchor] -= run.result.n
    assert max(per_anchor.values()) <= candidate
    assert run.result.success == (run.result.status is Status.CERTIFIED)


def test_spent_rows_are_said():
    run, _ = search([0.97, 0.97], [0.5, 0.4], config=SearchConfig(max_rows_total=30))
    assert run.result.status is Status.ROW_BUDGET
    assert run.n_new == 30


@pytest.mark.parametrize(("guess", "most"), [(0.9, 20), (0.97, 100)])
def test_hopeless_anchors_are_left_after_a_handful_of_rows(guess, most):
    """One that is thought to be good gets the rows that may certify it at once, others a first look."""
    run, _ = search([0.3, 0.4, 1.0], [0.8, 0.5, 0.2], [guess] * 3)
    spent = {anchor: sum(r.n for r in run.samples if r.anchor == anchor) for anchor in [(0,), (0, 1)]}
    assert max(spent.values()) <= most
    assert run.result.anchor == (0, 1, 2)


def long_search(n_needed, guesses, seed=0, config=CONFIG, precision=1.0):
    """The only proposal has 8 conditions, of which the first few are needed."""
    chain = [tuple(range(size)) for size in range(8, 0, -1)]
    expected = dict(zip(chain, guesses, strict=True))
    space = SearchSpace(8, coverage=lambda anchor: 0.5 ** len(anchor))

    def truth(anchor):
        return precision if len(anchor) >= n_needed else 0.6

    running = race(space, config, {chain[0]: guesses[0]}, shorter=lambda anchor: dict(list(expected.items())[1:]))
    return drive(running, ArmsOracle(8, truth, seed)).result


@pytest.mark.parametrize("n_needed", [4, 5, 7, 8])
@pytest.mark.parametrize("guesses", [[0.98] * 8, np.linspace(0.98, 0.9, 8)])
def test_a_long_anchor_loses_what_it_does_not_need(n_needed, guesses):
    for seed in range(20):
        result = long_search(n_needed, guesses, seed)
        assert result.success
        assert len(result.anchor) == n_needed
        assert result.coverage == 0.5**n_needed
        assert result.path[-1].anchor == result.anchor
        assert {step.anchor for step in result.path} > {(), result.anchor}


def test_shortening_is_certified_too():
    """Every shorter anchor is just not good enough, whatever is expected of it."""
    config = replace(CONFIG, threshold=0.9)
    false = 0
    for seed in range(200):
        space = SearchSpace(8, coverage=lambda anchor: 0.5 ** len(anchor))
        shorter = {tuple(range(size)): 0.97 for size in range(7, 0, -1)}
        oracle = ArmsOracle(8, lambda anchor: 1.0 if len(anchor) == 8 else 0.895, seed)
        running = race(space, config, {tuple(range(8)): 0.97}, shorter=lambda _, shorter=shorter: shorter)
        false += len(drive(running, oracle).result.anchor) < 8
    assert false <= CONFIG.delta * 200


def test_a_short_anchor_is_left_as_it_is():
    space = SearchSpace(4, coverage=lambda anchor: 0.5)
    asked = {tuple(range(size)): 0.99 for size in range(3, 0, -1)}
    running = race(space, CONFIG, {(0, 1, 2, 3): 0.99}, shorter=lambda anchor: asked)
    assert drive(running, ArmsOracle(4, lambda anchor: 1.0, 0)).result.anchor == (0, 1, 2, 3)


def test_the_first_certificate_is_not_shortened():
    assert len(long_search(4, [0.98] * 8, config=SearchConfig(stop_on_first=True)).anchor) == 8


def test_stop_on_first_takes_the_first_certificate():
    """The narrow anchor is surely good, the wide one perhaps."""
    arguments = ([0.985, 1.0], [0.9, 0.3], [0.96, 0.975])
    first = [search(*arguments, SearchConfig(stop_on_first=True), seed)[0] for seed in range(30)]
    best = [search(*arguments, CONFIG, seed)[0] for seed in range(30)]
    assert all(run.result.success for run in first + best)
    assert sum(run.n_new for run in first) < sum(run.n_new for run in best)
    assert np.mean([r.result.coverage for r in first]) < np.mean([r.result.coverage for r in best])


def test_anchors_longer_than_allowed_are_not_asked_for():
    run, _ = search([0.5, 0.9, 1.0], [0.8, 0.5, 0.2], config=SearchConfig(max_anchor_size=2))
    assert {len(request.anchor) for request in run.samples} <= {1, 2}
    assert run.result.status is Status.NOT_FOUND


def test_where_nothing_is_certified_the_best_comes_with_its_estimate():
    run, _ = search([0.3, 0.8, 0.9], [0.8, 0.5, 0.2])
    result = run.result
    assert result.status is Status.NOT_FOUND
    assert not result.success
    assert result.anchor == (0, 1, 2)
    assert result.n > 0
    assert result.precision == result.n_hits / result.n
    assert result.precision_interval[0] <= 0.9 <= result.precision_interval[1]


def test_anchors_that_no_one_believes_in_still_get_an_estimate():
    run, _ = search([0.2, 0.1], [0.8, 0.5], [0.02, 0.01])
    assert run.result.status is Status.NOT_FOUND
    assert run.result.anchor == (0,)
    assert run.result.n > 0


def test_threshold_one_cannot_be_certified():
    run, _ = search([1.0, 1.0], [0.8, 0.5], config=SearchConfig(threshold=1.0))
    assert run.result.status is Status.NOT_FOUND
    assert run.result.precision == 1.0


def test_the_empty_anchor_needs_no_rows():
    run, _ = search([1.0], [0.5], empty=0.96)
    assert (run.result.status, run.result.anchor, run.n_new) == (Status.EMPTY_HOLDS, (), 0)
    assert run.result.precision_interval == (0.96, 0.96)
    assert run.result.coverage == 1.0


@pytest.mark.parametrize(("truth", "expected"), [(1.0, Status.EMPTY_HOLDS), (0.8, Status.NOT_FOUND)])
def test_an_empty_anchor_that_was_not_counted_for_sure_is_tested_like_any_other(truth, expected):
    """A model that does not repeat itself labelled the training rows once, by chance as wanted."""
    space = SearchSpace(1, coverage=lambda anchor: 1.0 if not anchor else 0.3)
    proposals = Proposals({(0,): 0.5}, 0.97, empty_is_exact=False)
    oracle = ArmsOracle(1, lambda anchor: truth if not anchor else 0.5, 0)
    run = drive(race_search(replace(space, proposals=lambda: proposals), CONFIG), oracle)
    assert run.result.status is expected
    assert run.n_new > 20
    assert [step.anchor for step in run.result.path].count(()) == 1


def test_without_proposals_there_is_nothing_to_find():
    result = drive(race(SearchSpace(3, coverage=len), CONFIG, {}, 0.4), ArmsOracle(3, len)).result
    assert (result.status, result.anchor, result.precision) == (Status.NOT_FOUND, (), 0.4)


def test_a_long_anchor_stays_as_it_is_where_nobody_says_what_is_shorter():
    anchor = tuple(range(8))
    running = race(SearchSpace(8, coverage=lambda anchor: 0.5), CONFIG, {anchor: 0.98})
    assert drive(running, ArmsOracle(8, lambda anchor: 1.0)).result.anchor == anchor


def test_a_space_without_proposals_cannot_be_raced():
    with pytest.raises(ArgumentError, match=r"method must be .* here: 'race' needs anchors proposed by a surrogate"):
        race_search(SearchSpace(3, coverage=len), CONFIG)


def test_anchors_are_proposed_once_and_only_when_the_search_is_made():
    anchors, space = chain(0.5, 0.3)
    asked = []

    def proposals():
        asked.append(1)
        return Proposals(dict.fromkeys(anchors, 0.97), 0.5)

    space = replace(space, proposals=proposals)
    assert asked == []
    drive(race_search(space, CONFIG), ArmsOracle(2, lambda anchor: 1.0))
    assert asked == [1]


def test_an_anchor_on_no_training_row_is_better_than_none():
    run, _ = search([0.5, 1.0], [0.2, 0.0])
    assert run.result.anchor == (0, 1)
    assert run.result.success


def test_rounds_that_pay_for_more_rows_hold_more_anchors():
    precisions, coverages = [0.9, 0.93, 0.96, 0.99], [0.5, 0.4, 0.3, 0.2]
    guesses = [0.97] * 4
    alone = [search(precisions, coverages, guesses, seed=s)[0] for s in range(10)]
    wide = [search(precisions, coverages, guesses, replace(CONFIG, round_rows=400), s)[0] for s in range(10)]
    assert all(len(requests) == 1 for run in alone for requests, _ in run.rounds)
    assert any(len(requests) > 1 for run in wide for requests, _ in run.rounds)
    assert sum(len(run.rounds) for run in wide) < 0.7 * sum(len(run.rounds) for run in alone)


def test_path_runs_from_the_empty_anchor_to_the_result():
    run, _ = search([0.6, 0.85, 0.99], [0.8, 0.5, 0.3], [0.9, 0.9, 0.9])
    steps = run.result.path
    assert steps[0].anchor == ()
    assert steps[0].precision == 0.5
    assert steps[-1].anchor == run.result.anchor
    assert [len(s.anchor) for s in steps] == sorted(len(s.anchor) for s in steps)
    assert all(set(s.anchor) <= set(run.result.anchor) for s in steps)


def test_another_kind_of_reply_is_refused():
    anchors, space = chain(0.5)
    running = race(space, CONFIG, {anchors[0]: 0.97})
    next(running)
    with pytest.raises(TypeError, match="must be answered by SampleCounts, got EnumeratedHits"):
        running.send((EnumeratedHits(np.ones(2)),))


def disjoint_race(needed, proposed, seed, config=None):
    """A race of one proposed anchor that holds wherever the predicates needed do."""
    space = SearchSpace(6, coverage=lambda anchor: 0.5 ** len(anchor))
    oracle = ArmsOracle(6, lambda anchor: 0.999 if set(needed) <= set(anchor) else 0.5, seed)
    config = config or replace(CONFIG, disjoint=True)
    return drive(race(space, config, {proposed: 0.97}), oracle)


@pytest.mark.parametrize("proposed", [(0, 1, 2), (1, 2, 4), (0, 1, 2, 3, 4, 5), (1, 2)])
def test_a_disjoint_anchor_loses_every_condition_that_it_does_not_need(proposed):
    for seed in range(10):
        run = disjoint_race((1, 2), proposed, seed)
        assert run.result.anchor == (1, 2)
        assert run.result.status is Status.CERTIFIED
        assert run.n_new < 3000
    usual = disjoint_race((1, 2), (0, 1, 2), 0, CONFIG)
    assert usual.result.anchor == (0, 1, 2)  # few enough to be read
    first = disjoint_race((1, 2), (0, 1, 2), 0, replace(CONFIG, disjoint=True, stop_on_first=True))
    assert first.result.anchor == (0, 1, 2)


def test_no_needless_condition_is_worth_more_rows_than_there_are():
    for most in (40, 90, 150):
        run = disjoint_race((1, 2), (0, 1, 2, 3, 4, 5), 0, replace(CONFIG, disjoint=True, max_rows_total=most))
        assert run.n_new <= most
