"""Photographs: found again, and cut to what the model saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

from torch_anchors.datasets.report.photographs import Photographs, described, photographs_of
from torch_anchors.errors import ArgumentError
from torch_anchors.models import LoadedModel, Preprocess


def scene(width: int, height: int) -> np.ndarray:
    """Red grows from left to right and green from top to bottom, so that each part of it can be told from others."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)


def saved(folder: Path, width: int, height: int, name: str = "a.png") -> np.ndarray:
    pixels = scene(width, height)
    Image.fromarray(pixels).save(folder / name)
    return pixels


def model(input_size: tuple[int, int], resize: int | None) -> LoadedModel:
    return LoadedModel("some", nn.Identity(), Preprocess(input_size, resize=resize))


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (60, 40), (500, 60)])
@pytest.mark.parametrize(("input_size", "resize"), [((48, 48), 56), ((48, 48), None), ((40, 64), 44)])
def test_what_a_loaded_model_saw(
    tmp_path: Path, size: tuple[int, int], input_size: tuple[int, int], resize: int | None
) -> None:
    pixels = saved(tmp_path, *size)
    own = model(input_size, resize)
    for transform in (own.fit, own.preprocess.fit):
        photographs = photographs_of(described(tmp_path, transform), None, None, 48)
        assert photographs is not None
        found = photographs.read("a.png", input_size).resize(input_size[::-1])
        expected = own.fit(pixels).astype(int)
        assert np.abs(np.asarray(found).astype(int) - expected)[2:-2, 2:-2].max() <= 8


def test_pictures_that_were_explained_as_they_are(tmp_path: Path) -> None:
    pixels = saved(tmp_path, 30, 20)
    photographs = photographs_of(described(tmp_path, None), None, None, 480)
    assert photographs is not None
    np.testing.assert_array_equal(np.asarray(photographs.read("a.png", (20, 30))), pixels)
    with pytest.raises(ArgumentError, match="another shape than the 30 x 20 pixels that were explained"):
        photographs.read("a.png", (30, 20))
    with pytest.raises(ArgumentError, match="there is no file"):
        photographs.read("b.png", (20, 30))


def test_another_transform_is_asked_for(tmp_path: Path) -> None:
    pixels = saved(tmp_path, 30, 20)

    def cropped(image: np.ndarray) -> Any:
        return np.moveaxis(image[5:15, 5:15], -1, -1)

    about = described(tmp_path, cropped)
    unknown = photographs_of(about, None, None, 480)
    assert unknown is not None
    with pytest.raises(ArgumentError, match="give the transform to the report"):
        unknown.read("a.png", (10, 10))
    assert unknown.read("a.png", None).size == (30, 20)  # of an input that failed
    given = photographs_of(about, None, cropped, 480)
    assert given is not None
    np.testing.assert_array_equal(np.asarray(given.read("a.png", (10, 10))), pixels[5:15, 5:15])


def test_a_transform_that_raises_or_returns_floats(tmp_path: Path) -> None:
    pixels = saved(tmp_path, 30, 20)
    floats = Photographs(tmp_path, transform=lambda image: image[..., 0] / 255 - 3).read("a.png", (20, 30))
    assert np.abs(np.asarray(floats)[..., 0].astype(int) - pixels[..., 0]).max() <= 1

    def broken(image: np.ndarray) -> None:
        raise KeyError("no")

    with pytest.raises(ArgumentError, match="transform raised KeyError: 'no'"):
        Photographs(tmp_path, transform=broken).read("a.png", (20, 30))


def test_photographs_that_were_moved_or_never_were_files(tmp_path: Path) -> None:
    saved(tmp_path, 30, 20)
    moved = photographs_of(described(Path("nowhere"), None), tmp_path, None, 480)
    assert moved is not None
    assert moved.read("a.png", (20, 30)).size == (30, 20)
    assert described(None, None) is None
    assert photographs_of(None, None, None, 480) is None
