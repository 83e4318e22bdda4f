"""Labels of many rows, in as many passes as the device needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.engine.cases import Recorder, Smaller, parity
from torch_anchors.engine.labels import labels_of
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import PredictorCallError

CODES = torch.arange(50).reshape(25, 2)


def render(codes: Tensor) -> Tensor:
    """Rows that are not their codes."""
    return 3 * codes + 1


@pytest.mark.parametrize(("max_rows", "sizes"), [(1, [1] * 25), (10, [10, 10, 5]), (25, [25]), (64, [25])])
def test_labels_are_those_of_the_rendered_rows_in_their_order(max_rows: int, sizes: list[int]) -> None:
    model = Recorder()
    labels = labels_of(Predictor(model), render, CODES, MaxRows(max_rows))
    assert labels.dtype == torch.int64
    assert labels.tolist() == parity(render(CODES)).tolist()
    assert model.sizes == sizes
    assert model.rows == [tuple(row) for row in render(CODES).tolist()]


def test_each_pass_is_told_of() -> None:
    told: list[int] = []
    labels_of(Predictor(Smaller(12, MemoryError)), render, CODES, MaxRows(20), told.append)
    assert told == [10, 10, 5]  # and not of the one that failed


def test_rows_are_rendered_a_pass_at_a_time() -> None:
    """Lest a large table be in memory as the model reads it."""
    sizes: list[int] = []

    def rendered(codes: Tensor) -> Tensor:
        sizes.append(len(codes))
        return codes

    labels_of(Predictor(parity), rendered, CODES, MaxRows(8))
    assert sizes == [8, 8, 8, 1]


def test_no_rows_have_no_labels(device: torch.device) -> None:
    labels = labels_of(Predictor(Smaller(-1, ValueError), device=device), render, CODES[:0], MaxRows(8))
    assert labels.shape == (0,)
    assert labels.dtype == torch.int64
    assert labels.device.type == device.type


@pytest.mark.parametrize("error", [MemoryError, lambda: torch.OutOfMemoryError("CUDA out of memory.")])
@pytest.mark.parametrize(("most", "left", "n_failures"), [(24, 12, 1), (7, 6, 2), (1, 1, 4)])
def test_running_out_of_memory_loses_nothing(
    most: int, left: int, n_failures: int, error: Callable[[], Exception]
) -> None:
    model, max_rows = Smaller(most, error), MaxRows(100)
    labels = labels_of(Predictor(model), render, CODES, max_rows)
    assert labels.tolist() == parity(render(CODES)).tolist()
    assert model.n_failures == n_failures
    assert max_rows.n == left


def test_rendering_may_run_out_of_memory_as_well() -> None:
    max_rows = MaxRows(20)
    rendered = Smaller(6, MemoryError, render)
    assert labels_of(Predictor(parity), rendered, CODES, max_rows).tolist() == parity(render(CODES)).tolist()
    assert max_rows.n == 5


def test_memory_for_not_even_one_row_is_an_error() -> None:
    with pytest.raises(PredictorCallError, match="not enough memory for a forward pass of one single row"):
        labels_of(Predictor(Smaller(0, MemoryError)), render, CODES, MaxRows(8))


def test_any_other_error_is_passed_on() -> None:
    model = Smaller(4, lambda: ValueError("broken"))
    with pytest.raises(PredictorCallError, match="ValueError: broken"):
        labels_of(Predictor(model), render, CODES, MaxRows(8))
    assert model.n_failures == 1


class Mode(nn.Module):
    """A module that notes the mode it is called in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_inference_mode_enabled()))
        return parity(rows)


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_in_eval_mode_for_all_passes_and_labels_are_ordinary_tensors(training: bool) -> None:
    model = Mode().train(training)
    labels = labels_of(Predictor(model), render, CODES, MaxRows(10))
    assert model.seen == [(False, True)] * 3
    assert model.training is training
    assert not labels.is_inference()
    labels += 1  # an inference tensor could not be written to here
