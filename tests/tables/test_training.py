"""The training table: values, bins and index that belong together, on one device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from torch_anchors.errors import ArgumentError
from torch_anchors.tables.discretizer import Discretizer
from torch_anchors.tables.training import TrainingRows

RNG = np.random.default_rng(0)
ROWS = np.column_stack([RNG.normal(size=60), RNG.integers(0, 3, 60), RNG.normal(size=60)])
KINDS = [None, 3, None]


def test_values_bins_and_index_are_those_of_the_rows(device: torch.device) -> None:
    training = TrainingRows.fit(ROWS, KINDS, (10, 90), device=device)
    assert training.values.cpu().numpy().tolist() == ROWS.tolist()
    discretizer = Discretizer.fit(ROWS, KINDS, (10, 90))
    assert [cuts.tolist() for cuts in training.discretizer.cuts] == [cuts.tolist() for cuts in discretizer.cuts]
    expected = discretizer.bin(torch.as_tensor(ROWS))
    assert torch.equal(training.binned.cpu(), expected)
    assert torch.equal(training.index.binned.cpu(), expected)
    assert training.values.device.type == training.binned.device.type == device.type


def test_bins_are_those_of_the_values_kept() -> None:
    """A value just above a cut point in float64 may be at it in float32, and is then counted there."""
    rows = np.array([[1.0], [1.0 + 1e-12], [1.0 + 2e-12], [4.0], [5.0]])
    training = TrainingRows.fit(rows, [None], (40,), dtype=torch.float32)
    assert training.values.dtype == torch.float32
    assert torch.equal(training.binned, training.discretizer.bin(training.values))
    assert training.binned[:, 0].tolist() == [0, 0, 0, 1, 1]
    assert TrainingRows.fit(rows, [None], (40,)).binned[:, 0].tolist() == [0, 0, 1, 1, 1]


def test_the_same_rows_on_another_device() -> None:
    training = TrainingRows.fit(ROWS, KINDS)
    moved = training.to("meta")
    assert {t.device.type for t in (moved.values, moved.binned, moved.index.bits.words)} == {"meta"}
    assert moved.discretizer is training.discretizer
    assert training.values.device.type == "cpu"


def test_rows_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ArgumentError, match="train_data must have at least one row"):
        TrainingRows.fit(ROWS[:0], KINDS)
    with pytest.raises(ArgumentError, match="disc_perc must be percentiles"):
        TrainingRows.fit(ROWS, KINDS, (101,))
