"""``torch-anchors report``: a page about what ``torch-anchors evaluate`` has written, or has written so far."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_anchors._extras import import_extra
from torch_anchors.cli import console
from torch_anchors.cli.options import whole_number
from torch_anchors.cli.outcome import CANNOT, FOUND
from torch_anchors.errors import ArgumentError
from torch_anchors.words import plural

REPORT = "report.html"
"""What the page is called in the folder of a run."""

DESCRIPTION = """\
Write a page about a folder that `torch-anchors evaluate` has written to, also while it is doing so: one
HTML file that needs no other and no network. Photographs are read again from their files.

`torch-anchors evaluate` writes the page itself when it ends."""

EXAMPLES = f"""\
examples:
  torch-anchors report explained/
  torch-anchors report explained/ --out page.html --pictures photos/ --gallery 1000

exit status:
  {FOUND}  it is written
  {CANNOT}  it is not: there is no run in the folder, a part is damaged, or the file cannot be written"""


def add_parser(subparsers: Any, _: str) -> None:
    """Add the subcommand with its options to the parser of the command; its exit statuses are its own."""
    parser = subparsers.add_parser(
        "report",
        usage="torch-anchors report FOLDER [OPTION ...]",
        help="a page about what evaluate has written",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="that evaluate wrote to")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"where it is written (default: FOLDER/{REPORT})")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="where the photographs are, if they were moved")
    parser.add_argument(
        "--gallery", type=whole_number, default=300, metavar="N", help="most inputs that are shown (default: 300)"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


@dataclass(frozen=True, slots=True)
class Ended:
    """How the command ended."""

    status: int = FOUND


def run(options: argparse.Namespace) -> Ended:
    """Write the page, and tell where it is."""
    check_report()
    import_extra("pyarrow", "evaluate")
    if options.out is not None and options.out.is_dir():
        raise ArgumentError(f"--out must be a file, and {options.out} is a folder")
    if options.pictures is not None and not options.pictures.is_dir():
        raise ArgumentError(f"--pictures must be a folder, and there is no folder {options.pictures}")
    from torch_anchors.datasets.evaluation import Evaluation

    evaluation = Evaluation(options.folder)
    path = options.out if options.out is not None else options.folder / REPORT
    page = evaluation.report(path, gallery=options.gallery, pictures=options.pictures)
    if not options.quiet:
        console.say(f"A report on {plural(len(evaluation), 'input')} is in {page}.")
    return Ended()


def check_report() -> None:
    """Says before the work begins what a report needs and is not installed.

    Raises:
        ImportError: jinja2, matplotlib or pandas is not.
    """
    for module in ("jinja2", "matplotlib.figure", "pandas"):
        import_extra(module, "evaluate")
