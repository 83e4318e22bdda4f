"""The rules that were found for some rows, with what the training rows say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from torch_anchors._shapes import Int
from torch_anchors.search.protocol import SearchResult, Step
from torch_anchors.tables.count.new_rows import of_new_rows
from torch_anchors.tables.covered import Covered
from torch_anchors.tables.rule import Rule
from torch_anchors.tables.rule_anchor import RuleAnchor
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.schema import TableSchema


@dataclass(frozen=True, slots=True)
class RowRule:
    """What a search found for a row: the result, the rule, and the training rows as its conditions accumulate."""

    result: SearchResult
    rule: Rule
    path: tuple[Step, ...]

    def as_anchor(self) -> RuleAnchor:
        """The rule as one of several of an explanation."""
        return RuleAnchor.of(self.result, self.rule.conditions, rule=self.rule, on_training=self.path[-1])

    def on_new_rows(self, n_predicates: int, threshold: float, delta: float) -> RowRule:
        """The same, said of new rows; see `of_new_rows`."""
        found = of_new_rows(
            self.result.status,
            self.result.precision,
            counted=self.path[-1],
            n_predicates=n_predicates,
            threshold=threshold,
            delta=delta,
        )
        new = replace(
            self.result,
            status=found.status,
            precision=found.precision,
            precision_interval=found.precision_interval,
        )
        return replace(self, result=new)


def row_rules(
    schema: TableSchema,
    sampler: RowSampler,
    covered: Covered,
    results: Sequence[SearchResult],
    instances: Sequence[int],
    labels: Int[np.ndarray, " results"],
) -> list[RowRule]:
    """The rules of results, whose training rows are counted together.

    Args:
        schema: of the table.
        sampler: of the rows.
        covered: counts anchors of these rows.
        results: what searches found.
        instances: the row that each result is about, by its number in the sampler.
        labels: that are explained.
    """
    paths = covered.paths(instances, [result.anchor for result in results], labels)
    discretizer = sampler.training.discretizer
    return [
        RowRule(result, Rule.from_bins(schema, discretizer, sampler.bins(i, result.anchor), sampler.instances[i]), path)
        for result, i, path in zip(results, instances, paths, strict=True)
    ]
