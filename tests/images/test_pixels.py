from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

import torch_anchors
from torch_anchors.errors import ArgumentError
from torch_anchors.images.files import read_picture
from torch_anchors.images.pixels import Layout, as_picture, copied, hwc, scale_image, to_chw

RNG = np.random.default_rng(0)
UINT8 = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
FLOAT = RNG.random((5, 7, 3), dtype=np.float32)

READABLE = {
    "uint8 array": UINT8,
    "float array": FLOAT,
    "double array": FLOAT.astype(np.float64),
    "grey array": UINT8[..., 0],
    "one-channel array": UINT8[..., :1],
    "non-contiguous array": UINT8[::-1, ::2],
    "uint8 tensor": torch.from_numpy(UINT8).permute(2, 0, 1),
    "half tensor": torch.from_numpy(FLOAT).permute(2, 0, 1).half(),
    "bfloat16 tensor": torch.from_numpy(FLOAT).permute(2, 0, 1).bfloat16(),
    "grey tensor": torch.from_numpy(FLOAT[..., 0].copy()),
    "PIL RGB": Image.fromarray(UINT8),
    "PIL L": Image.fromarray(UINT8[..., 0]),
    "RGBA array": np.dstack([UINT8, UINT8[..., 0]]),
    "two-channel tensor": torch.from_numpy(UINT8).permute(2, 0, 1)[:2],
    "int64 array": UINT8.astype(np.int64),
    "uint16 array": 257 * UINT8.astype(np.uint16),
    "signed tensor": torch.from_numpy(UINT8.astype(np.int16)).permute(2, 0, 1) - 128,
    "numbers at the end of what is exact": np.array([[2**24, -(2**24)]]),
}


@pytest.mark.parametrize("name", READABLE)
def test_the_tensor_and_the_array_hold_the_same_pixels_in_their_order(name):
    image = READABLE[name]
    tensor, array = to_chw(image), hwc(image)
    assert tensor.dtype == torch.float32
    assert tensor.device.type == "cpu"
    channels_last = array if array.ndim == 3 else array[..., None]
    assert np.array_equal(tensor.permute(1, 2, 0).numpy(), channels_last.astype(np.float32))


@pytest.mark.parametrize("name", READABLE)
def test_restoring_gives_back_the_layout_type_and_values(name):
    image = READABLE[name]
    restored = Layout.of(image).restore(to_chw(image))
    expected = np.asarray(image) if isinstance(image, Image.Image) else image
    assert type(restored) is type(expected)
    assert restored.dtype == expected.dtype
    assert restored.shape == expected.shape
    equal = torch.equal if isinstance(expected, torch.Tensor) else np.array_equal
    assert equal(restored, expected)


def test_values_keep_their_scale():
    assert to_chw(UINT8).max() == UINT8.max()
    assert to_chw(FLOAT * 500 - 7).min() == (FLOAT * 500 - 7).min()


@pytest.mark.parametrize("name", READABLE)
def test_the_layout_tells_whether_pixels_are_bytes(name):
    image = READABLE[name]
    assert Layout.of(image).in_bytes is (isinstance(image, Image.Image) or str(image.dtype).endswith("uint8"))


def test_restoring_uint8_rounds_and_clips():
    pixels = torch.tensor([[[-3.0, 0.4, 0.6, 254.7, 300.0]]])
    assert Layout.of(UINT8[..., 0]).restore(pixels).tolist() == [[0, 0, 1, 255, 255]]
    assert Layout.of(torch.zeros(1, 2, 2, dtype=torch.uint8)).restore(pixels).tolist() == [[[0, 0, 1, 255, 255]]]


def test_the_user_s_image_is_never_written_to():
    for image in (FLOAT.copy(), torch.from_numpy(FLOAT[..., 0].copy())):
        before = image.copy() if isinstance(image, np.ndarray) else image.clone()
        to_chw(image).add_(1)
        assert (image == before).all()


