"""Whole explanations on a GPU that is not there: no mix of devices, and the host waits only where it has to.

The pretended device computes what the CPU computes, so that each explanation must be the CPU's to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.anchor_series import AnchorSeries
from tests.pretended_gpu import CUDA, pretended_gpu
from torch_anchors import AnchorImage, AnchorTabular, Bit, MaskOverlap, SameObject, TopK, Within
from torch_anchors.explanation import Explanation

PHOTOGRAPHS = np.random.default_rng(0).random((3, 24, 32, 3), dtype=np.float32)
ROWS = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
ROWS[:, 3] = np.arange(500) % 3


@pytest.fixture
def gpu() -> Iterator[Any]:
    with pretended_gpu() as waited:
        yield waited


# ------------------------------------------------------------------------------------------------- the device itself


def test_tensors_are_there_and_are_not_mixed_with_those_of_the_host(gpu: Any) -> None:
    there = torch.tensor([1.0, 2.0], device="cuda")
    assert there.device == (there + 1).device == torch.zeros(3, device=CUDA).device == CUDA
    assert (there * 2).cpu().tolist() == [2.0, 4.0]
    assert there[torch.tensor([1])].tolist() == [2.0]
    assert (there + torch.tensor(1.0)).tolist() == [2.0, 3.0]
    with pytest.raises(RuntimeError, match="one device"):
        there + torch.ones(2)
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()


def test_what_waits_is_counted(gpu: Any) -> None:
    there = torch.arange(4, device=CUDA)
    assert not gpu
    there.sum().item()
    there.cpu()
    there.nonzero()
    assert dict(gpu) == {"_local_scalar_dense": 1, "_to_copy": 1, "nonzero": 1}


def test_a_copy_that_is_not_waited_for_is_garbage(gpu: Any) -> None:
    target = torch.zeros(3, pin_memory=True)
    target.copy_(torch.ones(3, device=CUDA), non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    assert not (target == 1).any()
    event.synchronize()
    assert (target == 1).all()


def test_a_module_moves_there(gpu: Any) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).eval().to("cuda")
    assert {one.device for one in (*module.parameters(), *module.buffers())} == {CUDA}
    with torch.inference_mode():
        assert module(torch.ones(4, 3, device=CUDA)).device == CUDA


# ------------------------------------------------------------------------------------------------ whole explanations


def classifier() -> nn.Module:
    torch.manual_seed(3)
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(72, 5)).eval()


class Segmenter(nn.Module):
    """A mask of two classes: light, or not."""

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        light = rows.mean(1) - 0.5
        return {"out": torch.stack([-light, light], 1)}


class Detector(nn.Module):
    """One object for each image, whose box is narrower the darker the upper left corner is."""

    def forward(self, rows: list[Tensor]) -> list[dict[str, Tensor]]:
        one = torch.ones(1, device=rows[0].device)
        return [
            {"boxes": torch.stack([0 * one, 0 * one, 4 + 12 * row[:, :8, :8].mean() * one, 16 * one], 1),
             "labels": one.long(), "scores": 0.9 * one}
            for row in rows
        ]  # fmt: skip


def light(image: Tensor, segments: Tensor) -> Tensor:
    return torch.stack([image * 0.5, 1 - image])


IMAGES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any], dict[str, Any]]] = {
    "mean": (classifier, {}, {}),
    "blur": (classifier, {"fill": "blur"}, {"method": "beam"}),
    "infill": (classifier, {"fill": "infill"}, {}),
    "noise": (classifier, {"fill": "noise"}, {}),
    "constant": (classifier, {"fill": 0.5, "channels_last": True}, {"method": "exact"}),
    "several": (classifier, {"fill": light}, {}),
    "background": (classifier, {"images_background": PHOTOGRAPHS[:2]}, {}),
    "slic": (classifier, {"segmentation_fn": "slic_torch", "segmentation_kwargs": {"n_segments": 9}}, {}),
    "necessary": (classifier, {}, {"question": "necessary"}),
    "two anchors": (classifier, {"fill": 0.0}, {"n_anchors": 2}),
    "fixed": (classifier, {"fill": 0.0}, {"fixed": [0], "exclude": [5]}),
    "top": (classifier, {"fill": 0.0}, {"target": TopK(2)}),
    "bit": (classifier, {"fill": 0.0}, {"target": Bit(1, threshold=0.4)}),
    "mask": (Segmenter, {"fill": 0.0}, {"target": MaskOverlap(0.7)}),
    "object": (Detector, {"fill": 0.0}, {"target": SameObject(iou=0.8)}),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_has_the_explanation_that_it_has_on_the_cpu(kind: str) -> None:
    make, settings, asked = IMAGES[kind]

    def explained(device: torch.device | str) -> list[str]:
        given = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 3}, **settings}
        explainer = AnchorImage(make().to(device), dtype=torch.float32, seed=0, max_rows=32, **given)
        return list(map(facts, explainer.explain_batch(PHOTOGRAPHS[:2], **ALIKE, **asked)))

    same_on_both(explained)


TABLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "interventional": ({}, {}),
    "several": ({}, {"n_anchors": 2}),
    "conditional": ({"sampling": "conditional"}, {}),
    "conditional, by sampling": ({"sampling": "conditional"}, {"method": "beam", "max_anchor_size": 2}),
    "by sampling": ({}, {"method": "beam", "max_anchor_size": 2}),
    "necessary": ({}, {"question": "necessary"}),
    "fixed": ({}, {"method": "beam", "max_anchor_size": 2, "fixed": [0], "exclude": [3]}),
    "within": ({}, {"target": Within(0.5)}),
    "counted within": ({"sampling": "conditional"}, {"target": Within(0.5)}),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_row_has_the_explanation_that_it_has_on_the_cpu(kind: str) -> None:
    settings, asked = TABLES[kind]

    def explained(device: torch.device | str) -> list[str]:
        torch.manual_seed(0)
        n_outputs = 1 if "target" in asked else 3
        network = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, n_outputs)).to(device)
        explainer = AnchorTabular(network, categorical_names={3: ["a", "b", "c"]}, seed=0, max_rows=64, **settings)
        explainer.fit(ROWS)
        return list(map(facts, explainer.explain_batch(ROWS[:4], **ALIKE, **asked)))

    same_on_both(explained)


def test_another_modality_has_the_explanation_that_it_has_on_the_cpu() -> None:
    series = np.sin(np.arange(60) / 4.0)

    def explained(device: torch.device | str) -> list[str]:
        model = nn.Sequential(nn.Linear(60, 2)).to(device)
        with torch.no_grad():
            model[0].weight.copy_(torch.linspace(-1, 1, 120, device=device).view(2, 60))
        return [facts(AnchorSeries(model, n_segments=6, seed=0).explain(series, **ALIKE))]

    same_on_both(explained)


ALIKE = {"batch_size": 16}
"""Rounds of a GPU are larger unless a user wants small ones; and then they are other rounds than on the CPU."""


def same_on_both(explained: Callable[[torch.device | str], list[str]]) -> None:
    on_cpu = explained("cpu")
    with pretended_gpu():
        on_gpu = explained(CUDA)
    assert on_gpu == on_cpu


def facts(explanation: Explanation) -> str:
    """Everything that an explanation holds but times, shared forward passes and the name of the device."""
    known = {k: v for k, v in explanation.to_dict().items() if k not in ("seconds", "n_calls", "meta")}
    saved = {k: v for k, v in explanation.to_fields().items() if k not in ("seconds", "n_calls", "meta")}
    return json.dumps([known, saved])


def test_the_host_waits_for_counts_and_for_nothing_else(gpu: Any) -> None:
    """Counts are waited for by events. At its end an explanation copies its fill, aside from the batches under way."""
    model = classifier().to(CUDA)
    explainer = AnchorImage(model, dtype=torch.float32, seed=0, fill=0.0, segmentation_fn="grid", max_rows=32)
    explainer.explain_batch(PHOTOGRAPHS)  # the model is known to repeat its answers from here on
    gpu.clear()
    explanations = explainer.explain_batch(PHOTOGRAPHS[:2])
    assert max(explanation.n_calls for explanation in explanations) > 2
    assert dict(gpu) == {"aside": len(explanations)}
