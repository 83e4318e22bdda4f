"""The numbers of a run, class by class."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from tests.datasets.inputs import folder_of, row
from torch_anchors.datasets.fields import failed_row
from torch_anchors.datasets.report import classes
from torch_anchors.datasets.report.classes import ClassLine, class_lines
from torch_anchors.datasets.report.results import NO_CLASS, results_of


def test_a_line_for_each_class_and_one_for_all(tmp_path: Path) -> None:
    rows = [
        row("a", "certified", 0, label_name="cat", true_label="cat", features=[1, 2], share=0.4, coverage=0.25),
        row("b", "empty", 0, label_name="cat", true_label="dog", features=[], share=0.0, coverage=1.0, precision=1.0),
        row("c", "not found", 0, label_name="cat", features=[1, 2, 3], share=0.9, coverage=0.1, precision=0.1),
        row("d", "exact", 1, label_name="dog", true_label="dog", features=[4], share=0.2, coverage=0.5, precision=1.0),
        failed_row("e", "torn", true_label="dog", seed=0, settings="{}"),
    ]
    cat, dog, none, everything = class_lines(results_of(folder_of(tmp_path, rows).folder))
    assert asdict(cat) == {
        "name": "cat",
        "n": 3,
        "found": pytest.approx(2 / 3),
        "n_empty": 1,
        "size": 1.0,
        "share": pytest.approx(0.2),
        "coverage": pytest.approx(0.625),
        "precision": pytest.approx(0.99),
        "right": 0.5,
        "n_failed": 0,
    }
    assert dog == ClassLine("dog", 1, 1.0, 0, 1.0, 0.2, 0.5, 1.0, 1.0, 0)
    assert none == ClassLine(NO_CLASS, 1, None, 0, None, None, None, None, None, 1)
    assert (everything.name, everything.n, everything.found, everything.n_failed) == ("all", 5, 0.75, 1)
    assert everything.right == pytest.approx(2 / 3)


def test_more_classes_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "MOST", 2)
    rows = [row(f"{label}-{i}", "exact", label, features=[]) for label in range(5) for i in range(1 + (label == 3))]
    lines = class_lines(results_of(folder_of(tmp_path, rows).folder))
    assert [(line.name, line.n) for line in lines] == [
        ("label 3", 2),
        ("label 0", 1),
        ("3 more classes", 3),
        ("all", 6),
    ]
