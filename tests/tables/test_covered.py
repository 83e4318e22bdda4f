"""What the training rows say of anchors, against plain masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.covered import Covered
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

RNG = np.random.default_rng(0)
# A number with three cut points, a category of 3, a number with three cut points.
ROWS = np.column_stack([RNG.normal(size=300), RNG.integers(0, 3, 300), RNG.normal(size=300)])
LABELS = np.where(ROWS[:, 0] > 0, 9, np.where(ROWS[:, 1] == 1, -1, 4))
UNKNOWN = 77

INSTANCES = [0, 1, 2, 1, 0, 2]
ANCHORS: list[Anchor] = [(0, 2, 3), (), (3,), (1, 4, 6), (0, 1, 2, 3, 4, 5, 6), (2, 3)]
EXPLAINED = np.array([9, 9, -1, 4, UNKNOWN, UNKNOWN])


@pytest.fixture(scope="module")
def sampler(device: torch.device) -> RowSampler:
    return RowSampler(TrainingRows.fit(ROWS, [None, 3, None], device=device), np.array([ROWS[5], ROWS[6], ROWS[7]]))


@pytest.fixture(scope="module")
def covered(sampler: RowSampler) -> Covered:
    labels = torch.as_tensor(LABELS, device=sampler.device)
    return Covered(LabelledTraining(sampler.training, labels), sampler)


def mask(sampler: RowSampler, instance: int, anchor: Anchor) -> NDArray[np.bool_]:
    """The training rows on which an anchor holds."""
    binned = sampler.training.binned.cpu().numpy()
    holds = [(binned[:, c] >= low) & (binned[:, c] <= high) for c, low, high in sampler.bins(instance, anchor)]
    return np.logical_and.reduce([np.ones(len(ROWS), dtype=bool), *holds])


def test_coverage_is_the_share_of_training_rows(covered: Covered, sampler: RowSampler) -> None:
    expected = [mask(sampler, i, anchor).mean() for i, anchor in zip(INSTANCES, ANCHORS, strict=True)]
    assert covered.coverages(INSTANCES, ANCHORS).tolist() == pytest.approx(expected)
    assert len(set(expected)) > 3
    assert covered.coverages([], []).shape == (0,)


def test_a_path_adds_one_columns_conditions_after_the_other(covered: Covered, sampler: RowSampler) -> None:
    paths = covered.paths(INSTANCES, ANCHORS, EXPLAINED)
    assert [step.anchor for step in paths[0]] == [(), (0, 2), (0, 2, 3)]  # two bounds on a column are one step
    assert [step.anchor for step in paths[1]] == [()]
    assert [step.anchor for step in paths[3]] == [(), (1,), (1, 4, 6)]
    for path, i, anchor, label in zip(paths, INSTANCES, ANCHORS, EXPLAINED, strict=True):
        assert path[-1].anchor == anchor
        for step in path:
            holds = mask(sampler, i, step.anchor)
            assert step.n == holds.sum()
            assert step.coverage == pytest.approx(holds.mean())
            assert step.precision == pytest.approx((LABELS[holds] == label).mean())
    assert paths[0][-1].precision > 0
    assert all(step.precision == 0 for step in paths[-1])  # no training row has that label


def test_an_anchor_on_no_row_has_precision_0(covered: Covered, sampler: RowSampler) -> None:
    """A category that training did not have; its rows are none."""
    strange = RowSampler(sampler.training, np.array([[0.0, 7.0, 0.0]]))
    training = LabelledTraining(sampler.training, torch.as_tensor(LABELS, device=sampler.device))
    (path,) = Covered(training, strange).paths([0], [(3,)], np.array([9]))
    assert (path[-1].n, path[-1].precision, path[-1].coverage) == (0, 0.0, 0.0)
    (examples,) = Covered(training, strange).examples([0], [(3,)], np.array([9]), 5)
    assert examples.rows.shape == (0, 3)


@pytest.mark.parametrize("n", [0, 3, 1000])
def test_examples_are_training_rows_of_the_anchor(n: int, covered: Covered, sampler: RowSampler) -> None:
    found = covered.examples(INSTANCES, ANCHORS, EXPLAINED, n)
    assert len(found) == len(ANCHORS)
    for own, i, anchor, label in zip(found, INSTANCES, ANCHORS, EXPLAINED, strict=True):
        holds = mask(sampler, i, anchor)
        n_hits, n_misses = (holds & (label == LABELS)).sum(), (holds & (label != LABELS)).sum()
        assert own.hits.tolist() == [True] * min(n, n_hits) + [False] * min(n, n_misses)
        assert ((own.labels == label) == own.hits).all()
        real = {(*row, lab) for row, lab in zip(ROWS[holds].tolist(), LABELS[holds].tolist(), strict=True)}
        assert {(*row, lab) for row, lab in zip(own.rows.tolist(), own.labels.tolist(), strict=True)} <= real
    assert covered.examples([], [], np.zeros(0, dtype=np.int64), n) == []
