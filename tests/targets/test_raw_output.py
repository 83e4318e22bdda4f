"""What is found in a model's output; `tests/engine/test_outputs.py` has what labels are read from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.errors import PredictorReturnTypeError
from torch_anchors.targets.raw_output import is_detections, numbers_of, unpacked, values_of

CPU = torch.device("cpu")
ROWS = torch.rand(4, 3)


@pytest.mark.parametrize(
    "output",
    [
        ROWS,
        ROWS.numpy(),
        (ROWS, None),
        [ROWS],
        {"logits": ROWS, "loss": 1},
        {"anything": ROWS},
        SimpleNamespace(logits=ROWS),
        ROWS.tolist(),
        ROWS.numpy().astype(">f4"),
    ],
)
def test_numbers_are_found_wherever_a_model_puts_them(output: Any) -> None:
    assert torch.allclose(numbers_of(output, 4, CPU).float(), ROWS)


def test_several_outputs_are_told() -> None:
    told: list[str] = []
    assert unpacked([ROWS, ROWS + 1], told.append) is ROWS
    assert "a list of 2 outputs" in told[0]


def test_numbers_of_other_rows_and_names_are_errors() -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"expected 5 rows, got shape \(4, 3\)"):
        numbers_of(ROWS, 5, CPU)
    with pytest.raises(PredictorReturnTypeError, match="class names"):
        numbers_of(np.array(["a", "b"]), 2, CPU)


def test_values_are_one_number_a_row_and_floats() -> None:
    for output in (torch.arange(4), torch.arange(4)[:, None], torch.arange(4)[:, None, None].float()):
        assert values_of(output, 4, CPU).tolist() == [0.0, 1.0, 2.0, 3.0]
        assert values_of(output, 4, CPU).is_floating_point()
    assert values_of(torch.rand(4, dtype=torch.float64), 4, CPU).dtype == torch.float64


def test_detections_are_a_list_with_boxes_for_each_row() -> None:
    assert is_detections([{"boxes": 1}, {"boxes": 2}])
    assert not any(map(is_detections, ([], {}, [{"boxes": 1}, {}], ROWS, "ab")))
    for given in ([{"boxes": 1}], ({"boxes": 1},)):
        with pytest.raises(PredictorReturnTypeError, match="SameObject"):
            unpacked(given)
