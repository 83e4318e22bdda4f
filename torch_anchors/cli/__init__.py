"""The command ``torch-anchors``: one file for each subcommand.

PyTorch is imported by a subcommand when its arguments make sense, so that help and complaints come at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version

from torch_anchors.cli import console, image, table
from torch_anchors.errors import AnchorsError

__all__ = ["main"]

FOUND, NOT_FOUND, CANNOT = 0, 1, 2

EXIT_STATUS = f"""exit status:
  {FOUND}  an anchor that reaches the threshold was found for everything that was explained
  {NOT_FOUND}  for something none was; the best one found is reported in its place
  {CANNOT}  nothing was explained: an argument, a file or a model is not usable"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of one run of the command; `arguments` are those of the process unless given."""
    options = _parser().parse_args(arguments)
    try:
        with console.notes_for_warnings():
            all_found: bool = options.run(options)
    except (AnchorsError, ImportError, OSError) as error:
        console.complain(str(error))
        return CANNOT
    except KeyboardInterrupt:
        console.complain("interrupted")
        return 130  # as shells report it
    return FOUND if all_found else NOT_FOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch-anchors",
        description="Explain what a PyTorch model says by an anchor: what must hold for it to say the same.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"torch-anchors {version('torch-anchors')}")
    subparsers = parser.add_subparsers(title="what to explain", metavar="COMMAND", required=True)
    for command in (image, table):
        command.add_parser(subparsers, EXIT_STATUS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
