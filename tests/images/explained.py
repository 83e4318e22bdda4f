"""Explanations of images, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torch_anchors.images.examples import ExampleRows
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.images.pixels import Layout, to_chw
from torch_anchors.search.protocol import Status, Step

SEGMENTS = np.array([[0, 0, 1], [2, 2, 1]])


def explanation_of(image: Any = None, **changes: Any) -> ImageExplanation:
    """An explanation of a tiny image, with one hit on a background of 9s and one miss on a background of 0s."""
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) if image is None else image
    pixels = to_chw(image).numpy()
    rows = ExampleRows(
        fill=np.stack([np.zeros_like(pixels), np.full_like(pixels, 9.0)]),
        keep=np.array([[True, False, True], [True, True, False]]),
        background=np.array([1, 0]),
        labels=np.array([5, 2]),
        hits=np.array([True, False]),
    )
    given: dict[str, Any] = {
        "features": (0, 2),
        "names": ("superpixel 0", "superpixel 2"),
        "precision": 0.98,
        "precision_interval": (0.9512, 0.9979),
        "coverage": 0.25,
        "status": Status.CERTIFIED,
        "label": 5,
        "threshold": 0.95,
        "delta": 0.1,
        "n_rows": 1234,
        "n_calls": 17,
        "seconds": 0.456,
        "path": (Step((), 0.5, 1.0, 100), Step((2,), 0.8, 0.5, 60), Step((0, 2), 0.98, 0.25, 80)),
        "meta": {"name": "AnchorImage", "params": {"seed": np.int64(3), "dtype": torch.float32, "shape": (2, 3)}},
        "image": image,
        "label_map": SEGMENTS.astype(np.uint8),
        "layout": Layout.of(image),
        "rows": rows,
    }
    return ImageExplanation(**{**given, **changes})


def quarters(height: int, width: int) -> np.ndarray:
    return (np.arange(height) * 2 // height)[:, None] * 2 + np.arange(width) * 2 // width


def explanation_of_quarters(
    image: Any,
    features: tuple[int, ...] = (0, 3),
    status: Status = Status.CERTIFIED,
    n_hits: int = 4,
    n_misses: int = 4,
    interval: tuple[float, float] = (0.951, 0.998),
) -> ImageExplanation:
    """An explanation of the image cut into quarters, whose examples hide all quarters in turn with zeros."""
    pixels = to_chw(image).numpy()
    n = n_hits + n_misses
    keep = np.ones((n, 4), dtype=bool)
    keep[np.arange(n), np.arange(n) % 4] = False
    hits = np.arange(n) < n_hits
    rows = ExampleRows(
        fill=np.zeros_like(pixels)[None],
        keep=keep,
        background=np.zeros(n, dtype=np.int64),
        labels=np.where(hits, 7, 2).astype(np.int64),
        hits=hits,
    )
    return ImageExplanation(
        features=features,
        names=tuple(f"superpixel {k}" for k in features),
        precision=0.983,
        precision_interval=interval,
        coverage=0.5 ** len(features),
        status=status,
        label=7,
        threshold=0.95,
        delta=0.1,
        n_rows=12345,
        n_calls=100,
        seconds=123.4,
        path=(),
        image=image,
        label_map=quarters(*pixels.shape[1:]).astype(np.uint8),
        layout=Layout.of(image),
        rows=rows,
    )


def photograph(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
