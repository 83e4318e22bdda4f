"""What a user gives becomes the right kind of source, or an error that says what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from tests.datasets.inputs import folder_of_pictures
from tests.datasets.test_items import HuggingFace, Streaming
from torch_anchors.datasets.image_files import ImageFiles
from torch_anchors.datasets.items import Items, Stream
from torch_anchors.datasets.resolve import source_of
from torch_anchors.datasets.table_rows import TableRows
from torch_anchors.errors import ArgumentError

IMAGES, ROWS = torch.rand(5, 3, 4, 4), torch.rand(5, 3)


@pytest.mark.parametrize(
    ("given", "is_table", "kind", "n"),
    [
        (["a.png", Path("b.png")], False, ImageFiles, 2),
        (IMAGES, False, Items, 5),
        (IMAGES.permute(0, 2, 3, 1).numpy(), False, Items, 5),
        (list(IMAGES), False, Items, 5),
        (TensorDataset(IMAGES), False, Items, 5),
        (HuggingFace(), False, Items, 5),
        (DataLoader(TensorDataset(IMAGES)), False, Stream, None),
        (Streaming(), False, Stream, None),
        (iter(IMAGES), False, Stream, None),
        (ROWS, True, TableRows, 5),
        (ROWS.numpy(), True, TableRows, 5),
        (pd.DataFrame(ROWS.numpy()), True, TableRows, 5),
        (pa.table({"a": [1, 2]}), True, TableRows, 2),
        (TensorDataset(ROWS), True, Items, 5),
        (DataLoader(TensorDataset(ROWS)), True, Stream, None),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.__name__,
)
def test_kinds(given: Any, is_table: bool, kind: type, n: int | None) -> None:
    source = source_of(given, is_table=is_table)
    assert type(source) is kind
    assert source.n == n


def test_files(tmp_path: Path) -> None:
    folder_of_pictures(tmp_path / "in", 3)
    assert source_of(str(tmp_path / "in"), is_table=False).n == 3
    pd.DataFrame({"a": [1, 2]}).to_csv(tmp_path / "t.csv")
    assert source_of(tmp_path / "t.csv", is_table=True).n == 2
    assert source_of([tmp_path / "t.csv"], is_table=True).n == 2
    with pytest.raises(ArgumentError, match="source must be one table, got 2 files"):
        source_of(["a.csv", "b.csv"], is_table=True)
    with pytest.raises(ArgumentError, match="true_label must be None for files of pictures"):
        source_of(tmp_path / "in", true_label="label", is_table=False)
    with pytest.raises(ArgumentError, match="ids must be an id for each picture, or None for their paths, got 'name'"):
        source_of(tmp_path / "in", ids="name", is_table=False)


def test_a_table_of_hugging_face_knows_its_names() -> None:
    class Whole:
        features, column_names = HuggingFace().features, ["age", "label"]

        def __len__(self) -> int:
            return 2

        def with_format(self, kind: str) -> Any:
            return pa.table({"age": [1.0, 2.0], "label": [1, 0]})

    source = source_of(Whole(), true_label="label", is_table=True)
    assert [entry.true_label for entry in source.entries()] == ["yes", "no"]


def test_a_source_is_itself() -> None:
    source = Items(IMAGES)
    assert source_of(source, is_table=False) is source
    with pytest.raises(ArgumentError, match="must be given to the source itself"):
        source_of(source, ids=range(5), is_table=False)


@pytest.mark.parametrize("given", [7, None, {"a": IMAGES}, Image.new("RGB", (4, 4)), IMAGES[0], np.zeros((4, 4, 3))])
def test_what_is_no_data_set(given: Any) -> None:
    with pytest.raises(ArgumentError, match=r"source must be (a folder|several images)"):
        source_of(given, is_table=False)


def test_true_labels_of_items_come_with_them() -> None:
    with pytest.raises(ArgumentError, match="true_label must be what the items call their true label, got list"):
        source_of(IMAGES, true_label=[0] * 5, is_table=False)
