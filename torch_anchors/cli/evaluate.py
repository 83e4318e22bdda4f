"""``torch-anchors evaluate``: every picture of a folder, or every row of a table, explained into a folder of files."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.cli import console
from torch_anchors.cli.image_explainer import checked_backgrounds, device_of, enough_for, explainer_of, model_of
from torch_anchors.cli.image_options import (
    add_model_options,
    add_perturbation_options,
    add_search_options,
    add_value_option,
    value_range_of,
)
from torch_anchors.cli.options import add_question_options, whole_number, word_of
from torch_anchors.cli.outcome import CANNOT, FAILED, FOUND, NOT_FOUND
from torch_anchors.cli.region import Region
from torch_anchors.cli.report import REPORT, check_report
from torch_anchors.cli.rows import read_table, split_table
from torch_anchors.cli.table import add_number_option
from torch_anchors.cli.table_model import TableModel
from torch_anchors.errors import ArgumentError
from torch_anchors.words import listed, plural

if TYPE_CHECKING:
    from torch_anchors.datasets.evaluation import Evaluation

TABLES = (".csv", ".parquet")
SAMPLINGS = ("interventional", "conditional")

ONLY_PICTURES = {
    "input_size",
    "mean",
    "std",
    "class_names",
    "device",
    "max_rows",
    "segments",
    "n_segments",
    "fill",
    "background",
    "method",
    "value_range",
}
ONLY_TABLES = {"drop", "ids", "sampling", "epochs", "within"}
"""Options that are for sources of one kind, by their names in Python."""

MOST_TOLD = 5
"""Reasons of failures that are told; all of them are in the files."""

DESCRIPTION = """\
Explain every picture of a folder and the folders in it, or every row of a table, and write a row for
each into Parquet files in the folder OUT, with the anchor, its precision and its coverage. Class
folders give the true labels of pictures, the column TARGET those of rows.

However the command is interrupted, the same command continues. What cannot be read or explained is a
row with the reason. Several processes share the work if they are started by torchrun."""

EXAMPLES = """\
examples:
  torch-anchors evaluate photos/ --out explained/ --model timm:resnet50.a1_in1k --segments grid
  torch-anchors evaluate adult.csv --out explained/ --target income --sampling conditional
  torchrun --nproc-per-node 2 -m torch_anchors evaluate photos/ --out explained/

"""


def add_parser(subparsers: Any, exit_status: str) -> None:
    """Add the subcommand with its options to the parser of the command."""
    parser = subparsers.add_parser(
        "evaluate",
        usage="torch-anchors evaluate SOURCE --out FOLDER [OPTION ...]",
        help="whole folders of pictures, or all rows of a table",
        description=DESCRIPTION,
        epilog=EXAMPLES + exit_status,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "source", nargs="+", type=Path, metavar="SOURCE", help="folder of pictures, pictures, or a CSV or Parquet file"
    )
    add_value_option(parser)
    add_model_options(parser.add_argument_group("model (without one, a small network is trained for a table)"))
    add_perturbation_options(parser.add_argument_group("perturbation of pictures"))
    _add_table_options(parser.add_argument_group("tables"))
    search = parser.add_argument_group("search")
    add_search_options(search)
    add_question_options(search, "superpixels or columns")
    _add_part_options(search)
    _add_output_options(parser.add_argument_group("output"))
    parser.set_defaults(model=None)


def _add_table_options(group: Any) -> None:
    group.add_argument(
        "--target",
        metavar="COLUMN",
        help='column that the model is to tell; of pictures, what counts as the same answer, such as "TopK(3)"',
    )
    group.add_argument("--drop", nargs="+", default=[], metavar="COLUMN", help="columns to leave out")
    group.add_argument("--ids", metavar="COLUMN", help="column with the id of each row (default: its number, from 0)")
    group.add_argument(
        "--sampling",
        type=word_of(SAMPLINGS),
        choices=SAMPLINGS,
        default="interventional",
        help="whether the other columns of the rows that a rule is about are replaced at random (the default), or rows "
        "are taken from the table as they are",
    )
    add_number_option(group)
    group.add_argument("--epochs", type=whole_number, default=10, metavar="N", help="of training (default: 10)")


def _add_part_options(group: Any) -> None:
    parts: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "PART"}
    group.add_argument(
        "--fixed",
        **parts,
        help="what always stays visible, and so is in no anchor: numbers of superpixels, or a picture of the shape of "
        "all the others that is white there; of a table, columns that keep the row's value",
    )
    group.add_argument(
        "--exclude",
        **parts,
        help="what is hidden or replaced like all else, but is in no anchor, named in the same way",
    )


def _add_output_options(group: Any) -> None:
    group.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the files are written")
    group.add_argument("--overwrite", action="store_true", help="start again, whatever is in the folder")
    group.add_argument(
        "--part-size",
        type=whole_number,
        default=1000,
        metavar="N",
        help="most rows of a file; one is written at least every minute (default: 1000)",
    )
    group.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=True,
        help=f"write a page about the run, {REPORT}, into the folder (the default)",
    )
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended."""

    status: int


