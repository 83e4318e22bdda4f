"""``torch-anchors table``: which conditions on a row's columns make a classifier say what it says."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.cli.console import listed, say
from torch_anchors.cli.options import share, whole_number
from torch_anchors.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from torch_anchors.tabular import AnchorTabular
    from torch_anchors.tabular_explanation import TabularExplanation

HELD_BACK = 0.2
"""Share of the rows on which a rule and the model are tried; the model is trained on the others."""

MOST_CLASSES = 100

DESCRIPTION = """\
Find an anchor of rows of a table: conditions on its columns such that, where they hold, the model says
the same in at least the share THRESHOLD of rows. FILE is a CSV file with a header. Without --model, a
small network is trained on the spot to tell the column TARGET from the others; a fifth of the rows is
held back, and the rule is tried on it."""

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
    parser.set_defaults(run=run)
    parser.add_argument("file", type=Path, metavar="FILE", help="table with a header, in CSV")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="column that the model is to tell")
    parser.add_argument("--row", type=int, nargs="+", default=[0], metavar="N", help="rows to explain (default: 0)")
    parser.add_argument("--drop", nargs="+", default=[], metavar="COLUMN", help="columns to leave out")
    _add_model_options(parser.add_argument_group("model"))
    _add_search_options(parser.add_argument_group("search"))
    group = parser.add_argument_group("output")
    group.add_argument("--out", type=Path, metavar="PNG", help="draw the rule of the first row")
    group.add_argument("--json", type=Path, metavar="FILE", help="write the rules as data, too")
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _add_model_options(group: Any) -> None:
    group.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="TorchScript file of a module that takes float rows (numbers, and codes of categories in sorted order)",
    )
    group.add_argument("--epochs", type=whole_number, default=10, metavar="N", help="of training (default: 10)")


def _add_search_options(group: Any) -> None:
    group.add_argument(
        "--sampling",
        choices=("interventional", "conditional"),
        default="interventional",
        help="whether the columns outside the rule are replaced independently of it (the default), or rows are "
        "taken from the table as they are",
    )
    group.add_argument("--threshold", type=share, default=0.95, metavar="P", help="precision (default: 0.95)")
    group.add_argument(
        "--delta", type=share, default=0.1, metavar="P", help="allowed chance of being wrong (default: 0.1)"
    )
    group.add_argument("--max-anchor-size", type=whole_number, metavar="N", help="most conditions in a rule")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of training and sampling (default: 0)")


@dataclass(frozen=True, slots=True)
class _Split:
    """The table without its target, the class of each row, and which rows are trained on."""

    table: pd.DataFrame
    classes: list[str]
    target: torch.Tensor
    train: torch.Tensor
    held_back: torch.Tensor


def run(options: argparse.Namespace) -> bool:
    """Train, explain and tell; whether a rule was found for every row."""
    if options.out:
        import_extra("matplotlib.figure", "demo")
    tell = (lambda text: None) if options.quiet else say
    split = _split(_read(options), options)
    explainer, encoded = _explainer(options, split)
    tell(_model_in_words(options, explainer, split, encoded))
    explanations = explainer.explain_batch(
        split.table.iloc[options.row],
        threshold=options.threshold,
        delta=options.delta,
        max_anchor_size=options.max_anchor_size,
    )
    for row, explanation in zip(options.row, explanations, strict=True):
        tell(_rule_in_words(row, explanation, split, options))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        explanations[0].plot(options.out)
        tell(f"Row {options.row[0]} is drawn in {options.out}.")
    if options.json:
        rules = [{"row": row, **one.to_dict()} for row, one in zip(options.row, explanations, strict=True)]
        options.json.write_text(json.dumps({"classes": split.classes, "rules": rules}, indent=2), encoding="utf-8")
    return all(explanation.success for explanation in explanations)


def _read(options: argparse.Namespace) -> pd.DataFrame:
    """The table without the rows that have no target and without the columns to leave out."""
    pandas = import_extra("pandas", "demo")
    if not options.file.exists():
        raise ArgumentError(f"there is no file {options.file}")
    try:
        table: pd.DataFrame = pandas.read_csv(options.file, skipinitialspace=True)
    except (ValueError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ArgumentError(f"{options.file} cannot be read as CSV: {error}") from error
    for name, columns in (("--target", [options.target]), ("--drop", options.drop)):
        unknown = [column for column in columns if column not in table.columns]
        if unknown:
            raise ArgumentError(f"{name} must name columns of the table ({listed(list(table.columns))}), got {unknown}")
    return table.drop(columns=options.drop).dropna(subset=[options.target])


def _split(table: pd.DataFrame, options: argparse.Namespace) -> _Split:
    import torch

    target = table[options.target].astype(str)
    features = table.drop(columns=[options.target])
    incomplete = [str(column) for column in features.columns if features[column].isna().any()]
    if incomplete:
        raise ArgumentError(f"the columns {listed(incomplete)} have missing values; fill them in, or --drop them")
    classes = sorted(target.unique())
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise ArgumentError(
            f"--target must have 2 to {MOST_CLASSES} classes, {options.target} has {len(classes)}; cut numbers into "
            "classes first"
        )
    outside = [row for row in options.row if not -len(table) <= row < len(table)]
    if outside:
        rows = listed([str(row) for row in outside])
        raise ArgumentError(f"--row must be between 0 and {len(table) - 1}, got {rows}")
    codes = torch.tensor([classes.index(name) for name in target])
    order = torch.randperm(len(table), generator=torch.Generator().manual_seed(options.seed))
    n_held_back = int(len(table) * HELD_BACK)
    return _Split(features, classes, codes, order[n_held_back:], order[:n_held_back])


def _explainer(options: argparse.Namespace, split: _Split) -> tuple[AnchorTabular, torch.Tensor]:
    """The fitted explainer, and the whole table as the model reads it."""
    import torch

    from torch_anchors.models.files import load_file
    from torch_anchors.models.table_net import train_table_net
    from torch_anchors.table import TableSchema
    from torch_anchors.tabular import AnchorTabular

    schema = TableSchema.infer(split.table)
    encoded = torch.from_numpy(schema.encode(split.table)).float()
    if options.model:
        if not options.model.exists():
            raise ArgumentError(f"there is no file {options.model}")
        model: torch.nn.Module = load_file(options.model, torch.device("cpu")).module
    else:
        model = train_table_net(
            schema.n_categories,
            encoded[split.train],
            split.target[split.train],
            n_classes=len(split.classes),
            seed=options.seed,
            epochs=options.epochs,
        )
    categories = {i: column.categories for i, column in enumerate(schema.columns) if column.categories is not None}
    explainer = AnchorTabular(model, list(schema.names), categories, seed=options.seed, sampling=options.sampling)
    return explainer.fit(split.table.iloc[split.train.numpy()]), encoded


def _model_in_words(options: argparse.Namespace, explainer: AnchorTabular, split: _Split, encoded: torch.Tensor) -> str:
    """What the model is, and how often it is right on rows held back."""
    import torch

    with torch.inference_mode():
        labels = explainer.predictor(encoded[split.held_back]).argmax(1)
    right = float((labels == split.target[split.held_back]).float().mean())
    what = f"The model {options.model}" if options.model else f"A small network, trained on {len(split.train):,} rows,"
    return (
        f"{what} tells {options.target} ({listed(split.classes, 'or')}) right in {100 * right:.1f} % of "
        f"{len(split.held_back):,} rows held back."
    )


def _rule_in_words(row: int, explanation: TabularExplanation, split: _Split, options: argparse.Namespace) -> str:
    """What the model says of a row, the rule, and how the rule did on rows held back."""
    label = split.classes[explanation.label]
    low, high = explanation.precision_interval
    kind = "exactly" if low == high else f"{100 * low:.1f} to {100 * high:.1f} % with {100 * (1 - options.delta):g} %"
    kind = kind if low == high else f"{kind} confidence"
    precision = f"{100 * explanation.precision:.1f} % ({kind})"
    rule = listed(explanation.anchor) if explanation.anchor else ""
    says = f"Row {row}: the model says {options.target} = {label}."
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


def _held_back_in_words(explanation: TabularExplanation, split: _Split) -> str:
    rows = split.table.iloc[split.held_back.numpy()]
    applies = explanation.applies(rows)
    if not applies.any():
        return "It holds for none of the rows held back."
    n, precision = int(applies.sum()), explanation.precision_on(rows)
    return f"Of the {n:,} rows held back that it covers, the model says so of {100 * precision:.1f} %."