@pytest.mark.parametrize("name", READABLE)
def test_a_copy_is_the_same_and_shares_no_memory(name):
    image = READABLE[name]
    image = image.copy() if hasattr(image, "copy") else image.clone()
    other = copied(image)
    assert type(other) is type(image)
    if isinstance(image, Image.Image):
        assert other.mode == image.mode
        image.putpixel((0, 0), 0 if image.mode == "L" else (0, 0, 0))
        assert np.array_equal(np.asarray(other), np.asarray(READABLE[name]))
        return
    assert other.dtype == image.dtype
    image[...] = 0
    assert (other == READABLE[name]).all()
    assert (other != 0).any()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (UINT8, UINT8),
        (UINT8.astype(np.int32), UINT8),
        (FLOAT, FLOAT),
        (np.array([[-1.0, 0.0, 1.0]]), np.array([[0, 0.5, 1]], dtype=np.float32)),
        (np.array([[0, 1000]]), np.array([[0, 1]], dtype=np.float32)),
        (np.full((2, 2), 7.0), np.zeros((2, 2), dtype=np.float32)),
    ],
)
def test_a_picture_is_on_a_scale_that_imshow_takes(image, expected):
    shown = as_picture(image)
    assert shown.dtype == expected.dtype
    assert np.array_equal(shown, expected)


def test_a_copy_of_a_tensor_is_on_the_cpu_without_a_gradient(device):
    other = copied(torch.rand(3, 4, 4, device=device, requires_grad=True))
    assert other.device.type == "cpu"
    assert not other.requires_grad


def test_a_tensor_that_requires_a_gradient_is_detached(device):
    image = torch.rand(3, 4, 4, device=device, requires_grad=True)
    assert not to_chw(image).requires_grad
    assert hwc(image).shape == (4, 4, 3)


UNREADABLE = {
    "five channels": (np.zeros((9, 8, 5), np.uint8), r"\(height, width, 1 to 4\)"),
    "five channels of a tensor": (torch.zeros(5, 8, 9), r"\(1 to 4, height, width\)"),
    "PIL 16 bits": (Image.fromarray(np.zeros((6, 5), np.uint16)), r'"I;16", which convert\(\) would clip; scale it by'),
    "PIL 32 bits": (Image.new("I", (5, 6)), r'"I", which convert\(\) would clip.*torch_anchors\.scale_image'),
    "PIL floats": (Image.new("F", (5, 6)), r'"F", which convert\(\) would clip.*torch_anchors\.scale_image'),
    "array channels first": (np.zeros((3, 9, 8)), r"transpose\(1, 2, 0\)"),
    "tensor channels last": (torch.zeros(9, 8, 3), r"permute\(2, 0, 1\)"),
    "array batch": (np.zeros((1, 9, 8, 3)), r"image\[0\]"),
    "tensor batch": (torch.zeros(1, 3, 9, 8), r"image\[0\]"),
    "one dimension": (np.zeros(9), r"got \(9,\)"),
    "empty": (np.zeros((0, 8, 3)), r"got \(0, 8, 3\)"),
    "empty tensor": (torch.zeros(3, 0, 4), r"got \(3, 0, 4\)"),
    "large numbers": (np.array([[0, 2**24 + 2]]), r"whole numbers up to 2\*\*24.*got 16777218"),
    "large negative numbers": (torch.tensor([[0, -(2**25)]]), r"image / image\.max"),
    "bool array": (np.zeros((9, 8), bool), r'astype\("float32"\)'),
    "complex array": (np.zeros((9, 8), complex), r'astype\("uint8"\)'),
    "bool tensor": (torch.zeros(3, 9, 8, dtype=torch.bool), r"image\.float\(\)"),
    "NaN": (np.full((4, 4), np.nan), "NaN or infinity"),
    "infinity": (torch.full((3, 4, 4), torch.inf), "NaN or infinity"),
    "list": ([[0.0, 1.0]], "got list"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_image_is_refused_by_name_with_the_remedy(name):
    image, remedy = UNREADABLE[name]
    with pytest.raises(ArgumentError, match=f"^photograph must .*{remedy}"):
        to_chw(image, name="photograph")


def test_the_layout_and_the_array_refuse_what_the_tensor_refuses():
    for function in (Layout.of, hwc):
        with pytest.raises(ArgumentError, match=r"\(height, width, 1 to 4\)"):
            function(np.zeros((5, 6, 5), np.uint8))


finite = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None)
@given(hnp.arrays(np.float64, hnp.array_shapes(max_dims=3), elements=finite), finite, st.floats(0.5, 1e3, width=32))
def test_a_scaled_image_spans_the_scale_in_the_order_of_its_values(image, low, spread):
    scaled = scale_image(image, (low, low + spread))
    slack = 1e-9 * (1 + abs(low) + spread)
    assert scaled.min() == low
    assert scaled.max() == pytest.approx(low + spread if image.min() < image.max() else low, abs=slack)
    order = np.argsort(image, axis=None, kind="stable")
    assert (np.diff(scaled.ravel()[order]) >= -slack).all()


def test_scaling_is_linear_and_takes_whole_numbers():
    assert scale_image(np.array([[0, 51, 255]], dtype=np.uint8), (0, 1)).tolist() == [[0.0, 0.2, 1.0]]
    assert scale_image(np.array([-1.0, 0.0, 1.0])).tolist() == [0.0, 127.5, 255.0]
    assert scale_image(FLOAT).dtype == np.float32


@pytest.mark.parametrize("scale", [(1, 0), (0, 0), (0, float("inf")), (0.0,), (0, 1, 2)])
def test_a_scale_that_is_not_two_ascending_numbers_is_refused(scale):
    with pytest.raises(ArgumentError, match="scale must be two finite numbers"):
        scale_image(FLOAT, scale)


def test_scaling_refuses_what_has_no_range():
    with pytest.raises(ArgumentError, match="at least one pixel"):
        scale_image(np.zeros((0, 3)))
    with pytest.raises(ArgumentError, match="NaN"):
        scale_image(np.array([0.0, np.nan]))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "YCbCr", "HSV", "PA"])