def run(options: argparse.Namespace) -> Ended:
    """Explain all inputs, and tell what became of them."""
    import_extra("pyarrow", "evaluate")
    if options.report:
        _check_report()
    is_table = any(path.suffix.lower() in TABLES for path in options.source)
    _check(options, is_table)
    evaluation = _evaluate_table(options) if is_table else _evaluate_pictures(options)
    status = _told(evaluation, options, "row" if is_table else "image")
    if options.report and (_is_first() or evaluation.complete):  # of several processes also the last one
        page = evaluation.report(options.out / REPORT)
        _say(options, f"The report is in {page}.")
    return Ended(status)


def _check_report() -> None:
    try:
        check_report()
    except ImportError as error:
        raise ImportError(f"{error} (--no-report does without a report)", name=error.name) from error


def _check(options: argparse.Namespace, is_table: bool) -> None:
    """Complains of what can be known to be wrong before PyTorch is imported."""
    if options.seed < 0:
        raise ArgumentError(f"--seed must be a whole number of at least 0, got {options.seed}")
    for name in sorted(ONLY_PICTURES if is_table else ONLY_TABLES):
        if getattr(options, name) != options.parser.get_default(name):
            kind, other = ("pictures", "a table") if is_table else ("tables", "pictures")
            raise ArgumentError(f"--{name.replace('_', '-')} is for {kind}, and SOURCE is {other}")
    if is_table and len(options.source) > 1:
        raise ArgumentError(f"SOURCE must be one table, got {len(options.source)} files")
    if is_table and options.target is None:
        raise ArgumentError("--target must name the column of the table that the model is to tell")
    missing = [str(path) for path in options.source if not path.exists()]
    if missing and (is_table or len(options.source) == 1):
        raise ArgumentError(f"there is no file or folder {missing[0]}")
    if options.out.exists() and not options.out.is_dir():
        raise ArgumentError(f"--out must be a folder, and {options.out} is a file")


def _evaluate_pictures(options: argparse.Namespace) -> Evaluation:
    checked_backgrounds(options)
    named, value_range = Region.named(options), value_range_of(options)
    from torch_anchors.targets.named import parsed_target

    target = None if options.target is None else parsed_target(options.target)
    folders = [path for path in options.source if path.is_dir()]
    if folders and len(options.source) > 1:
        raise ArgumentError("SOURCE must be one folder, or pictures")
    from torch_anchors.cli.checked_image_files import CheckedImageFiles
    from torch_anchors.datasets.evaluate import evaluate
    from torch_anchors.models import DEFAULT_MODEL

    options.model = options.model or DEFAULT_MODEL
    device = device_of(options.device or _own_gpu())
    model = model_of(options, device)
    enough = enough_for(model)
    regions = {name: region.as_seen_by(model, enough) for name, region in named.items()}
    paths = folders[0] if folders else options.source
    source = CheckedImageFiles(paths, enough=enough, value_range=value_range, regions=regions.values())
    height, width = model.input_size
    _say(
        options,
        f"Explaining {plural(source.n or 0, 'picture')} with {model.name} on {device}, as it sees them: "
        f"{height} x {width} pixels.",
    )
    return evaluate(
        explainer_of(options, model, device),
        source,
        options.out,
        transform=model.fit,
        method=options.method,
        target=target,
        **{name: region.parts for name, region in regions.items()},
        **_shared(options),
    )


