"""The rules that a run over a table has found, read from its folder."""

from __future__ import annotations

from torch_anchors._checks import said
from torch_anchors.datasets.evaluation import Evaluation
from torch_anchors.datasets.fields import FOUND
from torch_anchors.datasets.found_rule import FoundRule
from torch_anchors.errors import ArgumentError
from torch_anchors.tables.anchor_tabular import AnchorTabular

_COLUMNS = ["id", "status", "label", "label_name", "predicates", "coverage"]
_COLUMNS += ["precision", "precision_low", "precision_high"]


def evaluated_rules(evaluation: Evaluation, explainer: AnchorTabular) -> list[FoundRule]:
    """The rules of all rows that reach their threshold, in the order of their ids; at least one.

    So what is made of them does not depend on the order in which rows were finished.

    Args:
        evaluation: of rows of a table.
        explainer: by which they were explained: it knows the columns, and has the model.

    Raises:
        ArgumentError: the evaluation is by another explainer, or none of its rows reaches the threshold.
    """
    _check_same(evaluation, explainer)
    rows = sorted(evaluation.table(_COLUMNS).to_pylist(), key=lambda row: row["id"])
    settings = evaluation.run.settings
    found = [FoundRule.of_row(row, settings, explainer.schema) for row in rows if row["status"] in FOUND]
    if not found:
        raise ArgumentError(
            f"evaluation must have rows that reach the threshold; of {len(rows):,} none does. Explain more rows, or "
            "ask for a lower threshold."
        )
    return found


def _check_same(evaluation: Evaluation, explainer: AnchorTabular) -> None:
    if not isinstance(evaluation, Evaluation):
        raise ArgumentError(f"evaluation must be what evaluate returns, got {said(evaluation)}.")
    if not isinstance(explainer, AnchorTabular):
        raise ArgumentError(f"explainer must be the AnchorTabular of the evaluation, got {said(explainer)}.")
    if not evaluation.run.is_about_classes:
        raise ArgumentError(
            f"evaluation must be about the labels that the predictor returns; {evaluation.folder} is about "
            f"target={evaluation.run.settings['target']}. Explain the rows with explain_batch, and pass that to "
            "RuleList.from_explanations."
        )
    if evaluation.run.asks_what_is_necessary:
        raise ArgumentError(
            f"evaluation must be about rules, which keep the label; {evaluation.folder} asks what is necessary. "
            "Evaluate with question='sufficient'."
        )
    known = evaluation.run.digests
    other = [name for name, digest in explainer.digests().items() if known.get(name) != digest]
    sampling = evaluation.run.settings.get("sampling")
    if sampling != explainer.sampling:
        other.append("sampling")
    if other:
        raise ArgumentError(
            f"explainer must be the one that {evaluation.folder} was written by; these differ: {', '.join(other)}."
        )
