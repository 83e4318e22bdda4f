"""Labels as users give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.datasets.rules import random_table
from torch_anchors.datasets.model_labels import model_labels
from torch_anchors.errors import ArgumentError

ROWS = random_table(4)
NUMBERED: dict[str, Any] = {"predict": None, "named": False}
NAMED: dict[str, Any] = {"predict": None, "named": True}


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 1, 2],
        (0, 1, 1, 2),
        np.array([0, 1, 1, 2], dtype=np.uint8),
        np.array([0.0, 1.0, 1.0, 2.0]),
        torch.tensor([0, 1, 1, 2]),
        lambda X: torch.tensor([0, 1, 1, len(X) - 2]),
    ],
)
def test_numbers_of_any_kind(labels: object) -> None:
    assert model_labels(labels, ROWS, 4, **NUMBERED).tolist() == [0, 1, 1, 2]


def test_names_and_booleans() -> None:
    assert model_labels(["rich", "poor", "poor", "rich"], ROWS, 4, **NAMED)[1] == "poor"
    assert model_labels(np.array(["rich"] * 4, dtype=object), ROWS, 4, **NAMED)[3] == "rich"
    assert (model_labels(ROWS[:, 0] > 30, ROWS, 4, **NUMBERED) == (ROWS[:, 0] > 30)).all()


def test_the_explained_model_is_asked() -> None:
    assert model_labels(None, ROWS, 4, predict=lambda X: np.arange(len(X)), named=False).tolist() == [0, 1, 2, 3]
    with pytest.raises(ArgumentError, match=r"labels must be given: .* loaded, .* AnchorTabular\.predict gives them"):
        model_labels(None, ROWS, 4, **NUMBERED)


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        ([0, 1], NUMBERED, r"one for each of the 4 rows of X, got the shape \(2,\)"),
        (lambda X: np.zeros((len(X), 2)), NUMBERED, r"got the shape \(4, 2\)"),
        (["rich"] * 4, NUMBERED, "must be numbers of classes, as the explained labels are, got 'rich'"),
        ([0, 1, 0, 1], NAMED, "must be class names, as the explained labels are, got 0"),
        (np.array(["rich", "poor", "poor", None], dtype=object), NAMED, "must be class names, .* got None"),
        ([0.0, 1.0, 0.5, 1.0], NUMBERED, "must be numbers of classes, .* got 0.5"),
        ([0.0, 1.0, np.nan, 1.0], NUMBERED, "must be numbers of classes, .* got nan"),
    ],
)
def test_labels_that_do_not_fit(labels: object, kind: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        model_labels(labels, ROWS, 4, **kind)
