"""One process at a time writes the parts of a rank: a lock that a killed process does not leave behind."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch_anchors.errors import ArgumentError
from torch_anchors.whole_files import in_words

_held: set[str] = set()
"""Locks of this process, whose threads the system does not tell apart."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Within it, no other process has the lock of that file; the system frees it when the process ends in any way.

    Args:
        path: a file that only this is for; it is removed at the end.
        what: what error messages call the thing that is locked.

    Raises:
        ArgumentError: another process, or another thread of this one, has it.
        CannotWriteError: the file cannot be made.
    """
    name = str(path.absolute())
    if name in _held:
        raise ArgumentError(_taken(what, f"this process, {os.getpid()}"))
    file = _opened_and_locked(path, what)
    _held.add(name)
    try:
        with suppress(OSError):  # a full disk is none of its business
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        _held.discard(name)
        with suppress(OSError):
            path.unlink()
        os.close(file)
        if sys.platform == "win32":  # where no file that is open can be removed, so that this is safe
            with suppress(OSError):
                path.unlink()


def _opened_and_locked(path: Path, what: str) -> int:
    while True:
        with in_words(path):
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
        except OSError:
            owner = os.read(file, 200).decode(errors="replace")
            os.close(file)
            raise ArgumentError(_taken(what, f"the process {owner}" if owner else "another process")) from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file), path.stat()):  # the file must not be opened again: see fcntl
                return file
        os.close(file)  # its owner removed it in between


def _taken(what: str, owner: str) -> str:
    return f"{what} is being written by {owner}. Wait for it to end, or choose another folder."


if sys.platform == "win32":
    import msvcrt

    _FAR = 2**30
    """Which byte is locked: others may not even read it, and are to read whose lock it is."""

    def _lock(file: int) -> None:
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
