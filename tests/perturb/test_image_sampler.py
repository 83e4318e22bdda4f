"""Perturbed images against a loop over rows and pixels, and the distribution they are drawn from."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor

from torch_anchors import Predictor
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb.fills import resolve_fill
from torch_anchors.perturb.image import AnchorImageSampler
from torch_anchors.perturb.masks import every_mask
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import EnumerateRequest, SampleRequest

SEGMENTS = np.array([[0, 0, 1, 1, 2, 2, 2], [0, 3, 3, 1, 2, 4, 4], [5, 5, 3, 3, 3, 4, 4], [5, 5, 5, 6, 6, 6, 4]])
K = 7


def picture(dtype: Any, channels: int = 3, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (4, 7, channels))
    return (values if dtype == np.uint8 else values / 255).astype(dtype)


def sampler_of(image: Any = None, **settings: Any) -> AnchorImageSampler:
    image = picture(np.float32) if image is None else image
    settings.setdefault("rng", np.random.default_rng(0))
    return AnchorImageSampler(None, SEGMENTS, True, image, **settings)


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
        fill="mean",
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


def test_the_instance_is_the_image_itself() -> None:
    for backgrounds in (None, [picture(np.float32, seed=s) for s in (1, 2, 3)]):
        image = picture(np.float32)
        sampler = sampler_of(image, images_background=backgrounds)
        row = sampler.render(sampler.instance_code())
        assert torch.equal(row[0], torch.from_numpy(image).permute(2, 0, 1))


def test_a_row_that_shows_all_is_one_row_whatever_its_background() -> None:
    sampler = sampler_of(images_background=[picture(np.float32, seed=s) for s in range(1, 9)])
    everything = tuple(range(K))
    (codes,) = sampler.draw([Order(SampleRequest(everything, 30), np.random.default_rng(0))])
    assert torch.equal(codes, sampler.instance_code().expand_as(codes))


# ------------------------------------------------------------------------------------------------------- drawing


@pytest.mark.parametrize("p_sample", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("anchor", [(), (1, 4)])
def test_masks_are_drawn_independently_with_chance_one_minus_p(p_sample: float, anchor: tuple[int, ...]) -> None:
    """Chi-square of all joint masks of the free superpixels against the product distribution."""
    segments = SEGMENTS % 5
    n, free = 40_000, [k for k in range(5) if k not in anchor]
    sampler = AnchorImageSampler(None, segments, True, picture(np.float32), p_sample=p_sample)
    (codes,) = sampler.draw([Order(SampleRequest(anchor, n), np.random.default_rng(11))])
    keep = sampler.keep(codes).numpy()
    assert keep[:, list(anchor)].all()
    observed = np.bincount(keep[:, free] @ (1 << np.arange(len(free))), minlength=1 << len(free))
    sizes = np.array([bin(m).count("1") for m in range(1 << len(free))])
    expected = n * (1 - p_sample) ** sizes * p_sample ** (len(free) - sizes)
    common = expected >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], expected[~common].sum())
    assert chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-4


def test_backgrounds_are_equally_likely_and_independent_of_the_mask() -> None:
    sampler = sampler_of(images_background=[picture(np.float32, seed=s) for s in range(1, 5)])
    (codes,) = sampler.draw([Order(SampleRequest((), 20_000), np.random.default_rng(2))])
    keep, background = sampler.keep(codes).numpy(), sampler.background(codes).numpy()
    rest = ~keep.all(1)
    observed = np.zeros((2, 4))
    np.add.at(observed, (keep[rest, 0].astype(int), background[rest]), 1)
    expected = observed.sum(1, keepdims=True) / 4 @ np.ones((1, 4))
    assert chisquare(observed.ravel(), expected.ravel(), ddof=1).pvalue > 1e-4


def test_each_request_is_drawn_from_its_own_stream() -> None:
    sampler = sampler_of()
    requests = [SampleRequest((0,), 9), SampleRequest((), 5), SampleRequest((3, 6), 0), SampleRequest((1,), 70)]
    together = sampler.draw([Order(r, np.random.default_rng(i)) for i, r in enumerate(requests)])
    alone = [sampler.draw([Order(r, np.random.default_rng(i))])[0] for i, r in enumerate(requests)]
    assert [len(codes) for codes in together] == [9, 5, 0, 70]
    assert all(torch.equal(a, b) for a, b in zip(together, alone, strict=True))
    assert all(codes.dtype == torch.uint8 and codes.device.type == "cpu" for codes in together)


@pytest.mark.parametrize("anchor", [(), (2,), (0, 1, 2, 3, 4, 5, 6)])
@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_an_enumeration_has_every_row_once_backgrounds_together(anchor: tuple[int, ...], n_backgrounds: int) -> None:
    sampler = sampler_of(images_background=[picture(np.float32, seed=s) for s in range(1, n_backgrounds + 1)])
    (codes,) = sampler.draw([Order(EnumerateRequest(anchor), np.random.default_rng(0))])
    keep = sampler.keep(codes).numpy()
    np.testing.assert_array_equal(keep, every_mask(anchor, K).repeat(n_backgrounds, axis=0))
    assert len(codes) == sampler.space().n_rows(anchor)
    if n_backgrounds > 1:
        background = sampler.background(codes).numpy().reshape(-1, n_backgrounds)
        partial = ~keep[::n_backgrounds].all(1)
        assert (background[partial] == np.arange(n_backgrounds)).all()
        assert (background[~partial] == 0).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 300), st.lists(st.integers(0, 1 << 15), min_size=1, max_size=20))
def test_codes_carry_masks_and_backgrounds_of_any_number(n_backgrounds: int, drawn: list[int]) -> None:
    sampler = sampler_of(fill=lambda image, segments: image[None].expand(n_backgrounds, -1, -1, -1))
    rng = np.random.default_rng(drawn)
    keep = rng.random((len(drawn), K)) < 0.5
    keep[keep.all(1), 0] = False
    background = np.array(drawn, dtype=np.uint16) % n_backgrounds
    codes = sampler._codes(keep, background.astype(np.uint16))
    np.testing.assert_array_equal(sampler.keep(codes).numpy(), keep)
    np.testing.assert_array_equal(sampler.background(codes).numpy(), background)


def test_what_the_search_is_told() -> None:
    sampler = sampler_of(images_background=[picture(np.float32, seed=s) for s in (1, 2)], p_sample=0.2)
    space = sampler.space()
    assert isinstance(sampler, Sampler)
    assert space.n_predicates == sampler.n_predicates() == K
    assert space.coverage((1, 4)) == pytest.approx(0.8**2)
    assert space.n_rows((1, 4)) == 2**5 * 2
    assert space.p_keep == pytest.approx(0.8)
    assert space.shares_rows
    assert sampler.row_shape() == (3, 4, 7)
    assert sampler.empty(3).shape == (3, 3, 4, 7)


# --------------------------------------------------------------------------------------------- the reference's methods


def bright(rows: Tensor) -> Tensor:
    """Whether the first superpixel shows its own colour, 1."""
    return (rows[:, 0, 0, 0] > 0.5).long()


def bright_sampler(**settings: Any) -> AnchorImageSampler:
    image = np.zeros((4, 7, 3), dtype=np.float32)
    image[SEGMENTS == 0] = 1
    settings.setdefault("rng", np.random.default_rng(4))
    return AnchorImageSampler(Predictor(bright), "grid", False, image, fill=0.0, segments=SEGMENTS, **settings)


def test_perturbation_gives_rows_and_masks_of_the_anchor() -> None:
    sampler = bright_sampler()
    rows, data = sampler.perturbation((0, 3), 25)
    assert rows.shape == (25, 3, 4, 7)
    assert data.shape == (25, K)
    assert data[:, [0, 3]].all()
    assert not data.all()
    assert (rows[:, 0][:, torch.from_numpy(SEGMENTS) == 0] == 1).all()


def test_compare_labels_tells_which_rows_have_the_images_label() -> None:
    sampler = bright_sampler()
    rows, data = sampler.perturbation((), 60)
    assert torch.equal(sampler.compare_labels(rows), data[:, 0])
    with pytest.raises(ArgumentError, match="predictor must be given"):
        sampler_of().compare_labels(rows)


@pytest.mark.parametrize("n_covered_ex", [0, 3, 1000])
def test_a_call_sorts_rows_into_hits_and_misses(n_covered_ex: int) -> None:
    sampler = bright_sampler(n_covered_ex=n_covered_ex, p_sample=0.4)
    covered_true, covered_false, labels, data, coverage, position = sampler((5, (2, 6)), 80)
    assert torch.equal(labels, data[:, 0])
    assert 0 < labels.sum() < 80
    assert len(covered_true) == min(n_covered_ex, int(labels.sum()))
    assert len(covered_false) == min(n_covered_ex, int((~labels).sum()))
    assert (bright(covered_true) == 1).all()
    assert (bright(covered_false) == 0).all()
    assert coverage == pytest.approx(0.6**2)
    assert position == 5
    (only_data,) = sampler((5, (2, 6)), 7, compute_labels=False)
    assert only_data.shape == (7, K)
    assert only_data[:, [2, 6]].all()


def test_superpixels_are_generated_by_the_segmentation_given() -> None:
    image = picture(np.float32)
    sampler = AnchorImageSampler(None, "grid", False, image, segmentation_kwargs={"rows": 1, "cols": 3})
    assert sampler.n_superpixels == 3
    np.testing.assert_array_equal(sampler.generate_superpixels(image), sampler.segments)
    assert sampler.generate_superpixels(np.zeros((2, 9), dtype=np.uint8)).tolist() == [[0] * 3 + [1] * 3 + [2] * 3] * 2
    custom = AnchorImageSampler(None, lambda image: SEGMENTS, True, image, segmentation_kwargs={"rows": 1})
    assert custom.n_superpixels == K


def test_a_fill_that_is_resolved_before_is_used_as_it_is() -> None:
    sampler = sampler_of(fill_function=resolve_fill(0.25), fill="no such fill")
    assert (sampler.fill == 0.25).all()


def test_without_a_stream_of_its_own_each_sampler_draws_differently() -> None:
    a, b = sampler_of(rng=None), sampler_of(rng=None)
    assert not torch.equal(a.perturbation((), 50)[1], b.perturbation((), 50)[1])


def test_a_sampler_looks_at_the_image_as_it_was_given() -> None:
    image = torch.rand(3, 4, 7)
    sampler, before = sampler_of(image), image.clone()
    image.zero_()
    assert torch.equal(sampler.render(sampler.instance_code())[0], before)


@pytest.mark.parametrize("p_sample", [0.0, 1.0, -0.5, float("nan")])
def test_p_sample_must_be_a_probability(p_sample: float) -> None:
    with pytest.raises(ArgumentError, match="p_sample must be a probability in \\(0, 1\\), got"):
        sampler_of(p_sample=p_sample)


@pytest.mark.parametrize("anchor", [(7,), (-1, 2)])
def test_an_anchor_must_be_of_the_images_superpixels(anchor: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"anchor must have superpixels 0 \.\. 6, got"):
        sampler_of().perturbation(anchor, 3)


def test_too_many_backgrounds_are_refused() -> None:
    many = torch.zeros(1, 1, 1, 1).expand(65537, 1, 4, 7)
    with pytest.raises(ArgumentError, match="images_background must have at most 65536 images, got 65537"):
        sampler_of(picture(np.float32, 1), fill=lambda image, segments: many)
