"""Certified rules: what is proposed against loops over all conjunctions, the test against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import beta, binom

from tests.tables.count.conjunctions import bounds_and_categories, every_conjunction, random_table
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count import certified_rules as certified_module
from torch_anchors.tables.count import enumerate_rules, extensions
from torch_anchors.tables.count.certified_rules import CertifiedRule, certified_rules, proposed_rules
from torch_anchors.tables.count.extensions import Extensions
from torch_anchors.tables.count.forecast import Forecast
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.count.ladder import RUNGS
from torch_anchors.tables.count.on_test_rows import TEST_SHARE
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.count.split_table import SplitTable
from torch_anchors.tables.discretizer import Predicates
from torch_anchors.tables.training import TrainingRows

# ------------------------------------------------------------------------------------------------------- proposing


def expected_sizes(every: dict[Anchor, tuple[int, int]], forecast: Forecast) -> list[int]:
    """Rows of the proposed rules: at each rung more than at the ones before."""
    n, n_hits = np.array(list(every.values())).T
    score, sizes = forecast.score(n, n_hits), []
    for rung in RUNGS:
        largest = int(n[score >= rung].max(initial=0))
        if largest > (sizes[-1] if sizes else 0):
            sizes.append(largest)
    return sizes


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_rows=st.integers(1, 900),
    threshold=st.sampled_from([0.6, 0.8, 0.95]),
    alpha=st.sampled_from([0.01, 0.1, 0.6]),
    max_size=st.integers(0, 4),
    chunk=st.integers(1, 40),
    sampled=st.booleans(),
)
def test_proposals_are_the_best_of_all(
    seed: int, n_rows: int, threshold: float, alpha: float, max_size: int, chunk: int, sampled: bool
) -> None:
    rng = np.random.default_rng(seed)
    binned, labels = random_table(n_rows, 4, 3, 3, seed)
    predicates = bounds_and_categories(binned[rng.integers(0, n_rows, 4)], 3, rng)
    explained = rng.integers(0, 3, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Extensions, "n_bases", chunk)  # few at a time prune most
        patch.setattr(extensions, "CHUNK_ROWS", 7 * chunk)
        patch.setattr(enumerate_rules, "SAMPLES", (10, 40) if sampled else ())
        found = proposed_rules(
            RowsByLabel.of(binned, labels, 3),
            predicates,
            explained,
            test_ratio=1.5,
            threshold=threshold,
            alpha=alpha,
            max_size=max_size,
        )
    forecast = Forecast(1.5, threshold, alpha)
    for i, (own, label) in enumerate(zip(found, explained.tolist(), strict=True)):
        every = {a: (n, hits) for a, n, hits in every_conjunction(binned, labels, predicates, i, label, max_size)}
        sizes = expected_sizes(every, forecast)
        if sizes:
            assert [every[anchor][0] for anchor in own] == sizes
        else:
            bounds = forecast.lower_bound(*np.array(list(every.values())).T)
            (bound,) = forecast.lower_bound(*np.array([every[anchor] for anchor in own]).T)
            assert bound <= bounds.max() + 1e-12
            assert sampled or bound == pytest.approx(bounds.max())  # samples skip some that will not pass anyway


# ------------------------------------------------------------------------------------------------------------- testing


def noise(n: int, rate: float, n_columns: int = 5, seed: int = 0) -> tuple[LabelledTraining, NDArray[np.float64]]:
    """A table whose labels nothing explains: 1 with the chance `rate`."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, (n, n_columns)).astype(float)
    labels = (rng.random(n) < rate).astype(int)
    return LabelledTraining(TrainingRows.fit(rows, [3] * n_columns), torch.as_tensor(labels)), rows


def predicates_of(table: LabelledTraining, rows: NDArray[np.float64]) -> Predicates:
    discretizer = table.training.discretizer
    return discretizer.predicates(discretizer.bin(torch.as_tensor(rows)))


def rules_of(
    table: LabelledTraining, rows: NDArray[np.float64], classes: NDArray[np.int64] | None = None, **settings: Any
) -> list[CertifiedRule]:
    split = SplitTable(table, np.random.default_rng(0))
    classes = table.class_of(np.ones(len(rows), dtype=np.int64)) if classes is None else classes
    return certified_rules(split, predicates_of(table, rows), rows, classes, **settings)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.96, 0.99, 1.0])
