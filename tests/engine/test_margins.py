"""By how much the explained class leads, from whatever scores a predictor returns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_anchors.engine.margins import margins_of, pick_leads
from torch_anchors.engine.outputs import INVALID

LOGITS = torch.tensor([[1.0, 4.0, -2.0], [0.5, 0.25, 3.0], [-1.0, -3.0, -2.0]])


def margins(scores: Tensor, targets: list[int], are_probabilities: bool = False) -> np.ndarray:
    """What the device picks and the host makes of it."""
    leads = torch.full((len(scores), 3), 7.0, device=scores.device)
    pick_leads(scores, torch.tensor(targets, device=scores.device), out=leads)
    return margins_of(leads.cpu().numpy(), are_probabilities)


def test_the_target_less_the_largest_other_one(device: torch.device) -> None:
    found = margins(LOGITS.to(device), [1, 0, 0])
    assert found.tolist() == pytest.approx([3.0, -2.5, 1.0])
    assert found.dtype == np.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_probabilities_are_taken_to_logarithms(dtype: torch.dtype) -> None:
    found = margins(LOGITS.softmax(dim=1).to(dtype), [1, 0, 0], are_probabilities=True)
    assert found.tolist() == pytest.approx(margins(LOGITS, [1, 0, 0]).tolist(), rel=0.01)


def test_logits_are_no_probabilities_because_those_of_one_row_look_like_some() -> None:
    assert margins(torch.tensor([[0.25, 0.75]]), [1]).tolist() == [0.5]


def test_a_probability_of_0_is_a_finite_margin() -> None:
    (margin,) = margins(torch.tensor([[0.0, 1.0]]), [0], are_probabilities=True)
    assert margin == pytest.approx(math.log(1e-12), rel=1e-3)


def test_one_column_is_the_logit_of_label_1() -> None:
    assert margins(torch.tensor([[2.0], [2.0], [-1.0]]), [1, 0, 0]).tolist() == [2.0, -2.0, 1.0]


@pytest.mark.parametrize("scores", [LOGITS, LOGITS.softmax(1), LOGITS[:, :1], LOGITS[:, :2]])
def test_it_is_positive_where_the_target_is_the_label(scores: Tensor) -> None:
    labels = (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(1)
    for target in range(max(scores.shape[1], 2)):
        found = margins(scores, [target] * 3, are_probabilities=bool((scores >= 0).all()))
        assert np.array_equal(found > 0, (labels == target).numpy())


@pytest.mark.parametrize("are_probabilities", [False, True])
def test_rows_without_a_label_and_targets_without_a_class_are_no_error(are_probabilities: bool) -> None:
    scores = torch.tensor([[torch.nan, 1.0], [torch.nan, torch.nan], [torch.inf, torch.inf], [1.0, 2.0]])
    found = margins(scores, [0, 1, 0, INVALID], are_probabilities)
    assert found[:3].tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(found).all()
