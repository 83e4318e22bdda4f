"""``torch-anchors table``: which conditions on a row's columns make a classifier say what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.cli import console
from torch_anchors.cli.drawings import check_drawing, save_figure
from torch_anchors.cli.each import each_explained
from torch_anchors.cli.json_files import json_file
from torch_anchors.cli.options import (
    add_question_options,
    add_shared_output_options,
    add_trust_option,
    share,
    whole_number,
    word_of,
)
from torch_anchors.cli.outcome import Outcome
from torch_anchors.cli.rows import Split, read_table, split_table
from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.interrupts import finished_first
from torch_anchors.whole_files import check_outputs, remove_partials
from torch_anchors.words import listed

if TYPE_CHECKING:
    import pandas as pd

    from torch_anchors.tables.anchor_tabular import AnchorTabular
    from torch_anchors.tables.explanation import TabularExplanation
    from torch_anchors.tables.schema import TableSchema

SAMPLINGS = ("interventional", "conditional")

DESCRIPTION = """\
Find an anchor of rows of a table: conditions on its columns such that, where they hold, the model says
the same in at least the share THRESHOLD of rows. FILE is a CSV file with a header, or a Parquet file.
Without --model, a small network is trained on the spot to tell the column TARGET from the others; a
fifth of the rows is held back, and the rule is tried on it. A rule may also say that a value is missing."""

EXAMPLES = """\
examples:
  torch-anchors table adult.csv --target income --row 5
  torch-anchors table loans.csv --target paid --row 0 1 2 --drop id --sampling conditional --json rules.json

