"""Distributions: what is drawn, in the page's colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import matplotlib.style
import pytest

from tests.datasets.inputs import folder_of, row
from torch_anchors.datasets.report.distributions import Distribution, distributions
from torch_anchors.datasets.report.results import results_of

TITLES = [
    "Precision of the best anchors",
    "Predicates of the anchors found",
    "Coverage of the anchors found",
    "Share of the picture that they show",
    "Score of the explained class",
    "Model rows for an explanation",
]


def drawn(folder: Path, rows: list[dict[str, Any]]) -> dict[str, Distribution]:
    return {one.title: one for one in distributions(results_of(folder_of(folder, rows).folder), 0.95)}


def bars(one: Distribution, colour: str) -> int:
    """How many shapes have a colour of the page."""
    return len(re.findall(rf"fill: var\({colour}\)", one.svg))


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [
        row(str(i), "exact", 1, features=[*range(i)], share=0.2, score=0.5 + i / 50, true_label=str(i % 2))
        for i in range(20)
    ]


def test_all_numbers_of_pictures(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    made = drawn(tmp_path, rows)
    assert list(made) == TITLES
    assert made["Predicates of the anchors found"].words == "median 9.5; 80 % are from 1.9 to 17.1 (n = 20)"
    assert bars(made["Predicates of the anchors found"], "--hit") == 13  # the last of 12 or more
    assert bars(made["Score of the explained class"], "--miss") > 0


def test_numbers_that_there_are_not(tmp_path: Path) -> None:
    made = drawn(tmp_path, [row("a", "not found", 1, features=[1])])
    assert list(made) == ["Precision of the best anchors", "Model rows for an explanation"]
    assert drawn(tmp_path / "empty", []) == {}


def test_the_threshold_is_marked(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    results = results_of(folder_of(tmp_path, rows).folder)
    marked, unmarked = (distributions(results, threshold)[0].svg for threshold in (0.95, None))
    assert "var(--anchor)" in marked
    assert "var(--anchor)" not in unmarked


def test_colours_are_the_page_s_whatever_the_user_s_style(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    with matplotlib.rc_context({**matplotlib.style.library["dark_background"], "figure.facecolor": "red"}):
        made = drawn(tmp_path, rows)
    for one in made.values():
        colours = set(re.findall(r"(?:fill|stroke): ([^;\"]+)", one.svg))
        assert {"var(--faint)", "var(--hit)"} <= colours
        assert all(colour == "none" or colour.startswith("var(") for colour in colours), colours
        ElementTree.fromstring(one.svg)  # one whole element
