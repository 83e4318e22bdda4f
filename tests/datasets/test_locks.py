"""One process at a time; a killed one leaves no lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotWriteError, match="cannot be written"), locked(tmp_path / "no" / ".lock", "The folder"):
        pass
