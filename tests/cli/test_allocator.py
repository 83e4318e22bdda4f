"""Memory that is free again is kept by the command's own process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from torch_anchors.cli import allocator, main

FAULTS = """
import resource
from torch_anchors.cli.allocator import keep_freed_memory

keep_freed_memory()
size = 2**25 + len(resource.__name__)  # no constant, which is made once
bytearray(b"x" * size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(b"x" * size)  # 32 MB, of which each page is touched
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment: str) -> int:
    """Pages that the system had to give for the same 32 MB, 20 times, in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name not in allocator._SETTINGS}
    command = [sys.executable, "-c", FAULTS]
    return int(subprocess.check_output(command, env={**kept, **environment}, text=True))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_memory_is_asked_for_once_unless_the_user_says_otherwise() -> None:
    assert faults() < 1000
    assert faults(MALLOC_TRIM_THRESHOLD_="1", MALLOC_MMAP_THRESHOLD_="1000") > 20 * 7000


@pytest.mark.parametrize("library", [SimpleNamespace(), None])
def test_another_c_library_is_left_alone(library: object, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(name: None) -> object:
        if library is None:
            raise OSError("no such library")
        return library

    for name in allocator._SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ctypes.CDLL", opened)
    allocator.keep_freed_memory()


def test_only_the_commands_own_process_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr("torch_anchors.cli.keep_freed_memory", lambda: called.append("kept"))
    assert main(["table", "nowhere.csv", "--target", "y"]) == 2
    assert not called
    monkeypatch.setattr(sys, "argv", ["torch-anchors", "table", "nowhere.csv", "--target", "y"])
    assert main() == 2
    assert called == ["kept"]
