"""What explanations of all kinds share, without an instance."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation, plain
from torch_anchors.search.protocol import Status, Step


def explanation_of(**changes: Any) -> Explanation:
    given: dict[str, Any] = {
        "features": (0, 2),
        "names": ("this", "that"),
        "precision": 0.98,
        "precision_interval": (0.9512, 0.9979),
        "coverage": 0.25,
        "status": Status.CERTIFIED,
        "label": 5,
        "threshold": 0.95,
        "delta": 0.1,
        "n_rows": 1234,
        "n_calls": 17,
        "seconds": 0.456,
        "path": (Step((), 0.5, 1.0, 100), Step((2,), 0.8, 0.5, 60), Step((0, 2), 0.98, 0.25, 80)),
        "meta": {"name": "AnchorImage", "params": {"seed": np.int64(3), "dtype": torch.float32, "shape": (2, 3)}},
    }
    return Explanation(**{**given, **changes})


# ------------------------------------------------------------------------------------------------------- words


def test_words_for_precision_and_cost() -> None:
    explanation = explanation_of()
    assert explanation._precision_words() == "precision at least 0.951 with 90 % confidence (the estimate is 0.980)"
    assert explanation_of(status=Status.NOT_FOUND)._precision_words() == (
        "precision between 0.951 and 0.998 with 90 % confidence (the estimate is 0.980)"
    )
    assert explanation_of(precision_interval=(0.98, 0.98))._precision_words() == "precision 0.980 (exact)"
    assert explanation._cost_words() == "It took 1,234 model rows in 17 calls and 0.46 s."
    assert explanation_of(n_rows=1, n_calls=1)._cost_words() == "It took 1 model row in 1 call and 0.46 s."


@pytest.mark.parametrize("delta", [0.1, 0.05, 0.001])
def test_the_confidence_is_that_of_delta(delta: float) -> None:
    assert f"with {100 * (1 - delta):g} % confidence" in explanation_of(delta=delta)._precision_words()


@pytest.mark.parametrize(
    ("status", "success", "advice"),
    [
        (Status.CERTIFIED, True, ""),
        (Status.EXACT, True, ""),
        (Status.EMPTY_HOLDS, True, ""),
        (Status.NOT_FOUND, False, "A larger max_anchor_size, a lower threshold or other words may help."),
        (Status.ROW_BUDGET, False, "A larger max_rows_total continues the search."),
        (Status.COUNTED, False, "or a lower threshold may certify a rule."),
    ],
)
def test_every_status_is_a_success_or_says_what_to_do(status: Status, success: bool, advice: str) -> None:
    explanation = explanation_of(status=status)
    assert explanation.success is success
    assert explanation._remedy("words").endswith(advice)
    assert bool(explanation._remedy("words")) is not success


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.COUNTED])
def test_certainty_is_not_to_be_had_from_a_sample(status: Status) -> None:
    assert "No sample shows that a precision is exactly 1" in explanation_of(status=status, threshold=1.0)._remedy("x")
    assert "threshold=0.99" not in explanation_of(status=status)._remedy("x")


@pytest.mark.parametrize(
    ("label_name", "label_names", "words", "called"),
    [
        (None, None, "label 5", "label 5"),
        ("cat", None, "cat", "“cat”"),
        ("cat", {5: "Katze"}, "cat", "“Katze”"),
        ("cat", {4: "Hund"}, "cat", "label 5"),  # who gives names gives all of them
        (None, [*"abcdef"], "label 5", "“f”"),
        (None, [*"abc"], "label 5", "label 5"),
    ],
)
def test_a_label_has_a_name_or_a_number(label_name: Any, label_names: Any, words: str, called: str) -> None:
    explanation = explanation_of(label_name=label_name)
    assert explanation.label_words == words
    assert explanation.called(label_names) == called
    assert f"label={words!r}" in repr(explanation)


def test_a_short_representation_for_notebooks() -> None:
    assert repr(explanation_of(label_name="cat")) == (
        "Explanation(anchor=['this', 'that'], label='cat', precision=0.980 [0.951, 0.998], coverage=0.250, "
        "status='certified')"
    )


# ------------------------------------------------------------------------------------------------------- values


def test_the_dictionary_survives_json() -> None:
    found = explanation_of(label_name="cat").to_dict()
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "anchor": [0, 2],
        "names": ["this", "that"],
        "precision": 0.98,
        "precision_interval": [0.9512, 0.9979],
        "coverage": 0.25,
        "status": "certified",
        "success": True,
        "remark": "",
        "label": 5,
        "label_name": "cat",
        "answer": None,
        "question": "sufficient",
        "fixed": [],
        "excluded": [],
        "target": "Argmax()",
        "said": {},
        "threshold": 0.95,
        "delta": 0.1,
        "others": [],
        "n_rows": 1234,
        "n_calls": 17,
        "seconds": 0.456,
        "nearest_miss": None,
        "path": [
            {"anchor": [], "precision": 0.5, "coverage": 1.0, "n": 100},
            {"anchor": [2], "precision": 0.8, "coverage": 0.5, "n": 60},
            {"anchor": [0, 2], "precision": 0.98, "coverage": 0.25, "n": 80},
        ],
        "effects": None,
        "meta": {"name": "AnchorImage", "params": {"seed": 3, "dtype": "torch.float32", "shape": [2, 3]}},
    }


def test_json_is_what_other_languages_read() -> None:
    """JSON knows neither NaN nor infinity."""
    explanation = explanation_of(precision=math.nan, coverage=math.inf, meta={"params": {"fill": math.inf}})
    found = json.loads(explanation.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert found["data"]["precision"] is None
    assert found["meta"]["params"]["fill"] is None
    again = Explanation.from_json(explanation.to_json())
    assert math.isnan(again.precision)
    assert again.coverage == math.inf


def test_json_has_the_shape_of_the_reference_and_makes_the_explanation_again(tmp_path: Path) -> None:
    explanation = explanation_of(label_name="cat")
    text = explanation.to_json(tmp_path / "anchor.json")
    assert (tmp_path / "anchor.json").read_text() == text
    found = json.loads(text)
    assert found["meta"] == {"name": "AnchorImage", "params": {"seed": 3, "dtype": "torch.float32", "shape": [2, 3]}}
    assert found["data"]["anchor"] == ["this", "that"]
    assert found["data"]["raw"]["feature"] == [2, 0]
    assert found["data"]["raw"]["num_preds"] == 1234
    again = Explanation.from_json(text)
    assert again == replaced(explanation, meta=found["meta"])
    assert again.to_json() == text


def test_a_text_of_another_kind_is_refused() -> None:
    class Other(Explanation):
        pass

    try:
        with pytest.raises(
            ArgumentError, match=r"text cannot be .*: it is of the kind 'Explanation'; expected Other\."
        ):
            Other.from_json(explanation_of().to_json())
    finally:
        del Explanation.kinds["Other"]


def replaced(explanation: Explanation, **changes: Any) -> Same:
    return Same(dataclasses.replace(explanation, **changes))


class Same:
    """Equal to explanations with equal fields."""

    def __init__(self, explanation: Explanation) -> None:
        self.fields = vars(explanation)

    def __eq__(self, other: object) -> bool:
        return vars(other) == self.fields


def test_whatever_the_user_passed_can_be_written() -> None:
    meta = {"params": {"kwargs": {"mask": np.zeros((4, 5)), "f": len, "t": torch.zeros(2), "type": np.float32}}}
    written = json.loads(explanation_of(meta=meta).to_json())["meta"]["params"]["kwargs"]
    assert written["mask"] == "array(4, 5)"
    assert written["t"] == "array(2,)"
    assert "float32" in written["type"]
    assert "len" in written["f"]


def test_plain_values() -> None:
    given = {1: (np.float32(0.5), np.bool_(True)), "n": None, "deep": [{"x": np.int8(-1)}], "nan": np.float64("nan")}
    found = plain(given)
    assert found == {"1": [0.5, True], "n": None, "deep": [{"x": -1}], "nan": None}
    assert [type(value) for value in found["1"]] == [float, bool]


def test_raw_has_one_entry_for_each_partial_anchor() -> None:
    raw = explanation_of()._raw_numbers()
    assert raw["feature"] == [2, 0]
    assert raw["precision"] == raw["mean"] == [0.8, 0.98]
    assert raw["coverage"] == [0.5, 0.25]
    assert raw["all_precision"] == 0.5
    assert raw["num_preds"] == 1234
    assert raw["success"] is True
    assert raw["names"] == ["that", "this"]  # as in feature
    assert raw["prediction"].tolist() == [5]
    assert math.isnan(explanation_of(path=())._raw_numbers()["all_precision"])


EFFECTS = np.array([0.5, -0.125, 0.25, 0.0625])


def test_an_attribution_has_a_number_for_each_feature() -> None:
    explanation = explanation_of(effects=EFFECTS)
    assert explanation.attribution().tolist() == [0.75, 0.25, 1.0, 0.5]  # 2 was added before 0
    assert explanation.attribution("marginal").tolist() == EFFECTS.tolist()
    assert explanation.attribution("member").tolist() == [1, 0, 1, 0]
    with pytest.raises(ArgumentError, match="kind must be one of 'order', 'marginal', 'member', got 'size'"):
        explanation.attribution("size")


def test_effects_are_kept_in_files_and_older_files_have_none() -> None:
    explanation = explanation_of(effects=EFFECTS)
    assert explanation.to_dict()["effects"] == EFFECTS.tolist()
    again = Explanation.from_json(explanation.to_json())
    assert again.attribution().tolist() == explanation.attribution().tolist()
    document = explanation._document()
    del document.data["explanation"]["effects"]
    older = Explanation.from_json(document.to_text())
    assert older.effects is None
    with pytest.raises(ArgumentError, match="saved by an older version"):
        older.attribution()


def test_effects_of_a_file_are_finite() -> None:
    text = explanation_of(effects=np.array([np.nan, 1.0])).to_json()
    with pytest.raises(ArgumentError, match="effects must be finite numbers"):
        Explanation.from_json(text)


def test_steps_that_lead_nowhere_are_left_out_of_the_partial_anchors() -> None:
    path = (Step((), 0.5, 1.0, 9), Step((2,), 0.8, 0.5, 9), Step((0,), 0.7, 0.4, 9), Step((1, 2), 0.9, 0.3, 9))
    raw = explanation_of(path=path).raw
    assert (raw["feature"], raw["precision"], raw["coverage"]) == ([2, 0], [0.8, 0.98], [0.5, 0.25])
    empty = explanation_of(features=(), names=()).raw
    assert empty["feature"] == empty["precision"] == empty["names"] == []


def test_entries_are_had_by_their_names() -> None:
    explanation = explanation_of()
    assert explanation["anchor"] == explanation.data["anchor"] == ["this", "that"]
    assert explanation["precision"] == explanation.precision
    assert explanation["raw"]["feature"] == [2, 0]
    assert explanation["name"] == explanation.name == "AnchorImage"
    assert explanation["params"] == explanation.params == explanation.meta["params"]
    with pytest.raises(KeyError, match="'anchors'; there are 'anchor', 'precision'"):
        explanation["anchors"]


def test_an_explanation_is_frozen_and_can_be_pickled() -> None:
    explanation = explanation_of()
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.precision = 1.0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(explanation)).to_dict() == explanation.to_dict()
