"""Rows of tables of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from torch_anchors.datasets.sources import Entry
from torch_anchors.datasets.table_rows import TableRows, read_table
from torch_anchors.errors import ArgumentError
from torch_anchors.tables.schema import TableSchema

FRAME = pd.DataFrame(
    {"key": ["a", "b", "c"], "age": [20.0, 30.0, 40.0], "job": ["cook", "nurse", "cook"], "y": [0, 1, 1]}
)
SCHEMA = TableSchema.infer(FRAME[["age", "job"]])


def tables(folder: Path) -> dict[str, Any]:
    csv, parquet = folder / "t.csv", folder / "t.parquet"
    csv.write_text(FRAME.to_csv(index=False).replace(",", ", "))
    FRAME.to_parquet(parquet)
    arrow = pa.Table.from_pandas(FRAME)
    return {"pandas": FRAME, "polars": pl.from_pandas(FRAME), "arrow": arrow, "csv": str(csv), "parquet": parquet}


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "csv", "parquet"])
def test_rows_ids_and_true_labels(tmp_path: Path, kind: str) -> None:
    source = TableRows(tables(tmp_path)[kind], "key", "y", ("no", "yes"))
    assert source.n == 3
    entries = list(source.entries())
    assert [entry.id for entry in entries] == ["a", "b", "c"]
    read = source.read([entries[2], entries[0]])
    assert [entry.true_label for entry in entries] == ["no", "yes", "yes"]
    np.testing.assert_array_equal(SCHEMA.encode(read.given), [[40, 0], [20, 0]])
    by_number = TableRows(tables(tmp_path)[kind])
    assert [entry.id for entry in by_number.entries()] == ["0", "1", "2"]
    assert [entry.true_label for entry in by_number.entries()] == [None] * 3


def test_arrays_have_rows_and_no_names() -> None:
    source = TableRows(np.arange(6.0).reshape(3, 2), ids=[7, 8, 9], true_label=[0, None, 1])
    assert [entry.id for entry in source.entries()] == ["7", "8", "9"]
    assert [entry.true_label for entry in source.entries()] == ["0", None, "1"]
    assert source.read([Entry("8", 1)]).given.tolist() == [[2, 3]]
    with pytest.raises(ArgumentError, match="which has no names of columns; got 'key'"):
        TableRows(np.zeros((3, 2)), ids="key")


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "csv", "parquet"])
def test_other_content_has_another_digest(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = TableRows(tables(tmp_path)[kind]).digest()
    assert TableRows(tables(tmp_path)[kind]).digest() == before
    assert TableRows(tables(tmp_path)[kind], "key").digest() != before
    assert TableRows(tables(tmp_path)[kind], None, "y").digest() != before
    monkeypatch.setitem(globals(), "FRAME", FRAME.assign(age=[20.0, 30.0, 41.0]))
    assert TableRows(tables(tmp_path)[kind]).digest() != before


def test_what_does_not_fit() -> None:
    with pytest.raises(ArgumentError, match="ids must name a column of the table, which has the columns key, age"):
        TableRows(FRAME, "id")
    with pytest.raises(ArgumentError, match="true_label must name a column"):
        TableRows(FRAME, None, "label")
    with pytest.raises(ArgumentError, match="true_label must have one label for each of the 3 rows, got 2"):
        TableRows(FRAME, None, [1, 2])


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "t.txt").touch()
    (tmp_path / "t.parquet").write_bytes(b"none")
    (tmp_path / "t.csv").touch()
    for name, reason in {
        "t.txt": r"must be a file that ends in \.csv or \.parquet",
        "t.parquet": "cannot be read as a table",
        "t.csv": "cannot be read as a table",
        "nowhere.csv": "there is no file",
    }.items():
        with pytest.raises(ArgumentError, match=reason):
            read_table(tmp_path / name)
