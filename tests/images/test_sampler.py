"""Perturbed images against a loop over rows and pixels."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_anchors.errors import ArgumentError
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.pixels import to_chw
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import SampleRequest

SEGMENTS = np.array([[0, 0, 1, 1, 2, 2, 2], [0, 3, 3, 1, 2, 4, 4], [5, 5, 3, 3, 3, 4, 4], [5, 5, 5, 6, 6, 6, 4]])
K = 7


def picture(dtype: Any, channels: int = 3, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (4, 7, channels))
    return (values if dtype == np.uint8 else values / 255).astype(dtype)


def sampler_of(image: Any = None, fill: Any = "mean", images_background: Any = None, **settings: Any) -> ImageSampler:
    pixels = to_chw(picture(np.float32) if image is None else image)
    settings.setdefault("rng", np.random.default_rng(0))
    return ImageSampler(pixels, SEGMENTS, resolve_fill(fill, images_background), **settings)


def loop_render(image: np.ndarray, fill: np.ndarray, keep: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Row by row and pixel by pixel: the image (C, H, W) where its superpixel is kept, else a fill (B, C, H, W)."""
    rows = np.empty((len(keep), *image.shape), dtype=image.dtype)
    for i, row in enumerate(keep):
        for y, x in product(*map(range, SEGMENTS.shape)):
            source = image if row[SEGMENTS[y, x]] else fill[background[i]]
            rows[i, :, y, x] = source[:, y, x]
    return rows


# ------------------------------------------------------------------------------------------------------- rendering


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_backgrounds", [0, 1, 5])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("reuse", [False, True])
def test_rows_are_those_of_a_loop_bit_for_bit(
    dtype: torch.dtype, channels: int, n_backgrounds: int, channels_last: bool, reuse: bool, device: torch.device
) -> None:
    pixel_type = np.uint8 if dtype == torch.uint8 else np.float32
    image = picture(pixel_type, channels)
    others = [picture(pixel_type, channels, seed) for seed in range(1, n_backgrounds + 1)]
    sampler = sampler_of(
        image,
        images_background=others or None,
        dtype=dtype,
        device=device,
        channels_last=channels_last,
    )
    (codes,) = sampler.draw([Order(SampleRequest((2,), 40), np.random.default_rng(1))])
    out = sampler.empty(50)[5:45] if reuse else None
    rows = sampler.render(codes, out)
    assert rows.dtype == dtype
    assert rows.device.type == device.type
    assert out is None or rows.data_ptr() == out.data_ptr()

    keep = sampler.keep(codes).numpy()
    background = sampler.background(codes).numpy() if n_backgrounds > 1 else np.zeros(40, dtype=int)
    if others:
        fill = np.stack([np.moveaxis(other, -1, 0) for other in others])
    else:
        pixels = np.moveaxis(image, -1, 0).astype(np.float64)
        fill = np.empty((1, *pixels.shape))
        for k, channel in product(range(K), range(channels)):
            fill[0, channel][k == SEGMENTS] = pixels[channel][k == SEGMENTS].mean()
        fill = fill.round() if pixel_type is np.uint8 else fill
    expected = loop_render(np.moveaxis(image, -1, 0).astype(np.float64), fill, keep, background)
    if others or pixel_type is np.uint8:
        np.testing.assert_array_equal(rows.cpu().numpy(), expected)
    else:  # the mean is only as exact as float32
        np.testing.assert_allclose(rows.cpu().numpy(), expected, rtol=1e-6, atol=1e-7)
    shown = keep[:, None, SEGMENTS].repeat(channels, axis=1)
    np.testing.assert_array_equal(rows.cpu().numpy()[shown], expected[shown])


@pytest.mark.parametrize("channels_last", [False, True])
def test_rows_have_the_memory_format_asked_for(channels_last: bool) -> None:
    sampler = sampler_of(channels_last=channels_last)
    (codes,) = sampler.draw([Order(SampleRequest((), 6), np.random.default_rng(0))])
    for rows in (sampler.render(codes), sampler.render(codes, sampler.empty(6))):
        assert rows.is_contiguous(memory_format=torch.channels_last) is channels_last
        assert rows.is_contiguous() is not channels_last


def test_a_whole_numbered_row_never_leaves_its_range() -> None:
    sampler = sampler_of(picture(np.uint8), fill=300.0, dtype=torch.uint8)
    assert (sampler.fill == 255).all()
    assert (sampler_of(picture(np.uint8), fill=-5.0, dtype=torch.uint8).fill == 0).all()


