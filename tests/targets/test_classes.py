"""Targets of classifiers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.grids import grid_explainer
from torch_anchors.errors import ArgumentError, PredictorReturnTypeError
from torch_anchors.targets.classes import Bit, NearestText, TopK

CPU = torch.device("cpu")
SCORES = torch.tensor([[0.1, 0.9, 0.5, 0.4], [0.9, 0.5, 0.1, 0.4], [0.9, 0.1, 0.5, 0.4], [0.3, 0.3, 0.3, 0.3]])


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("label", [None, 0, 2])
def test_a_class_is_among_the_first_as_sorting_says(k: int, label: int | None) -> None:
    target = TopK(k, label)
    scores = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    own = target.explained(target.answers(scores[:1], 1, CPU))
    wanted = int(scores[0].argmax()) if label is None else label
    assert own.tolist() == [wanted]
    agreement = target.agreement(target.answers(scores, 50, CPU), own.expand(50))
    first = scores.argsort(dim=1, descending=True)[:, :k]
    assert torch.equal(agreement >= 0, (first == wanted).any(dim=1))


def test_a_tie_is_among_the_first_and_nan_is_no_answer() -> None:
    assert TopK(1).agreement(SCORES[3:], torch.tensor([2])).tolist() == [0.0]
    row = SCORES[:1].clone()
    row[0, 3] = torch.nan
    assert TopK(1).agreement(row, torch.tensor([1])).isnan().all()


def test_the_words_of_a_class_among_the_first() -> None:
    target = TopK(3)
    assert target.name_of(1, torch.tensor([7])) == "class 7 among its first 3"
    assert target.name_of(0, torch.tensor([7])) == "class 7 not among its first 3"
    assert target.names == {0: "not among its first 3", 1: "among its first 3"}
    assert target.said(torch.tensor([7])) == {"class": 7}


@pytest.mark.parametrize(("target", "words"), [(TopK(4), "4 classes, got k=4"), (TopK(2, 4), "classes, got label=4")])
def test_as_many_classes_as_there_are_is_no_question(target: TopK, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        target.answers(SCORES, 4, CPU)


def test_what_has_no_classes_is_an_error() -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"scores \(N, classes\) for target=TopK.*got shape \(4,\)"):
        TopK(1).answers(torch.rand(4), 4, CPU)
    with pytest.raises(PredictorReturnTypeError, match="class names"):
        TopK(1).answers(["a", "b"], 2, CPU)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TopK(0), "k must be a whole number of at least 1, got 0"),
        (lambda: TopK(1, -1), "label must be None or a whole number"),
        (lambda: Bit(-1), "j must be a whole number"),
        (lambda: Bit(0, threshold=float("nan")), "threshold must be a finite number"),
        (lambda: NearestText("cat"), "embeddings must be numbers"),
        (lambda: NearestText([[1.0, 2.0]]), "at least 2 texts, got shape"),
        (lambda: NearestText([[1.0], [float("inf")]]), "finite"),
        (lambda: NearestText([[1.0], [2.0]], ["a"]), "texts must be one for each of the 2 embeddings"),
    ],
)
def test_settings_that_mean_nothing_are_errors(make: Any, words: str, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


def test_a_bit_holds_above_its_threshold() -> None:
    assert (Bit(1, 0.45).labels(SCORES, 4, CPU)[:, 0] > 0).tolist() == [True, True, False, False]
    assert (Bit(1).name_of(1), Bit(1).name_of(0)) == ("yes for label 1", "no for label 1")
    with pytest.raises(ArgumentError, match="j must be one of the predictor's labels, 0 to 3, got 4"):
        Bit(4).labels(SCORES, 4, CPU)


@pytest.mark.parametrize("output", [SCORES, SCORES.numpy(), {"logits": SCORES}, SimpleNamespace(logits=SCORES)])
def test_scores_are_found_wherever_a_classifier_puts_them(output: Any) -> None:
    assert torch.equal(Bit(2).labels(output, 4, CPU)[:, 0], SCORES[:, 2] - 0.5)
    assert torch.equal(TopK(2).answers(output, 4, CPU), SCORES)


def test_both_values_of_a_bit_can_be_explained_and_are_told_from_each_other() -> None:
    image = torch.zeros(1, 4, 4)
    image[0, :2, :2] = 1.0
    explainer = grid_explainer(lambda rows: torch.stack([rows[:, 0, 0, 0], 1 - rows[:, 0, 0, 0]], dim=1), 2)
    for j, label, words in ((0, 1, "yes for label 0"), (1, 0, "no for label 1")):
        explanation = explainer.explain(image, target=Bit(j))
        assert (explanation.features, explanation.label, explanation.label_name) == ((0,), label, words)
    assert explainer.explain(image, target=Bit(1), label=1).success is False


def test_the_nearest_text_is_that_of_the_least_angle_and_has_its_name() -> None:
    texts = np.array([[3.0, 0.0], [0.0, 0.1]])
    target = NearestText(texts, ["a cat", "a dog"])
    images = torch.tensor([[0.2, 0.1], [1.0, 8.0]])
    for output in (images, SimpleNamespace(image_embeds=images), SimpleNamespace(pooler_output=images)):
        assert target.labels(output, 2, CPU).argmax(dim=1).tolist() == [0, 1]
    assert (target.name_of(1), target.name_of(5), NearestText(texts).name_of(1)) == ("a dog", None, None)
    assert target.names == {0: "a cat", 1: "a dog"}
    with pytest.raises(PredictorReturnTypeError, match=r"embeddings of images \(N, 2\).*got shape \(2, 3\)"):
        target.labels(torch.rand(2, 3), 2, CPU)


def test_the_explanation_of_the_nearest_text_names_it() -> None:
    image = torch.zeros(1, 4, 4)
    image[0, 2:, 2:] = 1.0
    explainer = grid_explainer(lambda rows: torch.stack([rows[:, 0, 0, 0] + 0.1, rows[:, 0, 3, 3]], dim=1), 2)
    explanation = explainer.explain(image, target=NearestText([[1.0, 0.0], [0.0, 1.0]], ["a cat", "a dog"]))
    assert (explanation.features, explanation.label, explanation.label_words) == ((3,), 1, "a dog")
    assert explanation.answer_names == {0: "a cat", 1: "a dog"}
