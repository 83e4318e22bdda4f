"""One process at a time; a killed one leaves no lock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from runpy import run_path
from types import ModuleType

import pytest

from torch_anchors.datasets import locks
from torch_anchors.datasets.locks import locked
from torch_anchors.errors import ArgumentError
from torch_anchors.whole_files import CannotWriteError

HOLDER = """
import sys, time
from pathlib import Path
from torch_anchors.datasets.locks import locked
with locked(Path(sys.argv[1]), "The folder"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    path = tmp_path / ".lock"
    complaint = rf"The folder is being written by the process {holder.pid} on .*\. Wait for it to end, or choose"
    with pytest.raises(ArgumentError, match=complaint), locked(path, "The folder"):
        pass
    holder.kill()
    holder.wait()
    assert path.exists()
    with locked(path, "The folder"):
        pass
    assert not path.exists()


def test_another_thread_is_no_exception(tmp_path: Path) -> None:
    with locked(tmp_path / ".lock", "The folder"):
        with pytest.raises(ArgumentError, match="by this process"), locked(tmp_path / ".lock", "The folder"):
            pass
        with locked(tmp_path / ".other", "The folder"):
            pass
    with locked(tmp_path / ".lock", "The folder"):
        pass


def test_on_windows_the_owner_can_be_read_and_the_file_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its module for locks, which locks bytes from where the file stands, played by this system's."""
    locked_bytes: dict[int, int] = {}

    def locking(file: int, mode: int, n: int) -> None:
        if locked_bytes:
            raise PermissionError("locked")
        locked_bytes[file] = os.lseek(file, 0, os.SEEK_CUR)

    unlink = Path.unlink

    def unlink_closed(path: Path, missing_ok: bool = False) -> None:
        with suppress(OSError):
            os.fstat(next(iter(locked_bytes)))
            raise PermissionError("in use")
        unlink(path, missing_ok)

    windows = ModuleType("msvcrt")
    vars(windows).update(locking=locking, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(Path, "unlink", unlink_closed)
    there = run_path(locks.__file__)
    with there["locked"](tmp_path / ".lock", "The folder"):
        content = (tmp_path / ".lock").read_text()
        (first,) = locked_bytes.values()
        assert content.startswith(f"{os.getpid()} on ")
        assert first >= len(content)
        there["_held"].clear()  # as another process has none
        with (
            pytest.raises(ArgumentError, match=f"by the process {os.getpid()} on "),
            there["locked"](tmp_path / ".lock", "The folder"),
        ):
            pass
    assert not (tmp_path / ".lock").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotWriteError, match="cannot be written"), locked(tmp_path / "no" / ".lock", "The folder"):
        pass
