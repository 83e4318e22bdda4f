"""A rule that was found for a row of a table: where it holds, what the model says there, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch_anchors.explanation import plain
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.tables.rule import Predicate, Rule
from torch_anchors.tables.schema import TableSchema


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRule:
    """A rule that reaches its threshold, without the row and the search that it comes from.

    Attributes:
        rule: the conditions; it holds on tables with the columns of its schema.
        label: what the model says where it holds: the number of a class, or its name where the model returns names.
        label_name: what the class is called, where that is known.
        precision: estimate of its precision, in [0, 1].
        precision_interval: holds the precision with probability 1 - `delta`.
        coverage: on the training rows of the explainer, in [0, 1].
        threshold, delta: that were asked for.
        sampling: "interventional" or "conditional".
    """

    rule: Rule
    label: int | str
    label_name: str | None
    precision: float
    precision_interval: tuple[float, float]
    coverage: float
    threshold: float
    delta: float
    sampling: str

    @classmethod
    def of(cls, explanation: TabularExplanation) -> FoundRule:
        """The rule of an explanation."""
        return cls(
            rule=explanation.rule,
            label=explanation.label,
            label_name=explanation.label_name,
            precision=explanation.precision,
            precision_interval=explanation.precision_interval,
            coverage=explanation.coverage,
            threshold=explanation.threshold,
            delta=explanation.delta,
            sampling=explanation.sampling,
        )

    @classmethod
    def of_row(cls, row: Mapping[str, Any], settings: Mapping[str, Any], schema: TableSchema) -> FoundRule:
        """The rule of a row that `evaluate` wrote.

        Args:
            row: by the names of its columns.
            settings: of the run.
            schema: of the table that was explained.
        """
        predicates = [
            Predicate.on(schema, schema.names.index(one["column"]), one["operator"], one["code"])
            for one in row["predicates"]
        ]
        return cls(
            rule=Rule(tuple(predicates), schema),
            label=row["label_name"] if row["label"] is None else row["label"],
            label_name=row["label_name"],
            precision=row["precision"],
            precision_interval=(row["precision_low"], row["precision_high"]),
            coverage=row["coverage"],
            threshold=float(settings["threshold"]),
            delta=float(settings["delta"]),
            sampling=settings["sampling"],
        )

    @property
    def key(self) -> tuple[Any, ...]:
        """What it has in common with the same rule that was found for another row."""
        conditions = frozenset((one.column, one.operator, one.code) for one in self.rule.predicates)
        return self.rule.schema, conditions, self.label

    @property
    def where(self) -> str:
        """Where it holds, in words: "where age > 37.00 and job = nurse", or "everywhere"."""
        return f"where {' and '.join(self.rule.conditions)}" if len(self.rule) else "everywhere"

    @property
    def says(self) -> str:
        """The class that the model names there, in words."""
        return self.label_name if self.label_name is not None else f"label {self.label}"

    def to_dict(self) -> dict[str, Any]:
        """The rule as plain Python values."""
        predicates = [
            {"column": one.name, "operator": one.operator, "value": plain(one.value)} for one in self.rule.predicates
        ]
        return {
            "conditions": self.rule.conditions,
            "predicates": predicates,
            "label": self.label,
            "label_name": self.label_name,
            "precision": self.precision,
            "precision_interval": list(self.precision_interval),
            "coverage": self.coverage,
            "threshold": self.threshold,
            "delta": self.delta,
            "sampling": self.sampling,
        }
