"""Thumbnails: small, of few bytes, and the anchor where it is."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from torch_anchors.datasets.report.thumbnails import LONGEST, MOST_BYTES, overlay, photograph


def decoded(uri: str) -> Image.Image:
    kind, _, data = uri.partition(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == f"data:image/{(picture.format or '').lower()}"
    return picture


def test_a_large_photograph_becomes_small() -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 900).astype(np.uint8)[None, :, None], (600, 900, 3))
    small = decoded(photograph(Image.fromarray(ramp.copy())))
    assert small.size == (LONGEST, LONGEST * 2 // 3)
    assert np.abs(np.asarray(small)[80, :, 0].astype(int) - np.linspace(0, 255, LONGEST)).max() < 12


def test_a_photograph_with_much_detail_is_kept_less_exactly() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (LONGEST, LONGEST, 3), dtype=np.uint8)
    uri = photograph(Image.fromarray(noise))
    assert len(base64.b64decode(uri.partition(",")[2])) <= MOST_BYTES


@pytest.mark.parametrize("size", [(10, 2000), (2000, 10), (1, 1)])
def test_strange_shapes(size: tuple[int, int]) -> None:
    small = decoded(photograph(Image.new("RGB", size)))
    assert max(small.size) == min(LONGEST, max(size))
    mask = np.ones(size[::-1], dtype=bool)
    assert max(decoded(overlay(mask)).size) == LONGEST


def test_the_overlay_shows_the_anchor_and_dims_the_rest() -> None:
    mask = np.zeros((4, 8), dtype=bool)
    mask[:2, :4] = True
    pixels = np.asarray(decoded(overlay(mask)).convert("RGBA"))
    assert pixels.shape == (LONGEST // 2, LONGEST, 4)
    assert pixels[30, 60, 3] == 0  # seen through
    assert 0 < pixels[90, 180, 3] < 255
    assert tuple(pixels[0, 60]) == tuple(pixels[59, 60]) == (240, 165, 0, 255)
    assert np.mean(pixels[..., 3] == 0) == pytest.approx(0.25, abs=0.03)
