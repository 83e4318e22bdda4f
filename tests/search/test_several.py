"""Several anchors with no predicate in common: what they are, what they cost, and that all of them hold together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from tests.search.oracles import ArmsOracle, MaskOracle, brute_force_precision, drive
from torch_anchors.search.choose import choose
from torch_anchors.search.protocol import SearchConfig, SearchResult, SearchSpace, Status
from torch_anchors.search.several import several

PLANTED = ((0, 1), (4,), (6, 7))
"""Three anchors: wherever one of them is shown, the label is kept."""
CONFIG = SearchConfig()


def holding(keep: np.ndarray) -> np.ndarray:
    return np.any([keep[:, list(anchor)].all(axis=1) for anchor in PLANTED], axis=0)


def masks(seed: int = 0, n_predicates: int = 9) -> MaskOracle:
    return MaskOracle(n_predicates, lambda keep, background: holding(keep), seed)


def anchors_of(result: SearchResult) -> list[tuple[int, ...]]:
    return [found.anchor for found in (result, *result.others)]


@pytest.mark.parametrize("method", ["auto", "beam", "guided", "exact"])
def test_all_planted_anchors_are_found(method: str) -> None:
    for seed in range(10):
        oracle = masks(seed)
        result = drive(several(3, oracle.space(), CONFIG, partial(choose, method)), oracle).result
        assert sorted(anchors_of(result)) == sorted(PLANTED)
        assert all(found.success for found in (result, *result.others))
        assert not any(found.others for found in result.others)


def test_arms_are_found_as_well() -> None:
    def precision(anchor: tuple[int, ...]) -> float:
        return 0.999 if any(set(planted) <= set(anchor) for planted in PLANTED) else 0.5

    for seed in range(10):
        oracle = ArmsOracle(9, precision, seed)
        result = drive(several(3, oracle.space(), CONFIG, partial(choose, "beam")), oracle).result
        assert sorted(anchors_of(result)) == sorted(PLANTED)


def test_one_anchor_is_the_search_itself() -> None:
    alone, one = masks(3), masks(3)
    plain = drive(choose("beam", alone.space(), CONFIG), alone)
    same = drive(several(1, one.space(), CONFIG, partial(choose, "beam")), one)
    assert same.result == plain.result
    assert [requests for requests, _ in same.rounds] == [requests for requests, _ in plain.rounds]


def test_each_search_gets_its_share_of_delta_and_the_rest_of_the_rows() -> None:
    asked: list[tuple[frozenset[int], SearchConfig]] = []

    def start(space: SearchSpace, config: SearchConfig):
        asked.append((space.excluded, config))
        return choose("beam", space, config)

    oracle = masks()
    config = replace(CONFIG, max_rows_total=5000, n_spent=1)
    run = drive(several(3, oracle.space(), config, start), oracle)
    first, *others = anchors_of(run.result)
    assert [excluded for excluded, _ in asked] == [frozenset(), frozenset(first), frozenset(first + others[0])]
    assert {own.delta for _, own in asked} == {CONFIG.delta / 3}
    spent = [own.n_spent for _, own in asked]
    assert spent[0] == 1
    assert spent == sorted(set(spent))
    assert spent[-1] < run.n_new + 1 == oracle.n_rows + 1


@pytest.mark.parametrize("most", [1, 10, 60, 150, 400])
@pytest.mark.parametrize("method", ["auto", "beam", "guided"])
def test_all_searches_together_stay_within_the_row_budget(method: str, most: int) -> None:
    oracle = masks(n_predicates=20)
    config = replace(CONFIG, max_rows_total=most)
    run = drive(several(3, oracle.space(), config, partial(choose, method)), oracle)
    assert run.n_new <= most
    assert all(found.success for found in run.result.others)


def test_fewer_are_reported_where_there_are_no_more() -> None:
    oracle = masks()
    result = drive(several(5, oracle.space(), CONFIG, partial(choose, "exact")), oracle).result
    assert sorted(anchors_of(result)) == sorted(PLANTED)


def test_nothing_is_looked_for_after_an_anchor_that_is_not_found_or_empty() -> None:
    coin = ArmsOracle(5, lambda anchor: 0.6)
    result = drive(several(3, coin.space(), replace(CONFIG, max_anchor_size=2), partial(choose, "beam")), coin).result
    assert result.status is Status.NOT_FOUND
    assert not result.others
    always = ArmsOracle(5, lambda anchor: 1.0)
    result = drive(several(3, always.space(), CONFIG, partial(choose, "beam")), always).result
    assert (result.status, result.others) == (Status.EMPTY_HOLDS, ())


def test_a_later_empty_anchor_is_no_further_one() -> None:
    """The empty anchor may be certified at the second attempt only; it has no predicate in common with any, but that
    says nothing new."""

    def start(space: SearchSpace, config: SearchConfig):
        yield from ()
        if space.excluded:
            return SearchResult((), 0.99, (0.95, 1.0), 1.0, Status.EMPTY_HOLDS, 100, 99)
        return SearchResult((1,), 0.99, (0.95, 1.0), 0.5, Status.CERTIFIED, 100, 99)

    result = drive(several(3, masks().space(), CONFIG, start), masks()).result
    assert anchors_of(result) == [(1,)]


def test_what_is_said_of_all_of_them_is_false_together_at_most_delta() -> None:
    """Masks near the threshold: about as many anchors above as below it, so that errors are to be had."""
    delta, n_false, n_later = 0.3, 0, 0
    config = replace(CONFIG, delta=delta, threshold=0.9)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        hits = rng.random(1 << 8) < 0.885
        oracle = MaskOracle.of_table(hits, seed)
        space = replace(oracle.space(), n_rows=lambda anchor: None)  # so that nothing is counted exactly
        result = drive(several(3, space, config, partial(choose, "beam")), oracle).result
        found = [one for one in (result, *result.others) if one.success]
        truth = [brute_force_precision(hits, one.anchor) for one in found]
        n_false += any(precision < config.threshold for precision in truth)
        n_later += len(result.others)
    assert n_later > 20
    assert n_false <= delta * 60
