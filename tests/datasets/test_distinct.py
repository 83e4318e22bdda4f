"""Which rules are the same, and where each holds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.datasets.inputs import of_images, pixels
from tests.datasets.rules import COOK, NURSE, SCHEMA, above, explanation_of, random_table, table, up_to
from torch_anchors.datasets import distinct
from torch_anchors.datasets.distinct import DistinctRules, holding, of_rows, successful
from torch_anchors.datasets.found_rule import FoundRule
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Status
from torch_anchors.tables import bitsets
from torch_anchors.tables.columns import Column
from torch_anchors.tables.rule import Predicate, Rule
from torch_anchors.tables.schema import TableSchema


def rule_of(*predicates: Predicate, label: int | str = 1, schema: TableSchema = SCHEMA) -> FoundRule:
    return FoundRule.of(explanation_of(*predicates, label=label, rule=Rule(predicates, schema)))


def test_rules_of_the_same_conditions_and_label_are_one() -> None:
    first, bare = rule_of(above(30), COOK), rule_of(COOK)
    other_label, other_end = rule_of(above(30), COOK, label=0), rule_of(above(31), COOK)
    found = DistinctRules([first, other_label, rule_of(COOK, above(30)), bare, first, other_end], random_table(5))
    assert found.numbers == [0, 1, 3, 5]
    assert found.rules == [first, other_label, bare, other_end]


def test_conditions_on_other_columns_of_the_same_number_are_other_rules() -> None:
    schema = TableSchema((Column("height"), SCHEMA.columns[1]))
    frame = {"age": [20.0, 30.0], "height": [1.0, 2.0], "job": ["cook", "vet"]}
    assert DistinctRules([rule_of(COOK), rule_of(COOK, schema=schema)], frame).numbers == [0, 1]


@pytest.mark.parametrize("n", [1, 31, 32, 100])
def test_rows_on_which_each_rule_holds(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_TOGETHER", 2)
    rules = [rule_of(), rule_of(COOK), rule_of(above(40)), rule_of(up_to(30), NURSE)]
    rows = random_table(n)
    found = DistinctRules(rules, rows)
    masks = np.stack([one.rule.applies(rows) for one in rules])
    assert torch.equal(found.holds, bitsets.pack(torch.from_numpy(masks)))
    assert found.n_rows == n
    assert np.array_equal(list(holding(rules, rows)), masks)


def test_a_table_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    encode = TableSchema.encode
    monkeypatch.setattr(TableSchema, "encode", lambda self, table, **more: calls.append(1) or encode(self, table))
    again = TableSchema(SCHEMA.columns)  # of another explanation, which was loaded from a file
    assert len(list(holding([rule_of(COOK), rule_of(NURSE), rule_of(COOK, schema=again)], random_table(5)))) == 3
    assert len(calls) == 1


def test_what_does_not_reach_its_threshold_has_no_part() -> None:
    counted, found = explanation_of(COOK, status=Status.COUNTED), explanation_of(COOK, status=Status.EMPTY_HOLDS)
    assert successful(iter([counted, found])) == [found]
    assert of_rows(iter([counted, found])) == [counted, found]
    with pytest.raises(ArgumentError, match=r"reach their threshold \(success\); of 2 none does. Explain more rows"):
        successful([counted, explanation_of(status=Status.NOT_FOUND)])


@pytest.mark.usefixtures("unchecked")
def test_errors_say_what_was_expected() -> None:
    image = of_images().explain(pixels(0))
    with pytest.raises(ArgumentError, match=r"got ImageExplanation as number 1\. Each picture has superpixels"):
        successful([explanation_of(COOK), image])
    with pytest.raises(ArgumentError, match=r"of rows of a table, got int as number 0\.$"):
        of_rows([3])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match=r"got one of what is necessary as number 0\. Explain with question="):
        of_rows([explanation_of(COOK, question="necessary")])
    with pytest.raises(ArgumentError, match="must be a list of explanations of rows, got 3"):
        of_rows(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="X must be a table of at least one row, got none"):
        DistinctRules([rule_of(COOK)], table())
    with pytest.raises(ArgumentError, match="X must have 2 columns"):
        DistinctRules([rule_of(COOK)], np.zeros((3, 5)))
