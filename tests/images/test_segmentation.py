from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.segmentation import felzenszwalb, quickshift, slic
from skimage.transform import resize
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.errors import ArgumentError
from torch_anchors.images.segmentation import DEFAULT_SEGMENTATION_KWARGS, segment, segment_batch, unit_range

PHOTOGRAPH = (resize(data.coffee(), (64, 72), anti_aliasing=True) * 255).round().astype(np.uint8)
GREY = PHOTOGRAPH[..., 1]
BUILT_IN = ("slic", "felzenszwalb", "quickshift", "grid", "slic_torch", "hierarchy")


def is_complete(labels: np.ndarray, image: np.ndarray) -> bool:
    names = np.unique(labels)
    return labels.shape == image.shape[:2] and labels.dtype == np.int64 and names.tolist() == list(range(len(names)))


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("image", [PHOTOGRAPH, GREY, GREY[..., None]], ids=["RGB", "grey", "one channel"])
def test_every_built_in_labels_every_pixel_without_gaps(name, image):
    labels = segment(image, name)
    assert is_complete(labels, image)
    assert labels.max() >= 1


def test_there_are_defaults_for_every_built_in_as_documented():
    assert set(DEFAULT_SEGMENTATION_KWARGS) == set(BUILT_IN)
    assert DEFAULT_SEGMENTATION_KWARGS["slic"] == {"n_segments": 10, "compactness": 10, "sigma": 0.5}


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_type_of_the_pixels_does_not_matter(name):
    expected = segment(PHOTOGRAPH, name)
    assert np.array_equal(segment((PHOTOGRAPH / 255).astype(np.float64), name), expected)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_range_of_floats_does_not_matter(name):
    image = PHOTOGRAPH.astype(np.float32)
    image[0, 0], image[0, 1] = 0, 255  # so that both ranges stretch to the same
    expected = segment(image / 255, name)
    assert (segment(image * 4 - 300, name) == expected).mean() > 0.99


def test_built_ins_are_scikit_image_s_functions_with_the_settings_over_the_defaults():
    image = (PHOTOGRAPH / np.float32(255)).astype(np.float32)
    mine, theirs = segment(PHOTOGRAPH, "slic", {"n_segments": 20}), slic(image, 20, 10, sigma=0.5, start_label=0)
    assert np.array_equal(mine, theirs)
    assert np.array_equal(segment(PHOTOGRAPH, "felzenszwalb", {"scale": 50}), felzenszwalb(image, scale=50))
    assert np.array_equal(segment(PHOTOGRAPH, "quickshift", {"max_dist": 5}), quickshift(image, max_dist=5))


def test_the_defaults_and_the_user_s_settings_are_left_as_they_are():
    kwargs = {"n_segments": 20}
    segment(PHOTOGRAPH, "slic", kwargs)
    assert kwargs == {"n_segments": 20}
    assert DEFAULT_SEGMENTATION_KWARGS["slic"]["n_segments"] == 10


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_a_grid_has_rectangles_of_almost_one_size(height, width, drawn):
    rows, cols = drawn.draw(st.integers(1, height)), drawn.draw(st.integers(1, width))
    if rows * cols == 1:
        return
    labels = segment(np.zeros((height, width), np.uint8), "grid", {"rows": rows, "cols": cols})
    assert labels.max() == rows * cols - 1
    for label in range(rows * cols):
        y, x = np.nonzero(labels == label)
        assert len(y) == (np.ptp(y) + 1) * (np.ptp(x) + 1)
        assert abs(np.ptp(y) + 1 - height / rows) < 1
        assert abs(np.ptp(x) + 1 - width / cols) < 1


def test_a_grid_finer_than_the_pixels_is_refused():
    with pytest.raises(ArgumentError, match="rows and cols must be between 1 and the image's 64 x 72 pixels"):
        segment(PHOTOGRAPH, "grid", {"rows": 65})


@pytest.mark.parametrize("image", [PHOTOGRAPH, GREY, GREY[..., None], PHOTOGRAPH * 0.5])
def test_a_callable_gets_the_image_as_it_is(image):
    seen = []

    def halves(given_image):
        seen.append(given_image)
        return np.arange(given_image.shape[0] * given_image.shape[1]).reshape(given_image.shape[:2]) % 2

    assert is_complete(segment(image, halves), image)
    np.testing.assert_array_equal(seen[0], image)
    assert seen[0].dtype == image.dtype
    assert not np.shares_memory(seen[0], image)  # it may write to it


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[7, 7, 3], [1, 3, 3]], dtype=np.int32),
        np.array([[7, 7, 3], [1, 3, 3]], dtype=np.uint8),
        np.array([[7, 7, 3], [1, 3, 3]], dtype=np.float32),
        torch.tensor([[7, 7, 3], [1, 3, 3]]),
        [[7, 7, 3], [1, 3, 3]],
    ],
    ids=["int32", "uint8", "float32", "tensor", "list"],
)
def test_ready_labels_are_renumbered_in_their_order(labels):
    image = np.zeros((2, 3, 3))
    assert segment(image, labels).tolist() == [[2, 2, 1], [0, 1, 1]]
    assert segment(image, lambda _: labels).tolist() == [[2, 2, 1], [0, 1, 1]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((3, 2), int), r"shape \(2, 3\), got int64 of shape \(3, 2\)"),
        (np.full((2, 3), 0.5), "whole numbers .* got float64"),
        (np.full((2, 3), np.inf), "whole numbers .* got float64"),
        (np.eye(2, 3, dtype=bool), "whole numbers .* got bool"),
        (-np.eye(2, 3, dtype=int), "labels >= 0, got -1"),
    ],
    ids=["shape", "float", "infinity", "bool", "negative"],
)
@pytest.mark.parametrize("as_callable", [False, True])
def test_labels_that_are_no_segmentation_are_refused(labels, message, as_callable):
    with pytest.raises(ArgumentError, match=f"segmentation_fn must .*{message}"):
        segment(np.zeros((2, 3, 3)), (lambda _: labels) if as_callable else labels)


