"""From numbers, masks and callables to superpixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.errors import ArgumentError
from torch_anchors.images.regions import region_words, superpixels_of

SEGMENTS = np.array([[0, 0, 1, 1], [2, 2, 3, 3]])
IMAGE = np.zeros((2, 4, 3), dtype=np.uint8)
LEFT = np.array([[True, True, True, False], [True, True, False, False]])
"""All of superpixels 0 and 2, half of 1 and none of 3."""


def resolved(region: Any, name: str = "fixed") -> tuple[int, ...]:
    return superpixels_of(region, IMAGE, SEGMENTS, name=name)


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (None, ()),
        ((), ()),
        (np.zeros(0), ()),
        (2, (2,)),
        (np.int64(3), (3,)),
        ([3, 0, 3], (0, 3)),
        ({1}, (1,)),
        (range(2), (0, 1)),
        (np.array([1, 3], dtype=np.uint8), (1, 3)),
        (torch.tensor([2, 1]), (1, 2)),
        (LEFT, (0, 2)),
        (torch.from_numpy(LEFT), (0, 2)),
        (LEFT.tolist(), (0, 2)),
        (lambda image, segments: segments == 1, (1,)),
        (lambda image, segments: [0, int(segments.max())], (0, 3)),
        (lambda image, segments: None, ()),
    ],
)
def test_what_names_superpixels(region: Any, expected: tuple[int, ...]) -> None:
    assert resolved(region) == expected


def test_a_superpixel_is_in_a_region_if_more_than_half_of_it_is() -> None:
    segments = np.array([[0] * 5 + [1] * 4])
    for inside, expected in [(3, (0,)), (5, (0,)), (7, (0,)), (8, (0, 1))]:
        mask = np.arange(9)[None] < inside
        assert superpixels_of(mask, segments, segments, name="fixed") == expected


def test_a_callable_gets_the_image_and_its_superpixels_and_may_write_to_them() -> None:
    seen = []

    def region(image: np.ndarray, segments: np.ndarray) -> list[int]:
        seen.append((image.shape, segments.tolist()))
        image[:], segments[:] = 1, 7
        return [1]

    assert resolved(region) == (1,)
    assert seen == [((2, 4, 3), SEGMENTS.tolist())]
    assert IMAGE.max() == 0
    assert SEGMENTS.max() == 3


@pytest.mark.parametrize(
    ("region", "complaint"),
    [
        (4, "there are the superpixels 0 to 3, got 4"),
        ([0, -1], r"superpixels 0 to 3, got \[0, -1\]"),
        ([0.5], r"must be numbers of superpixels, a boolean mask .* got \[0.5\]"),
        (["sky"], r"got \['sky'\]"),
        ("sky", "got 'sky'"),
        ([[0], [1, 2]], "must be numbers of superpixels"),
        (LEFT.astype(np.uint8), "Of a mask in numbers pass mask > 0"),
        (LEFT.T, r"a mask of the image's \(2, 4\) pixels, got one of shape \(4, 2\). For images of several sizes"),
        (np.ones(4, dtype=bool), r"got one of shape \(4,\)"),
        (np.zeros((2, 4), dtype=bool), "more than half of some superpixel, got a mask of 0 pixels that holds none"),
        (SEGMENTS * 0 == 1, "Mark a larger region"),
        (lambda image, segments: 1 / 0, r"raised ZeroDivisionError.* \(on an image of shape \(2, 4, 3\)\)"),
        (lambda image, segments: lambda: 0, "must be numbers of superpixels"),
        (lambda image, segments: [9], r"got \[9\]"),
    ],
)
def test_what_names_none(region: Any, complaint: str) -> None:
    for name in ("fixed", "exclude"):
        with pytest.raises(ArgumentError, match=f"{name} .*{complaint}"):
            resolved(region, name)


def test_metadata_tells_regions_apart() -> None:
    assert region_words([2, 1]) == [2, 1]
    assert region_words(np.int64(3)) == 3
    assert region_words(torch.tensor([1, 3])) == [1, 3]
    assert region_words(LEFT) == region_words(torch.from_numpy(LEFT)) != region_words(~LEFT)
    assert region_words(lambda image, segments: [0]) != region_words(lambda image, segments: [1])
    assert region_words(LEFT).startswith("mask ")
