"""What explanations of images say of each question."""

from __future__ import annotations

from typing import Any

import pytest

from tests.images.explained import explanation_of
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.images.sentences import constraints, headline
from torch_anchors.search.protocol import Status

P_SAMPLE = {"params": {"p_sample": 0.25}}


def necessary(**changes: Any) -> ImageExplanation:
    return explanation_of(**{"question": "necessary", "answer": 5, **changes})


@pytest.mark.parametrize(
    ("explanation", "expected"),
    [
        (explanation_of(), "cat, as long as these 2 of 3 superpixels stay visible"),
        (explanation_of(features=(1,)), "cat, as long as this one of 3 superpixels stays visible"),
        (explanation_of(features=(), status=Status.EMPTY_HOLDS), "cat, whatever is hidden"),
        (necessary(), "No longer cat, once these 2 of 3 superpixels are hidden"),
        (necessary(features=(1,)), "No longer cat, once this one of 3 superpixels is hidden"),
        (necessary(features=(), status=Status.EMPTY_HOLDS), "No longer cat, once superpixels are hidden at random"),
        (necessary(status=Status.ROW_BUDGET), "cat: the row budget was spent before an anchor was certified"),
        (necessary(status=Status.NOT_FOUND), "cat: no anchor reached the threshold of 0.95"),
    ],
)
def test_headlines(explanation: ImageExplanation, expected: str) -> None:
    assert headline(explanation, "cat") == expected


def test_words_of_what_is_necessary() -> None:
    assert str(necessary(features=(0,), names=("superpixel 0",))).startswith(
        "While superpixel 0 of 3 is hidden, the model answers something else than label 5 with precision at least "
        "0.951 with 90 % confidence (the estimate is 0.980), whatever the other superpixels show; that covers 25 % of "
        "all perturbed images. It took "
    )
    assert "While superpixels 0 and 2 of 3 are hidden" in str(necessary())
    empty = str(necessary(features=(), names=(), status=Status.EMPTY_HOLDS, meta=P_SAMPLE))
    assert (
        "hidden at random (each with probability 0.25), the model answers something else than label 5 anyway" in empty
    )
    assert "A smaller p_sample hides fewer" in empty
    assert "hidden at random, the" in str(necessary(features=(), names=(), status=Status.EMPTY_HOLDS, meta={}))
    lost = str(necessary(features=(), names=(), status=Status.NOT_FOUND))
    assert "No superpixels were found that change label 5 while they are hidden: with none in particular hidden" in lost
    assert "No anchor reached the threshold" in lost


def test_words_of_an_anchor_that_is_all_there_is() -> None:
    everything = {"features": (0, 1, 2), "names": ("a", "b", "c")}
    assert "model answers so for the picture itself" in explanation_of(**everything).remark
    assert "answers otherwise where all of it is hidden" in necessary(**everything).remark
    assert explanation_of(**everything, status=Status.NOT_FOUND).remark == ""
    rest = explanation_of(features=(0, 1), names=("a", "b"), fixed=(2,))
    assert rest.remark.startswith("That is all that were hidden at all, ")
    assert explanation_of(features=(0, 1), names=("a", "b")).remark == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ""),
        ({"fixed": (2,)}, "Superpixel 2 always stays visible."),
        ({"fixed": (1, 2)}, "Superpixels 1 and 2 always stay visible."),
        ({"excluded": (0,)}, "Superpixel 0 may not be in an anchor."),
        (
            {"fixed": (1, 2), "excluded": (0, 1)},
            "Superpixels 1 and 2 always stay visible. Superpixels 0 and 1 may not be in an anchor. That leaves none "
            "for an anchor.",
        ),
    ],
)
def test_constraints_are_said(changes: dict[str, Any], expected: str) -> None:
    explanation = explanation_of(**changes)
    assert constraints(explanation) == expected
    assert expected in str(explanation)
    assert "  " not in str(explanation)


@pytest.mark.parametrize("question", ["sufficient", "necessary"])
def test_an_image_that_is_not_of_the_label_is_said_to_be_another(question: str) -> None:
    words = "For the instance itself the model answers label 2, not label 5."
    assert words in str(explanation_of(answer=2, question=question))
    assert "itself" not in str(explanation_of(answer=5, question=question))
    assert "itself" not in str(explanation_of(answer=None, question=question))
    named = explanation_of(answer="dog", label="cat", label_name="cat", question=question)
    assert "For the instance itself the model answers dog, not cat." in str(named)
