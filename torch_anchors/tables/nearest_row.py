"""The nearest miss of a table's row: the row of another label with the fewest columns that are unlike it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from torch_anchors._shapes import Float
from torch_anchors.packing import Fields, pack_array
from torch_anchors.tables.rule import stated
from torch_anchors.tables.schema import TableSchema
from torch_anchors.words import listed

FEW = 6
"""Columns that are named one by one."""


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """Of all rows that were tried, the one of another label with the fewest columns that are unlike the explained row.

    Attributes:
        row: its values by column name.
        label: the model's label of it.
        changed: numbers of the columns in which it is unlike the explained row: in another bin or of another category.
            Of the question "necessary" those whose value is another one.
        hit: whether it is a hit, as it is where it was asked what is necessary to change the label.
    """

    row: dict[str, Any]
    label: int | str
    changed: tuple[int, ...]
    hit: bool


@dataclass(frozen=True, slots=True)
class EncodedMiss:
    """The same as it is kept: numbers and category codes (columns,), the label, and the columns that are unlike."""

    row: Float[np.ndarray, " columns"]
    label: int | str
    changed: tuple[int, ...]

    def in_words(self, schema: TableSchema, label: str) -> str:
        """What it is, in a sentence.

        Args:
            schema: of the table.
            label: what its label is called.
        """
        n = len(self.changed)
        values = listed([stated(schema.columns[i], float(self.row[i])) for i in self.changed[:FEW]])
        if n == 0:
            what = "is in the same bins in every column"
        elif n <= FEW:
            what = f"differs in {values} alone"
        else:
            what = f"differs in {n} of {len(self.row)} columns"
        return f"Of all rows tried, the nearest one with another label {what}: {label}."

    def decoded(self, schema: TableSchema, *, hit: bool) -> NearestMiss:
        """The row as users know it."""
        row = {name: values[0] for name, values in schema.decode(self.row[None]).items()}
        return NearestMiss(row, self.label, self.changed, hit)

    def to_fields(self) -> dict[str, Any]:
        """The row in values that JSON knows."""
        label = self.label if isinstance(self.label, str) else int(self.label)
        return {"row": pack_array(self.row), "label": label, "changed": list(map(int, self.changed))}

    @classmethod
    def read(cls, fields: Fields, n_columns: int) -> EncodedMiss:
        """The row that `to_fields` gave, of a table with so many columns.

        Raises:
            ArgumentError: it is no row of such a table.
        """
        row, changed = fields.array("row", kinds="f", ndim=(1,)), fields.wholes("changed")
        fields.check(len(row) == n_columns, "row", f"of {n_columns} columns")
        fields.check(all(i < n_columns for i in changed), "changed", f"numbers below {n_columns}")
        return cls(row, fields.label("label"), changed)
