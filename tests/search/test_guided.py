"""The beam search that margins lead: what it saves, and that it promises what the beam search does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.search.oracles import MaskOracle, brute_force_precision, drive, planted_table
from torch_anchors.search.beam import beam_search
from torch_anchors.search.certify import Certifier
from torch_anchors.search.exact import sizes_of, superset_precisions
from torch_anchors.search.guided import Guided
from torch_anchors.search.interactions import guided_search
from torch_anchors.search.protocol import Search, SearchConfig, Status

K = 11
MASKS = (np.arange(1 << K)[:, None] >> np.arange(K)) & 1 == 1
POWERS = 1 << np.arange(K)


def soft_table(seed: int) -> NDArray[np.float64] | None:
    """Margins (2^K,) like a network's: effects of different sizes, interactions, noise; None if no anchor is short."""
    rng = np.random.default_rng(seed)
    effects = 2.5 * rng.exponential(size=K) * rng.choice([0.2, 1.0], size=K) * rng.choice([1, 1, 1, -0.3], size=K)
    margins = MASKS @ effects + 0.3 * rng.normal(size=len(MASKS))
    for _ in range(K):
        i, j = rng.choice(K, 2, replace=False)
        margins += rng.normal() * (MASKS[:, i] & MASKS[:, j])
    margins -= np.quantile(margins, rng.uniform(0.45, 0.9))
    return margins if margins[-1] > 0 and 2 <= shortest(margins > 0) <= 6 else None


def shortest(hits: NDArray[np.bool_]) -> int:
    """Size of the shortest anchor that truly reaches 0.95."""
    return int(sizes_of(K)[superset_precisions(hits.astype(float)) >= 0.95].min())


def soft_tables(n: int) -> Iterator[NDArray[np.float64]]:
    tables = (table for seed in range(10 * n) if (table := soft_table(seed)) is not None)
    return (table for table, _ in zip(tables, range(n), strict=False))


def oracle_of(margins: NDArray[np.float64], seed: int = 0, said: NDArray[np.float64] | None = None) -> MaskOracle:
    """The oracle of a table of margins; what it says of them may be something else."""
    oracle = MaskOracle.of_table(margins > 0, seed)
    told = margins if said is None else said
    oracle.margin = lambda keep: told[keep @ POWERS]
    return oracle


def majority(seed: int) -> MaskOracle:
    """Label 1 where more than half of 30 of 60 predicates hold: no single one matters much."""
    oracle = MaskOracle(60, lambda keep, _: keep[:, :30].sum(1) > 15, seed)
    oracle.margin = lambda keep: keep[:, :30].sum(1) - 15.5
    return oracle


def planted(seed: int) -> MaskOracle:
    """Label 1 where all of 12 of 700 predicates hold: by chance, none of 4,096 rows is a hit."""
    oracle = MaskOracle(700, lambda keep, _: keep[:, 40:52].all(1), seed)
    oracle.margin = lambda keep: keep[:, 40:52].sum(1) - 11.5
    return oracle


@pytest.mark.parametrize("search", [beam_search, guided_search])
def test_excluded_predicates_are_in_no_anchor_that_is_tested_or_returned(search: Callable[..., Search]) -> None:
    for seed, margins in enumerate(soft_tables(15)):
        excluded = set(np.random.default_rng(seed).choice(K, 4, replace=False).tolist())
        oracle = oracle_of(margins, seed)
        run = drive(search(oracle.space().without(excluded), SearchConfig(max_anchor_size=3)), oracle)
        assert not any(excluded & set(request.anchor) for request in run.samples if request.n)
        assert not excluded & set(run.result.anchor)
        assert all(not excluded & set(step.anchor) for step in run.result.path)


@pytest.mark.parametrize("search", [beam_search, guided_search])
def test_where_all_predicates_are_excluded_the_empty_anchor_is_judged(search: Callable[..., Search]) -> None:
    for margins, status in ((MASKS[:, 2] - 0.5, Status.NOT_FOUND), (np.ones(1 << K), Status.EMPTY_HOLDS)):
        oracle = oracle_of(margins.astype(float))
        found = drive(search(oracle.space().without(range(K)), SearchConfig()), oracle).result
        assert (found.anchor, found.status) == ((), status)


