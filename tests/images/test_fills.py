from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.images import fills
from torch_anchors.images.fills import BLUR_SIGMA, Backgrounds, Constant, make_fill, resolve_fill


@pytest.fixture
def image(device) -> torch.Tensor:
    return torch.randint(0, 256, (3, 12, 17), generator=torch.Generator().manual_seed(0)).float().to(device)


@pytest.fixture
def segments(device) -> torch.Tensor:
    return torch.randint(0, 5, (12, 17), generator=torch.Generator().manual_seed(1)).to(device)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 9))
def test_the_mean_equals_that_of_a_loop(seed, channels, height, width, n_segments):
    pixels = rng(seed).normal(scale=50, size=(channels, height, width)).astype(np.float32)
    labels = rng(seed).integers(0, min(n_segments, height * width), (height, width))
    expected = np.empty_like(pixels)
    for c in range(channels):
        for k in np.unique(labels):
            expected[c][labels == k] = pixels[c][labels == k].astype(np.float64).mean()
    filled = make_fill("mean", None, torch.from_numpy(pixels), torch.from_numpy(labels), rng())
    np.testing.assert_allclose(filled[0].numpy(), expected, rtol=1e-6, atol=1e-5)


def test_the_mean_is_exact_for_whole_numbers_and_not_rounded(device):
    image = torch.tensor([[[0.0, 255.0, 9.0, 9.0]]], device=device)
    filled = make_fill("mean", None, image, torch.tensor([[0, 0, 1, 1]], device=device), rng())
    assert filled.tolist() == [[[[127.5, 127.5, 9.0, 9.0]]]]


def test_the_blur_is_a_gaussian_in_proportion_to_the_image(image, segments):
    size = min(image.shape[1:])
    filled = make_fill("blur", None, image, segments, rng())
    pixels = image.cpu().numpy()
    expected = np.stack([gaussian_filter(c, BLUR_SIGMA * size, mode="nearest", truncate=3.4) for c in pixels])
    np.testing.assert_allclose(filled[0].cpu().numpy(), expected, rtol=0, atol=0.5)
    assert filled.std() < image.std()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2)])
def test_the_smallest_images_can_be_blurred(shape, device):
    image = torch.full((3, *shape), 7.0, device=device)
    filled = make_fill("blur", None, image, torch.zeros(shape, dtype=torch.int64, device=device), rng())
    assert torch.allclose(filled, image[None])


def test_noise_comes_from_the_job_s_stream(image, segments):
    numbers = torch.arange(3, device=image.device)
    a, b, c = (make_fill("noise", None, image, segments, rng(seed))[numbers] for seed in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    ("fill", "colour"),
    [
        ("constant", [0, 0, 0]),
        (128, [128, 128, 128]),
        (0.5, [0.5, 0.5, 0.5]),
        ((1, 2.5, 3), [1, 2.5, 3]),
        (np.array([4.0, 5.0, 6.0]), [4, 5, 6]),
        (torch.tensor([4.0, 5.0, 6.0]), [4, 5, 6]),
    ],
    ids=str,
)
def test_a_constant_fills_every_pixel(fill, colour, image, segments):
    filled = make_fill(fill, None, image, segments, rng())
    assert (filled[0] == torch.tensor(colour, device=image.device)[:, None, None]).all()


def test_a_callable_may_give_one_image_or_several(image, segments):
    assert torch.equal(make_fill(lambda i, s: i.flip(1), None, image, segments, rng()), image.flip(1)[None])
    several = make_fill(lambda i, s: torch.stack([i, i * (s == 0)]).double(), None, image, segments, rng())
    assert several.shape == (2, *image.shape)
    assert several.dtype == image.dtype
    assert torch.equal(several[1], image * (segments == 0))


