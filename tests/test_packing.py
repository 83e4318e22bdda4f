"""Arrays and numbers through JSON and back, exactly; and what may come from a hostile file."""

from __future__ import annotations

import base64
import json
import math
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.packing import MOST_BYTES, Fields, pack_array, pack_number, runs_of

RNG = np.random.default_rng(0)
ARRAYS = {
    "photograph": RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8),
    "grey": RNG.integers(0, 256, (5, 7), dtype=np.uint8),
    "turned": RNG.integers(0, 256, (3, 5, 7), dtype=np.uint8).transpose(1, 2, 0),
    "two channels": RNG.integers(0, 256, (5, 7, 2), dtype=np.uint8),
    "line of bytes": np.arange(9, dtype=np.uint8),
    "mask": RNG.random((5, 7)) > 0.5,
    "all shown": np.ones((2, 3), dtype=bool),
    "no row": np.zeros((0, 4), dtype=bool),
    "no number": np.zeros((0, 4)),
    "labels": np.array([-1, 2**40]),
    "big-endian": np.array([1.5, np.nan, -np.inf], dtype=">f8"),
    "halves": np.array([[0.1], [65504]], dtype=np.float16),
    "scalar": np.array(3, dtype=np.uint16),
    "scalar of floats": np.array(0.3),
    "photograph in 255 parts": RNG.integers(0, 256, (5, 7, 3)).astype(np.float32) / np.float32(255),
    "grey in 255 parts": RNG.integers(0, 256, (5, 7)) / 255,
    "big-endian in 255 parts": (RNG.integers(0, 256, (5, 7)) / 255).astype(">f8"),
    "halves in 255 parts": RNG.integers(0, 256, (5, 7)).astype(np.float16) / np.float16(255),
    "nearly in 255 parts": np.nextafter(RNG.integers(1, 256, (5, 7)).astype(np.float32) / np.float32(255), 0),
    "negative zeros": np.full((2, 3), -0.0, dtype=np.float32),
    "not a number": np.full((2, 3), np.nan),
    "transposed": RNG.random((4, 6)).T,
    "colours": RNG.random((1, 3, 9), dtype=np.float32),
}


def unpacked(packed: Any) -> np.ndarray:
    return Fields(json.loads(json.dumps({"x": packed}))).array("x", kinds="biuf", ndim=range(5))


@pytest.mark.parametrize("name", list(ARRAYS))
def test_arrays_come_back_exactly_and_own_their_memory(name: str) -> None:
    array = ARRAYS[name]
    found = unpacked(pack_array(array))
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(array))
    assert found.flags.writeable


def test_pictures_are_png_and_masks_are_runs() -> None:
    assert base64.b64decode(pack_array(ARRAYS["photograph"])["png"]).startswith(b"\x89PNG")
    assert pack_array(np.array([[True, True], [False, True]]))["runs"] == [0, 2, 1, 1]


@pytest.mark.parametrize("name", list(ARRAYS))
def test_only_pictures_whose_floats_are_bytes_to_the_last_bit_are_kept_as_such(name: str) -> None:
    assert ("parts" in pack_array(ARRAYS[name])) == ("in 255 parts" in name and "nearly" not in name)


def test_floats_that_are_alike_take_fewer_bytes_than_one_after_the_other() -> None:
    smooth = np.cos(np.linspace(0, 9, 40_000)).reshape(200, 200).astype(np.float32)
    packed = pack_array(smooth)["planes"]
    assert len(packed) < 0.8 * len(base64.b64encode(zlib.compress(smooth.tobytes())))


@pytest.mark.parametrize("flat", [[], [False], [True], [True, False, False], [False, True, True, False]])
def test_runs_begin_with_false(flat: list[bool]) -> None:
    runs = runs_of(np.array(flat, dtype=bool))
    assert [value for i, n in enumerate(runs) for value in [i % 2 == 1] * n] == flat


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array([1 + 2j]), np.array(1, "datetime64[D]")])
def test_what_is_no_number_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ArgumentError, match="image must hold numbers or booleans to be saved, got"):
        pack_array(array, name="image")


@pytest.mark.parametrize("number", [0.1, -0.0, 5e-324, math.inf, -math.inf, math.nan])
def test_numbers_come_back_exactly(number: float) -> None:
    found = Fields(json.loads(json.dumps({"x": pack_number(number)}, allow_nan=False))).number("x")
    assert math.copysign(1, found) == math.copysign(1, number)
    assert found == number or (math.isnan(number) and math.isnan(found))