def test_it_takes_half_the_rows_of_the_beam_search_and_finds_anchors_as_short() -> None:
    rows = {"beam": 0, "guided": 0}
    excess = {"beam": 0, "guided": 0}
    tables = list(soft_tables(25))
    for seed, margins in enumerate(tables):
        for name, search in (("beam", beam_search), ("guided", guided_search)):
            oracle = oracle_of(margins, seed)
            found = drive(search(oracle.space(), SearchConfig()), oracle).result
            assert found.success
            rows[name] += oracle.n_rows
            excess[name] += len(found.anchor) - shortest(margins > 0)
    assert rows["guided"] < 0.45 * rows["beam"]
    assert excess["guided"] <= excess["beam"] + 0.2 * len(tables)


def together(n: int, seed: int) -> NDArray[np.float64]:
    """Margins (2^K,) that are high where all of the first `n` predicates hold, and nearly the same everywhere else."""
    rng = np.random.default_rng(seed)
    return 3.0 * MASKS[:, :n].all(axis=1) - 1.5 + 0.3 * rng.normal(size=len(MASKS))


def test_what_only_matters_together_takes_a_third_of_the_rows_of_the_beam_search() -> None:
    """One in 16 rows of the empty anchor is a hit; those that margins are learned from are drawn where more are."""
    n_rows = {"beam": 0, "guided": 0}
    for seed in range(10):
        for name, search in (("beam", beam_search), ("guided", guided_search)):
            oracle = oracle_of(together(4, seed), seed)
            found = drive(search(oracle.space(), SearchConfig()), oracle).result
            assert found.anchor == (0, 1, 2, 3)
            n_rows[name] += oracle.n_rows
    assert n_rows["guided"] < n_rows["beam"] / 3


def test_rows_to_learn_from_are_those_of_an_anchor_that_fails_about_half_the_time() -> None:
    for n, expected in ((1, 0), (4, 3)):
        oracle = oracle_of(together(n, 0))
        search = Guided(oracle.space(), SearchConfig(), Certifier(SearchConfig()))
        drive(search.sample([()], 200), oracle)
        search.model.fit()
        even = search.even(3)
        assert len(even) == expected
        assert set(even) <= set(range(n))


def test_a_wrong_guess_is_given_up_within_a_few_dozen_rows() -> None:
    """It is asked for in small steps, and nothing is enumerated."""
    for seed in range(10):
        margins = MASKS[:, :2].sum(axis=1) - 1.5 + np.random.default_rng(seed).normal(size=len(MASKS)) * 0.1
        margins[MASKS[:, 2:5].all(axis=1)] += 2  # the guess (0,) holds in 9 of 16 rows
        oracle = oracle_of(margins, seed)
        search = Guided(oracle.space(), SearchConfig(), Certifier(SearchConfig()))
        drive(search.sample([()], 32), oracle)
        run = drive(search.try_guess((0,)), oracle)
        assert run.result is None
        assert max(request.n for request in run.samples) <= 2 * SearchConfig().round_rows
        assert run.n_new < 60


@pytest.mark.parametrize(("n_hits", "is_worth"), [(57, True), (55, False)])
def test_an_anchor_that_rather_fails_is_not_enumerated(n_hits: int, is_worth: bool) -> None:
    oracle = oracle_of(together(3, 0))
    search = Guided(oracle.space(), SearchConfig(), Certifier(SearchConfig()))
    certificate = search.certifier.submit((0, 1, 2))
    certificate.add(60, n_hits)
    assert search.is_worth_enumerating(certificate)  # as the beam search has it, while there are no margins
    drive(search.sample([()], 16), oracle)
    assert search.is_worth_enumerating(certificate) is is_worth


def test_parts_whose_first_rows_are_misses_get_no_more_of_them() -> None:
    oracle = oracle_of(together(3, 0))
    search = Guided(oracle.space(), SearchConfig(), Certifier(SearchConfig()))
    drive(search.sample([()], 16), oracle)
    run = drive(search.look_at([(0, 1, 2, 3), (5, 6, 7, 8)]), oracle)
    drawn = {request.anchor: 0 for request in run.samples}
    for request in run.samples:
        drawn[request.anchor] += request.n
    assert drawn[0, 1, 2, 3] > drawn[5, 6, 7, 8]
    assert search.n_drawn((0, 1, 2, 3)) == 12


@pytest.mark.parametrize("seed", range(2))
def test_weak_effects_of_many_are_found_in_a_few_thousand_rows(seed: int) -> None:
    oracle = majority(seed)
    found = drive(guided_search(oracle.space(), SearchConfig()), oracle).result
    assert found.status is Status.CERTIFIED
    assert set(found.anchor) <= set(range(30))
    assert len(found.anchor) <= 11
    assert oracle.n_rows <= 5000


