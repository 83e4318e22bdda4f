"""What searches have found for rows of a table, as explanations of these rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._shapes import Int
from torch_anchors.engine.runner import Finished
from torch_anchors.search.protocol import BY_SAMPLING
from torch_anchors.settings import ExplainSettings
from torch_anchors.tables.cases import RowCase
from torch_anchors.tables.covered import Covered
from torch_anchors.tables.explanation import EncodedExamples, TabularExplanation
from torch_anchors.tables.fitted import FittedTable
from torch_anchors.tables.misses import encoded_misses
from torch_anchors.tables.row_rules import RowRule, row_rules
from torch_anchors.targets.target import Comparison

Common = Callable[[Finished[Any]], Mapping[str, Any]]
"""The fields that explanations of all kinds have, of what was found."""
Shown = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Labels as users know them."""


def explained_rules(
    finished: Sequence[Finished[RowCase]],
    fitted: FittedTable,
    settings: ExplainSettings,
    *,
    common: Common,
    shown: Shown,
) -> Iterator[TabularExplanation]:
    """The explanation of each row; the training rows are counted for those of one sampler together.

    Args:
        finished: what was found, in the order of the explanations.
        fitted: the training rows and the model.
        settings: that were asked for.
        common: gives the fields that explanations of all kinds have.
        shown: gives labels as users know them.
    """
    compares = isinstance(fitted.model.target, Comparison)  # each row has labels of its own then
    for _, group in groupby(finished, key=lambda one: id(one if compares else one.case.sampler)):
        together = list(group)
        yield from _explained(together, fitted.about(together[0].case.explained), settings, common, shown)


def _explained(
    finished: Sequence[Finished[RowCase]], fitted: FittedTable, settings: ExplainSettings, common: Common, shown: Shown
) -> Iterator[TabularExplanation]:
    """The explanations of rows of one sampler, by training rows that are labelled for them."""
    sampler = finished[0].case.sampler
    covered = Covered(fitted.labelled(), sampler)
    instances, labels = _instances(finished), _labels(finished)
    anchors = [one.found.result.anchor for one in finished]
    rules = _rules(finished, fitted, covered, settings)
    examples = _examples(finished, covered, settings.n_covered_ex)
    misses = encoded_misses(finished, covered, shown)
    effects = fitted.effects().of(sampler, instances, anchors, labels)
    for i, (one, (first, *others)) in enumerate(zip(finished, rules, strict=True)):
        one = replace(one, found=replace(one.found, result=first.result))
        yield TabularExplanation(
            **{**common(one), "effects": effects[i]},
            names=tuple(first.rule.conditions),
            fixed=sampler.fixed,
            excluded=one.case.excluded,
            rule=first.rule,
            instance=sampler.instances[instances[i]],
            sampling=sampler.sampling,
            training_path=first.path,
            others=tuple(other.as_anchor() for other in others),
            encoded_examples=replace(examples[i], labels=shown(examples[i].labels)),
            encoded_miss=misses[i],
            predict=fitted.model.labels_of_table,
        )


def _examples(finished: Sequence[Finished[RowCase]], covered: Covered, n_each: int) -> list[EncodedExamples]:
    """Rows on which each anchor holds: drawn ones or, where none were drawn for it, training rows."""
    undrawn = [one for one in finished if not len(one.found.examples.labels)]
    anchors = [one.found.result.anchor for one in undrawn]
    counted = iter(covered.examples(_instances(undrawn), anchors, _labels(undrawn), n_each))
    drawn = [one.found.examples for one in finished]
    return [
        EncodedExamples(own.codes.astype(np.float64), own.labels, own.hits) if len(own.labels) else next(counted)
        for own in drawn
    ]


def _rules(
    finished: Sequence[Finished[RowCase]], fitted: FittedTable, covered: Covered, settings: ExplainSettings
) -> list[list[RowRule]]:
    """The rules that were found for each row, the first and those that `n_anchors` asked for besides."""
    sampler, n_each = finished[0].case.sampler, [1 + len(one.found.result.others) for one in finished]
    rules = row_rules(
        fitted.schema,
        sampler,
        covered,
        [result for one in finished for result in (one.found.result, *one.found.result.others)],
        np.repeat(_instances(finished), n_each).tolist(),
        np.repeat(_labels(finished), n_each),
    )
    if sampler.sampling == "conditional" and settings.method in BY_SAMPLING:
        # These bounds hold for all rules there are at once, and so need no share of delta.
        asked = {"threshold": settings.threshold, "delta": settings.delta}
        rules = [rule.on_new_rows(sampler.n_predicates, **asked) for rule in rules]
    each = iter(rules)
    return [list(islice(each, n)) for n in n_each]


def _instances(finished: Sequence[Finished[RowCase]]) -> list[int]:
    """The number of each row in its sampler."""
    return [one.case.instance for one in finished]


def _labels(finished: Sequence[Finished[RowCase]]) -> Int[np.ndarray, " finished"]:
    """The label that was explained for each row."""
    return np.array([one.found.label for one in finished], dtype=np.int64)
