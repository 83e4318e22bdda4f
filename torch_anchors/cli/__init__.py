"""The command ``torch-anchors``: one file for each subcommand.

PyTorch is imported by a subcommand when its arguments make sense, so that help and complaints come at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from torch_anchors.cli import console, evaluate, image, report, table
from torch_anchors.cli.allocator import keep_freed_memory
from torch_anchors.cli.evaluate import TABLES
from torch_anchors.cli.options import did_you_mean, refuse_unknown
from torch_anchors.cli.outcome import CANNOT, EXIT_STATUS, FAILED, FOUND, INTERRUPTED, NOT_FOUND, TERMINATED
from torch_anchors.errors import AnchorsError
from torch_anchors.interrupts import Terminated, ending_on_request

COMMANDS = {"image": image, "table": table, "evaluate": evaluate, "report": report}

__all__ = ["CANNOT", "FAILED", "FOUND", "INTERRUPTED", "NOT_FOUND", "TERMINATED", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of one run of the command; `arguments` are those of the process unless given."""
    if arguments is None:
        keep_freed_memory()
    parser = _parser()
    _refuse_unknown_command(parser, sys.argv[1:] if arguments is None else arguments)
    options, unknown = parser.parse_known_args(arguments)
    refuse_unknown(options.parser, unknown)
    try:
        with console.notes_for_warnings(), ending_on_request():
            status: int = options.run(options).status
    except KeyboardInterrupt as error:
        word = "terminated" if isinstance(error, Terminated) else "interrupted"
        console.complain("; ".join([word, *map(str, error.args)]))
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED  # as shells report it
    except (AnchorsError, ImportError, OSError) as error:
        console.complain(console.reason(error))
        return CANNOT
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        console.complain(f"there is not enough memory ({console.reason(error)}); a smaller --max-rows may help")
        return CANNOT
    return status


def _refuse_unknown_command(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """End the command where the first word is no command, and say what was probably meant."""
    first = next((word for word in words if not word.startswith("-")), None)
    if first is None or first in COMMANDS:
        return
    hint = did_you_mean(first, COMMANDS)
    if Path(first).is_file():
        hint = f"; did you mean torch-anchors {'table' if Path(first).suffix.lower() in TABLES else 'image'} {first}?"
    elif Path(first).is_dir():
        hint = f"; did you mean torch-anchors evaluate {first} --out FOLDER?"
    parser.error(f"there is no command {first} (choose from {', '.join(COMMANDS)}){hint}")


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; PyTorch, which says so in its own words, is not imported to find out."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="torch-anchors",
        description="Explain what a PyTorch model says by an anchor: what must hold for it to say the same.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"torch-anchors {version('torch-anchors')}")
    subparsers = parser.add_subparsers(title="what to explain", metavar="COMMAND", required=True)
    for command in COMMANDS.values():
        command.add_parser(subparsers, EXIT_STATUS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