"""


def add_parser(subparsers: Any, exit_status: str) -> None:
    """Add the subcommand with its options to the parser of the command."""
    parser = subparsers.add_parser(
        "table",
        usage="torch-anchors table FILE --target COLUMN [OPTION ...]",
        help="rows of a table that a classifier labels",
        description=DESCRIPTION,
        epilog=EXAMPLES + exit_status,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("file", type=Path, metavar="FILE", help="table, in CSV with a header or in Parquet")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="column that the model is to tell")
    parser.add_argument(
        "--row",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="rows to explain, by their place in FILE: 0 is the first one below the header, -1 the last (default: 0); "
        "rows without a TARGET count, and can be explained, too",
    )
    parser.add_argument("--drop", nargs="+", default=[], metavar="COLUMN", help="columns to leave out")
    _add_model_options(parser.add_argument_group("model"))
    _add_search_options(parser.add_argument_group("search"))
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, metavar="PNG", help="draw the rule of the first row")
    add_shared_output_options(group)


def _add_model_options(group: Any) -> None:
    group.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="ONNX, TorchScript or torch.export file of a model that takes rows of floats (numbers, and codes of "
        "categories in sorted order; NaN for what is missing) and returns a score for each class in sorted order, or "
        "one that is positive for the second",
    )
    add_trust_option(group)
    group.add_argument("--epochs", type=whole_number, default=10, metavar="N", help="of training (default: 10)")


def _add_search_options(group: Any) -> None:
    group.add_argument(
        "--sampling",
        type=word_of(SAMPLINGS),
        choices=SAMPLINGS,
        default="interventional",
        help="whether the columns outside the rule are replaced independently of it (the default), or rows are "
        "taken from the table as they are",
    )
    group.add_argument("--threshold", type=share, default=0.95, metavar="P", help="precision (default: 0.95)")
    group.add_argument(
        "--delta", type=share, default=0.1, metavar="P", help="allowed chance of being wrong (default: 0.1)"
    )
    group.add_argument("--max-anchor-size", type=whole_number, metavar="N", help="most conditions in a rule")
    add_question_options(group, "columns")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of training and sampling (default: 0)")


def run(options: argparse.Namespace) -> Outcome:
    """Train, explain and tell, as far as that can be done."""
    _check(options)
    split = split_table(read_table(options), options)
    several = len(split.asked) > 1
    outcome = Outcome("row", len(split.asked), stops=not several or options.on_error == "raise")
    with outcome.told_when_it_stops():
        _explain(split, options, outcome)
    outcome.say_failed()
    return outcome


def _check(options: argparse.Namespace) -> None:
    """Complains of what can be known to be wrong before the work begins."""
    if options.seed < 0:
        raise ArgumentError(f"--seed must be a whole number of at least 0, got {options.seed}")
    if options.out:
        import_extra("matplotlib.figure", "demo")
        check_drawing(options.out)
    if options.model and not options.model.exists():
        raise ArgumentError(f"there is no file {options.model}")
    outputs = [(name, path) for name, path in (("--out", options.out), ("--json", options.json)) if path]
    check_outputs(outputs, [options.file, *([options.model] if options.model else [])])
    remove_partials(path for _, path in outputs)


def _explain(split: Split, options: argparse.Namespace, outcome: Outcome) -> None:
    explainer, schema = explainer_of(options, split)
    tell: Callable[[str], None] = (lambda text: None) if options.quiet else console.say
    tell(model_in_words(options, explainer, split))
    settings: dict[str, Any] = {
        "threshold": options.threshold,
        "delta": options.delta,
        "max_anchor_size": options.max_anchor_size,
        "question": options.question,
        "n_anchors": options.n_anchors,
    }

    def load(row: int) -> int:
        _check_categories(split.file.iloc[[row]], schema, options.target)
        return row

    def together(rows: Sequence[Any]) -> Iterator[TabularExplanation]:
        return explainer.explain_iter(split.file.iloc[list(rows)], **settings)

    def alone(row: int) -> TabularExplanation:
        return explainer.explain(split.file.iloc[[row]], **settings)

    with json_file(options.json, {"classes": split.classes}, "rules") as data:
        for row, found in each_explained(split.asked, load, together, alone):
            if isinstance(found, AnchorsError):
                outcome.fail(f"row {row}", console.reason(found))
                data.add_failed({"row": row, "error": console.reason(found)})
                continue
            with finished_first():
                data.add({"row": row, **found.to_dict()})
                tell(_rule_in_words(row, found, split, options))
                if options.out and not outcome.n_explained:
                    save_figure(found.plot(), options.out)
                    tell(f"Row {row} is drawn in {options.out}.")
                outcome.explained(success=found.success)


def _check_categories(row: pd.DataFrame, schema: TableSchema, target: str) -> None:
    """Complains of a row without a target that has what no row with one has, so that nothing is known of it."""
    for column, code in zip(schema.columns, schema.encode(row)[0], strict=True):
        if column.categories is not None and code >= len(column.categories):
            value = row[column.name].iloc[0]
            raise ArgumentError(f"its {column.name} is {value}, as in no row that has a {target}")


def explainer_of(options: argparse.Namespace, split: Split) -> tuple[AnchorTabular, TableSchema]:
    """The fitted explainer, and the columns of the table."""
    import torch

    from torch_anchors.cli.given_net import given_net
    from torch_anchors.models.table_net import train_table_net
    from torch_anchors.tables.anchor_tabular import AnchorTabular
    from torch_anchors.tables.schema import TableSchema

    schema = TableSchema.infer(split.table)
    encoded = torch.from_numpy(schema.encode(split.table)).float()
    if options.model:
        model: torch.nn.Module = given_net(options.model, encoded, schema.names, split.classes, trust=options.trust)
    else:
        model = train_table_net(
            schema.n_categories,
            encoded[split.train],
            split.target[split.train],
            n_classes=len(split.classes),
            seed=options.seed % 2**63,
            epochs=options.epochs,
        )
    categories = {i: column.categories for i, column in enumerate(schema.columns) if column.categories is not None}
    explainer = AnchorTabular(
        model,
        list(schema.names),
        categories,
        seed=options.seed,
        sampling=options.sampling,
        class_names=split.classes,
    )
    return explainer.fit(split.table.iloc[split.train.numpy()]), schema


def model_in_words(options: argparse.Namespace, explainer: AnchorTabular, split: Split) -> str:
    """What the model is, which rows there are, and how often it is right on rows held back."""
    what = f"The model {options.model}" if options.model else f"A small network, trained on {len(split.train):,} rows,"
    task = f"{options.target} ({listed(split.classes, 'or')})"
    missing = len(split.file) - len(split.table)
    rows = f" {missing:,} of {len(split.file):,} rows have no {options.target}; they are left out." if missing else ""
    if not len(split.held_back):
        return f"{what} tells {task}; the table is too short for rows to be held back.{rows}"
    right = _share_right(explainer, split)
    return f"{what} tells {task} right in {100 * right:.1f} % of {len(split.held_back):,} rows held back.{rows}"


def _share_right(explainer: AnchorTabular, split: Split) -> float:
    """How often the labels that are explained are the right ones on rows held back.

    These are the explainer's own, so that a model of one score is read as it is when it is explained.
    """
    labels = explainer.predict(split.table.iloc[split.held_back.numpy()])
    if (labels >= len(split.classes)).any():
        raise ArgumentError(
            f"the model returns the label {labels.max()}, and the table has the labels 0 to {len(split.classes) - 1}: "
            f"{listed(split.classes)}"
        )
    return float((labels == split.target[split.held_back].numpy()).mean())


def _rule_in_words(row: int, explanation: TabularExplanation, split: Split, options: argparse.Namespace) -> str:
    """What the model says of a row, the rule, and how the rule did on rows held back."""
    from torch_anchors.cli.words import is_plain

    label = explanation.label_words
    low, high = explanation.precision_interval
    kind = "exactly" if low == high else f"{100 * low:.1f} to {100 * high:.1f} % with {100 * (1 - options.delta):g} %"
    kind = kind if low == high else f"{kind} confidence"
    precision = f"{100 * explanation.precision:.1f} % ({kind})"
    rule = listed(explanation.anchor) if explanation.anchor else ""
    says = f"Row {row}: the model says {options.target} = {label}."
    if not is_plain(explanation):
        return f"{says} {explanation.found_in_words()}"
    if not explanation.success:
        best = f"where {rule}" if rule else "without any condition"
        return (
            f"{says} No rule reached the threshold of {100 * options.threshold:g} %. The best one found: {best}, it "
            f"says so in {precision} of rows. Try --sampling conditional, or a lower --threshold."
        )
    where = f"Where {rule}, it" if rule else "It"
    also = "whatever the other columns hold" if options.sampling == "interventional" else "in the table"
    return (
        f"{says} {where} says so in {precision} of rows, {also}; that covers {100 * explanation.coverage:.3g} % of "
        f"them. {_held_back_in_words(explanation, split)}"
    )


def _held_back_in_words(explanation: TabularExplanation, split: Split) -> str:
    rows = split.table.iloc[split.held_back.numpy()]
    applies = explanation.applies(rows)
    if not applies.any():
        return "It holds for none of the rows held back."
    n, precision = int(applies.sum()), explanation.precision_on(rows)
    return f"Of the {n:,} rows held back that it covers, the model says so of {100 * precision:.1f} %."
