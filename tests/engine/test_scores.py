"""The probability of a label, of models that say it in different ways."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.scores import probabilities_of

ROW = torch.zeros(1, 3)


@pytest.mark.parametrize(
    ("output", "label", "expected"),
    [
        ([0.2, 0.8], 1, 0.8),  # probabilities
        ([0.2, 0.8], 0, 0.2),
        ([0.2, 0.9], 1, math.exp(0.9) / (math.exp(0.2) + math.exp(0.9))),  # logits
        ([-1.0, 2.0], 0, 1 / (1 + math.exp(3))),
        ([1.5], 1, 1 / (1 + math.exp(-1.5))),  # one logit
        ([1.5], 0, 1 / (1 + math.exp(1.5))),
        ([0.2, 0.8], 2, None),
        ([0.2, 0.8], -1, None),
        ([1000.0, -1000.0], 1, 0.0),
        ([0.0, 1.0002], 1, 1.0),
    ],
)
def test_probabilities(output: list[float], label: int, expected: float | None) -> None:
    (found,) = probabilities_of(Predictor(lambda rows: torch.tensor([output])), ROW, [label])
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize("output", [torch.tensor([1]), np.array(["cat"]), [1]])
def test_labels_alone_say_nothing(output: Any) -> None:
    dtype = torch.float32 if isinstance(output, torch.Tensor) else np.float32
    assert probabilities_of(Predictor(lambda rows: output, dtype=dtype), ROW, [1]) == [None]


def test_rows_are_predicted_alone_as_the_model_reads_them() -> None:
    seen = []

    def model(rows: torch.Tensor) -> torch.Tensor:
        seen.append(rows.tolist())
        return rows[:, :2]

    predictor = Predictor(model, preprocess=lambda rows: rows + 1)
    assert probabilities_of(predictor, torch.tensor([[1.0, 1.0, 0.0], [0.0, 50.0, 0.0]]), [0, 1]) == [0.5, 1.0]
    assert seen == [[[2, 2, 1]], [[1, 51, 1]]]


def test_functions_of_arrays_get_all_rows_at_once() -> None:
    seen = []

    def model(rows: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return rows

    rows = torch.tensor([[0.25, 0.75], [0.5, 0.5], [0.1, 0.9]], dtype=torch.float64)
    found = probabilities_of(Predictor(model, dtype=np.float64), rows, [1, 0, 7])
    assert found == [0.75, 0.5, None]
    assert seen == [3]


def test_a_row_of_logits_is_none_of_probabilities_because_it_looks_like_one() -> None:
    rows = torch.tensor([[3.0, 3.0], [0.25, 0.75]], dtype=torch.float64)
    (_, found) = probabilities_of(Predictor(lambda rows: rows, dtype=np.float64), rows, [0, 1])
    assert found == pytest.approx(1 / (1 + math.exp(-0.5)), rel=1e-6)
