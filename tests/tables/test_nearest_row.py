"""The nearest miss of a row: words, values, files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.packing import Fields
from torch_anchors.tables.columns import Column
from torch_anchors.tables.nearest_row import EncodedMiss
from torch_anchors.tables.schema import TableSchema

SCHEMA = TableSchema((Column("Age"), Column("Job", ("Clerk", "Nurse")), *(Column(f"x{i}") for i in range(6))))
ROW = np.array([51.0, 1.0, math.nan, *range(5)])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ((0,), "differs in Age = 51.00 alone"),
        ((0, 1, 2), "differs in Age = 51.00, Job = Nurse and x0 is missing alone"),
        ((), "is in the same bins in every column"),
        (tuple(range(7)), "differs in 7 of 8 columns"),
    ],
)
def test_words(changed: tuple[int, ...], expected: str) -> None:
    miss = EncodedMiss(ROW, 3, changed)
    assert miss.in_words(SCHEMA, "poor") == f"Of all rows tried, the nearest one with another label {expected}: poor."


@pytest.mark.parametrize("label", [3, "poor"])
def test_values_and_files(label: int | str) -> None:
    miss = EncodedMiss(ROW, label, (0, 2))
    fields = json.loads(json.dumps(miss.to_fields()))
    for own in (miss, EncodedMiss.read(Fields(fields), 8)):
        found = own.decoded(SCHEMA, hit=False)
        assert (found.row["Age"], found.row["Job"], found.label, found.changed, found.hit) == (
            51.0,
            "Nurse",
            label,
            (0, 2),
            False,
        )
        np.testing.assert_array_equal(own.row, ROW)
    with pytest.raises(ArgumentError, match="row must be of 9 columns"):
        EncodedMiss.read(Fields(fields), 9)
    with pytest.raises(ArgumentError, match="changed must be numbers below 8"):
        EncodedMiss.read(Fields({**fields, "changed": [8]}), 8)
