"""Processors of transformers do for whole batches what they do for one picture."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_anchors.engine.digest import digest_of
from torch_anchors.errors import ArgumentError
from torch_anchors.models.processor import Processor, ProcessorPreprocess

transformers = pytest.importorskip("transformers")

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "to a square": ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}),
    "to a rectangle": ("ViTImageProcessor", {"size": {"height": 24, "width": 40}, "resample": 3}),
    "to a shorter side, and the middle": (
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}},
    ),
    "by a share": ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.8}),
    "on a scale of its own": ("EfficientNetImageProcessor", {"size": {"height": 32, "width": 32}}),
    "with other means": (
        "ViTImageProcessor",
        {"size": {"height": 16, "width": 16}, "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]},
    ),
    "without normalisation": ("ViTImageProcessor", {"size": {"height": 16, "width": 16}, "do_normalize": False}),
    "without any scale": (
        "ViTImageProcessor",
        {"size": {"height": 16, "width": 16}, "do_normalize": False, "do_rescale": False},
    ),
}


def processor_of(kind: str) -> Any:
    name, settings = KINDS[kind]
    return getattr(transformers, name)(**settings)


def preprocess_of(kind: str) -> ProcessorPreprocess:
    return ProcessorPreprocess.by(Processor.of(processor_of(kind), kind))


def pictures(n: int, height: int, width: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, 3, height, width), dtype=np.uint8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(50, 61), (61, 50), (100, 100), (33, 200), (20, 21)])
def test_it_gives_what_the_processor_gives(kind: str, size: tuple[int, int], device: torch.device) -> None:
    rows = pictures(3, *size).to(device)  # of which bytes are resized in another way than on the CPU
    expected = processor_of(kind)(list(rows), return_tensors="pt")["pixel_values"]
    found = preprocess_of(kind)(rows)
    assert (found.device.type, found.dtype) == (device.type, torch.float32)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_that_fit_are_only_normalised(kind: str) -> None:
    preprocess = preprocess_of(kind)
    rows = pictures(2, *preprocess.input_size)
    assert preprocess.fit(rows) is rows
    fitted = preprocess.fit(pictures(2, 70, 90))
    assert (fitted.dtype, fitted.shape[-2:]) == (torch.uint8, preprocess.input_size)
    torch.testing.assert_close(preprocess(fitted), preprocess(pictures(2, 70, 90)))


def test_one_picture_and_floats_are_fitted_alike() -> None:
    preprocess = preprocess_of("to a shorter side, and the middle")
    rows = pictures(2, 70, 90)
    together = preprocess.fit(rows)
    assert torch.equal(preprocess.fit(rows[1]), together[1])
    floats = preprocess.fit(rows.float())
    assert floats.dtype == torch.float32
    assert (floats - together).abs().mean() < 1  # bytes are rounded between the two directions
    assert floats.min() >= 0
    assert floats.max() <= 255


@pytest.mark.parametrize(
    ("name", "settings", "why"),
    [
        ("MobileViTImageProcessor", {}, r"the colour \(10, 120, 200\) becomes 0\.784, 0\.471 and 0\.0392"),
        ("DetrImageProcessor", {}, "pictures become .*800.*1080"),
        ("ViTImageProcessor", {"size": {"height": 8, "width": 8}, "do_resize": False}, "pictures become .*97, 131"),
    ],
)
def test_a_processor_that_does_something_else_is_refused(name: str, settings: dict[str, Any], why: str) -> None:
    processor = getattr(transformers, name)(**settings)
    with pytest.raises(ArgumentError, match=rf"The processor of hf:net does something else .*{why}.*of your own"):
        Processor.of(processor, "hf:net")


def test_another_input_size_is_refused() -> None:
    processor = Processor.of(processor_of("to a square"), "net")
    preprocess = ProcessorPreprocess((64, 64), mean=processor.mean, std=processor.std, processor=processor)
    with pytest.raises(ArgumentError, match=r"input_size must be .*\(32, 32\), got \(64, 64\)"):
        preprocess.fit(pictures(1, 40, 50))


def test_other_means_change_what_the_network_gets_and_not_how_pictures_are_fitted() -> None:
    processor = Processor.of(processor_of("to a square"), "net")
    plain = ProcessorPreprocess((32, 32), mean=(0.0,) * 3, std=(1.0,) * 3, processor=processor)
    rows = pictures(1, 40, 50)
    assert torch.equal(plain.fit(rows), ProcessorPreprocess.by(processor).fit(rows))
    torch.testing.assert_close(plain(rows), plain.fit(rows) / 255)


def test_it_travels_to_other_processes() -> None:
    preprocess = preprocess_of("to a square")
    again = pickle.loads(pickle.dumps(preprocess))
    assert torch.equal(again(pictures(2, 40, 50)), preprocess(pictures(2, 40, 50)))
    assert digest_of(again) == digest_of(preprocess) != digest_of(preprocess_of("with other means"))
