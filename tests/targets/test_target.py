"""What all targets have in common, and a user's own ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.grids import grid_explainer
from torch_anchors.errors import ArgumentError, PredictorCallError, PredictorReturnTypeError
from torch_anchors.targets.classes import Bit, TopK
from torch_anchors.targets.target import Argmax, Comparison, Function
from torch_anchors.targets.values import Within

CPU = torch.device("cpu")


def test_the_argmax_reads_an_output_as_it_is() -> None:
    output = torch.rand(2, 3)
    assert Argmax().labels(output, 2, CPU) is output
    assert (Argmax().name_of(1), dict(Argmax().names)) == (None, {})
    assert Argmax() == Argmax()


def test_a_function_is_asked_about_the_raw_output_of_a_batch() -> None:
    def length(output: list[str]) -> list[int]:
        return [len(text) for text in output]

    target = Function(length)
    assert target.labels(["a", "bcd"], 2, CPU) == [1, 3]
    assert repr(target) == "length"
    assert target == Function(length) != Function(len)


IMAGE = torch.ones(1, 4, 4)


@pytest.mark.parametrize(
    ("function", "label"),
    [
        (lambda output: output["depth"][:, 0, 0] > 0.5, 1),
        (lambda output: (output["depth"][:, 0, 0] > 0.5).numpy(), 1),
        (lambda output: ["far" if value > 0.5 else "near" for value in output["depth"][:, 0, 0].tolist()], "far"),
        (lambda output: torch.stack([0.5 - output["depth"][:, 0, 0], output["depth"][:, 0, 0]], dim=1), 1),
    ],
)
def test_a_function_of_the_raw_output_is_explained(function: Any, label: int | str) -> None:
    explainer = grid_explainer(lambda rows: {"depth": rows[:, 0], "other": rows}, 2)
    explanation = explainer.explain(IMAGE, target=function)
    assert (explanation.features, explanation.label, explanation.success) == ((0,), label, True)


def test_a_function_that_raises_is_told_once() -> None:
    explainer = grid_explainer(lambda rows: rows[:, 0], 2)
    with pytest.raises(PredictorCallError, match=r"The target raised KeyError: 'depth' \(called with .* of shape"):
        explainer.explain(IMAGE, target=lambda output: {}["depth"])


def test_a_function_that_answers_another_number_of_rows_is_told() -> None:
    explainer = grid_explainer(lambda rows: rows[:, 0], 2)
    with pytest.raises(PredictorReturnTypeError, match=r"expected .* rows, got shape"):
        explainer.explain(IMAGE, target=lambda output: torch.zeros(3, dtype=torch.int64))


class Peak(Comparison):
    """The brightest pixel is at most one pixel away from that of the instance."""

    def answers(self, output: Any, n: int, device: torch.device) -> Tensor:
        return output.flatten(1).argmax(dim=1)

    def explained(self, answers: Tensor) -> Tensor:
        return answers

    def agreement(self, answers: Tensor, explained: Tensor) -> Tensor:
        rows = (answers // 4 - explained // 4).abs().maximum((answers % 4 - explained % 4).abs())
        return 1.0 - rows

    def name_of(self, label: int, explained: Tensor | None = None) -> str:
        return "the peak near its place" if label == 1 else "a peak elsewhere"

    def said(self, explained: Tensor) -> dict[str, Any]:
        return {"place": int(explained)}


def test_a_comparison_of_a_user_is_explained_and_said() -> None:
    image = torch.zeros(1, 4, 4)
    image[0, 3, 3], image[0, 0, 0] = 2.0, 1.0
    explanation = grid_explainer(lambda rows: rows[:, 0], 2).explain(image, target=Peak())
    assert explanation.features == (3,)
    assert explanation.said == {"place": 15}
    assert "the model answers the peak near its place" in str(explanation)
    assert explanation.label == 1


def test_instances_of_a_batch_are_compared_each_with_its_own_answer() -> None:
    images = []
    for place in range(4):
        image = torch.full((1, 4, 4), 0.1 * (place + 1))
        image[0, 3 * (place // 2), 3 * (place % 2)] = 2.0
        images.append(image)
    explainer = grid_explainer(lambda rows: rows[:, 0], 2)
    together = explainer.explain_batch(images, target=Peak())
    assert [explanation.features for explanation in together] == [(0,), (1,), (2,), (3,)]
    for image, explanation in zip(images, together, strict=True):
        alone = explainer.explain(image, target=Peak())
        assert (alone.said, alone.n_rows, alone.precision_interval) == (
            explanation.said,
            explanation.n_rows,
            explanation.precision_interval,
        )
        assert np.array_equal(alone.rows.keep, explanation.rows.keep)


@pytest.mark.parametrize("method", ["guided", "beam", "exact"])
def test_what_must_be_hidden_to_change_an_answer_is_found_for_a_target_as_well(method: str) -> None:
    image = torch.ones(1, 4, 4)
    explainer = grid_explainer(lambda rows: rows[:, 0].flatten(1).amax(1) * 10, 2)
    explanation = explainer.explain(image, target=Within(1), question="necessary", method=method)
    assert explanation.features == (0, 1, 2, 3)
    assert "a value within 1 of 10" in str(explanation)


@pytest.mark.parametrize("method", ["guided", "beam", "exact"])
def test_a_class_that_is_not_among_the_first_is_explained_as_well(method: str) -> None:
    """Hits are then the rows in which it is not, and so the margins have the other sign."""
    image = torch.zeros(1, 4, 4)
    image[0, :2, :2] = 1.0
    explainer = grid_explainer(lambda rows: torch.stack([rows[:, 0, 0, 0], 0.5 - rows[:, 0, 3, 3]], dim=1), 2)
    explanation = explainer.explain(image, target=TopK(1, label=1), method=method)
    assert (explanation.features, explanation.label, explanation.success) == ((0,), 0, True)
    assert explanation.label_words == "class 1 not among its first 1"


class TestNamesOfClasses:
    """Names that the explainer was given are in the words of targets about classes."""

    def explained(self, class_names: Any, **asked: Any) -> Any:
        image = torch.zeros(1, 4, 4)
        image[0, :2, :2] = 1.0
        explainer = grid_explainer(
            lambda rows: torch.stack([rows[:, 0, 0, 0], 0.5 - rows[:, 0, 3, 3]], dim=1), 2, class_names=class_names
        )
        return explainer.explain(image, **asked)

    @pytest.mark.parametrize("class_names", [["cup", "dog"], {0: "cup", 1: "dog"}])
    def test_are_what_an_answer_is_called(self, class_names: Any) -> None:
        found = self.explained(class_names, target=TopK(1))
        assert found.label_words == "cup among its first 1"
        assert found.said == {"class": 0, "class_name": "cup"}
        assert "the model answers cup among its first 1" in str(found)
        assert "Cup among its first 1" in found._headline(None)
        assert type(found).from_json(found.to_json()).label_words == found.label_words
        assert self.explained(class_names, target=Bit(1)).label_words == "no for dog"

    def test_of_the_target_itself_come_first(self) -> None:
        found = self.explained(["cup", "dog"], target=TopK(1, class_names=["mug", "hound"]))
        assert found.label_words == "mug among its first 1"

    def test_that_are_missing_are_numbers(self) -> None:
        found = self.explained({1: "dog"}, target=TopK(1))
        assert (found.label_words, found.said) == ("class 0 among its first 1", {"class": 0})

    def test_do_not_make_another_question_of_it(self) -> None:
        assert TopK(1, class_names=["a", "b"]) == TopK(1)
        assert repr(TopK(1, class_names=["a", "b"])) == repr(TopK(1))
        assert Within(1).named(["a"]) == Within(1)

    def test_must_be_texts(self, unchecked: None) -> None:
        with pytest.raises(ArgumentError, match="class_names must be a text for each class"):
            TopK(1, class_names="espresso")
