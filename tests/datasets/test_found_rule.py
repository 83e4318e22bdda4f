"""Rules of explanations, and of rows that `evaluate` wrote."""

from __future__ import annotations

import json

from tests.datasets.rules import COOK, NURSE, SCHEMA, above, explanation_of, up_to
from torch_anchors.datasets.fields import explained_row
from torch_anchors.datasets.found_rule import FoundRule

SETTINGS = {"threshold": 0.95, "delta": 0.1, "sampling": "conditional"}


def test_the_row_of_an_explanation_has_the_same_rule() -> None:
    for given in (
        explanation_of(COOK, above(30.25), up_to(40), label=0),
        explanation_of(label="rich"),
        explanation_of(NURSE, label=1, label_name="rich"),
    ):
        row = explained_row("0", given)
        assert FoundRule.of_row(row, SETTINGS, SCHEMA) == FoundRule.of(given)


def test_names_that_were_given_to_numbers_are_known() -> None:
    row = explained_row("0", explanation_of(COOK, label=1), label_names=["poor", "rich"])
    found = FoundRule.of_row(row, SETTINGS, SCHEMA)
    assert (found.label, found.label_name, found.says) == (1, "rich", "rich")


def test_the_key_tells_rules_apart_whatever_the_order_of_conditions() -> None:
    given = FoundRule.of(explanation_of(COOK, above(30)))
    assert given.key == FoundRule.of(explanation_of(above(30), COOK, precision=0.97)).key
    for other in (explanation_of(COOK, up_to(30)), explanation_of(COOK, above(30), label=0), explanation_of(COOK)):
        assert FoundRule.of(other).key != given.key


def test_words() -> None:
    assert FoundRule.of(explanation_of(COOK, above(30))).where == "where age > 30.00 and job = cook"
    assert FoundRule.of(explanation_of()).where == "everywhere"
    assert FoundRule.of(explanation_of(label=7)).says == "label 7"
    assert FoundRule.of(explanation_of(label="rich")).says == "rich"


def test_plain_values() -> None:
    found = json.loads(json.dumps(FoundRule.of(explanation_of(above(30.5), COOK, label="rich")).to_dict()))
    assert found == {
        "conditions": ["age > 30.50", "job = cook"],
        "predicates": [
            {"column": "age", "operator": ">", "value": 30.5},
            {"column": "job", "operator": "==", "value": "cook"},
        ],
        "label": "rich",
        "label_name": "rich",
        "precision": 0.98,
        "precision_interval": [0.9512, 0.9979],
        "coverage": 0.25,
        "threshold": 0.95,
        "delta": 0.1,
        "sampling": "conditional",
    }
