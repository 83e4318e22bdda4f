"""The parameters of one explain."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors import AnchorImage
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import SearchConfig
from torch_anchors.settings import ExplainSettings

CPU = torch.device("cpu")


def test_names_and_defaults_are_those_of_the_reference() -> None:
    reference = {
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
    assert {name: ExplainSettings().params()[name] for name in reference} == reference
    signature = inspect.signature(AnchorImage.explain).parameters
    assert list(signature)[: len(reference) + 3] == ["self", "image", "p_sample", *reference]
    ours = {name: parameter.default for name, parameter in signature.items()}
    assert {name: ours[name] for name in ExplainSettings().params()} == ExplainSettings().params()


def test_every_setting_is_documented() -> None:
    for field in fields(ExplainSettings):
        assert field.name in ExplainSettings.__doc__
    for field in fields(SearchConfig):
        assert f"{field.name}:" in SearchConfig.__doc__


def test_the_search_gets_what_concerns_it() -> None:
    given = {"threshold": 0.9, "delta": 0.2, "tau": 0.3, "batch_size": 7, "beam_size": 3, "max_rows_total": 55}
    config = ExplainSettings.of(given).config(CPU)
    assert {name: getattr(config, name) for name in given} == given


@pytest.mark.parametrize(
    ("device", "batch_size", "expected"), [("cpu", 100, 16), ("cuda", 100, 100), ("cuda", 500, 128)]
)
def test_rounds_are_larger_where_rows_are_nearly_free(device: str, batch_size: int, expected: int) -> None:
    assert ExplainSettings(batch_size=batch_size).config(torch.device(device)).round_rows == expected


def test_unknown_names_are_told() -> None:
    with pytest.raises(ArgumentError, match="no parameter deltta, tresh; it has threshold, delta"):
        ExplainSettings.of({"tresh": 1, "deltta": 2})


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


@pytest.mark.parametrize("label", [0, 7, -1, np.int64(3), "cat"])
def test_any_whole_number_or_name_may_be_a_label(label: Any, unchecked: None) -> None:
    assert ExplainSettings(label=label).label == label
