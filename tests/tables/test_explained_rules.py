"""Explanations of rows that were searched together: in their order, each with rows on which its own rule holds."""

from __future__ import annotations

import numpy as np
import pytest

from torch_anchors import AnchorTabular, Within
from torch_anchors.targets.target import Target

ROWS = np.random.default_rng(0).normal(size=(600, 3))
ROWS[:, 2] = np.arange(600) % 2
INSTANCES = np.array([[1.5, 0.0, 0.0], [-1.5, 0.0, 1.0], [0.2, 2.0, 0.0], [0.2, -2.0, 1.0]])


def names(rows: np.ndarray) -> np.ndarray:
    return np.where(rows[:, 0] > 0.6, "high", "low")


def value(rows: np.ndarray) -> np.ndarray:
    return 10.0 * np.sign(rows[:, 0])


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_examples_are_rows_of_the_rule_with_what_the_model_says_of_them(sampling: str) -> None:
    explainer = AnchorTabular(names, seed=0, sampling=sampling).fit(ROWS)
    explained = explainer.explain_batch(INSTANCES, threshold=0.9, n_covered_ex=5)
    assert {len(one.anchor) > 0 for one in explained} == {True}
    for one in explained:
        rows = one._as_array(one.encoded_examples.rows)
        assert len(rows) > 0
        assert one.applies(rows).all()
        np.testing.assert_array_equal(one.encoded_examples.labels, names(rows))
        np.testing.assert_array_equal(one.encoded_examples.hits, names(rows) == one.label)


@pytest.mark.parametrize("target", [None, Within(5.0)])
def test_they_come_in_the_order_of_the_rows(target: Target | None) -> None:
    """Also where a comparison gives each row a sampler of its own."""
    asked = {} if target is None else {"target": target}
    explainer = AnchorTabular(names if target is None else value, seed=0).fit(ROWS)
    together = explainer.explain_batch(INSTANCES, **asked)
    for one, instance in zip(together, INSTANCES, strict=True):
        np.testing.assert_array_equal(one.instance, instance)
        alone = explainer.explain(instance, **asked)
        assert (one.anchor, one.precision, one.coverage) == (alone.anchor, alone.precision, alone.coverage)


def test_rules_that_were_asked_for_besides_are_those_of_their_row() -> None:
    def both(rows: np.ndarray) -> np.ndarray:
        return (np.abs(rows[:, :2]) > 1.3).any(1).astype(int)

    explainer = AnchorTabular(both, seed=0).fit(ROWS, (5, 95))
    two, one = explainer.explain_batch(np.array([[2.0, 2.0, 0.0], [2.0, 0.0, 0.0]]), n_anchors=2)
    assert {name.split()[0] for anchor in two.anchors for name in anchor.names} == {"x0", "x1"}
    assert [len(two.anchors), len(one.anchors)] == [2, 1]