@pytest.mark.parametrize("delta", [0.01, 0.1, 0.5])
def test_status_and_interval_agree_with_the_counts(rate: float, delta: float) -> None:
    table, rows = noise(1500, rate)
    for rule in rules_of(table, rows[:20], delta=delta):
        low, high = rule.interval
        assert 0 <= low <= rule.precision <= high <= 1
        assert 0 <= rule.n_hits <= rule.n
        assert rule.precision == (rule.n_hits / rule.n if rule.n else 0)
        passed = rule.n > 0 and binom.sf(rule.n_hits - 1, rule.n, 0.95) <= TEST_SHARE * delta
        assert rule.certified == passed
        assert (low >= 0.95) if rule.certified else (low <= 0.95)
        if not rule.certified and rule.n_hits:
            expected = beta.ppf(TEST_SHARE * delta, rule.n_hits, rule.n - rule.n_hits + 1)
            assert low == pytest.approx(min(expected, 0.95))


def test_a_planted_rule_is_certified_with_its_coverage() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 3, (3000, 6)).astype(float)
    holds = (rows[:, 1] == 2) & (rows[:, 4] == 0)
    labels = np.where(holds, 1, (rng.random(3000) < 0.3).astype(int))
    table = LabelledTraining(TrainingRows.fit(rows, [3] * 6), torch.as_tensor(labels))
    (rule,) = rules_of(table, rows[holds][:1])
    assert (rule.anchor, rule.certified, rule.precision) == ((1, 4), True, 1.0)
    assert rule.coverage == holds.mean()
    assert rule.interval[0] >= 0.95
    assert rule.n < holds.sum()  # the rows that it was chosen on are not counted again


def test_a_rule_does_not_depend_on_the_batch() -> None:
    table, rows = noise(1500, 0.97)
    together = rules_of(table, rows[:20])
    for i in range(5):
        assert rules_of(table, rows[i : i + 1]) == [together[i]]


@pytest.mark.parametrize(("rate", "counted"), [(0.97, 60), (0.8, 300), (0.5, 60)])
def test_nor_where_the_table_has_too_many_columns_to_count_all(
    rate: float, counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enumerate_rules, "COUNTED", counted)
    monkeypatch.setattr(Extensions, "n_bases", 7)
    rng = np.random.default_rng(3)
    table, rows = noise(1500, rate, n_columns=20, seed=int(100 * rate))
    together = rules_of(table, rows[:12])
    for i in range(12):
        monkeypatch.setattr(Extensions, "n_bases", int(rng.integers(1, 20)))
        assert rules_of(table, rows[i : i + 1]) == [together[i]]
    monkeypatch.setattr(certified_module, "HELD_AT_ONCE", 1000)  # a few together
    assert rules_of(table, rows[:12]) == together


def test_the_explained_row_itself_is_left_out_of_the_test() -> None:
    table, rows = noise(600, 1.0, n_columns=8)
    split = SplitTable(table, np.random.default_rng(0))
    twins = split.twins(rows) >= 0
    assert 0 < twins.sum() < 600
    own, classes = predicates_of(table, rows), table.class_of(np.ones(600, dtype=np.int64))
    rules, as_if_new = (certified_rules(split, own, given, classes) for given in (rows, rows + 1e-3))
    for twin, rule, new in zip(twins.tolist(), rules, as_if_new, strict=True):
        assert rule.anchor == new.anchor
        assert (rule.n, rule.n_hits) == (new.n - twin, new.n_hits - twin)


def test_the_chance_to_certify_what_is_not_so_is_at_most_delta() -> None:
    """Labels that no column explains, a little below the threshold: every certificate is an error."""
    n_errors, n_tables, delta = 0, 60, 0.2
    for seed in range(n_tables):
        table, rows = noise(700, 0.94, n_columns=6, seed=seed)
        (rule,) = rules_of(table, rows[:1], delta=delta, threshold=0.95)
        n_errors += rule.certified
    assert binom.sf(n_errors - 1, n_tables, delta) > 1e-4


def test_no_sample_shows_that_a_precision_is_1() -> None:
    table, rows = noise(300, 1.0)
    assert not any(rule.certified for rule in rules_of(table, rows[:20], threshold=1.0))
    assert all(rule.certified and rule.anchor == () for rule in rules_of(table, rows[:20], threshold=0.95))


def test_a_class_that_no_row_has_is_not_certified() -> None:
    table, rows = noise(300, 1.0)
    for rule in rules_of(table, rows[:20], np.full(20, table.n_classes - 1)):
        assert (rule.certified, rule.n_hits, rule.precision, rule.interval[0]) == (False, 0, 0.0, 0.0)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_rows_certify_nothing(n: int) -> None:
    table, rows = noise(n, 1.0)
    assert not any(rule.certified for rule in rules_of(table, rows))


def test_the_size_of_a_rule_is_bounded() -> None:
    table, rows = noise(300, 0.8)
    assert {len(rule.anchor) for rule in rules_of(table, rows[:20], max_size=0)} == {0}
    assert max(len(rule.anchor) for rule in rules_of(table, rows[:20], max_size=2)) == 2
    with pytest.raises(ArgumentError, match="max_size must be 0 or more, got -1"):
        rules_of(table, rows[:20], max_size=-1)
