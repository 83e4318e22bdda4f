"""The parameters of one explain, and the methods that take them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors import AnchorImage, AnchorTabular
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.search.protocol import SearchConfig
from torch_anchors.settings import NO_SETTING, ExplainSettings, ManyQuestion, OneQuestion, takes

CPU = torch.device("cpu")

REFERENCE = {
    "threshold": 0.95,
    "delta": 0.1,
    "tau": 0.15,
    "batch_size": 100,
    "coverage_samples": 10000,
    "beam_size": 1,
    "stop_on_first": False,
    "max_anchor_size": None,
    "min_samples_start": 100,
    "n_covered_ex": 10,
    "binary_cache_size": 10000,
    "cache_margin": 1000,
    "verbose": False,
    "verbose_every": 1,
}
"""Names, order and defaults of the reference, positional there."""
OURS = {"method": "auto", "label": None, "max_rows_total": None, "target": None, "n_anchors": 1}
"""Settings by name only."""
UNSAID = ("n_anchors",)
"""Settings that metadata leaves out while they are as usual: older metadata says the same."""
REQUIRED = inspect.Parameter.empty


# ------------------------------------------------------------------------------------------------------- settings


def test_names_and_defaults_are_those_of_the_reference() -> None:
    known = {**REFERENCE, **OURS, "target": "Argmax()"}
    said = {name: value for name, value in known.items() if name not in UNSAID}
    assert ExplainSettings().params() == said
    assert list(ExplainSettings().params()) == list(said)
    assert ExplainSettings(n_anchors=2).params() == {**said, "n_anchors": 2}


def test_every_setting_is_documented() -> None:
    for settings in (ExplainSettings, SearchConfig):
        for own in fields(settings):
            assert f"    {own.name}:" in (settings.__doc__ or "")


def test_the_search_gets_what_concerns_it() -> None:
    given = {
        "threshold": 0.9,
        "delta": 0.2,
        "tau": 0.3,
        "batch_size": 7,
        "beam_size": 3,
        "stop_on_first": True,
        "max_anchor_size": 4,
        "min_samples_start": 44,
        "max_rows_total": 55,
    }
    config = ExplainSettings(**given).config(CPU)
    assert {name: getattr(config, name) for name in given} == given
    elsewhere = {"max_rows_candidate", "enumerate_below", "round_rows", "n_spent", "disjoint"}
    assert {own.name for own in fields(SearchConfig)} == {*given, *elsewhere}


@pytest.mark.parametrize(
    ("device", "batch_size", "expected"), [("cpu", 100, 16), ("cuda", 100, 100), ("cuda", 500, 128)]
)
def test_rounds_are_larger_where_rows_are_nearly_free(device: str, batch_size: int, expected: int) -> None:
    assert ExplainSettings(batch_size=batch_size).config(torch.device(device)).round_rows == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.0),
        ("threshold", float("nan")),
        ("delta", 1.0),
        ("tau", -0.1),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("beam_size", 1.5),
        ("min_samples_start", 0),
        ("max_anchor_size", 0),
        ("max_anchor_size", 1.5),
        ("max_rows_total", -5),
        ("n_covered_ex", -1),
        ("n_covered_ex", 2.5),
        ("verbose_every", 0),
        ("method", "kl-lucb"),
        ("method", None),
        ("label", 1.5),
        ("label", b"cat"),
        ("label", True),
    ],
)
def test_values_that_cannot_work(name: str, value: Any, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=f"{name} must be .*got {value!r}"):
        ExplainSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("n_workers", -1), ("n_workers", 1.5), ("n_workers", True), ("on_error", "ignore")]
)
def test_values_that_cannot_work_for_several(name: str, value: Any, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=f"{name} must be .*got {value!r}"):
        ManyQuestion(**{name: value})


@pytest.mark.parametrize("label", [0, 7, -1, np.int64(3), "cat"])
def test_any_whole_number_or_name_may_be_a_label(label: Any, unchecked: None) -> None:
    assert ExplainSettings(label=label).label == label


def test_what_is_no_setting_is_not_in_the_metadata() -> None:
    for question in (OneQuestion(progress=True), ManyQuestion(progress=True, n_workers=3)):
        assert question.params() == ExplainSettings().params()


# ------------------------------------------------------------------------------------------ the explainers' methods

ONE, SEVERAL = {"progress": False}, {"progress": False, "n_workers": None, "on_error": "raise"}
CONTRAST = {"question": "sufficient", "fixed": None, "exclude": None}
METHODS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "image": (AnchorImage.explain, {"image": REQUIRED, "p_sample": 0.5}, ONE | CONTRAST),
    "images": (AnchorImage.explain_batch, {"images": REQUIRED, "p_sample": 0.5}, SEVERAL | CONTRAST),
    "stream of images": (AnchorImage.explain_iter, {"images": REQUIRED, "p_sample": 0.5}, SEVERAL | CONTRAST),
    "row": (AnchorTabular.explain, {"X": REQUIRED}, ONE | CONTRAST),
    "rows": (AnchorTabular.explain_batch, {"rows": REQUIRED}, SEVERAL | CONTRAST),
    "stream of rows": (AnchorTabular.explain_iter, {"rows": REQUIRED}, SEVERAL | CONTRAST),
}
"""Each method with the parameters that come before the reference's, and those by name only that are no settings."""


