"""The explained model as it reads a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import ArgumentError
from torch_anchors.tables.model import LABELLED_AT_ONCE, TableModel
from torch_anchors.tables.schema import TableSchema

FRAME = pd.DataFrame({"job": ["nurse", "clerk", "vet", "nurse"], "age": [30.0, 40.0, 50.0, 60.0]})


def model_of(
    label: Callable[[Any], Any], max_rows: int | str = "auto", *, ohe: bool = False, **options: Any
) -> TableModel:
    return TableModel.of(Predictor(label, **options), TableSchema.infer(FRAME, ohe=ohe), max_rows)


@pytest.mark.parametrize(("max_rows", "sizes"), [(3, [3, 3, 3, 1]), (10, [10]), ("auto", [10])])
def test_rows_are_labelled_in_passes_of_at_most_max_rows(max_rows: int | str, sizes: list[int]) -> None:
    seen = []

    def label(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return rows[:, 1].long()

    model = model_of(label, max_rows)
    assert model.max_rows == (LABELLED_AT_ONCE if max_rows == "auto" else max_rows)
    codes = torch.stack([torch.zeros(10), torch.arange(10.0)], dim=1).double()
    labels = model.labels(codes)
    assert labels.tolist() == list(range(10))
    assert seen == sizes
    assert not labels.is_inference()


def test_a_users_table_is_labelled_whatever_its_layout() -> None:
    model = model_of(lambda rows: (rows[:, 0] == 1) & (rows[:, 1] > 35))
    for table in (FRAME, FRAME[["age", "job"]], FRAME.to_dict("list"), [[1, 30], [0, 40], [2, 50], [1, 60]]):
        labels = model.labels_of_table(table)
        assert labels.tolist() == [0, 0, 0, 1]
        assert labels.dtype == np.int64
    assert model.labels_of_table(FRAME.iloc[3]).tolist() == [1]
    with pytest.raises(ArgumentError, match=r"X must have the columns .* but lacks \['age'\]"):
        model.labels_of_table(FRAME[["job"]])


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float64, torch.float64), (np.float32, torch.float32)])
def test_the_model_reads_one_hot_rows_of_its_type(dtype: Any, expected: torch.dtype) -> None:
    seen: list[Any] = []

    def label(rows: Any) -> Any:
        seen.append(rows)
        return np.zeros(len(rows), dtype=int) if isinstance(rows, np.ndarray) else torch.zeros(len(rows)).long()

    model = model_of(label, ohe=True, dtype=dtype)
    model.labels_of_table(FRAME)
    assert seen[0].dtype == dtype
    assert seen[0].tolist() == [[0, 1, 0, 30], [1, 0, 0, 40], [0, 0, 1, 50], [0, 1, 0, 60]]
    rendered = model.render(torch.tensor([[2.0, 9.0]], dtype=torch.float64))
    assert rendered.dtype == expected
    assert rendered.tolist() == [[0, 0, 1, 9]]


def test_labels_are_made_on_the_models_device(device: torch.device) -> None:
    network = nn.Linear(2, 2).to(device).train()
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 1.0]]))
        network.bias.copy_(torch.tensor([45.0, 0.0]))
    model = model_of(network)
    codes = torch.tensor([[0.0, 30.0], [0.0, 60.0]], dtype=torch.float64, device=device)
    assert model.labels(codes).device.type == device.type
    assert model.labels(codes).tolist() == [0, 1]
    assert model.labels_of_table(FRAME).tolist() == [0, 0, 1, 1]
    assert network.training