def _evaluate_table(options: argparse.Namespace) -> Evaluation:
    options.file, options.row = options.source[0], []
    options.model = Path(options.model) if options.model else None
    table = read_table(options)
    ids = None
    if options.ids is not None:
        if options.ids not in table.columns or options.ids in (options.target, *options.fixed, *options.exclude):
            raise ArgumentError(
                f"--ids must name a column of the table beside --target, --fixed and --exclude, got {options.ids}"
            )
        ids = table[options.ids].tolist()
        table = table.drop(columns=[options.ids])
    features = table.drop(columns=[options.target])
    split = split_table(table, options)
    model = TableModel.of(options, split)
    explainer = model.explainer(options.sampling)

    from torch_anchors.datasets.evaluate import evaluate
    from torch_anchors.datasets.table_rows import TableRows

    _say(options, model.in_words(explainer))
    source = TableRows(features, ids, table[options.target].tolist())
    parts: dict[str, Any] = {"fixed": options.fixed or None, "exclude": options.exclude or None}
    return evaluate(explainer, source, options.out, target=model.target, **parts, **_shared(options))


def _shared(options: argparse.Namespace) -> dict[str, Any]:
    """What is the same for pictures and tables."""
    return {
        "threshold": options.threshold,
        "delta": options.delta,
        "max_anchor_size": options.max_anchor_size,
        "question": options.question,
        "n_anchors": options.n_anchors,
        "overwrite": options.overwrite,
        "part_size": options.part_size,
        "progress": console.has_bars() and not options.quiet,
    }


def _own_gpu() -> str | None:
    """The GPU of this process among several of one machine, if a launcher says which that is."""
    import torch

    number = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{number}" if number.isdigit() and torch.cuda.is_available() else None


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _is_one_of_several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") != "1"


def _say(options: argparse.Namespace, text: str) -> None:
    if not options.quiet and _is_first():
        console.say(text)


def _told(evaluation: Evaluation, options: argparse.Namespace, noun: str) -> int:
    """Tells what became of the inputs; the exit status.

    One of several processes ends well even where an anchor was not found: a launcher would end the others.
    """
    counts = evaluation.counts()
    _say(options, _in_words(evaluation, counts, noun))
    _tell_failures(evaluation, counts, noun)
    if _is_one_of_several():
        return FOUND
    n_found = sum(counts[word] for word in ("certified", "exact", "empty"))
    if counts.total() == counts["failed"]:
        return CANNOT
    if counts["failed"]:
        return FAILED
    return FOUND if n_found == counts.total() else NOT_FOUND


def _in_words(evaluation: Evaluation, counts: Counter[str], noun: str) -> str:
    of = "" if evaluation.n_inputs is None else f" of {evaluation.n_inputs:,}"
    from torch_anchors.datasets.fields import STATUSES

    words = [f"{counts[status]:,} {status}" for status in STATUSES if counts[status]]
    rows = f"{sum(counts.values()):,}{of} {noun}s are in {evaluation.folder}"
    return f"{rows}: {listed(words)}." if words else f"{rows}."


def _tell_failures(evaluation: Evaluation, counts: Counter[str], noun: str) -> None:
    if not counts["failed"]:
        return
    from torch_anchors.datasets.shares import Share

    share = Share.of_environment()  # each process tells of its own
    table = evaluation.table(["id", "status", "reason"]).to_pydict()
    failed = [
        (id, why) for id, status, why in zip(*table.values(), strict=True) if status == "failed" and share.has(id)
    ]
    for id, why in failed[:MOST_TOLD]:
        console.report(f"{noun} {id} was not explained: {why}")
    if len(failed) > MOST_TOLD:
        console.report(f"{len(failed) - MOST_TOLD:,} more were not explained; the column reason says why")
