"""Images made ready: one by one from whatever they come in, checked, segmented and filled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import ArgumentError
from torch_anchors.images import cases
from torch_anchors.images.cases import SEGMENTED_TOGETHER, ImageCase, ImagePreparer, SizeHint, instances_of
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.segmentation import segment
from torch_anchors.seeds import stream

# ------------------------------------------------------------------------------------------------------- instances


def test_single_images_pairs_and_batches() -> None:
    one, batch = torch.zeros(3, 4, 5), torch.zeros(2, 3, 4, 5)
    assert [tuple(image.shape) for image in instances_of(batch)] == [(3, 4, 5)] * 2
    assert [tuple(image.shape) for image in instances_of([one, batch, (one, 1), [batch, torch.zeros(2)]])] == [
        (3, 4, 5)
    ] * 6
    picture = Image.new("RGB", (5, 4))
    assert len(list(instances_of(TensorDataset(batch, torch.zeros(2))))) == 2
    assert list(instances_of([picture, (picture, 0)])) == [picture, picture]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(3, 4, 5), r"got Tensor of shape \(3, 4, 5\). For one image call explain\(image\)"),
        (np.zeros((4, 5)), r"got ndarray of shape \(4, 5\)"),
        (Image.new("RGB", (5, 4)), r"got Image\. For one image call explain\(image\)"),
    ],
)
def test_one_image_is_not_several(images: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=f"images must be several.*{words}"):
        instances_of(images)  # at once, not when the first one is asked for


# ------------------------------------------------------------------------------------------------------- preparing

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (16, 24, 3), dtype=np.uint8)
GRID = {"rows": 2, "cols": 3}


def predictor(**options: Any) -> Predictor:
    return Predictor(lambda rows: rows.flatten(1).sum(1).long(), **options)


def preparer(**changes: Any) -> ImagePreparer:
    plain = ImagePreparer(
        predictor=predictor(),
        segmentation_fn="grid",
        segmentation_kwargs=GRID,
        fill=resolve_fill(0.0),
        image_shape=None,
        seed=7,
        size_hint=SizeHint(),
    )
    return replace(plain, **changes)


def prepared(image: Any, p_sample: float = 0.5, **changes: Any) -> ImageCase:
    (case,) = preparer(**changes)([image], p_sample)
    return case


def test_an_image_is_made_ready() -> None:
    case = prepared(PIXELS, 0.3)
    assert case.label is None
    assert case.layout.in_bytes
    assert case.sampler.n_predicates == 6
    assert case.sampler.p_sample == 0.3
    np.testing.assert_array_equal(case.sampler.segments, segment(PIXELS, "grid", GRID))
    np.testing.assert_array_equal(case.sampler.image[0].permute(1, 2, 0).numpy(), PIXELS.astype(np.float32))
    assert not case.sampler.fill.any()


@pytest.mark.parametrize(
    "image",
    [PIXELS, torch.from_numpy(PIXELS).permute(2, 0, 1), Image.fromarray(PIXELS)],
    ids=["array", "tensor", "PIL"],
)
def test_the_users_image_is_copied(image: Any) -> None:
    case = prepared(image)
    assert type(case.image) is type(image)
    before = np.array(case.image)
    np.testing.assert_array_equal(before, np.array(image))
    assert case.image is not image
    if not isinstance(image, Image.Image):
        original = image.clone() if isinstance(image, Tensor) else image.copy()
        image[:] = 0
        np.testing.assert_array_equal(np.array(case.image), before)
        image[:] = original


def test_the_random_stream_is_of_the_seed_the_pixels_and_the_superpixels() -> None:
    def drawn(image: Any = PIXELS, **changes: Any) -> list[float]:
        return prepared(image, **changes).rng.random(3).tolist()

    segments = segment(PIXELS, "grid", GRID)
    expected = stream(7, PIXELS.astype(np.float32).transpose(2, 0, 1).tobytes(), segments.tobytes())
    assert drawn() == expected.random(3).tolist()
    assert drawn(torch.from_numpy(PIXELS).permute(2, 0, 1)) == drawn() == drawn(PIXELS.astype(np.float64))
    others = [drawn(seed=8), drawn(255 - PIXELS), drawn(segmentation_kwargs={"rows": 3, "cols": 2})]
    assert drawn() not in others
    assert len({tuple(numbers) for numbers in others}) == 3
    assert drawn(fill=resolve_fill("noise")) != drawn()  # the fill takes its noise from the same stream


@pytest.mark.parametrize(
    ("options", "of_bytes", "of_floats"),
    [
        ({}, torch.float32, torch.float32),
        ({"dtype": torch.bfloat16}, torch.bfloat16, torch.bfloat16),
        ({"dtype": np.uint8}, torch.uint8, torch.uint8),
        ({"preprocess": lambda rows: rows, "dtype": torch.float64}, torch.uint8, torch.float32),
    ],
)
def test_rows_have_the_type_of_the_predictor_or_before_preprocess_that_of_the_image(
    options: dict[str, Any], of_bytes: torch.dtype, of_floats: torch.dtype
) -> None:
    for image, expected in ((PIXELS, of_bytes), (PIXELS.astype(np.float64), of_floats)):
        sampler = prepared(image, predictor=predictor(**options)).sampler
        assert sampler.dtype == expected
        assert sampler.render(sampler.instance_code()).dtype == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, False), ({"channels_last": True}, True), ({"channels_last": True, "preprocess": lambda rows: rows}, False)],
)
def test_rows_are_channels_last_where_the_model_takes_them_as_they_are(options: dict[str, Any], expected: bool) -> None:
    sampler = prepared(PIXELS, predictor=Predictor(nn.Conv2d(3, 1, 3), **options)).sampler
    assert sampler.empty(2).is_contiguous(memory_format=torch.channels_last) is expected


def test_rows_are_remembered_unless_the_predictor_is_known_to_vary() -> None:
    varying = predictor(check_repeats=True)
    assert prepared(PIXELS, predictor=varying).sampler.repeatable
    assert varying._repeat_check is not None
    varying._repeat_check.repeats = False
    assert not prepared(PIXELS, predictor=varying).sampler.repeatable


@pytest.mark.parametrize(("shape", "fits"), [((16, 24), True), ((16, 24, 1), True), ((16, 24, 3), False), (None, True)])
def test_images_must_have_the_shape_that_was_given(shape: Any, fits: bool) -> None:
    grey = PIXELS[..., 0]
    if fits:
        assert prepared(grey, image_shape=shape).sampler.n_predicates == 6
    else:
        with pytest.raises(ArgumentError, match=r"image must have the image_shape .* got \(16, 24, 1\)"):
            prepared(grey, image_shape=shape)


@pytest.mark.parametrize("p_sample", [0.0, 1.1, -0.5, float("nan")])
def test_p_sample_is_checked_before_the_image_is_looked_at(p_sample: float) -> None:
    with pytest.raises(ArgumentError, match=r"p_sample must be a probability in \(0, 1\]"):
        preparer()(["no image"], p_sample)


# ------------------------------------------------------------------------------------------------ several at a time


def images(device: torch.device) -> list[Any]:
    """Images of two sizes, kinds and numbers of channels in turn."""
    wide = np.kron(RNG.random((4, 6, 3), dtype=np.float32), np.ones((10, 10, 1), dtype=np.float32))
    small = torch.from_numpy(RNG.random((3, 3, 3), dtype=np.float32)).to(device).repeat_interleave(10, 1)
    small = small.repeat_interleave(10, 2)
    return [wide, small, (255 * wide[::-1]).astype(np.uint8), small.flip(2), wide[..., 0]]


def test_images_of_one_size_are_segmented_together_and_as_they_would_be_alone(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[tuple[int, ...], str]] = []
    batched = cases.segment_batch

    def segment_batch(stacked: Tensor, settings: Any) -> Tensor:
        calls.append((tuple(stacked.shape), stacked.device.type))
        return batched(stacked, settings)

    monkeypatch.setattr(cases, "segment_batch", segment_batch)
    made = preparer(
        predictor=predictor(device=device), segmentation_fn="slic_torch", segmentation_kwargs={"n_segments": 6}
    )
    assert made.together == SEGMENTED_TOGETHER > 1
    given = images(device)
    found = made(given, 0.5)
    assert sorted(calls) == [
        ((1, 3, 40, 60), device.type),
        ((2, 3, 30, 30), device.type),
        ((2, 3, 40, 60), device.type),
    ]
    for image, case in zip(given, found, strict=True):
        (alone,) = made([image], 0.5)
        np.testing.assert_array_equal(case.sampler.segments, alone.sampler.segments)
        assert case.rng.random() == alone.rng.random()
        assert torch.equal(case.sampler.image, alone.sampler.image)
        assert 2 <= case.sampler.n_predicates == case.sampler.segments.max() + 1


@pytest.mark.parametrize(
    ("segmentation_fn", "settings"),
    [("grid", None), ("slic", {"sigma": 2.0}), (lambda image: np.indices(image.shape[:2])[0] // 8, None)],
)
def test_other_segmentations_take_one_image_at_a_time(segmentation_fn: Any, settings: Any) -> None:
    made = preparer(segmentation_fn=segmentation_fn, segmentation_kwargs=settings)
    assert made.together == 1
    for case, image in zip(made([PIXELS, PIXELS[::-1]], 0.5), (PIXELS, PIXELS[::-1]), strict=True):
        np.testing.assert_array_equal(case.sampler.segments, made.segment(image))


def test_a_ready_label_map_is_numbered_from_zero() -> None:
    labels = np.where(np.indices((16, 24))[1] < 5, 30, 7)
    assert prepared(PIXELS, segmentation_fn=labels, segmentation_kwargs=None).sampler.n_predicates == 2
