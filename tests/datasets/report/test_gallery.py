"""The gallery: which inputs are shown, and what their cards say."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.datasets.inputs import folder_of, row
from torch_anchors.datasets.fields import failed_row
from torch_anchors.datasets.report.gallery import Card, cards, chosen
from torch_anchors.datasets.report.photographs import Photographs
from torch_anchors.datasets.report.results import results_of

MASK = {"size": [2, 4], "counts": [2, 4, 2]}


def made(folder: Path, rows: list[dict[str, Any]], *, is_table: bool = False) -> list[Card]:
    results = results_of(folder_of(folder, rows).folder)
    return cards(folder, chosen(results, 100), Photographs(folder, whole=True), is_table=is_table)


def test_every_kind_is_shown_whatever_there_is_most_of(tmp_path: Path) -> None:
    often = [row(f"often-{i}", "certified", 0, features=[1]) for i in range(40)]
    rare = [row(f"rare-{i}", "not found", 1, true_label="2", features=[1]) for i in range(3)]
    results = results_of(folder_of(tmp_path, [*often, *rare, failed_row("f", "torn", seed=0, settings="{}")]).folder)
    shown = chosen(results, 12)
    assert Counter(shown["status"]) == {"certified": 8, "not found": 3, "failed": 1}
    assert list(shown["id"]) == list(chosen(results.sample(frac=1, random_state=1), 12)["id"])
    assert list(chosen(results, 0)["id"]) == []
    assert len(chosen(results, 44)) == 44


def test_numbers_in_ids_are_sorted_as_numbers(tmp_path: Path) -> None:
    ids = ["b/10.png", "b/9.png", "a/2", "10", "007", "", "9" * 5000]
    results = results_of(folder_of(tmp_path, [row(id, "exact", 0, features=[]) for id in ids]).folder)
    assert list(chosen(results, 10)["id"]) == ["", "007", "10", "9" * 5000, "a/2", "b/9.png", "b/10.png"]


def test_a_picture_its_anchor_and_the_words(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(tmp_path / "a.png")
    names = ["superpixel 1", "superpixel 4"]
    (card,) = made(tmp_path, [row("a.png", "certified", 0, features=[1, 4], names=names, mask=MASK)])
    assert card.words == "The answer stays while superpixel 1 and superpixel 4 are shown."
    assert card.precision == "at least 0.950"
    assert card.photograph is not None
    assert card.photograph.startswith("data:image/jpeg;base64,")
    assert card.overlay is not None
    assert card.absent is card.rule is None


def test_photographs_that_are_not_there(tmp_path: Path) -> None:
    rows = [row("gone.png", "exact", 0, features=[1], names=["superpixel 1"], mask=MASK)]
    (card,) = made(tmp_path, rows)
    assert card.photograph is None
    assert card.overlay is not None
    assert card.absent is not None
    assert card.absent.startswith("The photograph cannot be shown: there is no file ")
    (card,) = cards(tmp_path, results_of(tmp_path), None, is_table=False)
    assert card.absent == "It was not read from a file."


@pytest.mark.parametrize(
    ("status", "names", "words"),
    [
        ("certified", ["superpixel 1"], "The answer stays while superpixel 1 is shown."),
        ("empty", [], "The answer stays whatever is hidden."),
        ("budget", ["superpixel 1"], "Not certified; the best one found: while superpixel 1 is shown."),
        ("not found", [], "No anchor was found."),
        (
            "exact",
            [f"p{i}" for i in range(20)],
            f"The answer stays while {', '.join(f'p{i}' for i in range(12))} and 8 more are shown.",
        ),
    ],
)
def test_words(tmp_path: Path, status: str, names: list[str], words: str) -> None:
    (card,) = made(tmp_path, [row("a", status, 0, names=names)])
    assert card.words == words


@pytest.mark.parametrize(
    ("status", "names", "of_image", "of_row"),
    [
        ("exact", ["a"], "The answer changes while a is hidden.", "The answer changes while this is replaced:"),
        (
            "not found",
            ["a", "b"],
            "Not certified; the best one found: while a and b are hidden.",
            "Not certified; the best one found: while these are replaced:",
        ),
        (
            "empty",
            [],
            "The answer changes anyway while superpixels are hidden at random.",
            "The answer changes anyway while columns are replaced at random.",
        ),
        ("budget", [], "No anchor was found.", "No anchor was found."),
    ],
)
def test_words_of_what_is_necessary(tmp_path: Path, status: str, names: list[str], of_image: str, of_row: str) -> None:
    results = results_of(folder_of(tmp_path, [row("a", status, 0, names=names)]).folder)
    for is_table, words in ((False, of_image), (True, of_row)):
        (card,) = cards(tmp_path, results, None, is_table=is_table, necessary=True)
        assert card.words == words


def test_precision_as_far_as_it_is_known(tmp_path: Path) -> None:
    rows = [
        row("a", "exact", 0, precision=0.96875, precision_low=0.96875, precision_high=0.96875),
        row("b", "not found", 0, precision_low=0.12345, precision_high=0.45678),
        failed_row("c", "torn", seed=0, settings="{}"),
    ]
    assert [card.precision for card in made(tmp_path, rows)] == ["0.969 (exact)", "0.123 to 0.457", None]


def test_rules_of_tables(tmp_path: Path) -> None:
    rows = [
        row("a", "certified", 0, names=["age > 3", "job = <b>"]),
        row("b", "empty", 0, names=[]),
        row("c", "exact", 0, names=[f"x{i} > 0" for i in range(13)]),
        failed_row("d", "torn", seed=0, settings="{}"),
    ]
    found = made(tmp_path, rows, is_table=True)
    assert [card.words for card in found] == [
        "The answer stays while these hold:",
        "The answer stays whatever the values of the columns are.",
        "The answer stays while these hold:",
        "torn",
    ]
    assert found[0].rule == ("age > 3", "job = <b>")
    assert found[1].rule == ()
    assert found[2].rule is not None
    assert found[2].rule[-1] == "1 more"
    assert found[3].rule is None
    assert all(card.absent is card.photograph is card.overlay is None for card in found)