@pytest.mark.parametrize("case", METHODS)
def test_the_signature_is_that_of_the_reference_and_then_ours(case: str) -> None:
    method, first, last = METHODS[case]
    parameters = inspect.signature(method).parameters
    assert list(parameters) == ["self", *first, *REFERENCE, *OURS, *last]
    assert {name: p.default for name, p in parameters.items() if name != "self"} == {
        **first,
        **REFERENCE,
        **OURS,
        **last,
    }
    for name, parameter in parameters.items():
        by_name_only = name in {*OURS, *last}
        expected = inspect.Parameter.KEYWORD_ONLY if by_name_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert parameter.kind is expected, name


@pytest.mark.parametrize("case", METHODS)
def test_help_tells_each_parameter_once_in_the_order_of_the_signature(case: str) -> None:
    method, *_ = METHODS[case]
    text = inspect.getdoc(method) or ""
    assert text.count("Args:\n") == 1
    told = re.findall(r"^    (\w+): \S", text.partition("Args:\n")[2], flags=re.MULTILINE)
    assert told == list(inspect.signature(method).parameters)[1:]
    assert not text.startswith("Args")  # what the method does comes first


def explainer_of(case: str) -> Any:
    wing = AnchorTabular if "row" in case else AnchorImage
    return wing(lambda rows: rows.flatten(1).sum(1).long(), seed=0)


@pytest.mark.parametrize("case", METHODS)
def test_a_wrong_number_of_values_is_pythons_own_error_of_the_method(case: str) -> None:
    method, first, _ = METHODS[case]
    name, needed = method.__name__, next(iter(first))
    given = explainer_of(case)
    with pytest.raises(TypeError, match=rf"^{name}\(\): missing a required argument: '{needed}'$"):
        method(given)
    with pytest.raises(TypeError, match=rf"^{name}\(\): too many positional arguments$"):
        method(given, *first, *REFERENCE, "one too many")
    with pytest.raises(TypeError, match=rf"^{name}\(\): multiple values for argument '{needed}'$"):
        method(given, [1], **{needed: [1]})


# ------------------------------------------------------------------------------------------------------------- takes


@dataclass(frozen=True)
class _Name:
    """What comes first.

    Args:
        name: whom to greet: by name,
            and in full.
    """

    name: str = field(metadata=NO_SETTING)
    times: int = 1


@dataclass(frozen=True)
class Greeting(OneQuestion, _Name):
    """The parameters of a greeting."""


class Greeter:
    @takes(Greeting)
    def greet(self, question: Greeting) -> Greeting:
        """Greets.

        Raises:
            Nothing.
        """
        return question


def test_a_method_gets_the_fields_of_its_question_as_one_question() -> None:
    assert Greeter().greet("Ada") == Greeting("Ada")
    assert Greeter().greet("Ada", 2, 0.5, label=3, progress=True) == Greeting(
        name="Ada", times=2, threshold=0.5, label=3, progress=True
    )
    assert Greeter().greet(name="Ada").params() == {"times": 1, **ExplainSettings().params()}
    with pytest.raises(ArgumentError, match="threshold must be"):
        Greeter().greet("Ada", threshold=7.0)


def test_a_method_keeps_its_name_and_what_it_says() -> None:
    assert Greeter.greet.__name__ == "greet"
    assert Greeter.greet.__qualname__.endswith("Greeter.greet")
    assert list(inspect.signature(Greeter().greet).parameters)[:3] == ["name", "times", "threshold"]
    assert inspect.signature(Greeter.greet).return_annotation == "Greeting"
    text = inspect.getdoc(Greeter.greet) or ""
    assert text.startswith(
        "Greets.\n\nRaises:\n    Nothing.\n\nArgs:\n    name: whom to greet: by name,\n        and in full."
    )
    assert text.endswith("\n    progress: show a progress bar.")
    assert "times" not in text  # it is documented nowhere


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("tresholds", r"Did you mean threshold\?"),
        ("max_row_total", r"Did you mean max_rows_total\?"),
        ("zzz", r"It has name, times, threshold, .*, progress\."),
    ],
)
def test_an_unknown_name_is_ignored_with_a_warning_that_knows_a_close_one(given: str, hint: str) -> None:
    with pytest.warns(AnchorsWarning, match=rf"^greet has no parameter '{given}'; it is ignored\. {hint}$") as caught:
        assert Greeter().greet("Ada", **{given: 0.5}, delta=0.2) == Greeting("Ada", delta=0.2)
    assert len(caught) == 1


def test_each_unknown_name_is_told() -> None:
    with pytest.warns(AnchorsWarning) as caught:
        Greeter().greet("Ada", deltta=1, aaa=2)
    assert [str(warning.message).split(";")[0] for warning in caught] == [
        "greet has no parameter 'aaa'",
        "greet has no parameter 'deltta'",
    ]
