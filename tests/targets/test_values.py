"""Targets of regressions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors import AnchorTabular
from torch_anchors.errors import ArgumentError, PredictorReturnTypeError
from torch_anchors.targets.values import Between, Within

CPU = torch.device("cpu")


def test_a_value_within_the_tolerance_agrees_at_the_edge_as_well() -> None:
    values = torch.tensor([100.0, 110.0, 90.0, 110.5, torch.nan])
    own = Within(10).explained(values[:1])
    agreement = Within(10).agreement(values, own.expand(5))
    assert (agreement >= 0).tolist() == [True, True, True, False, False]
    assert agreement[4].isnan()
    assert Within(10).said(own) == {"value": 100.0}
    assert Within(10).name_of(1, own) == "a value within 10 of 100"
    assert Within(10).name_of(0, own) == "a value beyond 10 of 100"


@pytest.mark.parametrize(
    ("target", "inside"),
    [
        (Between(1, 3), [False, True, True, True, False]),
        (Between(low=2), [False, False, True, True, True]),
        (Between(high=2), [True, True, True, False, False]),
        (Between(2, 2), [False, False, True, False, False]),
    ],
)
def test_a_value_in_the_range_with_its_ends(target: Between, inside: list[bool]) -> None:
    assert (target.labels(torch.arange(5.0), 5, CPU)[:, 0] > 0).tolist() == inside
    assert target.labels(torch.tensor([torch.nan]), 1, CPU).isnan().all()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Between(1, 3), ("a value outside 1 to 3", "a value from 1 to 3")),
        (Between(low=2), ("a value below 2", "a value from 2 on")),
        (Between(high=2), ("a value above 2", "a value up to 2")),
    ],
)
def test_the_words_of_a_range(target: Between, words: tuple[str, str]) -> None:
    assert (target.names[0], target.names[1]) == words


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Within(0), "tolerance must be a number above 0, got 0"),
        (lambda: Within("10"), "tolerance must be a number above 0"),
        (lambda: Between(), "low or high must be given"),
        (lambda: Between(3, 1), "high must be at least low, 3, got 1"),
        (lambda: Between(low=float("inf")), "low must be a finite number or None"),
    ],
)
def test_settings_that_mean_nothing_are_errors(make: Any, words: str, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


@pytest.mark.parametrize("output", [torch.arange(3.0), torch.arange(3.0)[:, None], np.arange(3), [0.0, 1.0, 2.0]])
def test_one_number_a_row_is_read_in_any_form(output: Any) -> None:
    assert Within(1).answers(output, 3, CPU).tolist() == [0, 1, 2]


def test_several_numbers_a_row_are_an_error() -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"one number per row .* got shape \(3, 2\).*model\(x\)\[:, 0\]"):
        Within(1).answers(torch.rand(3, 2), 3, CPU)


# ---------------------------------------------------------------------------------------------------- of a table

ROWS = np.random.default_rng(0).normal(size=(2000, 4))


def price(rows: np.ndarray) -> np.ndarray:
    return 10 * (rows[:, 0] > 0) + 5 * (rows[:, 1] > 0) + 0.1 * rows[:, 2]


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize("method", ["auto", "beam"])
def test_the_columns_that_keep_a_value_are_found(sampling: str, method: str) -> None:
    explainer = AnchorTabular(price, list("abcd"), seed=0, sampling=sampling).fit(ROWS)
    explanation = explainer.explain([1.0, -1.0, 0.0, 0.0], target=Within(3), method=method)
    assert sorted({predicate.name for predicate in explanation.predicates}) == ["a", "b"]
    assert explanation.success
    assert explanation.said == {"value": 10.0}
    assert explanation.precision_on(ROWS) > 0.95  # asks the model again, about the same value
    assert explanation.training_path[-1].precision == explanation.precision_on(ROWS)
    assert "the model answers a value within 3 of 10" in str(explanation)


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize("target", [Within(3), Between(8, 12)])
def test_rows_of_a_batch_are_explained_as_alone(sampling: str, target: Any) -> None:
    explainer = AnchorTabular(price, list("abcd"), seed=0, sampling=sampling).fit(ROWS)
    rows = np.array([[1.0, -1.0, 0, 0], [1.0, 1.0, 0, 0], [-1.0, -1.0, 0, 0], [-1.0, 1.0, 0, 0]])
    together = explainer.explain_batch(rows, target=target)
    for row, explanation in zip(rows, together, strict=True):
        alone = explainer.explain(row, target=target)
        assert (alone.anchor, alone.precision_interval, alone.label_name, alone.n_rows) == (
            explanation.anchor,
            explanation.precision_interval,
            explanation.label_name,
            explanation.n_rows,
        )


def test_a_regression_without_a_target_is_an_error_that_names_it() -> None:
    explainer = AnchorTabular(price, list("abcd"), seed=0).fit(ROWS)
    with pytest.raises(PredictorReturnTypeError, match=r"target=Within\(tolerance\) or target=Between\(low, high\)"):
        explainer.explain(ROWS[0])
    with pytest.raises(ArgumentError, match=r"label must be None with target=Within\(tolerance=3\)"):
        explainer.explain(ROWS[0], target=Within(3), label=1)


def test_the_rows_of_training_are_asked_about_once_for_a_target() -> None:
    calls: list[int] = []

    def counted(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return price(rows)

    explainer = AnchorTabular(counted, list("abcd"), seed=0, sampling="conditional").fit(ROWS)
    explainer.explain_batch(ROWS[:3], target=Within(3))
    first = sum(calls)
    explainer.explain_batch(ROWS[:3], target=Within(3))
    assert sum(calls) - first == 3  # the instances alone
