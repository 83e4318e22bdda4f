"""What is asked of a table's row: the parameters of the explainer's methods."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from torch_anchors.errors import ArgumentError
from torch_anchors.settings import NO_SETTING, Contrast, ManyQuestion, OneQuestion
from torch_anchors.tables.schema import TableSchema


@dataclass(frozen=True)
class _OneRow:
    """What `AnchorTabular.explain` takes first.

    Args:
        X: the row: one-dimensional, or a table of one row, like the training rows.
    """

    X: Any = field(metadata=NO_SETTING)


@dataclass(frozen=True)
class _ManyRows:
    """What `AnchorTabular.explain_batch` and `explain_iter` take first.

    Args:
        rows: a table like the training rows, or an iterator over such tables, which are read as they are needed.
    """

    rows: Any = field(metadata=NO_SETTING)


@dataclass(frozen=True)
class RowContrast(Contrast):
    """What else may be asked of a row.

    Args:
        question: "sufficient" asks for a rule that keeps the label. "necessary" asks for the fewest columns whose
            values, when they are replaced by those of a random training row, change the label, each other column being
            replaced with probability 0.5 by the same row's; only with interventional sampling.
        fixed: columns, by name or number, that keep the row's value in every perturbed row, and so are in no rule; only
            with interventional sampling. Precision and rule are then about rows that have this value.
        exclude: columns that vary like all others, but are in no rule.
    """

    def columns(self, schema: TableSchema) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Numbers of the columns that are fixed, and of those that are excluded.

        Raises:
            ArgumentError: there are no such columns, all are fixed, or some are both.
        """
        fixed, excluded = (schema.column_numbers(getattr(self, name), name) for name in ("fixed", "exclude"))
        if len(fixed) == len(schema.columns):
            raise ArgumentError(f"fixed must leave at least one column that varies, got all {len(fixed)}.")
        return fixed, excluded

    def parts_in_words(self, parts: Any) -> Any:
        """The columns as they were given, in a list."""
        return list(parts) if isinstance(parts, Iterable) and not isinstance(parts, str) else [parts]


@dataclass(frozen=True)
class RowQuestion(RowContrast, OneQuestion, _OneRow):
    """The parameters of `AnchorTabular.explain`."""


@dataclass(frozen=True)
class RowsQuestion(RowContrast, ManyQuestion, _ManyRows):
    """The parameters of `AnchorTabular.explain_batch` and `AnchorTabular.explain_iter`."""
