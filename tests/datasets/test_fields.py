"""The columns, and the row of each kind of explanation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.inputs import of_rows, rows_of_table
from tests.images.explained import SEGMENTS, explanation_of
from torch_anchors.datasets.fields import (
    DOCUMENTED,
    FAILED,
    FOUND,
    STATUS,
    STATUSES,
    explained_row,
    explanations_to_table,
    failed_row,
    mask_of,
    schema,
    table_of,
    with_columns,
)
from torch_anchors.errors import ArgumentError
from torch_anchors.found_anchor import FoundAnchor
from torch_anchors.search.protocol import SearchResult, Status

PAGE = Path(__file__).parents[2] / "docs" / "evaluate.md"


def test_every_column_is_documented_in_the_schema_and_on_the_page() -> None:
    assert set(schema().names) == set(DOCUMENTED)
    for field in schema():
        assert field.metadata[b"description"].decode() == DOCUMENTED[field.name]
    listed = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE))
    assert listed == DOCUMENTED


def test_every_status_has_its_word() -> None:
    assert set(STATUS) == set(Status)
    assert set(FOUND) == {word for status, word in STATUS.items() if explanation_of(status=status).success}
    assert set(re.findall("`([a-z ]+)`", DOCUMENTED["status"])) == {*STATUS.values(), FAILED} == set(STATUSES)


def test_the_row_of_an_image() -> None:
    explanation = explanation_of()
    row = explained_row("a", explanation, true_label="cat", label_names={5: "dog"}, score=0.5, seed=3, settings="{}")
    assert table_of([row]).to_pylist() == [row | {"reason": None}]
    assert {name: row[name] for name in ("status", "label", "label_name", "true_label", "score", "seed")} == {
        "status": "certified",
        "label": 5,
        "label_name": "dog",
        "true_label": "cat",
        "score": 0.5,
        "seed": 3,
    }
    assert row["features"] == [0, 2]
    assert row["names"] == ["superpixel 0", "superpixel 2"]
    assert row["predicates"] is None
    assert (row["precision"], row["precision_low"], row["precision_high"]) == (0.98, 0.9512, 0.9979)
    assert row["share"] == pytest.approx(4 / 6)
    np.testing.assert_array_equal(mask_of(row["mask"]), np.isin(SEGMENTS, (0, 2)))


def test_the_row_of_a_rule() -> None:
    explanation = of_rows().explain(rows_of_table(1)[0])
    row = explained_row("7", explanation)
    assert row["share"] is row["mask"] is row["label_name"] is None
    assert row["names"] == explanation.anchor
    assert [(p["column"], p["operator"], p["code"]) for p in row["predicates"]] == [
        (p.name, p.operator, p.code) for p in explanation.predicates
    ]
    assert table_of([row])["predicates"].to_pylist()[0] == row["predicates"]


def test_the_row_of_several_anchors() -> None:
    other = FoundAnchor.of(SearchResult((1,), 0.97, (0.95, 0.99), 0.5, Status.CERTIFIED, 9, 9), ["superpixel 1"])
    row = explained_row("a", explanation_of(others=(other,)))
    assert row["others"] == [
        {
            "features": [1],
            "names": ["superpixel 1"],
            "precision": 0.97,
            "precision_low": 0.95,
            "precision_high": 0.99,
            "coverage": 0.5,
            "status": "certified",
        }
    ]
    assert table_of([row])["others"].to_pylist() == [row["others"]]


def test_a_part_of_an_earlier_version_has_nulls_where_it_has_no_column() -> None:
    table = table_of([explained_row("a", explanation_of())])
    earlier = table.drop_columns(["others", "score"])
    found = with_columns(earlier, schema())
    assert found.schema == schema()
    assert found["others"].to_pylist() == [None]
    assert found["names"].to_pylist() == table["names"].to_pylist()


def test_a_failure_has_its_reason_and_nothing_else() -> None:
    row = failed_row("a", "torn", true_label="cat", seed=2**64 - 1, settings="{}")
    (found,) = table_of([row]).to_pylist()
    assert {name: value for name, value in found.items() if value is not None} == {
        "id": "a",
        "status": "failed",
        "reason": "torn",
        "true_label": "cat",
        "seed": 2**64 - 1,
        "settings": "{}",
    }


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_masks_are_runs_by_columns(shape: tuple[int, int], p: float) -> None:
    """As pycocotools writes them: hidden first, column by column."""
    mask = np.random.default_rng(0).random(shape) < p
    counts, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    label_map = mask.astype(np.uint8)
    image = np.zeros((*shape, 3), dtype=np.uint8)
    explanation = explanation_of(image, features=(1,), label_map=label_map)
    row = explained_row("a", explanation)
    assert row["mask"] == {"size": list(shape), "counts": counts}
    np.testing.assert_array_equal(mask_of(row["mask"]), mask)


def test_a_damaged_mask_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"counts that sum to height x width, got 3 for \[2, 2\]"):
        mask_of({"size": [2, 2], "counts": [3]})


def test_a_list_of_explanations_becomes_a_table() -> None:
    explanations: list[Any] = [explanation_of(), of_rows().explain(rows_of_table(1)[0])]
    table = explanations_to_table(explanations)
    assert table.schema == schema()
    assert table["id"].to_pylist() == ["0", "1"]
    assert table["seed"].to_pylist() == [3, 0]
    assert json.loads(table["settings"][1].as_py())["threshold"] == 0.95
    assert explanations_to_table(explanations, ["a", 7])["id"].to_pylist() == ["a", "7"]
    assert len(table.to_pandas()) == 2
    assert explanations_to_table([]).num_rows == 0
    with pytest.raises(ArgumentError, match="ids must be as many as explanations, 2, got 1"):
        explanations_to_table(explanations, ["a"])
