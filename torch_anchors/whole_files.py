"""Files that are whole or not there: written under another name in the same folder, and then renamed.

A run that is killed leaves at most a file whose name begins with a dot and ends in ``.part``, such as
``.anchor-cat.png.4711.part``. The next run that writes ``anchor-cat.png`` removes it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from torch_anchors.errors import ArgumentError
from torch_anchors.interrupts import finished_first

_PARTIAL = re.compile(r"\.(?P<name>.+?)\.\d+(\.twin)?\.part", flags=re.DOTALL)


class CannotWriteError(OSError):
    """A file cannot be written: the disk is full, or the folder is not ours."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into, which takes the place of `path` when the block ends without an error.

    Its folder is made if it is missing. Ctrl-C waits for the end of the block.

    Raises:
        CannotWriteError: whatever stood at `path` is then as it was.
    """
    with in_words(path), finished_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_device(path):
            with path.open("wb") as file:
                yield file
            return
        place = final_place(path)
        partial = partial_name(place)
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, place)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


@contextmanager
def in_words(path: Path) -> Iterator[None]:
    """Says of an error of the system which file cannot be written."""
    try:
        yield
    except CannotWriteError:
        raise
    except OSError as error:
        raise CannotWriteError(f"{path} cannot be written: {error.strerror or error}") from error


def final_place(path: Path) -> Path:
    """Where the file is, if the path is a link to it."""
    return path.resolve() if path.is_symlink() else path


def partial_name(place: Path, word: str = "") -> Path:
    """What a file is called until it is whole; files of one process differ by a word."""
    return place.with_name(f".{place.name}.{os.getpid()}{word}.part")


def is_device(path: Path) -> bool:
    """Whether it is no file that could be replaced, such as /dev/stdout."""
    return path.parts[:2] in (("/", "dev"), ("/", "proc")) or (path.exists() and not path.is_file())


def remove_partials(paths: Iterable[Path]) -> None:
    """Remove what killed runs left of these files."""
    names: dict[Path, set[str]] = {}
    for path in map(final_place, paths):
        names.setdefault(path.parent, set()).add(path.name)
    for folder, expected in names.items():
        for found in folder.glob(".*.part") if folder.is_dir() else ():
            match = _PARTIAL.fullmatch(found.name)
            if match and match["name"] in expected:
                found.unlink(missing_ok=True)


def check_outputs(outputs: Sequence[tuple[str, Path]], inputs: Iterable[Path]) -> None:
    """Look before the work begins whether the files can be written.

    Args:
        outputs: each with the option that names it.
        inputs: files that are read, none of which may be overwritten.

    Raises:
        ArgumentError: a file would replace another one, or its folder cannot be written in.
    """
    read = {_identity(path): path for path in inputs if path.exists()}
    written: set[str] = set()
    for option, path in outputs:
        if path.is_dir():
            raise ArgumentError(f"{option} must be a file, and {path} is a folder")
        if path.exists() and _identity(path) in read:
            raise ArgumentError(f"{path}, which is read, would be overwritten; choose another place with {option}")
        if (place := os.path.normcase(path.absolute())) in written:
            raise ArgumentError(f"{path} would be written twice; choose another place with {option}")
        written.add(place)
        if is_device(path):
            continue
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            reason = "may not be written in" if folder.is_dir() else "is no folder"
            raise ArgumentError(f"{path} cannot be written: {folder} {reason}; choose another place with {option}")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
