"""What is learned of a table: once, and anew for another model."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors.engine.predictor import Predictor
from torch_anchors.tables.fitted import FittedTable
from torch_anchors.tables.frame_rows import Given
from torch_anchors.tables.schema import TableSchema
from torch_anchors.tables.training import TrainingRows

ROWS = np.random.default_rng(0).normal(size=(300, 2))
SCHEMA = TableSchema.infer(ROWS)


class Counting:
    """A function of arrays that counts its rows."""

    def __init__(self, column: int = 0) -> None:
        self.column, self.n_rows = column, 0

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.int64]:
        assert isinstance(rows, np.ndarray)
        self.n_rows += len(rows)
        return (rows[:, self.column] > 0).astype(np.int64)


def fitted(model: Counting) -> FittedTable:
    training = TrainingRows.fit(ROWS, SCHEMA.n_categories)
    return FittedTable(
        SCHEMA, training, Predictor(model, dtype=None), given=Given(as_array=True), max_rows="auto", seed=0
    )


def test_all_is_learned_from_labels_that_are_asked_for_once() -> None:
    model = Counting()
    table = fitted(model)
    assert model.n_rows == 0
    assert table.split() is table.split()
    assert table.proposer() is table.proposer()
    assert table.labelled() is table.labelled()
    assert model.n_rows == table.n_rows == len(ROWS)


def test_of_another_model_nothing_is_known() -> None:
    first, second = Counting(), Counting(1)
    table = fitted(first)
    table.labelled()
    other = table.of(Predictor(second, dtype=None))
    assert (other.schema, other.given) == (SCHEMA, table.given)
    assert torch.equal(other.training.values, table.training.values)
    assert other.labelled().digest != table.labelled().digest
    assert (first.n_rows, second.n_rows) == (len(ROWS), len(ROWS))


def test_a_copy_keeps_what_is_known() -> None:
    model = Counting()
    table = fitted(model)
    digest = table.labelled().digest
    again = copy.deepcopy(table)
    assert again.labelled().digest == digest
    assert model.n_rows == len(ROWS)