def test_one_single_superpixel_is_one():
    assert segment(PHOTOGRAPH, "slic", {"n_segments": 1}).max() == 0
    assert segment(PHOTOGRAPH, np.full(PHOTOGRAPH.shape[:2], 7)).max() == 0


@pytest.mark.parametrize("name", BUILT_IN)
def test_grey_is_a_colour_and_alpha_is_none(name):
    expected = segment(np.stack([GREY] * 3, axis=-1), name)
    alpha = PHOTOGRAPH[..., :1]
    for grey in (GREY, GREY[..., None], np.dstack([GREY, alpha])):
        assert np.array_equal(segment(grey, name), expected)
    assert np.array_equal(segment(np.dstack([PHOTOGRAPH, alpha]), name), segment(PHOTOGRAPH, name))


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int16])
def test_whole_numbers_are_segmented_as_bytes_are(dtype):
    assert np.array_equal(segment(PHOTOGRAPH.astype(dtype)), segment(PHOTOGRAPH))


@pytest.mark.parametrize("start_label", [0, 1])
def test_labels_begin_at_zero_wherever_they_were_told_to(start_label):
    assert np.array_equal(segment(PHOTOGRAPH, "slic", {"start_label": start_label}), segment(PHOTOGRAPH, "slic"))


def test_an_unknown_name_or_setting_is_answered_with_the_known_ones():
    with pytest.raises(ArgumentError, match=re.escape(f"one of {sorted(BUILT_IN)}")):
        segment(PHOTOGRAPH, "watershed")
    with pytest.raises(ArgumentError, match=r"of 'grid' may be \['rows', 'cols'\], got \['n_segments'\]"):
        segment(PHOTOGRAPH, "grid", {"n_segments": 3})
    for key in ("channel_axis", "mask", "image"):
        with pytest.raises(ArgumentError, match=rf"got \['{key}'\]"):
            segment(PHOTOGRAPH, "slic", {key: 0})
    with pytest.raises(ArgumentError, match=r"functools\.partial"):
        segment(PHOTOGRAPH, partial(slic, n_segments=4), {"n_segments": 3})


def test_errors_of_a_segmentation_are_wrapped_once():
    def broken(image):
        raise KeyError("superpixels")

    with pytest.raises(ArgumentError, match=r"raised KeyError: 'superpixels' \(on .* \(64, 72, 3\)") as caught:
        segment(PHOTOGRAPH, broken)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ArgumentError, match=r"'slic' failed with segmentation_kwargs") as caught:
        segment(PHOTOGRAPH, "slic", {"n_segments": "many"})
    assert not isinstance(caught.value.__cause__, ArgumentError)
    with pytest.raises(ArgumentError, match=r"^compactness must be a number greater than 0"):
        segment(PHOTOGRAPH, "slic_torch", {"compactness": 0})


def test_unit_range():
    assert unit_range(np.array([0, 51, 255], np.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    assert unit_range(np.array([0.2, 0.4])).tolist() == pytest.approx([0.2, 0.4])
    assert unit_range(np.array([0.0, 51.0, 255.0])).tolist() == pytest.approx([0, 0.2, 1])
    assert unit_range(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 0.5, 1]
    assert unit_range(np.full(3, 9.0)).tolist() == [0, 0, 0]


def test_a_batch_gives_what_one_by_one_gives(device):
    images = [PHOTOGRAPH, PHOTOGRAPH[::-1].copy(), PHOTOGRAPH[:, ::-1].copy()]
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().to(device)
    together = segment_batch(batch, {"n_segments": 20}).cpu().numpy()
    for image, labels in zip(images, together, strict=True):
        assert np.array_equal(segment(image, "slic_torch", {"n_segments": 20}), labels)
    grey = torch.from_numpy(GREY)[None, None].float().to(device)
    assert np.array_equal(segment(GREY, "slic_torch"), segment_batch(grey)[0].cpu().numpy())


def test_a_batch_never_waits_for_the_device():
    with FakeTensorMode():
        assert segment_batch(torch.rand(2, 1, 32, 32, device="cuda")).device.type == "cuda"


def test_a_batch_refuses_unknown_settings():
    with pytest.raises(ArgumentError, match=r"got \['rows'\]"):
        segment_batch(torch.rand(2, 3, 32, 32), {"rows": 3})
