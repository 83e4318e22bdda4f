"""A file that grows by whole pieces: whoever looks at it, at any moment, finds none torn."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from torch_anchors.interrupts import finished_first
from torch_anchors.whole_files import final_place, in_words, is_device, partial_name, whole_file


class GrowingFile:
    """A file to which pieces are added, each of them wholly or not at all.

    Adding to a file takes a while, so that a kill may leave a part of what was to be added. There are therefore two
    files with the same content, one of them hidden: what comes is added to the hidden one, and then they change
    places. Before that, the hidden one catches up on what was added to the other in between.

    Args:
        path: of the file; the first piece replaces what it held before.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._place = path, final_place(path)
        self._twin, self._spare = partial_name(self._place, ".twin"), partial_name(self._place)
        self._add = self._begin
        self._missing = b""  # what the hidden file has to catch up on

    def add(self, piece: bytes) -> None:
        """Add a piece.

        Raises:
            CannotWriteError: the file is as it was before.
        """
        with in_words(self._path), finished_first():
            self._add(piece)

    def close(self) -> None:
        """Remove the hidden file."""
        for hidden in (self._twin, self._spare):
            with suppress(OSError):
                hidden.unlink(missing_ok=True)

    def _begin(self, piece: bytes) -> None:
        self.close()
        with whole_file(self._path) as file:
            file.write(piece)
        self._missing = piece
        self._add = self._append if is_device(self._path) else self._exchange

    def _exchange(self, piece: bytes) -> None:
        """Add to the hidden file, and have the two change places."""
        _append(self._twin, self._missing + piece)
        try:
            os.link(self._place, self._spare)
        except OSError:  # a file system on which no file has two names
            self.close()
            self._add = self._append
            self._append(piece)
            return
        os.replace(self._twin, self._place)
        os.replace(self._spare, self._twin)
        self._missing = piece

    def _append(self, piece: bytes) -> None:
        _append(self._place, piece)


def _append(path: Path, piece: bytes) -> None:
    """Add to a file; where the disk has room for a part of the piece only, the file is left without it."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        before = os.fstat(file).st_size
        try:
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(file, rest) :]
        except BaseException:
            with suppress(OSError):
                os.ftruncate(file, before)
            raise
    finally:
        os.close(file)