@pytest.mark.parametrize(
    ("fill", "came"),
    [
        (lambda i, s: i[:, 1:], r"shape \(3, 11, 17\)"),
        (lambda i, s: i[:1], r"shape \(1, 12, 17\)"),
        (lambda i, s: i[None][:0], r"shape \(0, 3, 12, 17\)"),
        (lambda i, s: i.to(torch.uint8), "torch.uint8"),
        (lambda i, s: i * float("nan"), "NaN, infinity"),
        (lambda i, s: i.to("meta"), "on meta"),
        (lambda i, s: None, "got NoneType"),
    ],
    ids=["height", "channels", "none", "dtype", "nan", "device", "type"],
)
def test_what_a_callable_returns_is_checked(fill, came, image, segments):
    with pytest.raises(ArgumentError, match=rf"fill must return .*\(3, 12, 17\).*{came}"):
        make_fill(fill, None, image, segments, rng())


def test_what_a_callable_raises_is_wrapped(image, segments):
    def broken(image, segments):
        raise ZeroDivisionError("colours")

    with pytest.raises(ArgumentError, match=r"fill raised ZeroDivisionError: colours") as caught:
        make_fill(broken, None, image, segments, rng())
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("fill", ["gauss", float("nan"), None, {"mean": 1}, ["a", "b", "c"], [[1.0]], True])
def test_an_unknown_fill_is_refused(fill, image, segments):
    with pytest.raises(ArgumentError, match='fill must be "mean", "blur", "infill", "noise", "constant"'):
        make_fill(fill, None, image, segments, rng())


def test_as_many_constants_as_channels(image, segments):
    with pytest.raises(ArgumentError, match="one for each of the image's 3 channels, got 2"):
        make_fill([1, 2], None, image, segments, rng())


def upside_down(image, segments):
    return image.flip(1)


PIXELS = np.random.default_rng(5).integers(0, 256, (4, 12, 17, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        PIXELS.astype(np.float64),
        torch.from_numpy(PIXELS).permute(0, 3, 1, 2),
        [Image.fromarray(pixels) for pixels in PIXELS],
        [*PIXELS[:2], *torch.from_numpy(PIXELS[2:]).permute(0, 3, 1, 2).float()],
    ],
    ids=["array", "float array", "tensor", "PIL", "mixed"],
)
def test_backgrounds_are_read_as_the_explained_image_is(images, image, segments):
    filled = make_fill("mean", images, image, segments, rng())
    assert filled.dtype == image.dtype
    assert filled.device == image.device
    assert np.array_equal(filled.cpu().permute(0, 2, 3, 1).numpy(), PIXELS)


def test_grey_backgrounds(device):
    filled = make_fill("mean", PIXELS[..., 0], torch.zeros(1, 12, 17, device=device), torch.zeros(12, 17).long(), rng())
    assert np.array_equal(filled[:, 0].cpu().numpy(), PIXELS[..., 0])


def test_backgrounds_of_other_sizes_are_resized_with_a_warning(image, segments):
    plain = np.full((40, 30, 3), 77, dtype=np.uint8)
    with pytest.warns(AnchorsWarning, match="1 of 2 images_background were resized .* 12 x 17"):
        filled = make_fill("mean", [plain, PIXELS[0]], image, segments, rng())
    assert filled.shape == (2, 3, 12, 17)
    assert torch.allclose(filled[0], torch.full_like(filled[0], 77), atol=1e-3)
    assert np.array_equal(filled[1].cpu().permute(1, 2, 0).numpy(), PIXELS[0])


def test_images_of_one_size_share_their_backgrounds(image, segments):
    fill = Backgrounds(PIXELS)
    first, second = fill(image, segments, rng()), fill(image + 1, segments, rng())
    assert first.data_ptr() == second.data_ptr()


