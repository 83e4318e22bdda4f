"""One of several rules of an explanation of a table's row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch_anchors.explanation import plain
from torch_anchors.found_anchor import FoundAnchor
from torch_anchors.packing import Fields
from torch_anchors.partial_anchors import packed_step, step_of
from torch_anchors.search.protocol import Step
from torch_anchors.tables.rule import Rule


@dataclass(frozen=True, kw_only=True)
class RuleAnchor(FoundAnchor):
    """A rule without the row and the search that it comes from.

    Attributes:
        rule: the anchor; it holds on tables with the columns of its schema.
        on_training: share of hits among the training rows on which it holds, and the share of these.
    """

    rule: Rule
    on_training: Step

    def to_dict(self) -> dict[str, Any]:
        """As `FoundAnchor.to_dict`, with the predicates and the share of hits among the training rows."""
        predicates = [{"column": p.name, "operator": p.operator, "value": plain(p.value)} for p in self.rule.predicates]
        on_training = {"precision": self.on_training.precision, "n": self.on_training.n}
        return {**super().to_dict(), "predicates": predicates, "on_training": on_training}

    def to_fields(self) -> dict[str, Any]:
        """As `FoundAnchor.to_fields`, with the rule and its columns."""
        return {**super().to_fields(), "rule": self.rule.to_fields(), "on_training": packed_step(self.on_training)}

    @classmethod
    def read_fields(cls, fields: Fields) -> dict[str, Any]:
        """As `FoundAnchor.read_fields`."""
        common, rule = super().read_fields(fields), Rule.read(fields.fields("rule"))
        n = len(rule.predicates)
        fields.check(len(common["features"]) == n, "features", f"ids of the rule's {n} predicates")
        return {**common, "rule": rule, "on_training": step_of(fields.fields("on_training"))}
