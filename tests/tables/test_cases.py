"""What is searched for rows that were made ready together."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from torch_anchors.search.protocol import Anchor, SearchConfig, SearchSpace, Status
from torch_anchors.seeds import stream
from torch_anchors.tables.cases import MAX_COUNTED, RowCase, RowSpaces
from torch_anchors.tables.count.certified_rules import certified_rules
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.count.split_table import SplitTable
from torch_anchors.tables.covered import Covered
from torch_anchors.tables.propose.guess import with_counts
from torch_anchors.tables.propose.proposer import Proposer
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

RNG = np.random.default_rng(0)
# A number with three cut points, a category of 3, a number with three cut points.
ROWS = np.column_stack([RNG.normal(size=900), RNG.integers(0, 3, 900), RNG.normal(size=900)])
LABELS = np.where((ROWS[:, 0] > 0) & (ROWS[:, 1] == 1), 9, -1)
CONFIG = SearchConfig()


def sampler_of(rows: NDArray[np.float64] = ROWS[:4], sampling: str = "interventional") -> RowSampler:
    return RowSampler(TrainingRows.fit(ROWS, [None, 3, None]), rows, sampling=sampling)


def labelled(sampler: RowSampler) -> LabelledTraining:
    return LabelledTraining(sampler.training, torch.as_tensor(LABELS))


def split_of(sampler: RowSampler) -> SplitTable:
    return SplitTable(labelled(sampler), stream(0, b"split"))


def spaces_of(
    rows: NDArray[np.float64], labels: NDArray[np.int64], sampling: str = "interventional", **config: Any
) -> tuple[list[SearchSpace], RowSampler]:
    """The spaces of some rows: with proposals if they are sampled interventionally, and else with counted rules."""
    sampler = sampler_of(rows, sampling)
    training = labelled(sampler)
    proposer = training.proposer() if sampling == "interventional" else None
    split = split_of(sampler) if sampling == "conditional" else None
    spaces = RowSpaces(training, sampler, labels, replace(CONFIG, **config), proposer, split)
    return [spaces.space(i) for i in range(len(rows))], sampler


POSITIVE = ROWS[LABELS == 9][:3]
SOME = np.vstack([POSITIVE, ROWS[LABELS == -1][:2]])
OF_SOME = np.array([9, 9, 9, -1, -1])


def test_a_case_is_a_row_of_a_sampler() -> None:
    sampler, rng = sampler_of(), np.random.default_rng(0)
    case = RowCase(sampler=sampler, rng=rng, instance=2)
    assert (case.sampler, case.rng, case.instance, case.label) == (sampler, rng, 2, None)


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_coverage_is_counted_whether_an_anchor_was_proposed_or_not(sampling: str) -> None:
    spaces, sampler = spaces_of(SOME, OF_SOME, sampling)
    covered = Covered(labelled(sampler), sampler)
    for i, space in enumerate(spaces):
        assert space.n_predicates == sampler.n_predicates == 7
        anchors: list[Anchor] = [(), *combinations(range(7), 1), *combinations(range(7), 2)]
        expected = covered.coverages([i] * len(anchors), anchors).tolist()
        assert [space.coverage(anchor) for anchor in anchors] == pytest.approx(expected)
        assert not space.independent
        assert space.n_rows(()) is None  # no row of a table is enumerated


def test_a_bound_that_another_makes_needless_is_not_added() -> None:
    spaces, sampler = spaces_of(SOME, OF_SOME, "conditional")
    for i, space in enumerate(spaces):
        bins = sampler.bins(i, tuple(range(7)))
        for anchor in [(), (0,), (2, 3), (0, 4, 6)]:
            for predicate in set(range(7)) - set(anchor):
                column, low, high = bins[predicate]
                needless = [p for p in anchor if bins[p][0] == column and (bins[p][1] == low or bins[p][2] == high)]
                assert space.compatible(anchor, predicate) is (not needless)
    assert any(not spaces[0].compatible((p,), q) for p, q in combinations(range(7), 2))


# ----------------------------------------------------------------------------------------------------------- proposing


def test_proposals_are_those_of_the_proposer_with_the_share_of_the_label() -> None:
    spaces, sampler = spaces_of(SOME, OF_SOME, threshold=0.9, max_anchor_size=2)
    training = labelled(sampler)
    classes = training.class_of(OF_SOME)
    proposed = training.proposer().propose(sampler.predicates, classes, threshold=0.9, max_anchor_size=2)
    for i, (space, own, label) in enumerate(zip(spaces, proposed, OF_SOME, strict=True)):
        assert space.counted is None
        assert space.proposals is not None
        proposals = space.proposals()
        assert set(proposals.guesses) == set(own.guesses)
        instances = np.full(len(own.guesses), i)
        counts = training.count(sampler.conditions(instances, list(own.guesses)), classes[instances])
        expected = with_counts(np.array(list(own.guesses.values())), counts)
        assert list(proposals.guesses.values()) == pytest.approx(expected.tolist())
        assert max(map(len, proposals.guesses)) == 2
        assert proposals.empty_precision == (label == LABELS).mean()


def test_a_shorter_anchor_has_its_coverage_counted() -> None:
    spaces, sampler = spaces_of(SOME, OF_SOME)
    covered = Covered(labelled(sampler), sampler)
    for i, space in enumerate(spaces):
        assert space.proposals is not None
        proposals = space.proposals()
        longest = max(proposals.guesses, key=len)
        fewer = proposals.shorter(longest)
        assert fewer
        assert all(set(anchor) < set(longest) for anchor in fewer)
        expected = covered.coverages([i] * len(fewer), list(fewer)).tolist()
        assert [space.coverage(anchor) for anchor in fewer] == pytest.approx(expected)


def test_anchors_of_all_rows_are_proposed_and_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    propose, count, n_covered = Proposer.propose, LabelledTraining.count, RowSampler.n_covered
    monkeypatch.setattr(Proposer, "propose", lambda *a, **k: calls.append("propose") or propose(*a, **k))
    monkeypatch.setattr(LabelledTraining, "count", lambda *a: calls.append("count") or count(*a))
    monkeypatch.setattr(RowSampler, "n_covered", lambda *a: calls.append("count one") or n_covered(*a))
    spaces, _ = spaces_of(SOME, OF_SOME)
    assert not calls  # nothing is done before a search asks
    for space in spaces:
        assert space.proposals is not None
        for anchor in space.proposals().guesses:
            space.coverage(anchor)
        assert space.coverage(()) == 1
    assert calls == ["propose", "count"]
    spaces[0].coverage((0, 1, 2, 3, 4, 5))
    spaces[0].coverage((0, 1, 2, 3, 4, 5))
    assert calls == ["propose", "count", "count one"]  # what was not proposed, once


# ------------------------------------------------------------------------------------------------------------ counting


@pytest.mark.parametrize(("max_anchor_size", "most"), [(None, MAX_COUNTED), (1, 1), (4, 4)])
@pytest.mark.parametrize("threshold", [0.9, 0.3])
def test_the_result_is_the_certified_rule(threshold: float, max_anchor_size: int | None, most: int) -> None:
    spaces, sampler = spaces_of(SOME, OF_SOME, "conditional", threshold=threshold, max_anchor_size=max_anchor_size)
    training = labelled(sampler)
    rules = certified_rules(
        split_of(sampler),
        sampler.predicates,
        sampler.instances,
        training.class_of(OF_SOME),
        threshold=threshold,
        delta=0.1,
        max_size=most,
    )
    paths = Covered(training, sampler).paths(range(5), [rule.anchor for rule in rules], OF_SOME)
    for space, rule, path in zip(spaces, rules, paths, strict=True):
        assert space.proposals is None
        assert space.counted is not None
        result = space.counted()
        assert (result.anchor, result.n, result.n_hits) == (rule.anchor, rule.n, rule.n_hits)
        assert result.precision == rule.precision
        assert result.precision_interval == rule.interval
        assert result.coverage == rule.coverage == path[-1].coverage
        assert result.path == path
        if rule.certified:
            assert result.status is (Status.CERTIFIED if rule.anchor else Status.EMPTY_HOLDS)
        else:
            assert result.status is (Status.COUNTED if path[-1].precision >= threshold else Status.NOT_FOUND)
    of_hits = [rule.certified for rule in rules[:3]]
    assert of_hits == [most > 1 or threshold < 0.5] * 3  # two conditions are needed for 0.9, one for 0.3


def test_a_rule_without_conditions_holds_by_itself() -> None:
    (space,), _ = spaces_of(ROWS[LABELS == -1][:1], np.array([-1]), "conditional", threshold=0.5)
    assert space.counted is not None
    result = space.counted()
    assert result.status is Status.EMPTY_HOLDS
    assert (result.anchor, result.coverage) == ((), 1.0)
    assert result.precision_interval[0] >= 0.5


def test_rows_too_few_to_certify_a_rule_are_counted_only() -> None:
    training = TrainingRows.fit(np.repeat([[0.0], [1.0]], 15, axis=0), [2])
    sampler = RowSampler(training, np.array([[1.0]]), sampling="conditional")
    table = LabelledTraining(training, torch.as_tensor(np.repeat([0, 1], 15)))
    split = SplitTable(table, stream(0, b""))
    result = RowSpaces(table, sampler, np.array([1]), CONFIG, split=split).space(0).counted()
    assert result.status is Status.COUNTED
    assert (result.anchor, result.path[-1].precision) == ((0,), 1.0)
    assert result.precision_interval[0] < 0.95


def test_rules_of_all_rows_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(
        "torch_anchors.tables.cases.certified_rules",
        lambda *a, **k: calls.append(len(a[3])) or certified_rules(*a, **k),
    )
    spaces, _ = spaces_of(SOME, OF_SOME, "conditional")
    assert not calls
    for space in spaces:
        assert space.counted is not None
        space.counted()
    assert calls == [5]


def test_a_label_that_no_training_row_has_is_never_held() -> None:
    (space,), _ = spaces_of(ROWS[:1], np.array([77]), "conditional")
    assert space.counted is not None
    result = space.counted()
    assert (result.status, result.precision) == (Status.NOT_FOUND, 0.0)


def test_without_a_proposer_or_parted_rows_a_space_has_neither() -> None:
    sampler = sampler_of(SOME, "conditional")
    space = RowSpaces(labelled(sampler), sampler, OF_SOME, CONFIG).space(0)
    assert space.proposals is None
    assert space.counted is None
    assert space.coverage((3,)) == (ROWS[:, 1] == 1).mean()


# --------------------------------------------------------------------------------------------- fewer columns


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_a_narrowed_space_has_no_anchor_on_the_columns_of_the_predicates_left_out(sampling: str) -> None:
    spaces, sampler = spaces_of(SOME, OF_SOME, sampling, threshold=0.6, max_anchor_size=3)
    for i, space in enumerate(spaces):
        column_of = [column for column, _, _ in sampler.bins(i, tuple(range(7)))]
        narrowed = space.without((column_of.index(0),))
        assert narrowed.allowed(()) == [p for p, column in enumerate(column_of) if column != 0]
        anchors = (
            list(narrowed.proposals().guesses) if narrowed.proposals is not None else [narrowed.counted().anchor]  # type: ignore[misc]
        )
        assert anchors
        assert not any(column_of[p] == 0 for anchor in anchors for p in anchor)
        for anchor in anchors:
            assert narrowed.coverage(anchor) == pytest.approx(space.coverage(anchor))
        twice = narrowed.without((column_of.index(1),))
        assert twice.allowed(()) == [p for p, column in enumerate(column_of) if column == 2]


def test_counted_rules_share_the_error_among_all_that_the_first_rule_could_have_been() -> None:
    sampler = sampler_of(SOME, "conditional")
    training, split = labelled(sampler), split_of(sampler)
    config = replace(CONFIG, threshold=0.84)
    spaces = RowSpaces(training, sampler, OF_SOME, config, None, split)
    settings = {"threshold": config.threshold, "max_size": MAX_COUNTED}
    classes = training.class_of(OF_SOME)
    first = certified_rules(split, sampler.predicates, SOME, classes, delta=CONFIG.delta, **settings)  # type: ignore[arg-type]
    assert any(rule.n_alternatives > 1 for rule in first)
    for i, rule in enumerate(first):
        if not rule.anchor:
            continue
        columns = {column for column, _, _ in sampler.bins(i, rule.anchor)}
        (second,) = certified_rules(
            split,
            sampler.alone(i).predicates.without(columns),
            SOME[i : i + 1],
            classes[i : i + 1],
            delta=CONFIG.delta / rule.n_alternatives,
            **settings,  # type: ignore[arg-type]
        )
        found = spaces.space(i).without(rule.anchor).counted()  # type: ignore[misc]
        assert (found.anchor, found.precision_interval) == (second.anchor, second.interval)


def test_closed_columns_are_in_no_space() -> None:
    for sampling in ("interventional", "conditional"):
        sampler = sampler_of(SOME, sampling)
        training = labelled(sampler)
        proposer = training.proposer() if sampling == "interventional" else None
        split = split_of(sampler) if sampling == "conditional" else None
        space = RowSpaces(training, sampler, OF_SOME, CONFIG, proposer, split, closed=(0, 2)).space(0)
        assert space.allowed(()) == [3]
        everything = RowSpaces(training, sampler, OF_SOME, CONFIG, proposer, split, closed=(0, 1, 2)).space(0)
        if everything.proposals is not None:
            assert not everything.proposals().guesses
        else:
            assert everything.counted().anchor == ()  # type: ignore[misc]