def test_a_pil_image_of_another_mode_is_read_as_from_a_file(mode, tmp_path):
    colours = Image.fromarray(UINT8).convert("RGBA")
    colours.putalpha(Image.fromarray(UINT8[..., 0]))
    image = colours.convert(mode) if mode in ("RGBA", "LA", "PA") else Image.fromarray(UINT8).convert(mode)
    assert hwc(image).shape == (5, 7, 3)
    assert Layout.of(image).in_bytes
    if mode in ("RGBA", "LA", "P", "1"):  # what PNG files hold
        image.save(tmp_path / "a.png")
        assert np.array_equal(hwc(image), read_picture(tmp_path / "a.png"))
    kept = copied(image)
    assert np.array_equal(np.asarray(kept), hwc(image))
    assert kept.mode == "RGB"


def test_transparent_parts_are_white():
    assert hwc(Image.new("RGBA", (2, 1), (0, 0, 0, 0))).min() == 255
    half = hwc(Image.new("RGBA", (2, 1), (0, 0, 0, 128)))
    assert half.min() == half.max() == 127


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_the_line_that_an_error_gives_scales_a_deep_image_without_clipping(mode):
    values = np.linspace(0, 65535, 42).reshape(6, 7)
    values = values.round() if mode.startswith("I") else values
    dtype = {"I;16": "<u2", "I;16B": ">u2", "I": np.int32, "F": np.float32}[mode]
    image = Image.frombytes(mode, (7, 6), values.astype(dtype).tobytes())
    with pytest.raises(ArgumentError) as caught:
        to_chw(image)
    line = str(caught.value).partition("scale it by ")[2].rstrip(".")
    scaled = eval(line, {"image": image, "Image": Image, "np": np, "torch_anchors": torch_anchors})
    pixels = hwc(scaled)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.abs(pixels - values / 257).max() <= 0.5 + 1e-4
