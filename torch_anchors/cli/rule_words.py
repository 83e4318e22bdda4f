"""Rules of rows of a table as a few sentences."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from torch_anchors.cli.rows import Split
from torch_anchors.cli.words import is_plain, share_in_words
from torch_anchors.words import listed

if TYPE_CHECKING:
    from torch_anchors.tables.explanation import TabularExplanation

SAMPLING_IN_WORDS = {
    "auto": "A rule is about rows like those of the table, as they are (--sampling conditional); where none "
    "is certified for these, about rows whose columns outside the rule are replaced at random (interventional).",
    "conditional": "A rule is about rows like those of the table, as they are: whatever goes along with its columns "
    "there goes along here (--sampling conditional).",
    "interventional": "A rule is about rows whose columns outside the rule are replaced at random by those of other "
    "rows, also where no real row is like that (--sampling interventional).",
}
"""What a precision is a share of."""
_HARDLY = " It covers hardly any row: --sampling conditional or a lower --threshold may give a wider rule."


def rule_in_words(row: int, explanation: TabularExplanation, split: Split, options: argparse.Namespace) -> str:
    """What the model says of a row, the rule, and how the rule did on rows held back."""
    answer = f"{options.target} = {_answer(explanation)}"
    says = f"Row {row}: the model says {answer}."
    if not is_plain(explanation):
        return f"{says} {explanation.found_in_words()}"
    rule, so = listed(explanation.anchor), "so" if explanation.is_about_classes else explanation.label_words
    share = share_in_words(explanation)
    if not explanation.success:
        best = f"where {rule}" if rule else "without any condition"
        return (
            f"{says} No rule reached the threshold of {100 * options.threshold:g} %. The best one found: {best}, it "
            f"says {so} in {share} of rows. {_remedy(options)}"
        )
    where = f"Where {rule}, it" if rule else "It"
    replaced = explanation.sampling == "interventional"
    rows = "rows, whatever the other columns hold" if replaced else "rows like those of the table"
    return (
        f"{says} {where} says {so} in {share} of {rows}; that covers {100 * explanation.coverage:.3g} % of them. "
        f"{_held_back_in_words(explanation, split)}{_HARDLY * bool(explanation.remark)}"
    )


def _answer(explanation: TabularExplanation) -> str:
    """The class, or the number, that the model says."""
    value = explanation.said.get("value")
    return explanation.label_words if value is None else f"{value:,.6g}"


def _remedy(options: argparse.Namespace) -> str:
    other = {"interventional": "conditional", "conditional": "interventional"}.get(options.sampling)
    return f"Try {'' if other is None else f'--sampling {other}, '}a lower --threshold, or more rows."


def _held_back_in_words(explanation: TabularExplanation, split: Split) -> str:
    rows = split.table.iloc[split.held_back.numpy()]
    if not len(rows):
        return "No rows were held back to try it on."
    applies = explanation.applies(rows)
    if not applies.any():
        return "It holds for none of the rows held back."
    n, precision = int(applies.sum()), explanation.precision_on(rows)
    return f"Of the {n:,} rows held back that it covers, the model says so of {100 * precision:.1f} %."
