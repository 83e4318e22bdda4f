"""Rows of a table: a data frame, an array, an Arrow table, or a CSV or Parquet file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torch_anchors._extras import import_extra
from torch_anchors.datasets.sources import Entry, Inputs, ids_of, label_words
from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import ArgumentError
from torch_anchors.words import LabelNames

SUFFIXES = (".csv", ".parquet")
TOGETHER = 256


class TableRows:
    """A source of the rows of a table.

    Args:
        table: a DataFrame (pandas or Polars), an array or tensor (rows, features), an Arrow table, or the path of a CSV
            or Parquet file.
        ids: the name of the column that holds them, or an id for each row; None for the row's number, from 0.
        true_label: the name of the column that holds the true labels, or a true label for each row; None for none.
        label_names: what the classes are called, where the true labels are numbers.

    Raises:
        ArgumentError: the file cannot be read, or there are no such columns.
        ImportError: pandas (CSV) or pyarrow (Parquet) is not installed.
    """

    together, readers = TOGETHER, 1

    def __init__(
        self,
        table: Any,
        ids: str | Sequence[Any] | None = None,
        true_label: str | Sequence[Any] | None = None,
        label_names: LabelNames = None,
    ) -> None:
        self._path = Path(table) if isinstance(table, (str, Path)) else None
        self._table = table if self._path is None else read_table(self._path)
        self.n: int | None = len(self._table)
        self.words = f"rows of {table}" if self._path is not None else f"{self.n:,} rows of a {type(table).__name__}"
        self._ids = ids_of(self._column("ids", ids), self.n) if ids is not None else None
        labels = None if true_label is None else list(self._column("true_label", true_label))
        if labels is not None and len(labels) != self.n:
            raise ArgumentError(f"true_label must have one label for each of the {self.n:,} rows, got {len(labels):,}.")
        self._labels = None if labels is None else [label_words(label, label_names) for label in labels]

    def entries(self) -> Iterator[Entry]:
        """The rows, by their numbers, with their true labels."""
        assert self.n is not None
        ids, labels = self._ids, self._labels
        return (
            Entry(str(i) if ids is None else ids[i], i, None if labels is None else labels[i]) for i in range(self.n)
        )

    def read(self, entries: Sequence[Entry]) -> Inputs:
        """The rows as a table of the same kind; those of an Arrow table as a data frame."""
        return Inputs(self._rows([entry.key for entry in entries]))

    def digest(self) -> str:
        """Of the content, ids and true labels: a number says nothing about which row it is."""
        return digest_of(self._content(), self._ids, self._labels)

    def _content(self) -> str:
        if self._path is not None:
            digest = hashlib.blake2b(digest_size=16)
            with self._path.open("rb") as file:
                while piece := file.read(2**20):
                    digest.update(piece)
            return digest.hexdigest()
        if hasattr(self._table, "to_batches"):  # Arrow
            return digest_of([(name, self._table[name].to_pylist()) for name in self._table.column_names])
        if hasattr(self._table, "columns"):
            return digest_of([(str(name), np.asarray(self._table[name])) for name in self._table.columns])
        return digest_of(np.asarray(self._table))

    def _rows(self, numbers: Sequence[int]) -> Any:
        if hasattr(self._table, "iloc"):  # pandas
            return self._table.iloc[list(numbers)]
        if hasattr(self._table, "to_batches"):  # Arrow
            return self._table.take(list(numbers)).to_pandas()
        return self._table[list(numbers)]

    def _column(self, argument: str, given: str | Sequence[Any]) -> Sequence[Any]:
        """The values of a column by its name, or the given values."""
        if not isinstance(given, str):
            return given
        names = [str(name) for name in getattr(self._table, "column_names", getattr(self._table, "columns", []))]
        if given not in names:
            has = f"the columns {', '.join(names[:20])}" if names else "no names of columns"
            raise ArgumentError(f"{argument} must name a column of the table, which has {has}; got {given!r}.")
        column = self._table[given]
        return column.to_pylist() if hasattr(column, "to_pylist") else column.to_list()


def read_table(path: Path) -> Any:
    """The table of a file: a data frame of a CSV file, as ``torch-anchors table`` reads it, or an Arrow table.

    Raises:
        ArgumentError: there is no such file, it is of another kind, or it cannot be read.
    """
    if not path.is_file():
        raise ArgumentError(f"source must be a table, and there is no file {path}.")
    if path.suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"source must be a file that ends in {' or '.join(SUFFIXES)}, got {path}.")
    try:
        if path.suffix.lower() == ".csv":
            return import_extra("pandas", "evaluate").read_csv(path, skipinitialspace=True)
        return import_extra("pyarrow.parquet", "evaluate").read_table(path)
    except (ValueError, OSError) as error:  # of Arrow and pandas, too
        raise ArgumentError(f"source {path} cannot be read as a table: {error}") from error
