"""Files that are whole or not there, and what is said when they cannot be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.whole_files import CannotWriteError, check_outputs, remove_partials, whole_file


class TestWholeFile:
    def test_appears_when_it_is_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "all.json"
        with whole_file(path) as file:
            file.write(b"half ")
            file.flush()
            (partial,) = path.parent.iterdir()
            assert partial.name == f".all.json.{os.getpid()}.part"
            file.write(b"whole")
        assert list(path.parent.iterdir()) == [path]
        assert path.read_bytes() == b"half whole"

    def test_an_error_leaves_what_was_there(self, tmp_path: Path) -> None:
        path = tmp_path / "all.json"
        path.write_text("before")

        def fail() -> None:
            with whole_file(path) as file:
                file.write(b"after")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        place, link = tmp_path / "place", tmp_path / "link"
        place.write_text("before")
        link.symlink_to(place)
        with whole_file(link) as file:
            file.write(b"after")
        assert link.is_symlink()
        assert place.read_text() == "after"

    def test_a_device_is_not_replaced(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            with whole_file(pipe) as file:
                file.write(b"through")
            assert os.read(reader, 100) == b"through"
        finally:
            os.close(reader)
        assert not pipe.is_file()

    def test_says_which_file_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        path = tmp_path / "file" / "all.json"
        complaint = r"file/all\.json cannot be written: (File exists|Not a directory)"
        with pytest.raises(CannotWriteError, match=complaint), whole_file(path) as file:
            file.write(b"x")

    def test_partial_files_are_known_by_their_names(self, tmp_path: Path) -> None:
        names = [
            ".cat.png.17.part",
            ".cat.png.17.twin.part",
            ".cat.png.part",
            ".dog.png.17.part",
            "cat.png.17.part",
            ".cat.png.x.part",
        ]
        for name in names:
            (tmp_path / name).touch()
        remove_partials([tmp_path / "cat.png", tmp_path / "bird.png", tmp_path / "nowhere" / "cat.png"])
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[2:])


class TestCheckOutputs:
    def test_what_is_read_is_not_overwritten(self, tmp_path: Path) -> None:
        read = tmp_path / "cat.png"
        read.touch()
        (tmp_path / "other").symlink_to(tmp_path)
        with pytest.raises(ArgumentError, match=r"cat\.png, which is read, would be overwritten; .* with --out"):
            check_outputs([("--out", tmp_path / "other" / "cat.png")], [read, tmp_path / "nowhere.png"])

    @pytest.mark.parametrize(
        ("path", "complaint"),
        [
            ("folder", "--out must be a file, and .*folder is a folder"),
            ("cat.png/x/y.png", r"y\.png cannot be written: .*cat\.png is no folder"),
        ],
    )
    def test_where_nothing_can_be_written(self, tmp_path: Path, path: str, complaint: str) -> None:
        (tmp_path / "cat.png").touch()
        (tmp_path / "folder").mkdir()
        with pytest.raises(ArgumentError, match=complaint):
            check_outputs([("--out", tmp_path / path)], [])

    def test_a_folder_of_others(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # the superuser may write everywhere
        with pytest.raises(ArgumentError, match=r"x\.png cannot be written: .* may not be written in; .* with --json"):
            check_outputs([("--json", tmp_path / "new" / "x.png")], [])

    def test_all_is_well(self, tmp_path: Path) -> None:
        outputs = [("--out", tmp_path / "new" / "x.png"), ("--json", tmp_path / "x.json"), ("--json", Path(os.devnull))]
        check_outputs(outputs, [tmp_path])
        assert not list(tmp_path.iterdir())

    def test_nothing_is_written_twice(self, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match=r"x\.png would be written twice"):
            check_outputs([("--out", tmp_path / "x.png"), ("--json", tmp_path / "x.png")], [])
