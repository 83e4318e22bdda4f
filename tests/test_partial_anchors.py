"""The partial anchors on the way to an explanation's own."""

from __future__ import annotations

import json
import math

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.packing import Fields
from torch_anchors.partial_anchors import packed_step, partial_anchors, predicates_entered, step_of
from torch_anchors.search.protocol import Step


def step(*anchor: int) -> Step:
    return Step(anchor, 0.5, 0.25, 10)


def test_each_has_all_predicates_of_the_one_before_and_the_whole_is_the_last() -> None:
    path = [step(), step(4), step(2), step(2, 4), step(2, 7), step(2, 4, 7, 9)]
    assert partial_anchors(path, step(2, 4, 7)) == [step(4), step(2, 4), step(2, 4, 7)]


def test_a_step_that_is_the_whole_is_there_once_with_the_figures_of_the_whole() -> None:
    whole = Step((1, 2), 0.97, 0.2, 300)
    assert partial_anchors([step(), step(1), step(1, 2)], whole) == [step(1), whole]


def test_the_empty_anchor_has_no_partial_ones() -> None:
    assert partial_anchors([step(), step(3)], step()) == []
    assert predicates_entered([]) == []


def test_predicates_enter_in_the_order_of_the_search_those_added_at_once_together() -> None:
    assert predicates_entered([step(4), step(2, 4), step(1, 2, 4, 7)]) == [{4}, {2}, {1, 7}]


@pytest.mark.parametrize("precision", [0.9, math.nan, math.inf])
def test_a_step_comes_back_from_json_as_it_was(precision: float) -> None:
    before = Step((0, 3), precision, 0.125, 77)
    after = step_of(Fields(json.loads(json.dumps(packed_step(before)))))
    assert repr(after) == repr(before)


@pytest.mark.parametrize("wrong", [{"anchor": [0.5]}, {"precision": "many"}, {"n": -1}, {"coverage": None}])
def test_a_damaged_step_is_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        step_of(Fields(packed_step(step(1)) | wrong))
