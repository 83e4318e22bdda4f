"""Checks of settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from torch_anchors import _checks
from torch_anchors.errors import ArgumentError


class Mute:
    def __repr__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("cat", "'cat'"),
        (None, "None"),
        (np.zeros((3, 4)), "ndarray of shape (3, 4)"),
        (np.float64(2), "np.float64(2.0)"),
        (Mute(), "Mute"),
        ("x" * 500, "'" + "x" * 119 + "..."),
    ],
)
def test_a_value_in_words(value: Any, words: str) -> None:
    assert _checks.said(value) == words


def test_what_is_right_passes() -> None:
    assert _checks.flag("verbose", np.bool_(True)) is True
    assert _checks.whole("n", np.int16(3)) == 3
    assert _checks.whole("n", None, or_none=True) is None
    assert _checks.whole("n", 10**30) == 10**30
    assert _checks.between("delta", np.float32(0.5), "a share") == 0.5
    assert _checks.between("delta", 1, "a share", closed="most") == 1
    assert _checks.between("delta", 0, "a share", closed="both") == 0
    assert _checks.one_of("method", "a", ["a", "b"]) == "a"


@pytest.mark.parametrize("value", [True, "1", None, 1.0, np.nan, [1], np.zeros(1), -1, Mute(), 1j])
def test_no_whole_number(value: Any) -> None:
    with pytest.raises(ArgumentError, match="n must be a whole number of at least 0, got "):
        _checks.whole("n", value)


def test_a_number_may_be_too_large() -> None:
    with pytest.raises(ArgumentError, match="None or a whole number of at least 1 and at most 1,000, got 1001"):
        _checks.whole("n", 1001, least=1, most=1000, or_none=True)


@pytest.mark.parametrize("value", [True, "0.5", None, np.nan, np.inf, 0, 1, [0.5], np.full(1, 0.5), Mute()])
def test_no_number_between(value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"delta must be a share in \(0, 1\), got "):
        _checks.between("delta", value, "a share")


@pytest.mark.parametrize(("value", "closed", "range_"), [(0, "most", r"\(0, 1\]"), (1.5, "both", r"\[0, 1\]")])
def test_the_range_is_said(value: Any, closed: str, range_: str) -> None:
    with pytest.raises(ArgumentError, match=rf"delta must be a share in {range_}, got "):
        _checks.between("delta", value, "a share", closed=closed)


@pytest.mark.parametrize("value", [1, 0, None, "True", np.ones(2, dtype=bool)])
def test_no_flag(value: Any) -> None:
    with pytest.raises(ArgumentError, match="verbose must be True or False, got "):
        _checks.flag("verbose", value)


@pytest.mark.parametrize("value", ["c", None, 1, ["a"], np.array(["a"])])
def test_no_choice(value: Any) -> None:
    with pytest.raises(ArgumentError, match="method must be one of 'a', 'b', got "):
        _checks.one_of("method", value, ["a", "b"])
