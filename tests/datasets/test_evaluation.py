"""What is read of a folder: table, counts and numbers."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.inputs import folder_of, row
from torch_anchors.datasets.evaluation import Evaluation
from torch_anchors.datasets.fields import failed_row, schema
from torch_anchors.errors import ArgumentError


def test_the_numbers_of_a_run(tmp_path: Path) -> None:
    rows = [
        row("a", "certified", 0, label_name="cat", true_label="cat", features=[1, 2], share=0.2, score=0.5),
        row("b", "exact", 1, true_label="1", features=[1], share=0.4, coverage=0.25),
        row("c", "empty", 1, true_label="0", features=[], share=0.0, coverage=1.0),
        row("d", "not found", 1, true_label="dog", precision=0.1, features=[1, 2, 3], share=0.9),
        failed_row("e", "torn", true_label="cat", seed=0, settings="{}"),
    ]
    found = folder_of(tmp_path, rows, 6)
    assert found.summary() == {
        "n_inputs": 6,
        "n": 5,
        "n_certified": 1,
        "n_exact": 1,
        "n_empty": 1,
        "n_counted": 0,
        "n_not_found": 1,
        "n_budget": 0,
        "n_failed": 1,
        "found": 0.75,
        "precision": pytest.approx(0.98),
        "precision_low": pytest.approx(0.95),
        "coverage": pytest.approx(1.75 / 3),
        "size": 1.0,
        "share": pytest.approx(0.2),
        "score": 0.5,
        "right": pytest.approx(2 / 3),  # "dog" cannot be compared with a label that has no name
        "n_rows": 400,
    }
    assert len(found) == 5
    assert not found.complete
    assert found.counts()["exact"] == 1


def test_the_numbers_suit_loggers_of_scalars(tmp_path: Path) -> None:
    numbers = folder_of(tmp_path, [row("a", "exact", 1, features=[1])]).summary()
    assert all(value is None or type(value) in (int, float) for value in numbers.values())
    assert json.loads(json.dumps(numbers)) == numbers
    assert all(re.fullmatch(r"\w+", name) for name in numbers)


def test_a_report_is_one_file_and_replaced(tmp_path: Path) -> None:
    done = folder_of(tmp_path / "run", [row("a", "exact", 1, features=[1])])
    path = tmp_path / "new" / "page.html"
    assert done.report(path) == path
    first = path.read_text()
    assert done.report(str(path), gallery=0) == path
    assert len(path.read_text()) < len(first)
    assert [one.name for one in path.parent.iterdir()] == ["page.html"]


@pytest.mark.usefixtures("unchecked")
def test_what_a_report_cannot_be_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = folder_of(tmp_path, [row("a", "exact", 1, features=[1])])
    wrong: Any = "all"
    with pytest.raises(ArgumentError, match="gallery must be a whole number of at least 0, got 'all'"):
        done.report(tmp_path / "page.html", gallery=wrong)
    with pytest.raises(ArgumentError, match="pictures must be a folder, and there is no folder nowhere"):
        done.report(tmp_path / "page.html", pictures="nowhere")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r'needs the package jinja2\. .*pip install "torch-anchors\[evaluate\]"'):
        done.report(tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_nothing_yet(tmp_path: Path) -> None:
    found = folder_of(tmp_path, [])
    numbers = found.summary()
    assert numbers["n"] == 0
    assert numbers["found"] is numbers["coverage"] is numbers["right"] is numbers["n_inputs"] is None
    assert found.table().schema.equals(schema())
    assert found.parts == []
    assert repr(found) == f"Evaluation({str(tmp_path)!r})"


def test_some_columns(tmp_path: Path) -> None:
    found = folder_of(tmp_path, [row(id, "exact", 1) for id in "abc"])
    assert found.table(["label", "id"]).to_pydict() == {"label": [1, 1, 1], "id": ["a", "b", "c"]}
    assert found.table().num_rows == 3
    with pytest.raises(ArgumentError, match=r"columns must be some of id, status, .*, got \['size'\]"):
        found.table(["size"])


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"there is no run\.json in"):
        Evaluation(tmp_path)
