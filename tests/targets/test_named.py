"""Targets by what users write."""

from __future__ import annotations

from typing import Any

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.targets.classes import Bit, NearestText, TopK
from torch_anchors.targets.named import TARGETS, parsed_target, target_of
from torch_anchors.targets.regions import MaskOverlap, SameObject
from torch_anchors.targets.target import Argmax, Function
from torch_anchors.targets.values import Between, Within


def test_a_target_is_itself_a_function_is_asked_and_nothing_is_the_argmax() -> None:
    assert target_of(Within(3)) == Within(3)
    assert target_of(len) == Function(len)
    assert target_of(None) == Argmax()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (3, r"one of Argmax, TopK.* or a function .* got 3. The number or name of a class is given as label="),
        ("Within(3)", "got 'Within"),
        (Within, r"must be an object, as in Within\(...\), got the class Within"),
    ],
)
def test_what_is_no_target_is_an_error(given: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        target_of(given)


TARGETS_IN_WORDS = [
    Argmax(),
    TopK(3),
    TopK(3, 7),
    Bit(4),
    Bit(4, -0.5),
    Within(0.5),
    Between(1, 5),
    Between(high=3),
    SameObject(),
    SameObject(0.4, 0.3, 2, as_list=False),
    MaskOverlap(),
    MaskOverlap(0.5, 3),
]


@pytest.mark.parametrize("target", TARGETS_IN_WORDS, ids=repr)
def test_what_explanations_say_of_a_target_can_be_read_again(target: Any) -> None:
    assert parsed_target(repr(target)) == target


def test_every_target_that_can_be_named_is_here() -> None:
    assert {type(target) for target in TARGETS_IN_WORDS} == set(TARGETS.values())
    assert repr(NearestText([[1.0], [2.0]])) == "NearestText(2 texts)"


def test_a_name_alone_is_enough_where_nothing_must_be_said() -> None:
    assert parsed_target(" SameObject ") == SameObject()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Withn(3)", "one of Argmax, .* got 'Withn'. Did you mean Within?"),
        ("Within", "target cannot be 'Within': .*tolerance"),
        ("Within(3, 4)", r"target cannot be 'Within\(3, 4\)'"),
        ("Within(open('x'))", "target cannot be"),
        ("Within(0)", "tolerance must be a number above 0"),
        ("3", r"target must be such as Within\(10\)"),
        ("a.b(3)", "target must be such as"),
        ("Within(3", "target must be such as"),
        ("", "target must be such as"),
    ],
)
def test_text_that_names_no_target_is_an_error(text: str, words: str, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=words):
        parsed_target(text)
