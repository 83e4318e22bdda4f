"""Explanations as data, written as they come: a document that is rewritten whole, or a line for each."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any

from torch_anchors.cli.growing_file import GrowingFile
from torch_anchors.explanation import plain
from torch_anchors.whole_files import CannotWriteError, whole_file

LINES = (".jsonl", ".ndjson")
"""Suffixes of files that have a document on each line."""

SHARE = 0.1
"""Most of the time that goes into rewriting a document."""


class JsonFile(ABC):
    """Where explanations go as data, one by one; a context, at whose end all of them are there."""

    @abstractmethod
    def add(self, entry: dict[str, Any]) -> None:
        """Take the explanation of one of those given."""

    @abstractmethod
    def add_failed(self, entry: dict[str, Any]) -> None:
        """Take the name of one that could not be explained, with the reason as ``error``."""

    def close(self) -> None:  # noqa: B027  (one has nothing to do)
        """Write what was not written yet."""

    def __enter__(self) -> JsonFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        except CannotWriteError:
            if error is None:  # else that has been said already
                raise


def json_file(path: Path | None, about: dict[str, Any], key: str) -> JsonFile:
    """The file for explanations, of the kind that its suffix says; for None, one that writes nothing.

    Args:
        path: of the file.
        about: what is said of all explanations.
        key: what a document calls the list of explanations.
    """
    if path is None:
        return _Nothing()
    return _Lines(path, about) if path.suffix.lower() in LINES else _Document(path, about, key)


class _Nothing(JsonFile):
    def add(self, entry: dict[str, Any]) -> None:
        pass

    def add_failed(self, entry: dict[str, Any]) -> None:
        pass


class _Document(JsonFile):
    """One document, with an entry on each line.

    It is rewritten after each entry, or, where it has become so large that this would take more than `SHARE` of the
    time, after a few.
    """

    def __init__(self, path: Path, about: dict[str, Any], key: str) -> None:
        self._path, self._about, self._key = path, about, key
        self._entries: list[str] = []
        self._failed: list[dict[str, Any]] = []
        self._is_written = False
        self._next = 0.0

    def add(self, entry: dict[str, Any]) -> None:
        self._entries.append(_text(entry))
        self._take_in()

    def add_failed(self, entry: dict[str, Any]) -> None:
        self._failed.append(entry)
        self._take_in()

    def close(self) -> None:
        if not self._is_written and (self._entries or self._failed):
            self._write()

    def _take_in(self) -> None:
        self._is_written = False
        if time.monotonic() >= self._next:
            self._write()

    def _write(self) -> None:
        began = time.monotonic()
        about = "".join(f"{_text(name)}: {_text(value)},\n" for name, value in self._about.items())
        entries = ",\n".join(self._entries)
        with whole_file(self._path) as file:
            file.write(f"{{{about}{_text(self._key)}: [\n".encode())
            file.write(f"{entries}\n],\n".encode())
            file.write(f'"failed": {_text(self._failed)}}}\n'.encode())
        ended = time.monotonic()
        self._next = ended + (ended - began) / SHARE
        self._is_written = True


class _Lines(JsonFile):
    """A document on each line, there as soon as it is known. The first one replaces what the file held before."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._file, self._about = GrowingFile(path), about

    def add(self, entry: dict[str, Any]) -> None:
        self._file.add((_text({**self._about, **entry}) + "\n").encode())

    def add_failed(self, entry: dict[str, Any]) -> None:
        self.add(entry)

    def close(self) -> None:
        self._file.close()


def _text(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:  # JSON has no NaN
        return json.dumps(plain(value), allow_nan=False)
