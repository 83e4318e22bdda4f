"""Pieces of sentences."""

from __future__ import annotations

from typing import Any

import pytest

from torch_anchors.words import at_least, at_most, label_name, listed, plural


def test_label_name() -> None:
    assert label_name(3) == "label 3"
    assert label_name(3, ["a", "b"]) == "label 3"
    assert label_name(1, ["a", "b"]) == "“b”"
    assert label_name(1, {1: "b"}) == "“b”"
    assert label_name(2, {1: "b"}) == "label 2"
    assert label_name(-1, ["a", "b"]) == "label -1"  # an outlier detector's, and not the last of the names
    assert label_name(-1, {-1: "outlier"}) == "“outlier”"


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ([], ""),
        (["a"], "a"),
        ([1, 2], "1 and 2"),
        (("a", "b", "c"), "a, b and c"),
        ([0.5, None, "x"], "0.5, None and x"),
    ],
)
def test_listed(items: Any, sentence: str) -> None:
    assert listed(items) == sentence


def test_the_last_of_a_list_may_be_an_alternative() -> None:
    assert listed(["no", "yes"], "or") == "no or yes"
    assert listed(["no", "maybe", "yes"], "or") == "no, maybe or yes"
    assert listed(["no"], "or") == "no"


@pytest.mark.parametrize(("n", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1234567, "1,234,567 rows")])
def test_plural(n: int, words: str) -> None:
    assert plural(n, "row") == words


@pytest.mark.parametrize(
    ("share", "least", "most"),
    [
        (0.9509, "0.950", "0.951"),
        (0.9501, "0.950", "0.951"),
        (0.95, "0.950", "0.950"),
        (0.95 - 1e-12, "0.950", "0.950"),  # which rounding errors made of it
        (0.95 + 1e-12, "0.950", "0.950"),
        (0.0, "0.000", "0.000"),
        (1.0, "1.000", "1.000"),
        (0.9999, "0.999", "1.000"),
    ],
)
def test_bounds_stay_bounds_when_they_are_rounded(share: float, least: str, most: str) -> None:
    assert at_least(share) == least
    assert at_most(share) == most
