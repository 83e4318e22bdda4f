"""The optimum by enumeration against brute force, mask by mask."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.oracles import MaskOracle, brute_force_precision, drive, truth_table
from torch_anchors.search.exact import best_superset, exact_search, sizes_of, superset_precisions
from torch_anchors.search.protocol import Anchor, SampleCounts, SearchConfig, Status


def every_anchor(n_predicates: int) -> list[Anchor]:
    return [a for size in range(n_predicates + 1) for a in combinations(range(n_predicates), size)]


def code_of(anchor: Anchor) -> int:
    return sum(1 << k for k in anchor)


def shares(n_predicates: int, n_backgrounds: int, seed: int) -> np.ndarray:
    """Hits (2^K, backgrounds), rows that become likelier hits the more is shown."""
    rng = np.random.default_rng(seed)
    chance = 0.5 + 0.5 * sizes_of(n_predicates) / max(n_predicates, 1)
    hits = rng.random((1 << n_predicates, n_backgrounds)) < chance[:, None]
    hits[-1] = True
    return hits


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 5), st.sampled_from([0.5, 0.2, 0.7]), st.integers(1, 3), st.integers(0, 10**6))
def test_precision_of_every_anchor(n_predicates, p_keep, n_backgrounds, seed):
    hits = shares(n_predicates, n_backgrounds, seed).mean(axis=1)
    before = hits.copy()
    precisions = superset_precisions(hits, p_keep)
    for anchor in every_anchor(n_predicates):
        assert precisions[code_of(anchor)] == pytest.approx(brute_force_precision(hits, anchor, p_keep), abs=1e-12)
    assert (hits == before).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.sets(st.integers(0, 5)), st.sampled_from([None, 1, 3]), st.integers(0, 10**6))
def test_the_optimum_without_excluded_predicates(n_predicates, excluded, largest, seed):
    excluded = {k for k in excluded if k < n_predicates}
    oracle = MaskOracle.of_table(shares(n_predicates, 1, seed))
    space, config = oracle.space().without(excluded), SearchConfig(threshold=0.9, max_anchor_size=largest)
    found = drive(exact_search(space, config), oracle).result
    truth = {
        anchor: brute_force_precision(shares(n_predicates, 1, seed)[:, 0], anchor)
        for anchor in every_anchor(n_predicates)
        if not excluded & set(anchor) and len(anchor) <= (largest or n_predicates)
    }
    reaching = {anchor: precision for anchor, precision in truth.items() if precision >= 0.9 - 1e-12}
    assert not excluded & set(found.anchor)
    assert found.success is bool(reaching)
    assert found.precision == pytest.approx(truth[found.anchor])
    if reaching:
        assert len(found.anchor) == min(map(len, reaching))
    else:
        assert found.precision == pytest.approx(max(truth.values()))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 6),
    st.sampled_from([0.5, 0.25, 0.8]),
    st.integers(1, 3),
    st.sampled_from([0.7, 0.9, 0.95, 1.0]),
    st.sampled_from([None, 1, 3]),
    st.integers(0, 10**6),
)
def test_the_optimum_of_random_tables(n_predicates, p_keep, n_backgrounds, threshold, largest, seed):
    table = shares(n_predicates, n_backgrounds, seed)
    oracle = MaskOracle.of_table(table, p_keep=p_keep)
    config = SearchConfig(threshold=threshold, max_anchor_size=largest)
    found = drive(exact_search(oracle.space(), config), oracle).result

    truth = {
        anchor: brute_force_precision(table.mean(axis=1), anchor, p_keep)
        for anchor in every_anchor(n_predicates)
        if largest is None or len(anchor) <= largest
    }
    valid = [anchor for anchor, precision in truth.items() if precision >= threshold - 1e-12]
    assert found.precision == pytest.approx(truth[found.anchor], abs=1e-12)
    assert found.precision_interval == (found.precision, found.precision)
    assert found.coverage == pytest.approx(p_keep ** len(found.anchor))
    assert found.success == bool(valid)
    if valid:
        shortest = [anchor for anchor in valid if len(anchor) == min(map(len, valid))]
        assert found.anchor in shortest
        assert found.precision == pytest.approx(max(truth[anchor] for anchor in shortest), abs=1e-12)
        assert found.status is (Status.EXACT if found.anchor else Status.EMPTY_HOLDS)
    else:
        assert found.status is Status.NOT_FOUND
        assert found.precision == pytest.approx(max(truth.values()), abs=1e-12)


@pytest.mark.parametrize("name", ["coffee", "camera"])
def test_the_optimum_of_a_photograph(name):
    hits = truth_table(name)
    oracle = MaskOracle.of_table(hits)
    run = drive(exact_search(oracle.space(), SearchConfig()), oracle)
    found, masks = run.result, np.arange(hits.size)
    singles = [float(hits[masks >> k & 1 == 1].mean()) for k in range(13)]
    assert hits.mean() < 0.95 <= max(singles)
    assert found.anchor == (int(np.argmax(singles)),)
    assert found.precision == pytest.approx(max(singles), abs=1e-12)
    assert found.status is Status.EXACT
    assert len(run.rounds) == 1
    assert oracle.n_rows == run.n_new == 8192


@pytest.mark.parametrize("base", [(), (1,), (0, 3), (0, 1, 2, 3, 4)])
def test_best_superset_contains_its_base(base):
    hits = shares(5, 1, seed=7).mean(axis=1)
    space = MaskOracle.of_table(hits).space()
    masks = [m for m in range(32) if m & code_of(base) == code_of(base)]
    anchor, precision = best_superset(hits[masks], base, space, SearchConfig(threshold=0.9))
    assert set(base) <= set(anchor)
    assert precision == pytest.approx(brute_force_precision(hits, anchor), abs=1e-12)
    candidates = [a for a in every_anchor(5) if set(base) <= set(a) and brute_force_precision(hits, a) >= 0.9]
    assert len(anchor) == min(map(len, candidates))


def test_a_precision_equal_to_the_threshold_reaches_it():
    """19 of 20 hits in thirds of p_keep do not add up to exactly 0.95 in binary."""
    hits = np.full((4, 20), True)
    hits[:, 0] = False
    oracle = MaskOracle.of_table(hits, p_keep=1 / 3)
    found = drive(exact_search(oracle.space(), SearchConfig(threshold=0.95)), oracle).result
    assert found.status is Status.EMPTY_HOLDS


def test_the_path_adds_one_predicate_at_a_time_and_each_the_best():
    hits = shares(6, 1, seed=3)
    oracle = MaskOracle.of_table(hits)
    found = drive(exact_search(oracle.space(), SearchConfig(threshold=1.0)), oracle).result
    precision = {a: brute_force_precision(hits[:, 0], a) for a in every_anchor(6)}
    assert [len(step.anchor) for step in found.path] == list(range(len(found.anchor) + 1))
    assert len(found.anchor) >= 3
    assert found.path[-1].anchor == found.anchor
    for before, after in zip(found.path, found.path[1:], strict=False):
        assert set(before.anchor) < set(after.anchor)
        others = [tuple(sorted((*before.anchor, k))) for k in found.anchor if k not in before.anchor]
        assert after.precision == pytest.approx(max(precision[a] for a in others), abs=1e-12)
        assert after.coverage == pytest.approx(0.5 ** len(after.anchor))


def test_an_enumeration_answered_by_counts_is_an_error():
    search = exact_search(MaskOracle.of_table(np.ones(4)).space(), SearchConfig())
    next(search)
    with pytest.raises(TypeError, match="answered by EnumeratedHits, got SampleCounts"):
        search.send((SampleCounts(5, 5),))


def test_sizes_of_codes():
    assert sizes_of(0).tolist() == [0]
    assert sizes_of(10).tolist() == [bin(code).count("1") for code in range(1024)]
