"""Kinds of values that options take, and what was probably meant; argparse reports what they complain of."""

from __future__ import annotations

import argparse
import difflib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import QUESTIONS, SUFFICIENT

if TYPE_CHECKING:
    from torch_anchors.targets.target import Target

Value = TypeVar("Value")


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def share(text: str) -> float:
    """A number above 0 and at most 1."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and at most 1, got {text!r}")
    return number


def positive(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def word_of(words: Sequence[str]) -> Callable[[str], str]:
    """A reader of options that are one of a few words."""

    def read(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(
                f"invalid choice: {text!r} (choose from {', '.join(words)}){did_you_mean(text, words)}"
            )
        return text

    return read


def value_or_word(kind: Callable[[str], Value], *words: str) -> Callable[[str], Value | str]:
    """A reader of options that are one of a few words or a number of a kind."""

    def read(text: str) -> Value | str:
        if text in words:
            return text
        try:
            return kind(text)
        except ValueError:
            expected = ", ".join(words)
            raise argparse.ArgumentTypeError(
                f"expected {expected} or a number, got {text!r}{did_you_mean(text, words)}"
            ) from None

    return read


def target(text: str) -> Target:
    """What counts as the same answer, such as "TopK(3)"."""
    from torch_anchors.targets.named import parsed_target  # needs PyTorch, which takes seconds

    try:
        return parsed_target(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """ "; did you mean grid?", or nothing where no known word is like the text."""
    by_letters = {word.lower(): word for word in known}
    close = difflib.get_close_matches(text.lower(), by_letters, n=1)
    return f"; did you mean {by_letters[close[0]]}?" if close else ""


def refuse_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    """End the command as argparse does where there are options that it does not know, if there are any."""
    if unknown:
        known = re.findall(r"--[a-z][a-z-]*", parser.format_help())
        hints = [did_you_mean(word.partition("=")[0], known) for word in unknown if word.startswith("-")]
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(hints)}")


def add_question_options(group: Any, parts: str) -> None:
    """What is asked about the `parts` of an instance, such as "superpixels"."""
    group.add_argument(
        "--question",
        type=word_of(QUESTIONS),
        choices=QUESTIONS,
        default=SUFFICIENT,
        help=f"which {parts} keep the answer (sufficient, the default), or change it when they are hidden (necessary)",
    )
    group.add_argument(
        "--n-anchors",
        type=whole_number,
        default=1,
        metavar="N",
        help=f"up to so many anchors that share no {parts}, certified together (default: 1)",
    )


def add_promise_options(group: Any, rows: str) -> None:
    """What is promised of an anchor, about a share of `rows`."""
    group.add_argument(
        "--threshold",
        type=share,
        default=0.95,
        metavar="P",
        help=f"least share of {rows} in which the model says the same, the precision (default: 0.95)",
    )
    group.add_argument(
        "--delta",
        type=share,
        default=0.1,
        metavar="P",
        help="allowed chance that the precision is below it all the same (default: 0.1)",
    )


def add_shared_output_options(group: Any) -> None:
    """What every command does in the same way with what it writes."""
    group.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the explanations as data, too: .jsonl has a line for each as soon as it is known, other files are "
        "one document, rewritten as it grows",
    )
    group.add_argument(
        "--on-error",
        type=word_of(("raise", "skip")),
        choices=("raise", "skip"),
        help="what happens when one of several cannot be explained: the others still are (skip, the default), or the "
        "command stops (raise)",
    )
    group.add_argument("--quiet", action="store_true", help="print nothing but errors")


def add_trust_option(group: Any) -> None:
    """The word that a file which can run code needs."""
    group.add_argument(
        "--trust",
        action="store_true",
        help="load a --model FILE although it can run code; only for files of people whom you trust",
    )
