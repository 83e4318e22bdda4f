"""Anchors as numbers, one for each feature."""

from __future__ import annotations

import numpy as np
import pytest

from torch_anchors.attribution import KINDS, attribution
from torch_anchors.errors import ArgumentError

EFFECTS = np.array([0.1, 0.0, 0.6, -0.2, 0.0, 0.3])


def ranking(values: np.ndarray) -> list[int]:
    return np.argsort(-values, kind="stable").tolist()


def test_the_anchor_comes_first_in_the_order_in_which_it_was_found() -> None:
    assert ranking(attribution("order", EFFECTS, [{3}, {1}])) == [3, 1, 2, 5, 0, 4]
    assert ranking(attribution("order", EFFECTS, [{1}, {3}])) == [1, 3, 2, 5, 0, 4]
    assert ranking(attribution("order", EFFECTS, [{3, 1, 2}, {4}])) == [2, 1, 3, 4, 5, 0]  # together: by effects
    assert ranking(attribution("order", EFFECTS, [])) == [2, 5, 0, 1, 4, 3]


@pytest.mark.parametrize("entered", [[], [{0}], [{4, 5}, {2}], [{0, 1, 2, 3, 4, 5}]])
@pytest.mark.parametrize("effects", [EFFECTS, np.zeros(6)])
def test_a_ranking_has_no_ties(entered: list[set[int]], effects: np.ndarray) -> None:
    values = attribution("order", effects, entered)
    assert sorted(values.tolist()) == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])


def test_effects_and_membership_are_given_as_they_are() -> None:
    assert attribution("marginal", EFFECTS, [{3}]).tolist() == EFFECTS.astype(np.float32).tolist()
    assert attribution("member", EFFECTS, [{3}, {0, 1}]).tolist() == [1, 1, 0, 1, 0, 0]
    assert attribution("member", EFFECTS, []).tolist() == [0] * 6


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_float32_and_effects_are_left_alone(kind: str) -> None:
    before = EFFECTS.copy()
    values = attribution(kind, EFFECTS, [{3}])
    assert values.dtype == np.float32
    assert (before == EFFECTS).all()


def test_another_kind_is_refused() -> None:
    with pytest.raises(ArgumentError, match="kind must be one of 'order', 'marginal', 'member', got 'size'"):
        attribution("size", EFFECTS, [])
