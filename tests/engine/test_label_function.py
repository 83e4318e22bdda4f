"""A model as a function of instances that returns labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.engine.cases import Recorder
from torch_anchors.engine import label_function
from torch_anchors.engine.label_function import LabelFunction
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.predictor import Predictor

ROWS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])


def function_of(model: Any, **settings: Any) -> LabelFunction:
    return LabelFunction(Predictor(model, **{"dtype": None, **settings}), torch.as_tensor)


def test_scores_become_labels_in_the_kind_that_was_given() -> None:
    of_tensors, of_arrays = (function_of(lambda rows: 1 * rows)(given) for given in (ROWS, ROWS.numpy()))
    assert isinstance(of_tensors, Tensor)
    assert isinstance(of_arrays, np.ndarray)
    assert of_tensors.tolist() == of_arrays.tolist() == [0, 1, 1]


def test_class_names_are_handed_out_as_they_are() -> None:
    ask = function_of(lambda rows: np.where(rows[:, 0] > 0.5, "cat", "dog"), dtype=np.float32)
    for given in (ROWS, ROWS.numpy()):
        assert ask(given).tolist() == ["cat", "dog", "cat"]


def test_a_row_without_a_label_has_the_least_number() -> None:
    assert function_of(lambda rows: rows / rows)(ROWS).tolist() == [INVALID, INVALID, 0]


def test_a_function_gets_what_it_was_given_unless_its_dtype_says() -> None:
    kinds: list[type] = []

    def model(rows: Any) -> Any:
        kinds.append(type(rows))
        return 1 * rows

    function_of(model)(ROWS)
    function_of(model)(ROWS.numpy())
    function_of(model, dtype=torch.float64)(ROWS.numpy())
    assert kinds == [Tensor, np.ndarray, Tensor]


def test_many_rows_are_asked_about_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_function, "LABELLED_AT_ONCE", 2)
    model = Recorder(lambda rows: rows)
    ask = LabelFunction(Predictor(model), torch.as_tensor)
    assert ask(ROWS).tolist() == [0, 1, 1]
    assert model.sizes == [2, 1]
    assert ask.model is model
