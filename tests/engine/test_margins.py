"""By how much the explained class leads, from whatever scores a predictor returns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torch_anchors.engine.margins import margins_of
from torch_anchors.engine.outputs import INVALID

LOGITS = torch.tensor([[1.0, 4.0, -2.0], [0.5, 0.25, 3.0], [-1.0, -3.0, -2.0]])


def test_the_target_less_the_largest_other_one(device: torch.device) -> None:
    margins = margins_of(LOGITS.to(device), torch.tensor([1, 0, 0], device=device))
    assert margins.tolist() == pytest.approx([3.0, -2.5, 1.0])
    assert margins.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_probabilities_are_taken_to_logarithms(dtype: torch.dtype) -> None:
    targets = torch.tensor([1, 0, 0])
    margins = margins_of(LOGITS.softmax(dim=1).to(dtype), targets)
    assert margins.tolist() == pytest.approx(margins_of(LOGITS, targets).tolist(), rel=0.01)


def test_a_probability_of_0_is_a_finite_margin() -> None:
    (margin,) = margins_of(torch.tensor([[0.0, 1.0]]), torch.tensor([0])).tolist()
    assert margin == pytest.approx(math.log(1e-12), rel=1e-3)


def test_one_column_is_the_logit_of_label_1() -> None:
    assert margins_of(torch.tensor([[2.0], [2.0], [-1.0]]), torch.tensor([1, 0, 0])).tolist() == [2.0, -2.0, 1.0]


@pytest.mark.parametrize("scores", [LOGITS, LOGITS.softmax(1), LOGITS[:, :1], LOGITS[:, :2]])
def test_it_is_positive_where_the_target_is_the_label(scores: Tensor) -> None:
    labels = (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(1)
    for target in range(max(scores.shape[1], 2)):
        margins = margins_of(scores, torch.full((3,), target))
        assert torch.equal(margins > 0, labels == target)


def test_rows_without_a_label_and_targets_without_a_class_are_no_error() -> None:
    scores = torch.tensor([[torch.nan, 1.0], [torch.nan, torch.nan], [1.0, 2.0]])
    margins = margins_of(scores, torch.tensor([0, 1, INVALID]))
    assert margins[:2].tolist() == [0.0, 0.0]
    assert margins.isfinite().all()
