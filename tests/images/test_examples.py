"""Examples are kept small, and composed as the model saw them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors.engine.job import Examples
from torch_anchors.errors import ArgumentError
from torch_anchors.images.examples import Example, ExampleRows
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.packing import Fields, pack_array
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import SampleRequest

RNG = np.random.default_rng(0)
SEGMENTS = np.arange(48).reshape(6, 8) // 4 % 12  # twelve superpixels
PIXELS = torch.from_numpy(RNG.integers(0, 256, (3, 6, 8)).astype(np.float32))
BACKGROUNDS = RNG.integers(0, 256, (40, 6, 8, 3)).astype(np.uint8)
N = 7


def sampler_of(fill: Any = "mean", backgrounds: Any = None, **options: Any) -> ImageSampler:
    return ImageSampler(PIXELS, SEGMENTS, resolve_fill(fill, backgrounds), rng=np.random.default_rng(1), **options)


def examples_of(sampler: ImageSampler, n: int = N) -> Examples:
    """Some rows of the sampler, a hit and a miss in turn."""
    (codes,) = sampler.draw([Order(SampleRequest((3,), n), np.random.default_rng(2))])
    labels = np.arange(n) % 2
    return Examples(codes.numpy(), labels, labels == 1)


def composed(rows: ExampleRows, pixels: Tensor = PIXELS) -> NDArray[np.float32]:
    return np.stack([rows.compose(i, pixels.numpy(), SEGMENTS) for i in range(len(rows))])


def seen(sampler: ImageSampler, examples: Examples) -> NDArray[np.float32]:
    """The rows as the model saw them."""
    return sampler.render(torch.from_numpy(examples.codes)).float().cpu().numpy()


def test_an_example_is_an_image_its_label_and_whether_it_is_a_hit() -> None:
    example = Example("picture", 3, True)
    assert (example.image, example.label, example.hit) == ("picture", 3, True)


@pytest.mark.parametrize(
    ("fill", "backgrounds"),
    [("mean", None), ("blur", None), ("infill", None), ("noise", None), (7.5, None), ("mean", BACKGROUNDS)],
    ids=["mean", "blur", "infill", "noise", "constant", "backgrounds"],
)
@pytest.mark.parametrize("in_bytes", [False, True])
def test_examples_are_composed_as_the_model_saw_them(
    fill: Any, backgrounds: Any, in_bytes: bool, device: torch.device
) -> None:
    sampler = sampler_of(fill, backgrounds, device=device)
    examples = examples_of(sampler)
    rows = ExampleRows.of(examples, sampler, in_bytes=in_bytes)
    assert len(rows) == N
    assert rows.labels.tolist() == examples.labels.tolist()
    assert rows.hits.tolist() == examples.hits.tolist()
    assert rows.keep[:, 3].all()
    assert 0.2 < rows.keep.mean() < 0.8
    expected = seen(sampler, examples)
    if in_bytes:  # as a user whose image has bytes sees them
        expected, found = np.rint(expected), np.rint(composed(rows))
    else:
        found = composed(rows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("fill", "expected"), [("mean", PIXELS), (9.0, None), ("constant", None)])
def test_a_fill_of_one_colour_a_superpixel_is_kept_as_colours(fill: Any, expected: Any) -> None:
    sampler = sampler_of(fill)
    rows = ExampleRows.of(examples_of(sampler), sampler, in_bytes=True)
    assert rows.fill.shape == (1, 3, 12)
    assert np.array_equal(rows.fill[..., SEGMENTS], sampler.fill.numpy())  # and not rounded
    if expected is not None:
        assert rows.fill[0, 1, 5] == pytest.approx(float(expected[1][torch.from_numpy(SEGMENTS == 5)].mean()))


@pytest.mark.parametrize(("in_bytes", "dtype"), [(True, np.uint8), (False, np.float32)])
def test_any_other_fill_is_kept_in_bytes_where_these_will_do(in_bytes: bool, dtype: Any) -> None:
    sampler = sampler_of("blur")
    rows = ExampleRows.of(examples_of(sampler), sampler, in_bytes=in_bytes)
    assert rows.fill.dtype == dtype
    np.testing.assert_allclose(rows.fill, sampler.fill.numpy(), rtol=0, atol=0.5 if in_bytes else 0)


def test_noise_that_each_row_has_its_own_of_is_kept_as_two_numbers() -> None:
    sampler = sampler_of("noise")
    rows = ExampleRows.of(examples_of(sampler), sampler, in_bytes=True)
    assert (rows.fill.shape, rows.fill.dtype) == ((2,), np.int32)
    again = ExampleRows.read(Fields(rows.to_fields()), (3, 6, 8), 12)
    np.testing.assert_array_equal(composed(again), composed(rows))


def test_an_infill_is_kept_as_no_numbers_at_all() -> None:
    sampler = sampler_of("infill")
    rows = ExampleRows.of(examples_of(sampler), sampler, in_bytes=True)
    assert (rows.fill.shape, rows.background.tolist()) == ((0,), [0] * N)
    again = ExampleRows.read(Fields(rows.to_fields()), (3, 6, 8), 12)
    np.testing.assert_array_equal(composed(again), composed(rows))


@pytest.mark.parametrize("keys", [np.zeros(1, np.int32), np.zeros(3, np.int32), np.zeros(2, np.float32)])
def test_keys_of_no_known_fill_are_refused(keys: NDArray[Any]) -> None:
    sampler = sampler_of("noise")
    fields = ExampleRows.of(examples_of(sampler), sampler, in_bytes=True).to_fields()
    with pytest.raises(ArgumentError, match="fill"):
        ExampleRows.read(Fields({**fields, "fill": pack_array(keys)}), (3, 6, 8), 12)


def test_what_no_byte_can_hold_is_clipped() -> None:
    sampler = sampler_of(lambda image, segments: image * 3 - 200)
    rows = ExampleRows.of(examples_of(sampler), sampler, in_bytes=True)
    np.testing.assert_array_equal(rows.fill, sampler.fill.numpy().clip(0, 255).astype(np.uint8))
    assert {0, 255} <= set(rows.fill.ravel().tolist())


def test_only_backgrounds_that_are_shown_are_kept() -> None:
    sampler = sampler_of(backgrounds=BACKGROUNDS)
    examples = examples_of(sampler)
    rows = ExampleRows.of(examples, sampler, in_bytes=True)
    used = sampler.background(torch.from_numpy(examples.codes)).numpy()
    assert 1 < len(rows.fill) == len(set(used.tolist())) <= N
    for i, number in enumerate(used.tolist()):
        np.testing.assert_array_equal(rows.fill[rows.background[i]], BACKGROUNDS[number].transpose(2, 0, 1))


@pytest.mark.parametrize("backgrounds", [None, BACKGROUNDS])
def test_no_examples_are_none(backgrounds: Any) -> None:
    sampler = sampler_of(backgrounds=backgrounds)
    rows = ExampleRows.of(examples_of(sampler, 0), sampler, in_bytes=False)
    assert len(rows) == 0
    assert rows.keep.shape == (0, 12)
    assert len(rows.fill) == 1


def test_pixels_come_from_the_image_and_not_from_the_rows_of_the_model() -> None:
    """In half precision the model sees rounded pixels; the user's own are shown."""
    pixels = PIXELS + 0.123
    sampler = ImageSampler(pixels, SEGMENTS, resolve_fill(0.0), dtype=torch.bfloat16)
    rows = ExampleRows.of(examples_of(sampler), sampler, in_bytes=False)
    for i, picture in enumerate(composed(rows, pixels)):
        shown = rows.keep[i][SEGMENTS]
        np.testing.assert_array_equal(picture[:, shown], pixels.numpy()[:, shown])
        assert (picture[:, ~shown] == 0).all()
