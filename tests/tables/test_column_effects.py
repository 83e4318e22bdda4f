"""Effects of columns against plain masks, and against a regression on the training rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from torch_anchors.engine.effects import of_rows
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables import column_effects
from torch_anchors.tables.column_effects import BinPairs, ColumnEffects
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

RNG = np.random.default_rng(0)
# A number, a category of 3, a number close to the first, a constant.
FIRST = RNG.normal(size=500)
ROWS = np.column_stack([FIRST, RNG.integers(0, 3, 500), FIRST + 0.3 * RNG.normal(size=500), np.ones(500)])
LABELS = np.where(ROWS[:, 0] > 0, 9, np.where(ROWS[:, 1] == 1, -1, 4))
ANCHORS: list[Anchor] = [(), (0, 2), (3,), (1, 4), (0, 1, 2, 3, 4)]
INSTANCES, EXPLAINED = [0, 0, 1, 1, 0], np.array([9, 4, -1, 9, 77])  # no training row has the last label


@pytest.fixture
def training(device: torch.device) -> LabelledTraining:
    rows = TrainingRows.fit(ROWS, [None, 3, None, None], device=device)
    return LabelledTraining(rows, torch.as_tensor(LABELS, device=device))


def sampler_of(training: LabelledTraining, sampling: str) -> RowSampler:
    large, unknown = [1.5, 0.0, 1.5, 1.0], [0.1, 7.0, -0.1, 1.0]  # the second has a category that no row has
    return RowSampler(training.training, np.array([large, unknown]), sampling=sampling)


def effects_of(training: LabelledTraining) -> ColumnEffects:
    return ColumnEffects(training, BinPairs(training.training))


def alike(sampler: RowSampler, instance: int, anchor: Anchor) -> NDArray[np.bool_]:
    """In which columns each training row is like the instance."""
    binned = sampler.training.binned.cpu().numpy()
    own = sampler.training.discretizer.bin(torch.as_tensor(sampler.instances)).numpy()[instance]
    found = binned == own
    demanded = sampler.bins(instance, anchor)
    for column in {column for column, _, _ in demanded}:
        held = [(binned[:, column] >= low) & (binned[:, column] <= high) for c, low, high in demanded if c == column]
        found[:, column] = np.logical_and.reduce(held)
    return found


def test_conditional_effects_are_differences_of_shares(training: LabelledTraining) -> None:
    sampler = sampler_of(training, "conditional")
    found = effects_of(training).of(sampler, INSTANCES, ANCHORS, EXPLAINED)
    for effects, i, anchor, label in zip(found, INSTANCES, ANCHORS, EXPLAINED, strict=True):
        held, hits = alike(sampler, i, anchor), label == LABELS
        for column in range(4):
            own = held[:, column]
            expected = hits[own].mean() - hits[~own].mean() if own.any() and not own.all() else 0.0
            assert effects[column] == pytest.approx(expected)
    assert found[0][0] > 0.3
    assert found[0][2] > 0.3  # goes along with the first
    assert (found[-1] == 0).all()


def test_interventional_effects_are_a_regression_on_all_columns(training: LabelledTraining) -> None:
    sampler = sampler_of(training, "interventional")
    found = effects_of(training).of(sampler, INSTANCES, ANCHORS, EXPLAINED)
    for effects, i, anchor, label in zip(found, INSTANCES, ANCHORS, EXPLAINED, strict=True):
        held, hits = alike(sampler, i, anchor), (label == LABELS).astype(float)
        expected = of_rows(held, hits.astype(bool))
        np.testing.assert_allclose(effects, expected, atol=1e-12)
    conditional = effects_of(training).of(sampler_of(training, "conditional"), INSTANCES, ANCHORS, EXPLAINED)
    assert found[0][2] < conditional[0][2] - 0.1  # what only goes along has less of its own


def test_columns_of_many_bins_are_not_adjusted_for(training: LabelledTraining, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_effects, "MOST_BINS", 2 + 4)  # the constant's and the category's
    monkeypatch.setattr(column_effects, "ROWS_AT_ONCE", 77)
    sampler = sampler_of(training, "interventional")
    (found,) = effects_of(training).of(sampler, [0], [()], np.array([9]))
    held, hits = alike(sampler, 0, ()), (LABELS == 9).astype(float)
    n, own = len(held), held[:, 0].sum()
    assert found[0] == pytest.approx((hits @ held[:, 0] - own * hits.mean()) / (own - own**2 / n + 1))
    pair = held[:, [1, 3]]
    np.testing.assert_allclose(found[[1, 3]], of_rows(pair, hits.astype(bool)), atol=1e-12)


def test_instances_alone_have_the_effects_that_they_have_together(training: LabelledTraining) -> None:
    sampler, effects = sampler_of(training, "interventional"), effects_of(training)
    found = effects.of(sampler, INSTANCES, ANCHORS, EXPLAINED)
    for i, (instance, anchor) in enumerate(zip(INSTANCES, ANCHORS, strict=True)):
        alone = effects.of(sampler, [instance], [anchor], EXPLAINED[i : i + 1])
        assert alone.tolist() == found[i : i + 1].tolist()
