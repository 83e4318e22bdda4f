"""The image sampler with the reference's names, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from torch_anchors import Predictor
from torch_anchors.errors import ArgumentError
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.pixels import to_chw
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.perturb.protocol import Order
from torch_anchors.reference.image_sampler import AnchorImageSampler
from torch_anchors.search.protocol import SampleRequest

SEGMENTS = np.array([[0, 0, 1, 1, 2, 2, 2], [0, 3, 3, 1, 2, 4, 4], [5, 5, 3, 3, 3, 4, 4], [5, 5, 5, 6, 6, 6, 4]])
K = 7


def picture(dtype: Any, channels: int = 3, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, (4, 7, channels))
    return (values if dtype == np.uint8 else values / 255).astype(dtype)


def tensor_of(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def sampler_of(image: Any = None, **settings: Any) -> AnchorImageSampler:
    image = tensor_of(picture(np.float32)) if image is None else image
    settings.setdefault("rng", np.random.default_rng(0))
    return AnchorImageSampler(None, SEGMENTS, True, image, **settings)


def bright(rows: Tensor) -> Tensor:
    """Whether the first superpixel shows its own colour, 1."""
    return (rows[:, 0, 0, 0] > 0.5).long()


def bright_sampler(**settings: Any) -> AnchorImageSampler:
    image = np.zeros((4, 7, 3), dtype=np.float32)
    image[SEGMENTS == 0] = 1
    settings.setdefault("rng", np.random.default_rng(4))
    return AnchorImageSampler(Predictor(bright), SEGMENTS, True, tensor_of(image), fill=0.0, **settings)


def test_perturbation_gives_rows_and_masks_of_the_anchor() -> None:
    sampler = bright_sampler()
    rows, data = sampler.perturbation((0, 3), 25)
    assert rows.shape == (25, 3, 4, 7)
    assert data.shape == (25, K)
    assert data[:, [0, 3]].all()
    assert not data.all()
    assert (rows[:, 0][:, torch.from_numpy(SEGMENTS) == 0] == 1).all()


@pytest.mark.parametrize("fill", ["mean", "noise", 0.5])
@pytest.mark.parametrize("n_backgrounds", [0, 3])
def test_perturbations_are_those_of_the_explainers_own_sampler(fill: Any, n_backgrounds: int) -> None:
    """Drawn from one stream: first the fill, then one request after the other."""
    others = [picture(np.float32, seed=seed) for seed in range(1, n_backgrounds + 1)] or None
    fill = "mean" if others else fill
    sampler = sampler_of(fill=fill, images_background=others, p_sample=0.3)
    rng = np.random.default_rng(0)
    own = ImageSampler(to_chw(picture(np.float32)), SEGMENTS, resolve_fill(fill, others), rng=rng, p_sample=0.3)
    for anchor in [(), (2, 5)]:
        rows, data = sampler.perturbation(anchor, 12)
        (codes,) = own.draw([Order(SampleRequest(anchor, 12), rng)])
        assert torch.equal(rows, own.render(codes))
        assert torch.equal(data, own.keep(codes))


@pytest.mark.parametrize("channels_last", [False, True])
def test_perturbed_images_are_made_where_and_as_they_were_asked_for(channels_last: bool, device: torch.device) -> None:
    sampler = sampler_of(
        tensor_of(picture(np.uint8)), dtype=torch.uint8, device=device, channels_last=channels_last, fill=300.0
    )
    rows, data = sampler.perturbation((1,), 9)
    assert rows.device.type == data.device.type == device.type
    assert rows.dtype == torch.uint8
    assert rows.is_contiguous(memory_format=torch.channels_last) is channels_last
    absent = ~data[:, None, torch.from_numpy(SEGMENTS).to(device)].expand_as(rows)
    assert (rows[absent] == 255).all()


def test_an_anchor_may_be_named_in_any_order() -> None:
    one, other = bright_sampler().perturbation((3, 0, 3), 25), bright_sampler().perturbation((0, 3), 25)
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_compare_labels_tells_which_rows_have_the_images_label() -> None:
    sampler = bright_sampler()
    rows, data = sampler.perturbation((), 60)
    assert torch.equal(sampler.compare_labels(rows), data[:, 0])
    with pytest.raises(ArgumentError, match="predictor must be given"):
        sampler_of().compare_labels(rows)


def test_the_image_is_labelled_once() -> None:
    sizes: list[int] = []

    def counting(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return bright(rows)

    sampler = AnchorImageSampler(counting, SEGMENTS, True, tensor_of(picture(np.float32)))
    for n in (4, 5, 6):
        sampler.compare_labels(sampler.perturbation((), n)[0])
    assert sizes == [1, 4, 5, 6]


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


def test_without_a_stream_of_its_own_each_sampler_draws_differently() -> None:
    a, b = sampler_of(rng=None), sampler_of(rng=None)
    assert not torch.equal(a.perturbation((), 50)[1], b.perturbation((), 50)[1])


def test_a_sampler_looks_at_the_image_as_it_was_given() -> None:
    image = torch.rand(3, 4, 7)
    sampler, before = sampler_of(image), image.clone()
    image.zero_()
    rows, _ = sampler.perturbation(tuple(range(K)), 2)
    assert torch.equal(rows[0], before)
    assert torch.equal(rows[1], before)


@pytest.mark.parametrize("p_sample", [0.0, 1.1, -0.5, float("nan")])
def test_p_sample_must_be_a_probability(p_sample: float) -> None:
    with pytest.raises(ArgumentError, match="p_sample must be a probability in \\(0, 1\\], got"):
        sampler_of(p_sample=p_sample)


@pytest.mark.parametrize("anchor", [(7,), (-1, 2)])
def test_an_anchor_must_be_of_the_images_superpixels(anchor: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"anchor must have superpixels 0 \.\. 6, got"):
        sampler_of().perturbation(anchor, 3)


@pytest.mark.parametrize("image", [picture(np.uint8), Image.fromarray(picture(np.uint8)), picture(np.uint8)[..., 0]])
def test_of_an_array_it_makes_arrays_for_a_function_of_arrays(image: Any) -> None:
    def dark(images: np.ndarray) -> np.ndarray:
        assert isinstance(images, np.ndarray)
        return (images[:, 0, 0, 0] < 100).astype(int)

    sampler = AnchorImageSampler(dark, SEGMENTS, True, image, rng=np.random.default_rng(0), fill=0.0)
    rows, data = sampler.perturbation((1,), 20)
    assert isinstance(rows, np.ndarray)
    assert rows.shape == (20, 4, 7, np.atleast_3d(np.asarray(image)).shape[2])
    assert data.dtype == bool
    pixels = np.atleast_3d(np.asarray(image))
    assert np.array_equal(rows, np.where(data[:, SEGMENTS][..., None], pixels, 0))
    label = dark(pixels[None].astype(np.float32))
    assert np.array_equal(sampler.compare_labels(rows), dark(rows) == label)
    covered_true, covered_false, labels, _, _, _ = sampler((0, (1,)), 30)
    assert isinstance(covered_true, np.ndarray)
    assert (dark(covered_true) == label).all()
    assert (dark(covered_false) != label).all()
    assert 0 < labels.sum() < 30


def test_a_module_is_asked_in_tensors_about_arrays_too() -> None:
    class Bright(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            assert rows.shape[1:] == (3, 4, 7)
            return (rows[:, 0, 0, 0] > 100).long()

    sampler = AnchorImageSampler(Bright(), SEGMENTS, True, picture(np.uint8))
    rows, _ = sampler.perturbation((0,), 5)
    assert sampler.compare_labels(rows).tolist() == [True] * 5
