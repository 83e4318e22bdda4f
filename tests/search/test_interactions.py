"""The search by margins where predicates act together: shorter anchors, fewer rows, and nothing false."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.search.oracles import MaskOracle, drive
from torch_anchors.search.beam import searched
from torch_anchors.search.certify import Certifier
from torch_anchors.search.exact import sizes_of, superset_precisions
from torch_anchors.search.guided import Guided
from torch_anchors.search.interactions import FAILURES, MOST_PREDICATES, Interactions, guided_search
from torch_anchors.search.protocol import SearchConfig, Status

K = 12
MASKS = (np.arange(1 << K)[:, None] >> np.arange(K)) & 1 == 1
POWERS = 1 << np.arange(K)


def conjunctions(seed: int) -> NDArray[np.float64]:
    """Margins (2^K,): either of two sets of three predicates makes a hit, and single ones add a little."""
    rng = np.random.default_rng(seed)
    sets = rng.permutation(K)[:6].reshape(2, 3)
    margins = np.logaddexp(*(np.where(MASKS[:, one].all(axis=1), 2.0, -3.0) for one in sets)) - 0.5
    return margins + MASKS @ (0.2 * rng.normal(size=K))


def oracle_of(margins: NDArray[np.float64], seed: int = 0) -> MaskOracle:
    oracle = MaskOracle.of_table(margins > 0, seed)
    oracle.margin = lambda keep: margins[keep @ POWERS]
    return oracle


def interactions(oracle: MaskOracle, config: SearchConfig | None = None) -> Interactions:
    config = config or SearchConfig()
    return Interactions(oracle.space(), config, Certifier(config))


def shortest(margins: NDArray[np.float64]) -> int:
    return int(sizes_of(K)[superset_precisions((margins > 0).astype(float)) >= 0.95].min())


def test_it_finds_shorter_anchors_in_fewer_rows_than_effects_that_add_up() -> None:
    rows, excess = {"effects": 0, "process": 0}, {"effects": 0, "process": 0}
    for seed in range(12):
        margins = conjunctions(seed)
        for name, kind in (("effects", Guided), ("process", Interactions)):
            oracle, config = oracle_of(margins, seed), SearchConfig()
            found = drive(searched(kind(oracle.space(), config, Certifier(config))), oracle).result
            assert found.success
            rows[name] += oracle.n_rows
            excess[name] += len(found.anchor) - shortest(margins)
    assert rows["process"] < rows["effects"]
    assert excess["process"] <= excess["effects"]
    assert excess["process"] <= 3


def test_effects_that_explain_everything_need_no_process() -> None:
    margins = MASKS[:, :2].sum(axis=1) - 1.5
    search = interactions(oracle := oracle_of(margins), SearchConfig(round_rows=64))
    assert drive(searched(search), oracle).result.anchor == (0, 1)
    assert not search.is_joint


def test_what_is_accepted_without_margins_to_learn_from_still_loses_what_it_does_not_need() -> None:
    """An anchor whose 64 rows are all tried says nothing of margins; its parts are asked before it is returned."""
    margins = 3.0 * MASKS[:, :3].all(axis=1) - 1.5 + 0.3 * np.random.default_rng(0).normal(size=len(MASKS))
    search = interactions(oracle := oracle_of(margins))
    drive(search.sample([()], 64), oracle)
    search.is_joint = True
    found = drive(search.finish_by_enumeration([tuple(range(6))]), oracle).result
    assert found is not None
    search.exact[tuple(range(6))] = 1.0
    assert drive(search.shorten(tuple(range(6))), oracle).result == (0, 1, 2)


def test_certificates_count_all_rows_that_came_after_their_submission() -> None:
    margins = conjunctions(3)
    search = interactions(oracle := oracle_of(margins))
    run = drive(searched(search), oracle)
    for anchor, certificate in search.tested.items():
        if anchor:
            asked = [r.n for r in run.samples if r.anchor == anchor and r.n]
            assert certificate.n <= sum(asked)
            assert certificate.n_hits <= certificate.n


@pytest.mark.parametrize("budget", [20, 70, 130])
def test_the_row_budget_is_kept(budget: int) -> None:
    oracle = oracle_of(conjunctions(0))
    found = drive(guided_search(oracle.space(), SearchConfig(max_rows_total=budget)), oracle).result
    assert oracle.n_rows <= budget
    assert found.success or found.status is Status.ROW_BUDGET


def test_it_ends_where_margins_have_nothing_to_do_with_labels() -> None:
    rng = np.random.default_rng(0)
    hits = rng.random(len(MASKS)) < 0.6
    lies = np.abs(conjunctions(0)) + 1.0
    oracle = MaskOracle.of_table(hits)
    oracle.margin = lambda keep: lies[keep @ POWERS]
    search = interactions(oracle, SearchConfig(enumerate_below=1, max_anchor_size=3))
    found = drive(searched(search), oracle).result
    assert not found.success
    assert sum(anchor in search.tested for anchor in search.failed) <= FAILURES
    assert not search.is_believed()


def test_no_anchor_that_is_excluded_too_long_or_known_to_fail_is_looked_at() -> None:
    oracle = oracle_of(conjunctions(1))
    space = oracle.space().without([0, 5])
    config = SearchConfig()
    search = Interactions(space, config, Certifier(config))
    drive(search.sample([()], 60), oracle)
    search.failed.add((1,))
    search.exact[2,] = 0.5
    anchors = search.candidates(search.precisions(), 3)
    assert anchors
    assert max(map(len, anchors)) == 3
    assert not any({0, 5} & set(anchor) for anchor in anchors)
    assert not {(1,), (2,)} & set(anchors)


def test_many_predicates_are_searched_by_effects_alone() -> None:
    n = MOST_PREDICATES + 1
    oracle = MaskOracle(n, lambda keep, _: keep[:, :2].all(1))
    oracle.margin = lambda keep: 2.0 * keep[:, :2].all(1) - 1.0
    assert drive(guided_search(oracle.space(), SearchConfig()), oracle).result.anchor == (0, 1)


def requests_of(oracle: MaskOracle, config: SearchConfig, kind: type[Guided] | None = None) -> list[Any]:
    """What is asked by a search of a kind, or by the one that is taken for the oracle."""
    space = oracle.space()
    search = guided_search(space, config) if kind is None else searched(kind(space, config, Certifier(config)))
    return [requests for requests, _ in drive(search, oracle).rounds]


def test_masks_of_several_rows_are_searched_by_effects() -> None:
    """Half of the rows of a mask may be hits, and its mean margin says nothing of that."""
    margins = conjunctions(1)

    def several() -> MaskOracle:
        oracle = MaskOracle(K, lambda keep, number: (margins[keep @ POWERS] > 0) & (number < 3), n_backgrounds=4)
        oracle.margin = lambda keep: margins[keep @ POWERS]
        return oracle

    config = SearchConfig(threshold=0.6)
    assert requests_of(several(), config) == requests_of(several(), config, Guided)


def test_rounds_of_many_rows_are_cheaper_than_a_look_at_all_masks() -> None:
    for round_rows, kind, other in ((16, Interactions, Guided), (128, Guided, Interactions)):
        config = SearchConfig(round_rows=round_rows)
        found, same, different = (requests_of(oracle_of(conjunctions(1)), config, one) for one in (None, kind, other))
        assert found == same != different


def test_the_same_rows_lead_to_the_same_requests() -> None:
    runs = [drive(guided_search(o.space(), SearchConfig()), o) for o in (oracle_of(conjunctions(2)) for _ in range(2))]
    assert [requests for requests, _ in runs[0].rounds] == [requests for requests, _ in runs[1].rounds]
