"""Anchors judged by Quantus: its protocol, and its metrics on a batch that holds an empty anchor."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.integrations.planted import FEW, LABELS, Quarters, explainer_of, pictures
from torch_anchors import AnchorTabular, ArgumentError, Status
from torch_anchors.integrations.quantus import explain_func

IMAGES = pictures()


def test_images_get_maps_of_one_channel() -> None:
    model = Quarters()
    maps = explain_func(model=model, inputs=IMAGES, targets=LABELS, explainer=explainer_of(model), **FEW)
    assert maps.shape == (3, 1, 16, 16)
    assert maps.dtype == np.float32
    for image, own in zip(IMAGES, maps, strict=True):
        explanation = explainer_of(model).explain(torch.from_numpy(image), **FEW)
        np.testing.assert_array_equal(own[0], explanation.attribution())
    assert (maps[0, 0, :8, :8] == 1).all()


@pytest.mark.parametrize("kind", ["order", "marginal", "member"])
def test_no_map_is_constant(kind: str) -> None:
    """The second picture's anchor is empty, and nothing that is hidden changes its label."""
    model = Quarters()
    explainer = explainer_of(model)
    assert explainer.explain(torch.from_numpy(IMAGES[1])).status is Status.EMPTY_HOLDS
    maps = explain_func(model, IMAGES, LABELS, explainer=explainer, kind=kind)
    assert all(own.min() < own.max() for own in maps)


def test_the_label_that_quantus_asks_about_is_explained() -> None:
    model = Quarters()
    first, other = (
        explain_func(model, IMAGES[:1], [label], explainer=explainer_of(model), kind="marginal", **FEW)
        for label in (1, 0)
    )
    assert first[0, 0, 0, 0] == 1
    assert other[0, 0, 0, 0] == -1


def test_another_model_is_explained_and_the_users_explainer_is_left_alone() -> None:
    model, other = Quarters(), Quarters()
    with torch.no_grad():
        other.linear.weight[1] = torch.tensor([0.0, 6, 0, 0])
    explainer = explainer_of(model)
    image = IMAGES[:1].copy()
    image[:, :, :8] = 1.0
    maps = explain_func(other, image, [1], explainer=explainer, kind="marginal", **FEW)
    assert maps[0, 0, 0].tolist() == [0.0] * 8 + [1.0] * 8
    assert explainer.predictor.model is model
    assert explain_func(model, image, [1], explainer=explainer, kind="marginal", **FEW)[0, 0, 0, 0] == 1


def test_images_need_no_explainer() -> None:
    maps = explain_func(Quarters(), IMAGES[:1], kind="order", max_rows_total=50, device="cpu")
    assert maps.shape == (1, 1, 16, 16)


class Columns(nn.Module):
    """Class 1 where the first column is above 0 and the block of three that follows says the second category."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hit = (rows[:, 0] > 0) & (rows[:, 2] > 0.5)
        return torch.stack([~hit, hit], dim=1).float()


def test_rows_get_a_number_for_each_feature_that_the_model_reads() -> None:
    rng = np.random.default_rng(1)
    block = np.eye(3)[rng.integers(0, 3, 500)]
    rows = np.hstack([rng.normal(size=(500, 1)), block, rng.normal(size=(500, 1))]).astype(np.float32)
    model = Columns()
    explainer = AnchorTabular(model, ["a", "b", "c"], {1: ["x", "y", "z"]}, ohe=True, seed=0).fit(rows)
    some = rows[(rows[:, 0] > 0.7) & (rows[:, 2] == 1)][:4]
    values = explain_func(model, some, np.ones(4, dtype=int), explainer=explainer, kind="marginal")
    assert values.shape == (4, 5)
    assert values.dtype == np.float32
    assert (values[:, 1] == values[:, 2]).all()
    assert (values[:, 2] == values[:, 3]).all()
    assert values[:, [0, 2]].min() > 0.1
    assert np.abs(values[:, 4]).max() < 0.1
    again = explain_func(copy.deepcopy(model), some, np.ones(4, dtype=int), explainer=explainer, kind="marginal")
    np.testing.assert_array_equal(values, again)


@pytest.mark.parametrize(
    ("inputs", "settings", "complaint"),
    [
        (np.zeros((2, 5)), {}, r"explainer must be given for inputs of shape \(2, 5\)"),
        (np.zeros((2, 5)), {"explainer": explainer_of(Quarters())}, r"inputs must be images \(N, C, H, W\)"),
        (IMAGES, {"explainer": AnchorTabular(Columns())}, r"inputs must be rows \(N, features\) for AnchorTabular"),
        (IMAGES, {"explainer": "anchors"}, "explainer must be an AnchorImage or an AnchorTabular, got 'anchors'"),
        (IMAGES, {"explainer": explainer_of(Quarters()), "kind": "size"}, "kind must be one of 'order'"),
    ],
)
def test_errors_say_what_to_do(inputs: np.ndarray, settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        explain_func(Quarters(), inputs, **settings)


@pytest.mark.filterwarnings("ignore::UserWarning:quantus", "ignore::RuntimeWarning")
def test_metrics_of_four_families_judge_a_batch_that_holds_an_empty_anchor() -> None:
    quantus = pytest.importorskip("quantus")
    quiet = {"disable_warnings": True, "display_progressbar": False}
    metrics = {
        "faithfulness": quantus.FaithfulnessCorrelation(nr_runs=10, subset_size=64, return_aggregate=False, **quiet),
        "robustness": quantus.MaxSensitivity(nr_samples=2, lower_bound=0.05, **quiet),
        "complexity": quantus.Sparseness(**quiet),
        "randomisation": quantus.RandomLogit(num_classes=3, **quiet),
    }
    model = Quarters().eval()
    explainer = explainer_of(model)
    found = quantus.evaluate(
        metrics,
        {"anchors": explain_func},
        model,
        IMAGES,
        LABELS,
        explain_func_kwargs={"explainer": explainer, "kind": "marginal"},
        verbose=False,
    )["anchors"]
    assert set(found) == set(metrics)
    for name, scores in found.items():
        assert len(scores) == 3, name
        assert all(math.isfinite(score) for score in scores), name
    assert found["faithfulness"][0] > 0.5  # what it says of the light quarter is true