@pytest.mark.parametrize("seed", range(2))
def test_a_dozen_of_700_is_found_and_nothing_else(seed: int) -> None:
    oracle = planted(seed)
    found = drive(guided_search(oracle.space(), SearchConfig()), oracle).result
    assert found.anchor == tuple(range(40, 52))
    assert found.status is Status.CERTIFIED
    assert oracle.n_rows <= 3000


def test_without_margins_it_is_the_beam_search() -> None:
    table, config = planted_table(9, (1, 4, 6), 0.99), SearchConfig(round_rows=32)
    runs = [
        drive(search(oracle.space(), config), oracle)
        for search in (beam_search, guided_search)
        for oracle in [MaskOracle.of_table(table)]
    ]
    assert runs[0].result == runs[1].result
    assert [requests for requests, _ in runs[0].rounds] == [requests for requests, _ in runs[1].rounds]


def test_without_margins_the_first_look_is_as_long_as_that_of_the_beam_search() -> None:
    oracle = MaskOracle.of_table(planted_table(9, (1, 4, 6), 0.99))
    run = drive(guided_search(oracle.space(), SearchConfig()), oracle)
    assert [request.n for request in run.samples[:2]] == [16, 8]


@pytest.mark.parametrize("said", ["noise", "the opposite", "always sure"])
def test_margins_that_lie_make_no_false_anchor(said: str) -> None:
    """Of labels by chance, 0.93 of them hits, every anchor of up to eight predicates is false."""
    n_false = n_certified = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hits = rng.random(len(MASKS)) < 0.93
        hits[-1] = True
        margins = np.where(hits, 1.0, -1.0)
        lies = {
            "noise": rng.normal(size=len(MASKS)),
            "the opposite": -margins * MASKS.sum(1),
            "always sure": 5.0 + MASKS @ rng.exponential(size=K),
        }
        oracle = oracle_of(margins, seed, lies[said])
        found = drive(guided_search(oracle.space(), SearchConfig(enumerate_below=1, max_anchor_size=4)), oracle).result
        n_certified += found.status is Status.CERTIFIED
        n_false += found.success and brute_force_precision(hits, found.anchor) < 0.95
    assert n_false <= 4 + 2 * 2  # delta of 40, and two standard deviations


@pytest.mark.parametrize("budget", [1, 10, 60, 150])
def test_the_row_budget_is_kept(budget: int) -> None:
    margins = next(soft_tables(1))
    oracle = oracle_of(margins)
    found = drive(guided_search(oracle.space(), SearchConfig(max_rows_total=budget)), oracle).result
    assert oracle.n_rows <= budget
    assert found.success or found.status is Status.ROW_BUDGET


@pytest.mark.parametrize("largest", [1, 2])
def test_no_anchor_is_larger_than_allowed(largest: int) -> None:
    for margins in soft_tables(5):
        oracle = oracle_of(margins)
        found = drive(guided_search(oracle.space(), SearchConfig(max_anchor_size=largest)), oracle).result
        assert len(found.anchor) <= largest
        assert found.success == (shortest(margins > 0) <= largest) or not found.success


def test_the_first_accepted_anchor_is_returned_if_that_was_asked_for() -> None:
    rows = []
    for first in (True, False):
        oracle = planted(0)
        drive(guided_search(oracle.space(), SearchConfig(stop_on_first=first)), oracle)
        rows.append(oracle.n_rows)
    assert rows[0] < rows[1]


def test_nothing_is_certified_by_samples_at_a_threshold_of_1() -> None:
    oracle = planted(1)
    config = SearchConfig(threshold=1.0, max_rows_total=400)
    assert not drive(guided_search(oracle.space(), config), oracle).result.success


def test_what_is_known_exactly_of_a_guess_that_failed_is_true() -> None:
    """Its rows are all tried, but of the anchors that contain it only the best one is looked at."""
    margins = MASKS.sum(1) - 9.5  # one part may be hidden, and no more
    oracle, config = oracle_of(margins), SearchConfig(enumerate_below=256, max_anchor_size=4)
    search = Guided(oracle.space(), config, Certifier(config))
    assert drive(search.try_guess((0, 1, 2)), oracle).result is None
    assert not search.is_open((0, 1, 2))
    assert search.exact
    for anchor, precision in search.exact.items():
        assert precision == pytest.approx(brute_force_precision(margins > 0, anchor))


def test_the_path_grows_by_the_effects() -> None:
    oracle = planted(0)
    path = drive(guided_search(oracle.space(), SearchConfig()), oracle).result.path
    assert [len(step.anchor) for step in path] == list(range(13))
    assert all(set(a.anchor) < set(b.anchor) for a, b in pairwise(path))
