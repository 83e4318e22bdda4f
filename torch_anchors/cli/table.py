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
    add_promise_options,
    add_question_options,
    add_shared_output_options,
    add_trust_option,
    positive,
    whole_number,
    word_of,
)
from torch_anchors.cli.outcome import Outcome
from torch_anchors.cli.rows import MOST_NUMBERED_CLASSES, Split, read_table, split_table
from torch_anchors.cli.table_model import TableModel
from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.interrupts import finished_first
from torch_anchors.search.protocol import SUFFICIENT
from torch_anchors.whole_files import check_outputs, remove_partials

if TYPE_CHECKING:
    import pandas as pd

    from torch_anchors.tables.explanation import TabularExplanation
    from torch_anchors.tables.schema import TableSchema

SAMPLINGS = ("auto", "conditional", "interventional")

DESCRIPTION = """\
Find an anchor of rows of a table: conditions on its columns such that, where they hold, the model says
the same in at least the share THRESHOLD of rows. FILE is a CSV file with a header, or a Parquet file.
Without --model, a small network is trained on the spot to tell the column TARGET from the others; a
fifth of the rows is held back, and the rule is tried on it. A rule may also say that a value is missing.
TARGET may have classes or numbers; of a number, the same answer is one within N (--within) of it.

Which rows the share is of is --sampling: rows like those of the table, in which other columns go along
with the rule as they do there (conditional), or rows whose other columns are replaced at random, so that
the rule holds by itself (interventional). Unless you choose, a rule of the first kind is taken where one
is certified, and otherwise one of the second kind, unless it covers hardly any row."""

EXAMPLES = """\
examples:
  torch-anchors table adult.csv --target income --row 5
  torch-anchors table loans.csv --target paid --row 0 1 2 --drop id --sampling interventional --json rules.json
  torch-anchors table houses.csv --target price --within 20000 --fixed city

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
    add_number_option(parser)
    _add_model_options(parser.add_argument_group("model"))
    _add_search_options(parser.add_argument_group("search"))
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, metavar="PNG", help="draw the rule of the first row")
    add_shared_output_options(group)


def add_number_option(group: Any) -> None:
    """What counts as the same answer where the target is a number."""
    group.add_argument(
        "--within",
        type=positive,
        metavar="N",
        help="TARGET is a number, and the same answer is one within N of what the model says (default: half a standard "
        f"deviation of it; more than {MOST_NUMBERED_CLASSES} different numbers are not taken for classes)",
    )


def _add_model_options(group: Any) -> None:
    group.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="ONNX, TorchScript or torch.export file of a model that takes rows of floats (numbers, and codes of "
        "categories in sorted order; NaN for what is missing) and returns a score for each class in sorted order, or "
        "one that is positive for the second; of a TARGET of numbers, a number",
    )
    add_trust_option(group)
    group.add_argument("--epochs", type=whole_number, default=10, metavar="N", help="of training (default: 10)")


def _add_search_options(group: Any) -> None:
    group.add_argument(
        "--sampling",
        type=word_of(SAMPLINGS),
        choices=SAMPLINGS,
        default="auto",
        help="which rows a rule is about, as above (default: auto)",
    )
    add_promise_options(group, "rows")
    group.add_argument("--max-anchor-size", type=whole_number, metavar="N", help="most conditions in a rule")
    add_question_options(group, "columns")
    columns: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "COLUMN"}
    group.add_argument("--fixed", **columns, help="columns that keep the row's value, and so are in no rule")
    group.add_argument("--exclude", **columns, help="columns that vary like all others, but are in no rule")
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
    from torch_anchors.cli.rule_words import SAMPLING_IN_WORDS, rule_in_words

    model = TableModel.of(options, split)
    samplings = _samplings(options)
    explainer, *instead = [model.explainer(sampling) for sampling in samplings]
    tell: Callable[[str], None] = (lambda text: None) if options.quiet else console.say
    tell(model.in_words(explainer))
    tell(SAMPLING_IN_WORDS["auto" if instead else samplings[0]])
    settings: dict[str, Any] = {
        "threshold": options.threshold,
        "delta": options.delta,
        "max_anchor_size": options.max_anchor_size,
        "question": options.question,
        "n_anchors": options.n_anchors,
        "target": model.target,
        "fixed": options.fixed or None,
        "exclude": options.exclude or None,
    }

    def load(row: int) -> int:
        _check_categories(split.file.iloc[[row]], model.schema, options.target)
        return row

    def together(rows: Sequence[Any]) -> Iterator[TabularExplanation]:
        return explainer.explain_iter(split.file.iloc[list(rows)], **settings)

    def alone(row: int) -> TabularExplanation:
        return explainer.explain(split.file.iloc[[row]], **settings)

    def better(row: int, found: TabularExplanation | AnchorsError) -> TabularExplanation | AnchorsError:
        """The rule, or where it is not certified one of the other kind of rows that is, and covers more than a few."""
        if isinstance(found, AnchorsError) or found.success or not instead:
            return found
        try:
            other = instead[0].explain(split.file.iloc[[row]], **settings)
        except AnchorsError as error:
            return error
        return other if other.success and not other.remark else found

    with json_file(options.json, {"classes": split.classes}, "rules") as data:
        for row, first in each_explained(split.asked, load, together, alone):
            found = better(row, first)
            if isinstance(found, AnchorsError):
                outcome.fail(f"row {row}", console.reason(found))
                data.add_failed({"row": row, "error": console.reason(found)})
                continue
            with finished_first():
                data.add({"row": row, **found.to_dict()})
                tell(rule_in_words(row, found, split, options))
                if options.out and not outcome.n_explained:
                    save_figure(found.plot(), options.out)
                    tell(f"Row {row} is drawn in {options.out}.")
                outcome.explained(success=found.success)


def _samplings(options: argparse.Namespace) -> Sequence[str]:
    """The kinds of rows that a rule is looked for in, the preferred ones first."""
    if options.sampling != "auto":
        return [options.sampling]
    replaces = options.fixed or options.question != SUFFICIENT  # columns are, which training rows as they are know not
    return ["interventional"] if replaces else ["conditional", "interventional"]


def _check_categories(row: pd.DataFrame, schema: TableSchema, target: str) -> None:
    """Complains of a row without a target that has what no row with one has, so that nothing is known of it."""
    for column, code in zip(schema.columns, schema.encode(row)[0], strict=True):
        if column.categories is not None and code >= len(column.categories):
            value = row[column.name].iloc[0]
            raise ArgumentError(f"its {column.name} is {value}, as in no row that has a {target}")
