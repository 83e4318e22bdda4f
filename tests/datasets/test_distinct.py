"""Which rules are the same, and where each holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.datasets.inputs import of_images, of_rows, pixels, rows_of_table
from tests.datasets.rules import COOK, NURSE, SCHEMA, above, explanation_of, random_table, table, up_to
from torch_anchors.datasets import distinct
from torch_anchors.datasets.distinct import DistinctRules
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Status
from torch_anchors.tables import bitsets
from torch_anchors.tables.columns import Column
from torch_anchors.tables.rule import Rule
from torch_anchors.tables.schema import TableSchema


def test_rules_of_the_same_conditions_and_label_are_one() -> None:
    first = explanation_of(above(30), COOK)
    other_label, other_end = explanation_of(above(30), COOK, label=0), explanation_of(above(31), COOK)
    swapped, bare = explanation_of(COOK, above(30)), explanation_of(COOK)
    found = DistinctRules([first, other_label, swapped, bare, first, other_end], random_table(5))
    assert list(found.explanations) == [first, other_label, bare, other_end]


def test_conditions_on_other_columns_of_the_same_number_are_other_rules() -> None:
    schema = TableSchema((Column("height"), SCHEMA.columns[1]))
    one, other = explanation_of(COOK), explanation_of(COOK, rule=Rule((COOK,), schema))
    frame = {"age": [20.0, 30.0], "height": [1.0, 2.0], "job": ["cook", "vet"]}
    assert len(DistinctRules([one, other], frame).explanations) == 2


def test_what_does_not_reach_its_threshold_has_no_part() -> None:
    counted, found = explanation_of(COOK, status=Status.COUNTED), explanation_of(COOK, precision=0.97)
    assert list(DistinctRules([counted, found], random_table(5)).explanations) == [found]
    with pytest.raises(ArgumentError, match=r"reach their threshold \(success\); of 2 none does. Explain more rows"):
        DistinctRules([counted, explanation_of(status=Status.NOT_FOUND)], random_table(5))


@pytest.mark.parametrize("n", [1, 31, 32, 100])
def test_rows_on_which_each_rule_holds(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_TOGETHER", 2)
    explanations = [explanation_of(), explanation_of(COOK), explanation_of(above(40)), explanation_of(up_to(30), NURSE)]
    rows = random_table(n)
    found = DistinctRules(explanations, rows)
    masks = np.stack([one.applies(rows) for one in explanations])
    assert torch.equal(found.holds, bitsets.pack(torch.from_numpy(masks)))
    assert found.n_rows == n


def test_explanations_of_a_model_and_a_table_of_names() -> None:
    found = of_rows(sampling="conditional").explain_batch(rows_of_table(20), threshold=0.8)
    assert DistinctRules(iter(found), rows_of_table(7)).n_rows == 7


@pytest.mark.usefixtures("unchecked")
def test_errors_say_what_was_expected() -> None:
    image = of_images().explain(pixels(0))
    with pytest.raises(ArgumentError, match=r"got ImageExplanation as number 1\. Each picture has superpixels"):
        DistinctRules([explanation_of(COOK), image], random_table(5))
    with pytest.raises(ArgumentError, match=r"of rows of a table, got int as number 0\.$"):
        DistinctRules([3], random_table(5))  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="must be a list of explanations of rows, got 3"):
        DistinctRules(3, random_table(5))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="X must be a table of at least one row, got none"):
        DistinctRules([explanation_of(COOK)], table())
    with pytest.raises(ArgumentError, match="X must have 2 columns"):
        DistinctRules([explanation_of(COOK)], np.zeros((3, 5)))
