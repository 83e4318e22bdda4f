"""Training rows that are held elsewhere, by Ray or by Arrow, as a table that the schema reads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def local(table: Any) -> Any:
    """The rows behind a Ray object reference or a Ray Data set, an Arrow table as a DataFrame; all else as it is.

    Ray is not imported here: whoever has something of Ray's has imported it.

    Args:
        table: what a user gave as a table. A Ray Data set with one column of vectors, as `ray.data.from_numpy` makes
            it of a matrix, is that matrix.
    """
    if _is_one(table, "ray", "ObjectRef"):
        table = sys.modules["ray"].get(table)
    if _is_one(table, "ray.data", "Dataset"):
        with _in_order(table):
            table = table.to_pandas()
        return _matrix(table)
    return table.to_pandas() if hasattr(table, "to_batches") and hasattr(table, "to_pandas") else table


def _is_one(table: Any, module: str, name: str) -> bool:
    """Whether it is of a class of a module, if anybody has imported that."""
    kind: type | None = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(table, kind)


@contextmanager
def _in_order(dataset: Any) -> Iterator[None]:
    """Within it, Ray gives the rows in their order, and not as they come: another order would be another sample."""
    options = dataset.context.execution_options
    before = options.preserve_order
    options.preserve_order = True
    try:
        yield
    finally:
        options.preserve_order = before


def _matrix(frame: Any) -> Any:
    """The matrix, where a data frame has it as one column of vectors."""
    if frame.shape[1] == 1 and len(frame) and np.ndim(frame.iloc[0, 0]) == 1:
        return np.stack([np.asarray(row) for row in frame.iloc[:, 0]])
    return frame
