"""One of several anchors: its words and what a file holds of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.found_anchor import FoundAnchor, several_in_words
from torch_anchors.packing import Fields
from torch_anchors.search.protocol import SearchResult, Status

RESULT = SearchResult((1, 4), 0.98, (0.9512, 0.9951), 0.25, Status.CERTIFIED, 100, 98)
FOUND = FoundAnchor.of(RESULT, ["superpixel 1", "superpixel 4"])


def test_it_is_what_the_search_has_found() -> None:
    assert (FOUND.features, FOUND.names, FOUND.success) == ((1, 4), ("superpixel 1", "superpixel 4"), True)
    assert FOUND.to_dict()["status"] == "certified"
    assert FOUND.figures == "precision at least 0.951, coverage 25 %"
    exact = replace(FOUND, precision=1.0, precision_interval=(1.0, 1.0), status=Status.EXACT)
    assert exact.figures == "precision 1.000, exact, coverage 25 %"
    assert replace(FOUND, status=Status.COUNTED).figures == "precision between 0.951 and 0.996, coverage 25 %"


def test_a_file_gives_it_back() -> None:
    packed = json.loads(json.dumps(FOUND.to_fields()))
    assert FoundAnchor.read(Fields(packed)) == FOUND
    with pytest.raises(ArgumentError, match="status must be one of"):
        FoundAnchor.read(Fields({**packed, "status": "found"}))


def test_words_of_several() -> None:
    other = replace(FOUND, features=(7,), names=("superpixel 7",))
    assert several_in_words([FOUND], 1, "superpixel", 0.1) == ""
    said = several_in_words([FOUND, other], 2, "superpixel", 0.1)
    assert said == (
        "Another anchor does the same: superpixel 7 (precision at least 0.951, coverage 25 %). No two share a "
        "superpixel, and with 90 % confidence all of this holds together."
    )
    said = several_in_words([FOUND, other, other], 5, "column", 0.05)
    assert said.startswith("Each of 2 others does the same: superpixel 7 (")
    assert said.endswith(
        "with 95 % confidence all of this holds together. 5 were asked for, and no other could be certified."
    )
    alone = "It is the only anchor: 3 were asked for, and no other could be certified."
    assert several_in_words([FOUND], 3, "column", 0.1) == alone
    assert "no further anchors were looked for" in several_in_words(
        [replace(FOUND, status=Status.NOT_FOUND)], 3, "column", 0.1
    )
    empty = replace(FOUND, features=(), names=(), status=Status.EMPTY_HOLDS)
    assert several_in_words([empty], 3, "column", 0.1) == ""  # it was said that nothing is needed
