"""Explanations as data, there as they come, and always whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torch_anchors.cli import json_files
from torch_anchors.cli.json_files import json_file


def test_a_document_grows(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    with json_file(path, {"model": "net"}, "pictures") as data:
        assert not path.exists()
        data.add({"name": "cat", "precision": float("nan")})
        data._next = 0.0  # as if it had been a while
        data.add_failed({"name": "dog", "error": "damaged"})
        expected = {"model": "net", "pictures": [{"name": "cat", "precision": None}]}
        assert json.loads(path.read_text()) == {**expected, "failed": [{"name": "dog", "error": "damaged"}]}


def test_a_large_document_is_not_rewritten_all_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "SHARE", 1e-9)
    path = tmp_path / "all.json"
    with json_file(path, {}, "rules") as data:
        for row in range(5):
            data.add({"row": row})
            assert json.loads(path.read_text())["rules"] == [{"row": 0}]
    assert len(json.loads(path.read_text())["rules"]) == 5


def test_what_is_finished_is_written_when_the_work_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "SHARE", 1e-9)
    path = tmp_path / "all.json"

    def work() -> None:
        with json_file(path, {}, "rules") as data:
            data.add({"row": 0})
            data.add({"row": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert len(json.loads(path.read_text())["rules"]) == 2


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_text("of an earlier run")
    with json_file(path, {"model": "net"}, "pictures") as data:
        assert path.read_text() == "of an earlier run"
        for n, name in enumerate(("cat", "dog"), 1):
            data.add({"name": name})
            lines = path.read_text().splitlines()
            assert len(lines) == n
            assert json.loads(lines[-1]) == {"model": "net", "name": name}
        data.add_failed({"name": "eel", "error": "damaged"})
        assert json.loads(path.read_text().splitlines()[-1])["error"] == "damaged"


def test_no_file_is_asked_for(tmp_path: Path) -> None:
    with json_file(None, {}, "pictures") as data:
        data.add({})
        data.add_failed({})
    assert not list(tmp_path.iterdir())
