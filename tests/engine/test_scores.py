"""The probability of a label, of models that say it in different ways."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.scores import probability_of

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
    found = probability_of(Predictor(lambda rows: torch.tensor([output])), ROW, label)
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize("output", [torch.tensor([1]), np.array(["cat"]), [1]])
def test_labels_alone_say_nothing(output: Any) -> None:
    dtype = torch.float32 if isinstance(output, torch.Tensor) else np.float32
    assert probability_of(Predictor(lambda rows: output, dtype=dtype), ROW, 1) is None


def test_the_row_is_predicted_alone_as_the_model_reads_it() -> None:
    seen = []

    def model(rows: torch.Tensor) -> torch.Tensor:
        seen.append(rows)
        return rows[:, :2]

    predictor = Predictor(model, preprocess=lambda rows: rows + 1)
    assert probability_of(predictor, torch.tensor([[1.0, 1.0, 0.0]]), 0) == 0.5
    (rows,) = seen
    assert rows.tolist() == [[2, 2, 1]]
