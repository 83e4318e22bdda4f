"""Tables that are held elsewhere. `tests/integrations/test_ray.py` has those that Ray holds, by Ray itself."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from torch_anchors import AnchorTabular
from torch_anchors.tables.local import local

MATRIX = np.arange(6.0).reshape(3, 2)
FRAME = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})


@pytest.mark.parametrize(
    "table", [MATRIX, MATRIX.tolist(), FRAME, pl.DataFrame({"a": [1.0]}), {"a": [1.0]}, None, pa.array([1])]
)
def test_what_is_here_already_stays_as_it_is(table: Any) -> None:
    assert local(table) is table


def test_an_arrow_table() -> None:
    pd.testing.assert_frame_equal(local(pa.Table.from_pandas(FRAME)), FRAME)


def test_an_explainer_reads_arrow_tables() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 2))
    frame = pd.DataFrame(rows, columns=["a", "b"])
    table = pa.Table.from_pandas(frame)
    found, expected = (
        AnchorTabular(lambda x: (x[:, 0] > 0).astype(int), dtype=np.float32, seed=0).fit(t).explain_batch(t[:3])
        for t in (table, frame)
    )
    assert [one.names for one in found] == [one.names for one in expected]


class Dataset:
    """What a Ray Data set has, as far as it is looked at."""

    def __init__(self, frame: pd.DataFrame, preserve_order: bool = False) -> None:
        self.context = SimpleNamespace(execution_options=SimpleNamespace(preserve_order=preserve_order))
        self._frame = frame

    def to_pandas(self) -> pd.DataFrame:
        assert self.context.execution_options.preserve_order
        return self._frame


class ObjectRef:
    def __init__(self, held: Any) -> None:
        self.held = held


@pytest.fixture(autouse=True)
def _ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of Ray, a module that has what is used of it."""
    ray, data = ModuleType("ray"), ModuleType("ray.data")
    vars(ray).update(ObjectRef=ObjectRef, get=lambda reference: reference.held)
    vars(data).update(Dataset=Dataset)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)


@pytest.mark.parametrize("before", [False, True])
def test_a_data_set_comes_in_order_and_its_options_are_put_back(before: bool) -> None:
    dataset = Dataset(FRAME, before)
    assert local(dataset) is FRAME
    assert local(ObjectRef(dataset)) is FRAME
    assert dataset.context.execution_options.preserve_order is before


def test_a_column_of_vectors_is_a_matrix() -> None:
    np.testing.assert_array_equal(local(Dataset(pd.DataFrame({"data": list(MATRIX)}))), MATRIX)
    for frame in (FRAME[["a"]], FRAME[["b"]], FRAME[["a"]][:0]):
        assert local(Dataset(frame)) is frame


def test_a_reference_to_a_table() -> None:
    assert local(ObjectRef(MATRIX)) is MATRIX
    pd.testing.assert_frame_equal(local(ObjectRef(pa.Table.from_pandas(FRAME))), FRAME)


def test_nothing_of_ray_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ray")
    monkeypatch.delitem(sys.modules, "ray.data")
    assert local(MATRIX) is MATRIX
    assert "ray" not in sys.modules
