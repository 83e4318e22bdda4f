"""What the command writes to the terminal."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from torch_anchors.errors import AnchorsWarning

WIDTH = 100

_INTERPRETER = re.compile(r"The following operation failed in the TorchScript interpreter.*\n\w+: ", re.DOTALL)


def say(text: str) -> None:
    """Write a paragraph to standard output, above a progress bar if there is one."""
    try:
        tqdm.write(_printable(_filled(text), sys.stdout.encoding), file=sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads any more, as with `| head`; the files are still wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Write why the command cannot go on to standard error."""
    _remark(f"error: {text}")


def report(text: str) -> None:
    """Write what went wrong, although the command goes on, to standard error."""
    _remark(text)


def _remark(text: str) -> None:
    tqdm.write(_printable(_line(f"torch-anchors: {text}"), sys.stderr.encoding), file=sys.stderr)


@contextmanager
def notes_for_warnings() -> Iterator[None]:
    """Within it, warnings of this package are notes on standard error, without a line of source code."""
    show = warnings.showwarning

    def note(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, AnchorsWarning):
            tqdm.write(_printable(_line(f"note: {message}"), sys.stderr.encoding), file=sys.stderr)
        else:
            show(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("default", AnchorsWarning)
        warnings.showwarning = note
        yield


def has_bars() -> bool:
    """Whether there is somebody to watch a progress bar; in a captured output it would stand between sentences."""
    return sys.stderr.isatty()


def reason(error: BaseException) -> str:
    """What an error says, as one line: without the listing that TorchScript puts in front of it."""
    return " ".join(_INTERPRETER.sub("", str(error)).split()) or type(error).__name__


def _line(text: str) -> str:
    """The text as one line, or as a paragraph where a person reads it."""
    return _filled(text) if sys.stderr.isatty() else " ".join(text.split())


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _printable(text: str, encoding: str | None) -> str:
    """The text with letters that a stream cannot show, such as those of a strange file name, as numbers."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
