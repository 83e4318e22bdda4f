"""Ids and true labels in words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from torch_anchors.datasets.image_files import ImageFiles
from torch_anchors.datasets.items import Items, Stream
from torch_anchors.datasets.sources import Source, ids_of, label_words
from torch_anchors.datasets.table_rows import TableRows
from torch_anchors.errors import ArgumentError


def test_ids_become_words() -> None:
    assert ids_of([1, "a", 2.5], 3) == ["1", "a", "2.5"]
    with pytest.raises(ArgumentError, match="ids must have one id for each of the 4 inputs, got 3"):
        ids_of([1, "a", 2.5], 4)


@pytest.mark.parametrize(
    ("label", "label_names", "words"),
    [
        (1, ("cat", "dog"), "dog"),
        (1, {1: "dog"}, "dog"),
        (2, {1: "dog"}, "2"),
        (2, ("cat", "dog"), "2"),
        (-1, ("cat", "dog"), "-1"),
        (1.0, ("cat", "dog"), "dog"),
        (1.5, None, "1.5"),
        (True, ("cat", "dog"), "True"),
        ("bird", ("cat", "dog"), "bird"),
        (None, None, None),
        (math.nan, None, None),
    ],
)
def test_true_labels_become_words(label: Any, label_names: Any, words: str | None) -> None:
    assert label_words(label, label_names) == words


@pytest.mark.parametrize("kind", [ImageFiles, TableRows, Items, Stream])
def test_all_kinds_are_sources(kind: type) -> None:
    assert isinstance(kind([[1.0]] if kind is not ImageFiles else ["a.png"]), Source)
