"""A rule in the user's words: conditions on named columns, to be read and to be checked on any table."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal, cast, get_args

import numpy as np

from torch_anchors._shapes import Bool, Float
from torch_anchors.packing import Fields, pack_number
from torch_anchors.tables.columns import Column
from torch_anchors.tables.discretizer import Discretizer
from torch_anchors.tables.schema import TableSchema

Operator = Literal["==", "<=", ">", "is missing"]


@dataclass(frozen=True, slots=True)
class Predicate:
    """One elementary condition, such as ``Age > 37``.

    Args:
        column: number of the column.
        name: name of the column.
        operator: "==" for a category, "<=" or ">" for a number, "is missing" where there is neither.
        value: the category in the user's words, or the number, unrounded; None where it is missing.
        code: the same in an encoded table: the category's code, or the number; 0 where nothing is compared.
    """

    column: int
    name: str
    operator: Operator
    value: Any
    code: float

    @classmethod
    def on(cls, schema: TableSchema, column: int, operator: Operator, code: float = 0.0) -> Predicate:
        """The condition on a column of that number, with the value in the words of the schema."""
        of, compared = schema.columns[column], operator != "is missing"
        value = of.shown(code) if operator == "==" else code
        return cls(column, of.name, operator, value if compared else None, float(code) if compared else 0.0)

    def __str__(self) -> str:
        return _describe(self.name, [self])

    def applies(self, rows: Float[np.ndarray, "rows columns"]) -> Bool[np.ndarray, " rows"]:
        """On which rows of an encoded table the condition holds; of a missing value, only that it is missing."""
        values = rows[:, self.column]
        gone = np.isnan(values)
        if self.operator == "is missing":
            return gone
        if self.operator == "==":
            return ~gone & (values == self.code)
        return ~gone & (values <= self.code if self.operator == "<=" else values > self.code)


@dataclass(frozen=True, slots=True)
class Rule:
    """A conjunction of predicates on tables with the columns of `schema`; without any it holds on every row.

    Example:
        >>> from torch_anchors.tables.columns import Column
        >>> schema = TableSchema((Column("Age"), Column("Job", ("Clerk", "Nurse"))))
        >>> rule = Rule((Predicate(0, "Age", ">", 37.0, 37.0), Predicate(1, "Job", "==", "Nurse", 1.0)), schema)
        >>> rule.conditions
        ['Age > 37.00', 'Job = Nurse']
        >>> rule.applies({"Age": [30, 40, 50], "Job": ["Nurse", "Nurse", "Clerk"]})
        array([False,  True, False])
    """

    predicates: tuple[Predicate, ...]
    schema: TableSchema = field(repr=False)

    @classmethod
    def from_bins(
        cls,
        schema: TableSchema,
        discretizer: Discretizer,
        bins: Iterable[tuple[int, int, int]],
        instance: Float[np.ndarray, " columns"],
    ) -> Rule:
        """The rule whose predicates are the bins (column, low, high) that hold on the encoded `instance`."""
        predicates = []
        for column, low, high in bins:
            cuts, own = discretizer.cuts[column], float(instance[column])
            if math.isnan(own):
                predicates.append(Predicate.on(schema, column, "is missing"))
                continue
            if discretizer.categorical[column]:
                predicates.append(Predicate.on(schema, column, "==", own))
                continue
            if low > 0:
                predicates.append(Predicate.on(schema, column, ">", float(cuts[low - 1])))
            if high < len(cuts):
                predicates.append(Predicate.on(schema, column, "<=", float(cuts[high])))
        return cls(tuple(predicates), schema)

    def to_fields(self) -> dict[str, Any]:
        """The rule and the columns that it is about, in values that JSON knows.

        Raises:
            ArgumentError: categories that are neither text, numbers nor booleans.
        """
        columns = [column.to_fields() for column in self.schema.columns]
        predicates = [
            {"column": p.column, "operator": p.operator, "code": pack_number(p.code)} for p in self.predicates
        ]
        return {"columns": columns, "ohe": self.schema.ohe, "predicates": predicates}

    @classmethod
    def read(cls, fields: Fields) -> Rule:
        """The rule that `to_fields` gave.

        Raises:
            ArgumentError: it is no rule about its columns.
        """
        schema = TableSchema(tuple(map(Column.read, fields.each("columns"))), fields.truth("ohe"))
        return cls(tuple(_read_predicate(one, schema) for one in fields.each("predicates")), schema)

    @property
    def conditions(self) -> list[str]:
        """One readable condition a column, two bounds on one column merged: ``37.00 < Age <= 48.00``."""
        by_column = sorted(self.predicates, key=lambda predicate: predicate.column)
        return [
            _describe(name, list(group)) for (_, name), group in groupby(by_column, key=lambda p: (p.column, p.name))
        ]

    def applies(self, table: Any) -> Bool[np.ndarray, " rows"]:
        """On which rows of a table, of any kind that the schema reads, all predicates hold."""
        return self.holds(self.schema.encode(table))

    def holds(self, rows: Float[np.ndarray, "rows columns"]) -> Bool[np.ndarray, " rows"]:
        """The same of rows that were encoded by the schema, once for many rules."""
        holds = [predicate.applies(rows) for predicate in self.predicates]
        return np.logical_and.reduce(holds) if holds else np.ones(len(rows), dtype=bool)

    def __len__(self) -> int:
        return len(self.predicates)

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "(no condition)"


def _read_predicate(fields: Fields, schema: TableSchema) -> Predicate:
    number, code = fields.whole("column", 0), fields.number("code")
    fields.check(number < len(schema.columns), "column", f"below {len(schema.columns)}")
    operator = fields.word("operator", get_args(Operator))
    return Predicate.on(schema, number, cast(Operator, operator), code)


def format_number(number: float) -> str:
    """A number with two decimals, or with three significant digits where two decimals would show fewer.

    Example:
        >>> [format_number(x) for x in (37.0, -2.5, 0.12345, 0.0013, 2.5e-7)]
        ['37.00', '-2.50', '0.123', '0.0013', '2.5e-07']
    """
    size = abs(number)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{number:.3g}"
    if number == 0 or size >= 1:
        return f"{number:.2f}"
    digits = f"{number:.{2 - math.floor(math.log10(size))}f}"
    whole, decimals = digits.split(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def stated(column: Column, value: float) -> str:
    """That a column has an encoded value, in words.

    Example:
        >>> job = Column("Job", ("Clerk", "Nurse"))
        >>> [stated(Column("Age"), 37.0), stated(job, 1.0), stated(job, math.nan)]
        ['Age = 37.00', 'Job = Nurse', 'Job is missing']
    """
    if math.isnan(value):
        return f"{column.name} is missing"
    return f"{column.name} = {format_number(value) if column.categories is None else column.shown(value)}"


_IS_CONDITION = r"^({name}\s*[<>=]|\S+\s*[<>]=?\s*{name}(\s*[<>]|$))"
"""A category that is a condition on its column, as discretised tables have them: "Age <= 37", "28 < Age <= 37"."""


def _describe(name: str, predicates: Sequence[Predicate]) -> str:
    """Predicates on one column in words."""
    for predicate in predicates:
        if predicate.operator == "is missing":
            return f"{name} is missing"
        if predicate.operator == "==":
            told = _IS_CONDITION.format(name=re.escape(name))
            return str(predicate.value) if re.search(told, str(predicate.value)) else f"{name} = {predicate.value}"
    lower = max((p.code for p in predicates if p.operator == ">"), default=-math.inf)
    upper = min((p.code for p in predicates if p.operator == "<="), default=math.inf)
    if math.isinf(lower):
        return f"{name} <= {format_number(upper)}"
    if math.isinf(upper):
        return f"{name} > {format_number(lower)}"
    low, high = format_number(lower), format_number(upper)
    if low == high:
        low, high = repr(lower), repr(upper)
    return f"{low} < {name} <= {high}"