def test_few_sizes_of_backgrounds_are_kept_and_the_oldest_forgotten(monkeypatch):
    resized = []
    resize = fills._resize
    monkeypatch.setattr(fills, "_resize", lambda image, *size: resized.append(size) or resize(image, *size))
    monkeypatch.setattr(fills, "MOST_SIZES", 2)
    fill = Backgrounds(PIXELS[:1])
    pixels = torch.from_numpy(PIXELS[0]).permute(2, 0, 1).float()
    heights = (4, 5, 4, 5, 6, 5, 4)
    with pytest.warns(AnchorsWarning):
        found = [fill(torch.zeros(3, height, 8)) for height in heights]
    for filled, height in zip(found, heights, strict=True):
        assert torch.equal(filled, resize(pixels, height, 8)[None])
    assert resized == [(4, 8), (5, 8), (6, 8), (4, 8)]


def test_backgrounds_are_resized_once_whatever_thread_asks(monkeypatch):
    resized = []
    resize = fills._resize
    monkeypatch.setattr(fills, "_resize", lambda image, *size: resized.append(size) or resize(image, *size))
    fill = Backgrounds(np.stack([np.full((40, 30, 3), 7), np.full((40, 30, 3), 200)]).astype(np.uint8))
    with pytest.warns(AnchorsWarning, match="2 of 2"), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: fill(torch.full((3, 20, 20), float(n))), range(24)))
    assert len(resized) == 2
    assert len({filled.data_ptr() for filled in found}) == 1


def test_a_callable_may_write_to_what_it_gets(image, segments):
    before = image.clone(), segments.clone()

    def careless(image, segments):
        segments.zero_()
        return image.zero_()

    assert not make_fill(careless, None, image, segments, rng()).any()
    assert torch.equal(image, before[0])
    assert torch.equal(segments, before[1])


@pytest.mark.parametrize("copied", [lambda fill: pickle.loads(pickle.dumps(fill)), copy.deepcopy])
@pytest.mark.parametrize("fill", ["mean", "blur", "noise", 7.5, (1, 2, 3), upside_down, PIXELS])
def test_fills_can_be_pickled_and_copied(fill, copied, image, segments):
    made = resolve_fill("mean", fill) if isinstance(fill, np.ndarray) else resolve_fill(fill)
    first = torch.zeros(1, dtype=torch.int64, device=image.device)
    expected = made(image, segments, rng())[first]
    assert torch.equal(copied(made)(image, segments, rng())[first], expected)


def test_constants_are_equal_where_their_values_are():
    assert resolve_fill(0.5) == Constant(0.5) != Constant(0.25)
    assert resolve_fill("constant") == Constant(0.0)


@pytest.mark.parametrize("images", [[], np.zeros((0, 4, 4, 3)), torch.zeros(0, 3, 4, 4), "photographs", 3], ids=str)
def test_no_backgrounds_are_refused(images):
    with pytest.raises(ArgumentError, match=r"images_background must be .* at least one, got"):
        resolve_fill("mean", images)


def test_backgrounds_that_cannot_be_read_are_named(image, segments):
    with pytest.raises(ArgumentError, match=r"images_background\[0\] must be .*\(height, width, 1 to 4\)"):
        resolve_fill("mean", np.zeros((2, 4, 4, 5)))
    with pytest.raises(ArgumentError, match=r"the 3 channels of the explained image, got 1 in images_background\[1\]"):
        make_fill("mean", [PIXELS[0], PIXELS[1, ..., 0]], image, segments, rng())


@pytest.mark.parametrize("fill", ["blur", 0, lambda image, segments: image])
def test_a_fill_and_backgrounds_together_are_refused(fill):
    with pytest.raises(ArgumentError, match='fill must be left at "mean" when images_background is given'):
        resolve_fill(fill, PIXELS)


@pytest.mark.parametrize("fill", ["mean", "blur", "noise", "constant", (1, 2, 3)])
def test_named_fills_never_wait_for_the_device(fill):
    with FakeTensorMode(allow_non_fake_inputs=True):
        image = torch.rand(3, 32, 32, device="cuda")
        segments = torch.zeros(32, 32, dtype=torch.int64, device="cuda")
        filled = make_fill(fill, None, image, segments, rng())[torch.zeros(1, dtype=torch.int64, device="cuda")]
    assert filled.device == image.device
    assert filled.shape == (1, 3, 32, 32)
