"""A few explanations of many."""

from __future__ import annotations

import numpy as np
import pytest

import torch_anchors
from tests.datasets.inputs import of_images, of_rows, pixels, rows_of_table
from tests.datasets.rules import COOK, NURSE, VET, above, explanation_of, random_table
from torch_anchors.datasets.pick import pick
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Status


def test_those_that_cover_the_most_further_rows_come_first() -> None:
    rows = random_table(300)
    cooks, old = explanation_of(COOK), explanation_of(above(25))
    old_cooks, nurses, not_found = explanation_of(COOK, above(25)), explanation_of(NURSE, label=0), Status.NOT_FOUND
    given = [old_cooks, cooks, nurses, explanation_of(status=not_found), old, old]
    found = pick(given, rows)
    assert found[0] is old
    assert set(found) == {old, cooks, nurses}
    covered = np.logical_or.accumulate([one.applies(rows) for one in found]).sum(1)
    gains = np.diff(covered, prepend=0)
    assert (np.diff(gains) <= 0).all()
    assert (gains > 0).all()
    assert pick(given, rows, k=1) == [old]


def test_nothing_is_picked_where_no_rule_holds() -> None:
    assert pick([explanation_of(COOK), explanation_of(VET, above(50))], {"age": [20.0], "job": ["nurse"]}) == []


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_explanations_of_a_model(sampling: str) -> None:
    explainer, rows = of_rows(sampling=sampling), rows_of_table(60)
    explanations = explainer.explain_batch(rows, threshold=0.9)
    found = torch_anchors.pick(explanations, rows, k=4)
    assert 2 <= len(found) <= 4
    assert all(one.success for one in found)
    first = max(one.coverage_on(rows) for one in explanations if one.success)
    assert found[0].coverage_on(rows) == first


@pytest.mark.usefixtures("unchecked")
def test_errors() -> None:
    with pytest.raises(ArgumentError, match="k must be a whole number of at least 1, got 0"):
        pick([explanation_of(COOK)], random_table(3), k=0)
    with pytest.raises(ArgumentError, match="got ImageExplanation as number 0"):
        pick([of_images().explain(pixels(0))], random_table(3))
    with pytest.raises(ArgumentError, match="of 0 none does"):
        pick([], random_table(3))