def test_values_of_a_whole_numbered_row_are_rounded() -> None:
    image = torch.full((1, 4, 7), 7.6)
    sampler = ImageSampler(image, SEGMENTS, resolve_fill(3.4), dtype=torch.uint8)
    (codes,) = sampler.draw([Order(SampleRequest((), 20), np.random.default_rng(0))])
    assert sampler.render(codes).unique().tolist() == [3, 8]


def test_the_instance_is_the_image_itself() -> None:
    for backgrounds in (None, [picture(np.float32, seed=s) for s in (1, 2, 3)]):
        image = picture(np.float32)
        sampler = sampler_of(image, images_background=backgrounds)
        row = sampler.render(sampler.instance_code())
        assert torch.equal(row[0], torch.from_numpy(image).permute(2, 0, 1))


@pytest.mark.parametrize("n_backgrounds", [1, 4])
def test_a_row_that_shows_nothing_is_its_background(n_backgrounds: int) -> None:
    backgrounds = [picture(np.float32, seed=s) for s in range(1, n_backgrounds + 1)]
    sampler = sampler_of(images_background=backgrounds)
    numbers = np.arange(n_backgrounds, dtype=np.uint16)
    codes = sampler._codes(np.zeros((n_backgrounds, K), dtype=bool), numbers)
    expected = np.moveaxis(np.stack(backgrounds), -1, 1)
    np.testing.assert_array_equal(sampler.render(codes).numpy(), expected)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("n_backgrounds", [0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_rows_rendered_jointly_are_those_of_each_image_alone(
    dtype: torch.dtype, n_backgrounds: int, channels_last: bool, device: torch.device
) -> None:
    """Of images with other numbers of superpixels, fixed ones and hidden ones; one of them comes twice."""
    fill = resolve_fill("mean", [picture(np.float32, seed=9 + i) for i in range(n_backgrounds)] or None)
    settings = [{}, {"fixed": (0, 4)}, {"hides": True}, {"hides": True, "fixed": (1,)}, {"exclude": (2,)}]
    samplers = []
    for i, own in enumerate(settings):
        segments = SEGMENTS if i % 2 else np.arange(28).reshape(4, 7) * (9 * i // 2 + 3) // 28
        image = to_chw(picture(np.float32, seed=i)) * 255
        layout = {"dtype": dtype, "device": device, "channels_last": channels_last}
        samplers.append(ImageSampler(image, segments, fill, **layout, **own))
    assert len({sampler.joint_key for sampler in samplers}) == (len(samplers) if device.type == "cpu" else 1)
    rng, runs = np.random.default_rng(2), []
    for sampler, n in zip([*samplers, samplers[0], samplers[3]], (4, 1, 6, 3, 2, 5, 2), strict=True):
        runs.append((sampler, *sampler.draw([Order(SampleRequest((1,), n), rng)])))
    out = samplers[0].empty(30)[4:27]
    rows = samplers[1].render_jointly(runs, out)
    assert rows.data_ptr() == out.data_ptr()
    assert rows.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert torch.equal(rows, torch.cat([sampler.render(codes) for sampler, codes in runs]))


def test_images_that_differ_in_what_rows_are_made_of_are_not_rendered_jointly(device: torch.device) -> None:
    own_backgrounds = [resolve_fill("mean", [picture(np.float32, seed=i)] * 2) for i in range(2)]
    different = [
        sampler_of(device=device),
        sampler_of(device=device, dtype=torch.bfloat16),
        sampler_of(device=device, channels_last=True),
        sampler_of(picture(np.float32, 1), device=device),
        *(sampler_of(fill="noise", device=device) for _ in range(2)),
        *(ImageSampler(to_chw(picture(np.float32)), SEGMENTS, fill, device=device) for fill in own_backgrounds),
    ]
    assert len({sampler.joint_key for sampler in different}) == len(different)


# ------------------------------------------------------------------------------------------------------- the fill


def test_the_fill_is_made_once_from_the_image_its_superpixels_and_the_stream(device: torch.device) -> None:
    seen: list[tuple[Tensor, Tensor, float]] = []

    def fill(image: Tensor, segments: Tensor, rng: np.random.Generator) -> Tensor:
        seen.append((image, segments, rng.random()))
        return torch.stack([image * 0, image * 0 + 1])

    pixels, rng = torch.rand(3, 4, 7), np.random.default_rng(6)
    sampler = ImageSampler(pixels, SEGMENTS, fill, rng=rng, device=device)
    for seed in range(3):
        (codes,) = sampler.draw([Order(SampleRequest((), 4), np.random.default_rng(seed))])
        sampler.render(codes)
    ((image, segments, number),) = seen
    assert image.device.type == segments.device.type == device.type
    assert torch.equal(image.cpu(), pixels)
    assert segments.tolist() == SEGMENTS.tolist()
    assert number == np.random.default_rng(6).random()
    assert sampler.n_backgrounds == 2
    assert rng.random() == np.random.default_rng(6).random(2)[1]  # which goes on where the fill left it


@pytest.mark.parametrize("value", [0.25, 0.75])
def test_a_fill_that_is_resolved_before_is_used_as_it_is(value: float) -> None:
    assert (sampler_of(fill=value).fill == value).all()


def test_the_fill_is_the_mean_colour_unless_told() -> None:
    pixels = torch.rand(3, 4, 7)
    fill = ImageSampler(pixels, SEGMENTS).fill
    for k in range(K):
        inside = torch.from_numpy(k == SEGMENTS)
        for channel in range(3):
            colour = pixels[channel, inside].mean()
            assert torch.allclose(fill[0, channel, inside], colour, rtol=1e-6)


def test_without_a_stream_of_its_own_each_image_has_other_noise() -> None:
    first = torch.zeros(1, dtype=torch.int64)
    a, b = (sampler_of(fill="noise", rng=None) for _ in range(2))
    assert not torch.equal(a.fill[first], b.fill[first])
    a, b = (sampler_of(fill="noise", rng=np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(a.fill[first], b.fill[first])


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_noise_is_another_one_in_each_row_and_rounded_where_rows_are(dtype: torch.dtype) -> None:
    sampler = sampler_of(picture(np.uint8), fill="noise", dtype=dtype)
    numbers = np.arange(50, dtype=np.uint16)
    rows = sampler.render(sampler._codes(np.zeros((50, K), dtype=bool), numbers))
    assert len(rows.flatten(1).unique(dim=0)) == 50
    assert rows.dtype == dtype
    (codes,) = sampler.draw([Order(SampleRequest((0,), 200), np.random.default_rng(0))])
    assert len(sampler.background(codes).unique()) > 190
    shown = torch.from_numpy(sampler.segments == 0)
    assert (sampler.render(codes)[..., shown] == sampler.image[..., shown]).all()


def test_backgrounds_are_shared_by_images_and_not_copied() -> None:
    fill = resolve_fill(images_background=[picture(np.float32, seed=s) for s in (1, 2)])
    a, b = (ImageSampler(to_chw(picture(np.float32)), SEGMENTS, fill, channels_last=True) for _ in range(2))
    assert a.fill.data_ptr() == b.fill.data_ptr()


# ---------------------------------------------------------------------------------------------- what others are told


def test_what_the_engine_and_the_search_are_told() -> None:
    sampler = sampler_of(images_background=[picture(np.float32, seed=s) for s in (1, 2)], p_sample=0.2)
    space = sampler.space()
    assert isinstance(sampler, Sampler)
    assert space.n_predicates == sampler.n_predicates == K
    assert space.coverage((1, 4)) == pytest.approx(0.8**2)
    assert space.n_rows((1, 4)) == 2**5 * 2
    assert space.p_keep == pytest.approx(0.8)
    assert space.independent
    assert sampler.row_shape() == (3, 4, 7)
    assert sampler.empty(3).shape == (3, 3, 4, 7)
    assert sampler.segments is SEGMENTS


@pytest.mark.parametrize("p_sample", [0.0, 1.1, -0.5, float("nan")])
def test_p_sample_must_be_a_probability(p_sample: float) -> None:
    with pytest.raises(ArgumentError, match="p_sample must be a probability in \\(0, 1\\], got"):
        sampler_of(p_sample=p_sample)


def test_too_many_backgrounds_are_refused() -> None:
    many = torch.zeros(1, 1, 1, 1).expand(65537, 1, 4, 7)
    with pytest.raises(ArgumentError, match="images_background must have at most 65536 images, got 65537"):
        sampler_of(picture(np.float32, 1), fill=lambda image, segments: many)
