"""Random images, models and settings: alone = together = in another order and batch size, and nothing is changed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from tests.fuzz import FEW, MANY, check_promises, facts, untouched
from torch_anchors import AnchorImage
from torch_anchors.errors import AnchorsWarning

NAMES = np.array(["dark", "grey", "light"])
FOUR: dict[str, Any] = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 2}}
TWELVE: dict[str, Any] = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 4}}


def columns(image: np.ndarray) -> np.ndarray:
    """Every column of pixels is a superpixel."""
    return np.arange(image.shape[1])[None].repeat(len(image), 0)


class Net(nn.Module):
    """Scores of a few places of an image, with parts whose mode matters."""

    def __init__(self, seed: int, n_channels: int, n_classes: int) -> None:
        super().__init__()
        weights = np.random.default_rng(seed).integers(-8, 9, (n_classes, n_channels, 2, 2))
        self.norm, self.drop = nn.BatchNorm2d(n_channels), nn.Dropout(0.5)
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float32))

    def forward(self, rows: Tensor) -> Tensor:
        corners = self.drop(self.norm(rows))[:, :, [0, -1]][:, :, :, [0, -1]]
        return (corners[:, None] * self.weights).round(decimals=3).sum((2, 3, 4))


def model_of(kind: str, seed: int, n_channels: int, in_bytes: bool) -> Any:
    """A model: the same thought as a module, a function of tensors or of arrays, or one that returns names."""
    net = Net(seed, n_channels, 3).train(seed % 2 == 0)
    if kind == "module":
        return net
    still = Net(seed, n_channels, 3).eval()

    def labels(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return still(rows).argmax(1)

    if kind == "function":
        return labels
    if kind == "names":
        return lambda rows: NAMES[labels(torch.from_numpy(rows).movedim(-1, 1)).numpy()]
    middle = 128 if in_bytes else 0.5
    return lambda rows: torch.as_tensor(rows).flatten(1)[:, ::7].mean(1, keepdim=True) - middle


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """Images of one kind, a model, and settings of explainer and search."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_channels = draw(st.sampled_from([1, 3]))
    in_bytes = draw(st.booleans())
    layout = draw(st.sampled_from(["array", "tensor", "PIL" if in_bytes else "array"]))
    sizes = draw(st.lists(st.tuples(st.integers(4, 13), st.integers(4, 13)), min_size=1, max_size=4))
    same = draw(st.booleans())
    images = []
    for height, width in [sizes[0]] * len(sizes) if same else sizes:
        pixels = rng.integers(0, 256, (height, width, n_channels)).astype(np.uint8)
        pixels = pixels if in_bytes else (pixels / np.float32(255)).astype(np.float32)
        if layout == "tensor":
            images.append(torch.from_numpy(pixels).permute(2, 0, 1))
        elif layout == "PIL":
            images.append(Image.fromarray(pixels if n_channels == 3 else pixels[..., 0]))
        else:
            images.append(pixels)
    kind = draw(st.sampled_from(["module", "function", "names", "logit"]))
    cut: dict[str, Any] = draw(st.sampled_from([FOUR, TWELVE, {"segmentation_fn": columns}]))
    methods = ["auto", "beam", "exact"] if cut is FOUR else ["auto", "beam"]  # more copies are refused
    search = {
        "threshold": draw(st.sampled_from([0.6, 0.8, 0.95, 1.0])),
        "delta": draw(st.sampled_from([0.05, 0.1, 0.5])),
        "p_sample": draw(st.sampled_from([0.2, 0.5, 0.9])),
        "method": draw(st.sampled_from(methods)),
        "beam_size": draw(st.integers(1, 3)),
        "batch_size": draw(st.sampled_from([5, 100])),
        "max_anchor_size": draw(st.sampled_from([None, 1, 3, 1000])),
        "n_covered_ex": draw(st.integers(0, 3)),
        "stop_on_first": draw(st.booleans()),
        "max_rows_total": draw(st.sampled_from([30, 400])),
        "n_anchors": draw(st.sampled_from([1, 1, 3])),
    }
    return {
        "images": images,
        "model": model_of(kind, draw(st.integers(0, 50)), n_channels, in_bytes),
        "made": {
            "dtype": np.float32 if kind == "names" else torch.float32,
            **cut,
            "fill": draw(st.sampled_from(["mean", "blur", "infill", "constant", 0.25])),
            "seed": draw(st.sampled_from([0, 7, 10**30])),
        },
        "search": search,
        "max_rows": draw(st.sampled_from(["auto", 1, 7, 64])),
    }


def explained(question: dict[str, Any], images: list[Any], max_rows: Any) -> list[Any]:
    explainer = AnchorImage(question["model"], max_rows=max_rows, **question["made"])
    return explainer.explain_batch(images, **question["search"])


def check(question: dict[str, Any]) -> None:
    images, model = question["images"], question["model"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AnchorsWarning)
        with untouched(model, [np.asarray(image) for image in images]):
            together = explained(question, images, question["max_rows"])
            backwards = explained(question, images[::-1], 16)[::-1]
            alone = [AnchorImage(model, **question["made"]).explain(image, **question["search"]) for image in images]
    expected = [facts(one) for one in alone]
    assert [facts(one) for one in together] == expected
    assert [facts(one) for one in backwards] == expected
    for one, image in zip(together, images, strict=True):
        check_promises(one, question["search"]["threshold"])
        assert one.n_rows <= question["search"]["max_rows_total"]
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(image))
        assert one.coverage == pytest.approx((1 - question["search"]["p_sample"]) ** len(one.features))
        assert all(isinstance(example.label, type(one.label)) for example in one.examples)


@pytest.mark.usefixtures("unchecked")
@given(questions())
@FEW
def test_images(question: dict[str, Any]) -> None:
    check(question)


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@given(questions())
@MANY
def test_many_images(question: dict[str, Any]) -> None:
    check(question)
