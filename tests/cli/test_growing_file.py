"""A file that grows by whole pieces, whatever happens while it grows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from torch_anchors.cli.growing_file import GrowingFile
from torch_anchors.whole_files import CannotWriteError, remove_partials

KILLED = """
import os, pathlib, random, signal, sys, time
from torch_anchors.cli.growing_file import GrowingFile

folder = pathlib.Path(sys.argv[1])
for trial in range(60):
    size = 300_000 if trial % 2 else 10
    (folder / str(trial)).mkdir()
    child = os.fork()
    if child == 0:
        file = GrowingFile(folder / str(trial) / "all.txt")
        for n in range(100_000):
            file.add((str(n) + " " + "x" * size + "\\n").encode())
    time.sleep(random.uniform(0.0, 0.03))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=True, timeout=120)
    n_lines = 0
    for folder in tmp_path.iterdir():
        path, size = folder / "all.txt", 300_000 if int(folder.name) % 2 else 10
        text = path.read_text() if path.exists() else ""
        assert text == "".join(f"{n} {'x' * size}\n" for n in range(text.count("\n")))
        n_lines += text.count("\n")
        remove_partials([path])
        assert set(folder.iterdir()) <= {path}
    assert n_lines > 40


def test_grows(tmp_path: Path) -> None:
    path = tmp_path / "new" / "all.txt"
    file = GrowingFile(path)
    for n in range(1, 6):
        file.add(b"%d\n" % n)
        assert path.read_bytes() == b"".join(b"%d\n" % i for i in range(1, n + 1))
    file.close()
    assert list(path.parent.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    place.write_text("before")
    link.symlink_to(place)
    file = GrowingFile(link)
    for piece in (b"a", b"b", b"c"):
        file.add(piece)
    file.close()
    assert link.is_symlink()
    assert place.read_text() == "abc"


def test_a_pipe_gets_all(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        file = GrowingFile(pipe)
        for piece in (b"a", b"b", b"c"):
            file.add(piece)
        file.close()
        assert os.read(reader, 100) == b"abc"
    finally:
        os.close(reader)
    assert list(tmp_path.iterdir()) == [pipe]


def test_where_no_file_has_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    file = GrowingFile(tmp_path / "all.txt")
    for piece in (b"a", b"b", b"c"):
        file.add(piece)
        assert len(list(tmp_path.iterdir())) == 1
    assert (tmp_path / "all.txt").read_text() == "abc"


def test_no_room_for_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, path = os.write, tmp_path / "all.txt"

    def full(file: int, piece: memoryview) -> int:
        if len(piece) < 10:
            raise OSError(28, "No space left on device")
        return write(file, piece[:10])

    file = GrowingFile(path)
    file.add(b"1234567890")
    file.add(b"abcdefghij")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(CannotWriteError, match=r"all\.txt cannot be written: No space left on device"):
            file.add(b"too long for it")
    assert path.read_bytes() == b"1234567890abcdefghij"
    file.add(b"fits")
    assert path.read_bytes() == b"1234567890abcdefghijfits"
