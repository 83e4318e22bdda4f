"""A rule as one of several: its dictionary and its file."""

from __future__ import annotations

import json

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.packing import Fields
from torch_anchors.search.protocol import SearchResult, Status, Step
from torch_anchors.tables.columns import Column
from torch_anchors.tables.rule import Predicate, Rule
from torch_anchors.tables.rule_anchor import RuleAnchor
from torch_anchors.tables.schema import TableSchema

SCHEMA = TableSchema((Column("Age"), Column("Job", ("Clerk", "Nurse"))))
RULE = Rule((Predicate.on(SCHEMA, 0, ">", 37.0), Predicate.on(SCHEMA, 1, "is missing")), SCHEMA)
RESULT = SearchResult((2, 5), 0.97, (0.95, 0.99), 0.125, Status.CERTIFIED, 50, 48)
FOUND = RuleAnchor.of(RESULT, RULE.conditions, rule=RULE, on_training=Step((2, 5), 0.96, 0.125, 40))


def test_it_tells_its_conditions_and_the_training_rows() -> None:
    assert FOUND.names == ("Age > 37.00", "Job is missing")
    said = FOUND.to_dict()
    assert said["predicates"][1] == {"column": "Job", "operator": "is missing", "value": None}
    assert said["on_training"] == {"precision": 0.96, "n": 40}
    assert FOUND.rule.applies({"Age": [40, 40, 30], "Job": [None, "Nurse", None]}).tolist() == [True, False, False]


def test_a_file_gives_it_back() -> None:
    packed = json.loads(json.dumps(FOUND.to_fields()))
    assert RuleAnchor.read(Fields(packed)) == FOUND
    with pytest.raises(ArgumentError, match="features must be ids of the rule's 2 predicates"):
        RuleAnchor.read(Fields({**packed, "features": [2]}))
