"""Explanations of rows: their words, counts, examples and files."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.loading import load
from torch_anchors.search.protocol import Status, Step
from torch_anchors.tables.explanation import (
    FEW_COVERED,
    LITTLE_COVERAGE,
    EncodedExamples,
    ExampleRow,
    TabularExplanation,
)
from torch_anchors.tables.rule import Predicate, Rule
from torch_anchors.tables.schema import TableSchema

FRAME = pd.DataFrame({"age": np.arange(20.0, 60.0), "job": ["nurse", "cook & <son>"] * 20})
SCHEMA = TableSchema.infer(FRAME)  # the cook has the code 0
OLD, YOUNG = Predicate(0, "age", ">", 30.0, 30.0), Predicate(0, "age", "<=", 45.0, 45.0)
COOK = Predicate(1, "job", "==", "cook & <son>", 0.0)


def explanation_of(predicates: tuple[Predicate, ...] = (OLD, YOUNG, COOK), **changes: Any) -> TabularExplanation:
    rule = Rule(predicates, SCHEMA)
    given: dict[str, Any] = {
        "features": (0, 2, 3),
        "names": tuple(rule.conditions),
        "precision": 0.98,
        "precision_interval": (0.9512, 0.9979),
        "coverage": 0.1875,
        "status": Status.CERTIFIED,
        "label": 5,
        "threshold": 0.95,
        "delta": 0.1,
        "n_rows": 1234,
        "n_calls": 17,
        "seconds": 0.456,
        "path": (Step((), 0.5, 1.0, 100), Step((0, 2, 3), 0.98, 0.1875, 80)),
        "rule": rule,
        "instance": np.array([41.0, 0.0]),
        "sampling": "interventional",
        "training_path": (Step((), 0.4, 1.0, 400), Step((0, 2), 0.8, 0.375, 150), Step((0, 2, 3), 0.96, 0.1875, 75)),
        "encoded_examples": EncodedExamples(
            np.array([[33.0, 0.0], [45.0, 0.0], [37.0, 0.0]]), np.array([5, 5, -1]), np.array([True, True, False])
        ),
        "predict": lambda X: np.where(SCHEMA.encode(X)[:, 0] > 35, 5, -1),
    }
    return TabularExplanation(**{**given, **changes})


EMPTY = {"predicates": (), "features": (), "training_path": (Step((), 0.97, 1.0, 400),)}


# ------------------------------------------------------------------------------------------------------- words


def test_words_of_a_certified_rule() -> None:
    assert str(explanation_of()) == (
        "Where 30.00 < age <= 45.00 and job = cook & <son>, the model answers label 5 with precision at least 0.951 "
        "with 90 % confidence (the estimate is 0.980), whatever the other columns hold; that covers 18.8 % of the "
        "training rows. It took 1,234 model rows in 17 calls and 0.46 s."
    )


def test_words_of_a_counted_rule_with_a_named_label() -> None:
    words = str(
        explanation_of(
            (OLD,), sampling="conditional", status=Status.EXACT, precision_interval=(0.98, 0.98), label_name="well"
        )
    )
    assert words.startswith("Where age > 30.00, the model answers well with precision 0.980 (exact); that covers")


def test_words_of_a_rule_without_conditions() -> None:
    words = str(explanation_of(**EMPTY, status=Status.EMPTY_HOLDS))
    assert words.startswith("The model answers label 5 on nearly every row, with precision at least 0.951")
    assert "no condition is needed" in words


@pytest.mark.parametrize(
    ("status", "advice"),
    [(Status.NOT_FOUND, "No anchor reached the threshold"), (Status.ROW_BUDGET, "A larger max_rows_total")],
)
@pytest.mark.parametrize("empty", [False, True])
def test_words_of_a_failure_say_what_to_do(status: Status, advice: str, empty: bool) -> None:
    explanation = explanation_of(**(EMPTY if empty else {}), status=status)
    words = str(explanation)
    assert advice in words
    assert ("other conditions may help" in words) is (status is Status.NOT_FOUND)
    assert not explanation.success
    assert ("No conditions were found that keep label 5" in words) is empty
    assert "  " not in words
    assert "{" not in words


def test_words_of_a_rule_that_is_only_counted() -> None:
    explanation = explanation_of(sampling="conditional", status=Status.COUNTED)
    words = str(explanation)
    assert not explanation.success
    assert (
        "with precision 0.960 on the training rows it was chosen on, and between 0.951 and 0.998 on new rows with 90 % "
        "confidence; that covers 18.8 %"
    ) in words
    assert "no promise for other rows" in words


@pytest.mark.parametrize(("sampling", "elsewhere"), [("interventional", True), ("conditional", False)])
@pytest.mark.parametrize(
    ("n", "coverage", "words"),
    [
        (0, 0.0, "It holds for no training row, and"),
        (1, 0.2, "only 1 training row, and"),
        (FEW_COVERED - 1, 0.2, f"only {FEW_COVERED - 1} training rows, and"),
        (900, LITTLE_COVERAGE / 2, "only 900 training rows, and"),
    ],
)
def test_a_rule_of_hardly_any_row_says_so(n: int, coverage: float, words: str, sampling: str, elsewhere: bool) -> None:
    path = (*explanation_of().training_path[:2], Step((0, 2, 3), 1.0, coverage, n))
    explanation = explanation_of(training_path=path, coverage=coverage, sampling=sampling)
    assert words in explanation.remark
    assert ('sampling="conditional"' in explanation.remark) is elsewhere
    assert explanation.remark in str(explanation)
    assert explanation.to_dict()["remark"] == explanation.remark
    assert explanation_of(training_path=path, coverage=coverage, status=Status.NOT_FOUND).remark == ""


def test_a_rule_of_enough_rows_has_no_remark() -> None:
    path = (*explanation_of().training_path[:2], Step((0, 2, 3), 1.0, LITTLE_COVERAGE, FEW_COVERED))
    for explanation in (explanation_of(), explanation_of(training_path=path, coverage=LITTLE_COVERAGE)):
        assert explanation.remark == ""
        assert "says little" not in str(explanation)


def test_a_notebook_shows_the_rule_as_a_table() -> None:
    html = explanation_of()._repr_html_()
    assert html.count("<tr>") == 4
    assert "<td style='text-align:left'>no condition</td><td>0.400</td><td>1.000</td>" in html
    assert "<td style='text-align:left'>30.00 &lt; age &lt;= 45.00</td><td>0.800</td><td>0.375</td>" in html
    assert "job = cook &amp; &lt;son&gt;</td><td>0.960</td><td>0.188</td>" in html
    assert "<son>" not in html
    assert "It took" not in html, "seconds would make a notebook's output another one with each run"


# ------------------------------------------------------------------------------------------------------- values


def test_the_rule_in_words_and_as_data() -> None:
    explanation = explanation_of()
    assert explanation.anchor == ["30.00 < age <= 45.00", "job = cook & <son>"]
    assert explanation.predicates == (OLD, YOUNG, COOK)
    assert explanation_of(**EMPTY).anchor == []


def test_where_the_rule_holds_on_other_tables() -> None:
    explanation = explanation_of()
    holds = ((FRAME.age > 30) & (FRAME.age <= 45) & (FRAME.job == "cook & <son>")).to_numpy()
    for table in (FRAME, FRAME[["job", "age"]], SCHEMA.encode(FRAME)):
        np.testing.assert_array_equal(explanation.applies(table), holds)
        assert explanation.coverage_on(table) == holds.mean()
    assert 0 < holds.mean() < 1
    assert explanation.applies(FRAME.iloc[11]).tolist() == [True]


def test_precision_on_other_tables_asks_the_model_or_takes_its_labels() -> None:
    explanation = explanation_of()
    holds = explanation.applies(FRAME)
    assert explanation.precision_on(FRAME) == (FRAME.age[holds] > 35).mean()
    assert 0 < explanation.precision_on(FRAME) < 1
    labels = np.full(40, 5)
    labels[np.flatnonzero(holds)[0]] = 4
    assert explanation.precision_on(FRAME, labels) == explanation.precision_on(FRAME, labels.tolist())
    assert explanation.precision_on(FRAME, labels) == 1 - 1 / holds.sum()
    assert np.isnan(explanation.precision_on(FRAME[:5]))  # where it never holds


def test_examples_are_rows_in_the_users_words() -> None:
    explanation = explanation_of()
    assert explanation.examples == (
        ExampleRow({"age": 33.0, "job": "cook & <son>"}, 5, True),
        ExampleRow({"age": 45.0, "job": "cook & <son>"}, 5, True),
        ExampleRow({"age": 37.0, "job": "cook & <son>"}, -1, False),
    )
    assert [type(example.hit) for example in explanation.examples] == [bool] * 3


def test_the_references_data() -> None:
    explanation = explanation_of()
    data = explanation.data
    assert list(data) == ["anchor", "precision", "coverage", "raw"]
    assert (data["anchor"], data["precision"], data["coverage"]) == (explanation.anchor, 0.98, 0.1875)
    raw = data["raw"]
    assert raw["feature"] == [0, 1]  # columns
    assert raw["predicates"] == [0, 2, 3]
    assert raw["precision"] == raw["mean"] == [0.8, 0.98]  # what was not tried is counted on the training rows
    assert raw["coverage"] == [0.375, 0.1875]
    assert raw["all_precision"] == 0.4
    assert raw["num_preds"] == 1234
    assert raw["names"] == explanation.anchor
    assert raw["prediction"].tolist() == [5]
    assert raw["instance"].tolist() == [41, 0]
    assert raw["instances"].tolist() == [[41, 0]]
    first, examples = raw["examples"]
    assert str(first) == str(examples)  # whatever satisfies the whole satisfies a part of it
    assert examples["covered_true"].tolist() == [[33, 0], [45, 0]]
    assert examples["covered_false"].tolist() == [[37, 0]]
    assert examples["uncovered_true"] == examples["uncovered_false"] == []


def test_raw_has_the_order_in_which_conditions_were_added() -> None:
    path = (Step((), 0.5, 1.0, 9), Step((3,), 0.7, 0.5, 9), Step((0, 2, 3), 0.97, 0.1875, 80))
    explanation = explanation_of(path=path)
    raw = explanation.raw
    assert (raw["feature"], raw["predicates"]) == ([1, 0], [3, 0, 2])
    assert raw["names"] == explanation.anchor[::-1]
    assert (raw["precision"], raw["coverage"]) == ([0.7, 0.98], [0.5, 0.1875])
    empty = explanation_of(**EMPTY).raw
    assert empty["feature"] == empty["precision"] == empty["names"] == []
    assert len(empty["examples"]) == 1


def test_rows_of_one_hot_tables_are_one_hot_in_raw() -> None:
    schema = TableSchema(SCHEMA.columns, ohe=True)
    explanation = explanation_of(rule=Rule((OLD, YOUNG, COOK), schema))
    raw = explanation.raw
    assert raw["instance"].tolist() == [41, 1, 0]
    assert raw["instances"].tolist() == [[41, 1, 0]]
    assert raw["examples"][0]["covered_false"].tolist() == [[37, 1, 0]]
    assert explanation.applies(raw["instances"]).all()


def test_the_dictionary_survives_json() -> None:
    explanation = explanation_of()
    found = json.loads(json.dumps(explanation.to_dict()))
    assert found == explanation.to_dict()
    assert found["anchor"] == [0, 2, 3]
    assert found["names"] == explanation.anchor
    assert found["sampling"] == "interventional"
    assert found["predicates"] == [
        {"column": "age", "operator": ">", "value": 30.0},
        {"column": "age", "operator": "<=", "value": 45.0},
        {"column": "job", "operator": "==", "value": "cook & <son>"},
    ]
    assert found["training_path"][1] == {"precision": 0.8, "coverage": 0.375, "n": 150}


def test_categories_of_numpy_become_plain_values() -> None:
    category = Predicate(1, "job", "==", np.int64(3), 3.0)
    assert explanation_of((category,)).to_dict()["predicates"][0]["value"] == 3


@pytest.mark.parametrize("changes", [{}, {"predicates": ()}, {"instance": np.array([41.0, 2.0])}])
def test_a_file_gives_the_explanation_back(tmp_path: Path, changes: dict[str, Any]) -> None:
    if changes.get("predicates") == ():
        changes = {**changes, **EMPTY}
    explanation = explanation_of(**changes)
    explanation.save(tmp_path / "rule.json")
    again = load(tmp_path / "rule.json")
    assert isinstance(again, TabularExplanation)
    assert again.to_dict() == explanation.to_dict()
    assert str(again) == str(explanation)
    assert again._repr_html_() == explanation._repr_html_()
    assert again.rule == explanation.rule
    assert again.examples == explanation.examples
    assert str(again.raw) == str(explanation.raw)
    np.testing.assert_array_equal(again.applies(FRAME), explanation.applies(FRAME))
    with pytest.raises(ArgumentError, match="labels must be given: this explanation was pickled or loaded"):
        again.precision_on(FRAME)


def test_categories_that_json_does_not_know_are_refused() -> None:
    frame = pd.DataFrame({"age": pd.cut(pd.Series([1.0, 5.0, 9.0]), 3)})
    rule = Rule((), TableSchema.infer(frame))
    explanation = dataclasses.replace(explanation_of(**EMPTY), rule=rule)
    with pytest.raises(ArgumentError, match="column 'age' must have categories of text, numbers or booleans"):
        explanation.to_json()


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("rule", "predicates", 0, "column"), 2, r"data.explanation.rule.predicates\[0\].column must be below 2"),
        (("rule", "predicates", 0, "operator"), "or", "must be one of ==, <=, >, is missing, got 'or'"),
        (("rule", "columns", 1, "categories"), [["a"]], "categories must be text, numbers and booleans"),
        (("instance", "shape"), [3], "instance.planes must be 24 bytes"),
        (("sampling",), "random", "sampling must be one of interventional, conditional, got 'random'"),
        (("training_path",), [], "training_path must be of 3 steps"),
        (("examples", "hits", "shape"), [2], "hits.runs must be runs of 2 values together, got 3"),
    ],
)
def test_fields_of_a_file_are_checked(place: tuple[Any, ...], value: Any, complaint: str) -> None:
    document = explanation_of()._document()
    inner = document.data["explanation"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ArgumentError, match=complaint):
        TabularExplanation.from_json(document.to_text())


@pytest.mark.parametrize("copied", [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy, copy.copy])
def test_an_explanation_is_frozen_and_its_copies_have_no_model(copied: Any) -> None:
    explanation = explanation_of()  # whose model cannot be pickled
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.precision = 1.0  # type: ignore[misc]
    again = copied(explanation)
    assert again.to_dict() == explanation.to_dict()
    assert str(again) == str(explanation)
    assert again.examples == explanation.examples
    np.testing.assert_array_equal(again.applies(FRAME), explanation.applies(FRAME))
    with pytest.raises(ArgumentError, match="labels must be given: this explanation was pickled or loaded"):
        again.precision_on(FRAME)
    assert again.precision_on(FRAME, np.full(40, 5)) == 1


def test_a_plot_shows_the_training_path(tmp_path: Path) -> None:
    figure = explanation_of(label_name="well").plot(tmp_path / "rule.svg")
    assert "<svg" in (tmp_path / "rule.svg").read_text()
    precision, coverage = figure.axes
    assert [bar.get_width() for bar in precision.patches] == [0.4, 0.8, 0.96]
    assert [bar.get_width() for bar in coverage.patches] == [1.0, 0.375, 0.1875]
    names = [label.get_text() for label in precision.get_yticklabels()]
    assert names == ["no condition", "30.00 < age <= 45.00", "and job = cook & <son>"]
    assert figure.texts[0].get_text().startswith("well: precision at least 0.951 with 90 % confidence")
    assert precision.lines[0].get_xdata()[0] == 0.95
