"""A label to explain for each instance of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.integrations.planted import FEW, GRID, LABELS, Quarters, explainer_of, pictures
from torch_anchors import AnchorImage, ArgumentError
from torch_anchors.integrations.given_labels import checked_labels, explain_given

IMAGES = torch.from_numpy(pictures())


def test_each_instance_is_explained_for_its_own_label() -> None:
    explainer = explainer_of(Quarters())
    labels = [2, 0, 2]
    found = explain_given(explainer, IMAGES, labels, **FEW)
    assert [one.label for one in found] == labels
    for image, label, one in zip(IMAGES, labels, found, strict=True):
        alone = explainer.explain(image, label=label, **FEW)
        assert (one.features, one.precision) == (alone.features, alone.precision)
        assert one.effects.tolist() == alone.effects.tolist()


def test_labels_that_are_the_models_own_change_nothing() -> None:
    explainer = explainer_of(Quarters())
    found = explain_given(explainer, IMAGES, LABELS, method="beam")
    for one, other in zip(found, explain_given(explainer, IMAGES, method="beam"), strict=True):
        assert one.label == other.label
        assert one.features == other.features
        assert one.effects.tolist() == other.effects.tolist()
    assert explain_given(explainer, IMAGES[:1], 1, **FEW)[0].label == 1


def test_labels_that_a_model_names_have_no_numbers() -> None:
    def named(rows: torch.Tensor) -> np.ndarray:
        return np.where(rows.mean((1, 2, 3)).numpy() > 0.2, "light", "dark")

    explainer = AnchorImage(named, seed=0, dtype=torch.float32, **GRID)
    assert [one.label for one in explain_given(explainer, IMAGES)] == ["light", "dark", "light"]
    with pytest.raises(ArgumentError, match="label must be a class name"):
        explain_given(explainer, IMAGES, LABELS)


@pytest.mark.parametrize("given", [2, [2], [2, 2, 2], torch.tensor(2), torch.full((3,), 2), np.full(3, 2.0)])
def test_one_label_may_be_for_all(given: Any) -> None:
    assert checked_labels(given, 3).tolist() == [2, 2, 2]


@pytest.mark.parametrize("given", [[1, 2], 1.5, "cat", [(1, 2)] * 3, np.zeros((3, 1)), None])
def test_what_are_no_labels_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentError, match="targets must be the number of a class, or one for each of the 3 inputs"):
        checked_labels(given, 3)