def deflated(n: int) -> str:
    return base64.b64encode(zlib.compress(bytes(n))).decode()


@pytest.mark.parametrize(
    ("packed", "complaint"),
    [
        (7, "x must be a dictionary, got int"),
        ({}, "x.dtype is missing"),
        ({"dtype": "object", "shape": [1]}, "x.dtype must be one of"),
        ({"dtype": "uint8", "shape": [-1], "deflate": ""}, "x.shape must be whole numbers of at least 0"),
        ({"dtype": "uint8", "shape": [True], "deflate": ""}, "x.shape must be whole numbers of at least 0"),
        ({"dtype": "uint8", "shape": [2**62, 2**62], "deflate": ""}, "the arrays of a file may take"),
        ({"dtype": "uint8", "shape": [3], "deflate": "%%"}, "x.deflate is not base64"),
        ({"dtype": "uint8", "shape": [3], "deflate": "AAAA"}, "x.deflate is damaged"),
        ({"dtype": "uint8", "shape": [3], "deflate": deflated(2)}, "x.deflate must be 3 bytes, got '2 or more'"),
        ({"dtype": "uint8", "shape": [3], "deflate": deflated(10**6)}, "x.deflate must be 3 bytes, got '4 or more'"),
        ({"dtype": "uint8", "shape": [3], "deflate": deflated(3)[:-8]}, "x.deflate must be 3 bytes|damaged"),
        ({"dtype": "bool", "shape": [3], "runs": [1, 1]}, "x.runs must be runs of 3 values together, got 2"),
        ({"dtype": "bool", "shape": [3], "runs": [1, "1"]}, "x.runs must be whole numbers"),
        ({"dtype": "uint8", "shape": [1, 1], "png": "AAAA"}, "x.png is damaged"),
        (
            {"dtype": "uint8", "shape": [1, 1], "png": "AAAA", "parts": 255},
            "x.parts must be 255, of an array",
        ),
        (
            {"dtype": "float32", "shape": [1, 1], "png": "AAAA", "parts": 9},
            "x.parts must be 255, of an array",
        ),
        ({"dtype": "float32", "shape": [1, 1], "png": "AAAA", "parts": 255}, "x.png is damaged"),
        ({"dtype": "float32", "shape": [3], "planes": "AAAA"}, "x.planes is damaged"),
        ({"dtype": "float32", "shape": [3], "planes": deflated(11)}, "x.planes must be 12 bytes, got '11 or more'"),
    ],
)
def test_damaged_and_hostile_arrays_are_refused(packed: Any, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        unpacked(packed)


def test_a_bomb_takes_no_more_memory_than_its_shape_allows() -> None:
    picture = pack_array(np.zeros((4000, 4000), dtype=np.uint8))
    bombs = [{"dtype": "uint8", "shape": [8], "deflate": deflated(2 * 10**8)}, {**picture, "shape": [4, 4]}]
    tracemalloc.start()
    for bomb in bombs:
        with pytest.raises(ArgumentError, match=r"x\.(deflate|png) must be"):
            unpacked(bomb)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()


def test_the_arrays_of_a_file_are_bounded_together() -> None:
    third = {"dtype": "bool", "shape": [MOST_BYTES // 3], "runs": [0]}
    fields = Fields({"inner": {"a": third, "b": third, "c": third, "d": third}}, budget=[MOST_BYTES])
    for name in "abc":
        with pytest.raises(ArgumentError, match="runs must be"):
            fields.fields("inner").array(name, kinds="b", ndim=(1,))
    with pytest.raises(ArgumentError, match=r"inner.d has the shape .* may take 1,073,741,824 bytes"):
        fields.fields("inner").array("d", kinds="b", ndim=(1,))


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("text", 1),
        ("list", {}),
        ("truth", 0),
        ("whole", 1.0),
        ("whole", True),
        ("number", True),
        ("number", "1"),
        ("number", 10**400),
        ("numbers", [1, None]),
        ("texts", ["a", 1]),
        ("wholes", [2**63]),
        ("fields", []),
        ("each", [1]),
        ("text_or_none", 0),
    ],
)
def test_fields_are_what_they_must_be(method: str, value: Any) -> None:
    with pytest.raises(ArgumentError, match=r"data\.x(\[0\])? must be "):
        getattr(Fields({"x": value}, "data"), method)("x")


def test_an_error_is_short() -> None:
    with pytest.raises(ArgumentError) as caught:
        Fields({"x": "a" * 10**6}).whole("x")
    assert len(str(caught.value)) < 120
