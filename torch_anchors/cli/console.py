"""What the command writes to the terminal."""

from __future__ import annotations

import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from torch_anchors.errors import AnchorsWarning

WIDTH = 100


def say(text: str) -> None:
    """Write a paragraph to standard output, above a progress bar if there is one."""
    tqdm.write(_filled(text), file=sys.stdout)
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write why the command cannot go on to standard error."""
    sys.stderr.write(_filled(f"torch-anchors: error: {text}") + "\n")


@contextmanager
def notes_for_warnings() -> Iterator[None]:
    """Within it, warnings of this package are notes on standard error, without a line of source code."""
    show = warnings.showwarning

    def note(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, AnchorsWarning):
            tqdm.write(_filled(f"note: {message}"), file=sys.stderr)
        else:
            show(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("default", AnchorsWarning)
        warnings.showwarning = note
        yield


def listed(words: Sequence[str], last: str = "and") -> str:
    """The words as in a sentence: "a", "a and b", "a, b and c"."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
