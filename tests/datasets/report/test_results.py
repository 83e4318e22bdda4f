"""Results: one line for each input, with what the table does not say itself."""

from __future__ import annotations

from pathlib import Path

from tests.datasets.inputs import folder_of, row
from torch_anchors.datasets.fields import failed_row
from torch_anchors.datasets.report.results import NO_CLASS, RIGHT, UNKNOWN, WRONG, results_of


def test_what_is_added_to_the_columns(tmp_path: Path) -> None:
    rows = [
        row("a", "certified", 0, label_name="cat", true_label="cat", features=[1, 2]),
        row("b", "empty", 3, true_label="4", features=[]),
        row("c", "not found", None, label_name="dog", true_label="None", features=[1]),
        row("d", "counted", 3, true_label="dog", features=[1]),
        failed_row("e", "torn", true_label="7", seed=0, settings="{}"),
    ]
    results = results_of(folder_of(tmp_path, rows).folder)
    assert list(results["answer"]) == ["cat", "label 3", "dog", "label 3", NO_CLASS]
    assert list(results["right"]) == [RIGHT, WRONG, WRONG, UNKNOWN, UNKNOWN]
    assert list(results["found"]) == [True, True, False, False, False]
    assert list(results["size"][:4]) == [2, 0, 1, 1]
    assert results["size"].isna()[4]


def test_large_numbers_of_labels_stay_what_they_are(tmp_path: Path) -> None:
    large = 2**53 + 1  # which no float is
    rows = [row("a", "exact", large, true_label=str(large)), failed_row("b", "torn", seed=0, settings="{}")]
    results = results_of(folder_of(tmp_path, rows).folder)
    assert list(results["answer"]) == [f"label {large}", NO_CLASS]
    assert results["right"][0] == RIGHT


def test_nothing_yet(tmp_path: Path) -> None:
    results = results_of(folder_of(tmp_path, []).folder)
    assert len(results) == 0
    assert {"answer", "right", "found", "size"} <= set(results.columns)
