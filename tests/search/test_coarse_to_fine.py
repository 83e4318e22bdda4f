"""The search that learns from groups first: what it saves, what it asks for, and that it promises what others do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.search.oracles import MaskOracle, Run, drive
from torch_anchors.errors import ArgumentError
from torch_anchors.search.certify import Certifier
from torch_anchors.search.choose import choose
from torch_anchors.search.coarse_to_fine import CoarseToFine, coarse_to_fine_search
from torch_anchors.search.interactions import guided_search
from torch_anchors.search.protocol import GroupedRequest, Search, SearchConfig, Status

Y, X = np.divmod(np.arange(128), 16)
BLOCKS = ((Y // 4) * 4 + X // 4, (Y // 2) * 8 + X // 2)
"""128 predicates on a board of 8 by 16: 8 blocks of 16, each of 4 blocks of 4."""

Margin = Callable[[NDArray[np.bool_]], NDArray[np.float64]]


def thing(seed: int) -> Margin:
    """A margin that depends on a round thing somewhere on the board: a sum, a threshold, or two halves, in turn."""
    rng = np.random.default_rng(seed)
    y, x, radius = rng.uniform(1, 7), rng.uniform(1, 15), rng.uniform(1.2, 2.6)
    squares = (Y - y) ** 2 + (X - x) ** 2
    inside, left = squares <= radius**2, x >= X
    weights = np.exp(-squares / radius**2) * rng.exponential(size=128) + 0.03 * rng.normal(size=128)
    weights /= np.abs(weights).sum()

    def raw(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        if seed % 3 == 1:
            return 0.5 * np.tanh(4 * (keep[:, inside].mean(1) - 0.5)) + 0.3 * (keep @ weights)
        if seed % 3 == 2 and (inside & left).any() and (inside & ~left).any():
            halves = keep[:, inside & left].mean(1), keep[:, inside & ~left].mean(1)
            return np.minimum(*halves) + 0.3 * (keep @ weights)
        return keep @ weights

    usual = raw(np.random.default_rng(1).random((2000, 128)) < 0.5).mean()
    border = usual + (raw(np.ones((1, 128), dtype=bool))[0] - usual) * rng.uniform(0.25, 0.6)
    return lambda keep: 20 * (raw(keep) - border)


def oracle_of(margin: Margin, seed: int, has_scores: bool = True) -> MaskOracle:
    oracle = MaskOracle(128, lambda keep, _: margin(keep) > 0, seed, levels=BLOCKS)
    oracle.margin = margin if has_scores else None
    return oracle


def run_of(search: Callable[..., Search], seed: int, has_scores: bool = True, **settings: object) -> tuple[Run, float]:
    """A search of a thing, and the true precision of what it found."""
    margin = thing(seed)
    oracle = oracle_of(margin, seed, has_scores)
    run = drive(search(oracle.space(), SearchConfig(**settings)), oracle)
    keep = np.random.default_rng(7).random((20_000, 128)) < 0.5
    keep[:, list(run.result.anchor)] = True
    return run, float((margin(keep) > 0).mean())


def test_it_takes_fewer_rows_than_a_search_that_sees_small_parts_only() -> None:
    coarse = [run_of(coarse_to_fine_search, seed)[0] for seed in range(15)]
    flat = [run_of(guided_search, seed)[0] for seed in range(15)]
    assert sum(run.n_new for run in coarse) < 0.7 * sum(run.n_new for run in flat)
    sizes = [np.mean([len(run.result.anchor) for run in runs]) for runs in (coarse, flat)]
    assert sizes[0] < 1.2 * sizes[1]


@pytest.mark.parametrize("has_scores", [True, False])
def test_what_is_certified_reaches_the_threshold(has_scores: bool) -> None:
    n, found, false = 24 if has_scores else 9, 0, 0
    for seed in range(n):
        run, precision = run_of(coarse_to_fine_search, seed, has_scores)
        found += run.result.success
        false += run.result.success and precision < 0.95 - 0.005  # of which 0.0015 is a standard error
    assert found >= 0.9 * n
    assert false <= 1


@pytest.mark.slow
def test_false_anchors_are_rarer_than_delta() -> None:
    false = [seed for seed in range(200) if run_of(coarse_to_fine_search, seed)[1] < 0.945]
    assert len(false) <= 0.1 * 200


def test_certificates_count_draws_of_the_anchor_and_never_rows_of_groups() -> None:
    for seed in range(6):
        run, _ = run_of(coarse_to_fine_search, seed)
        drawn = [
            (request.anchor, reply.n, reply.n_hits)
            for requests, replies in run.rounds
            for request, reply in zip(requests, replies, strict=True)
            if not isinstance(request, GroupedRequest) and request.anchor == run.result.anchor
        ]
        assert run.result.n == sum(n for _, n, _ in drawn)
        assert run.result.n_hits == sum(n_hits for *_, n_hits in drawn)


def test_groups_are_split_only_where_an_anchor_needs_them() -> None:
    run, _ = run_of(coarse_to_fine_search, 0)
    asked = [request for requests, _ in run.rounds for request in requests if isinstance(request, GroupedRequest)]
    assert len(set(asked[0].groups)) == 8
    for request in asked[1:]:
        groups = np.array(request.groups)
        sizes = np.bincount(groups)[groups]
        assert set(sizes.tolist()) <= {1, 4, 16}
        assert (sizes == 1).sum() > 64, "what is not looked at varies by itself"
    first, second = (np.array(request.groups) for request in asked[:2])
    split = [group for group in range(8) if len(set(second[first == group])) == 4]
    assert 1 <= len(split) < 8
    assert all(set(BLOCKS[1][first == group]) for group in split)


def test_excluded_predicates_are_never_submitted() -> None:
    margin = thing(0)
    oracle = oracle_of(margin, 0)
    weights = np.array([margin(np.eye(128, dtype=bool)[[k]])[0] for k in range(128)])
    excluded = set(np.argsort(-weights)[:3].tolist())
    run = drive(coarse_to_fine_search(oracle.space().without(excluded), SearchConfig(max_rows_total=600)), oracle)
    assert not any(excluded & set(request.anchor) for request in run.samples)


def test_an_anchor_has_no_more_predicates_than_it_may() -> None:
    for seed in range(4):
        run, _ = run_of(coarse_to_fine_search, seed, max_anchor_size=3)
        assert len(run.result.anchor) <= 3


@pytest.mark.parametrize("most", [1, 17, 40, 130, 300])
def test_a_budget_is_kept_and_its_end_is_told(most: int) -> None:
    run, _ = run_of(coarse_to_fine_search, 0, max_rows_total=most)
    assert run.n_new <= most
    assert run.result.success or run.result.status is Status.ROW_BUDGET


def test_auto_takes_it_where_there_are_levels_and_others_do_not_need_them() -> None:
    oracle = oracle_of(thing(0), 0)
    asked = drive(choose("auto", oracle.space(), SearchConfig()), oracle).rounds[1][0]
    assert isinstance(asked[0], GroupedRequest)
    flat = MaskOracle(128, oracle.hit, 0, margin=oracle.margin)
    assert not any(
        isinstance(r, GroupedRequest)
        for rs, _ in drive(choose("auto", flat.space(), SearchConfig()), flat).rounds
        for r in rs
    )
    with pytest.raises(ArgumentError, match="coarse_to_fine"):
        choose("coarse_to_fine", flat.space(), SearchConfig())


def test_few_rows_are_enumerated_as_ever() -> None:
    oracle = MaskOracle.of_table(np.arange(32) & 5 == 5)
    oracle.levels = (np.array([0, 0, 0, 1, 1]),)
    run = drive(coarse_to_fine_search(oracle.space(), SearchConfig()), oracle)
    assert (run.result.status, run.result.anchor) == (Status.EXACT, (0, 2))


def test_where_nothing_is_to_be_learned_from_rows_the_search_still_ends() -> None:
    """Nothing outside an anchor is ever shown: all rows of groups are one row."""
    oracle = oracle_of(thing(0), 0)
    oracle.p_keep = 0.0
    run = drive(coarse_to_fine_search(oracle.space(), SearchConfig(max_anchor_size=2)), oracle)
    assert len(run.result.anchor) <= 2


def test_every_group_is_split_down_to_its_predicates() -> None:
    space = oracle_of(thing(0), 0).space()
    search = CoarseToFine(space, SearchConfig(), Certifier(SearchConfig()))
    everything = np.ones(128, dtype=bool)
    assert len(set(search.groups.of().tolist())) == 8
    assert search.groups.split(everything).all()
    assert np.array_equal(search.groups.of(), np.unique(BLOCKS[1], return_inverse=True)[1])
    some = search.groups.of() == 3
    assert np.array_equal(search.groups.split(some), some)
    assert len(set(search.groups.of().tolist())) == 31 + 4
    search.groups.split(everything & ~some)
    assert len(set(search.groups.of().tolist())) == 128
    assert not search.groups.split(everything).any()
