"""Values and arrays <-> what JSON can hold, so that they come back exactly; and reading what may be damaged or hostile.

Nothing is executed, no value is believed before it was checked, and what arrays may take of memory is bounded before
any of it is taken.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from torch_anchors.errors import ArgumentError

MOST_BYTES = 2**30
"""Bytes that the arrays of one file may take together: more than five photographs of 60 million pixels."""

_DTYPES = ("bool", *(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64)))
_FLOATS = ("float16", "float32", "float64")
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_PARTS = 255
"""Of 1, in which pictures of floats mostly come."""
_PNG_MODES = {2: "L", 3: "RGB"}
"""Pillow's name for bytes (height, width) and (height, width, 3), by the number of axes."""


def pack_number(number: float) -> float | str:
    """A float that JSON can hold: it knows neither NaN nor infinity."""
    number = float(number)
    return number if math.isfinite(number) else str(number)


def pack_array(array: NDArray[Any], *, name: str = "array") -> dict[str, Any]:
    """An array as a dictionary for JSON, without loss.

    Pictures in bytes, (height, width) or (height, width, 3), are PNG, and so are those whose numbers are bytes / 255 to
    the last bit, as many are that come from a file. Booleans are the lengths of runs, of False and True in turn, in the
    order of rows. All else is deflated little-endian bytes; of floats first the lowest byte of each, then the next one,
    as signs and exponents are much alike. PNG and bytes are in base64.

    Raises:
        ArgumentError: an array of objects, of text, or of a type that not every computer has.
    """
    kind, shape = array.dtype.name, list(array.shape)
    if kind not in _DTYPES + _FLOATS:
        raise ArgumentError(f"{name} must hold numbers or booleans to be saved, got {array.dtype}; convert it first.")
    if kind == "bool":
        return {"dtype": kind, "shape": shape, "runs": runs_of(array.ravel())}
    if is_picture(array):
        return {"dtype": kind, "shape": shape, "png": _text(_as_png(array))}
    if kind in _FLOATS and (parts := _in_255_parts(array)) is not None:
        return {"dtype": kind, "shape": shape, "png": _text(_as_png(parts)), "parts": _PARTS}
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if kind in _FLOATS:
        planes = little.reshape(-1, 1).view(np.uint8).T
        return {"dtype": kind, "shape": shape, "planes": _text(zlib.compress(planes.tobytes()))}
    return {"dtype": kind, "shape": shape, "deflate": _text(zlib.compress(little.tobytes()))}


def pack_labels(labels: NDArray[Any]) -> dict[str, Any] | list[str]:
    """Labels for JSON: an array of numbers as any array, class names as a list of them."""
    return list(map(str, labels)) if labels.dtype.kind in "OU" else pack_array(labels, name="labels")


def runs_of(flat: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of equal values, the first of them of False (and so perhaps 0).

    Example:
        >>> runs_of(np.array([True, True, False, True]))
        [0, 2, 1, 1]
    """
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([[0], changes, [flat.size]])
    lengths = np.diff(ends).tolist() if flat.size else []
    return [0, *lengths] if flat.size and flat[0] else lengths


def is_picture(array: NDArray[Any]) -> bool:
    """Whether PNG holds the array without loss."""
    channels = array.shape[2:] in ((), (3,))
    return array.dtype == np.uint8 and array.ndim in _PNG_MODES and channels and array.size > 0


class Fields:
    """A dictionary from a file, whose values are checked as they are read.

    Args:
        values: what the file holds there; anything.
        place: what error messages call it, such as "data.raw".
        budget: bytes that arrays may still take; shared by all fields of a file.

    Raises:
        ArgumentError: something is not what it must be; the message names it. So do all methods.
    """

    def __init__(self, values: Any, place: str = "", budget: list[int] | None = None) -> None:
        if not isinstance(values, dict):
            raise ArgumentError(f"{place or 'the document'} must be a dictionary, got {type(values).__name__}")
        self.values: dict[str, Any] = values
        self._place = place
        self._budget = [MOST_BYTES] if budget is None else budget

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def get(self, key: str) -> Any:
        """The value as it stands there, unchecked."""
        if key not in self.values:
            raise ArgumentError(f"{self._called(key)} is missing")
        return self.values[key]

    def fields(self, key: str) -> Fields:
        """The dictionary of that name."""
        return Fields(self.get(key), self._called(key), self._budget)

    def each(self, key: str) -> list[Fields]:
        """The dictionaries of the list of that name."""
        called = self._called(key)
        return [Fields(one, f"{called}[{i}]", self._budget) for i, one in enumerate(self.list(key))]

    def list(self, key: str) -> list[Any]:
        """The list of that name, its items unchecked."""
        value = self.get(key)
        return value if isinstance(value, list) else self._wrong(key, "a list", value)

    def text(self, key: str) -> str:
        """The text of that name."""
        value = self.get(key)
        return value if isinstance(value, str) else self._wrong(key, "text", value)

    def text_or_none(self, key: str) -> str | None:
        """The text of that name, or null."""
        return None if self.get(key) is None else self.text(key)

    def word(self, key: str, words: Sequence[str]) -> str:
        """One of some words."""
        value = self.text(key)
        return value if value in words else self._wrong(key, f"one of {', '.join(words)}", value)

    def truth(self, key: str) -> bool:
        """The true or false of that name."""
        value = self.get(key)
        return value if isinstance(value, bool) else self._wrong(key, "true or false", value)

    def whole(self, key: str, least: int | None = None) -> int:
        """A whole number of at least `least`."""
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or (least is not None and value < least):
            self._wrong(key, "a whole number" + (f" of at least {least}" if least is not None else ""), value)
        return int(value)

    def number(self, key: str) -> float:
        """A number; NaN and infinity are words."""
        return self._as_number(key, self.get(key))

    def numbers(self, key: str, n: int | None = None) -> tuple[float, ...]:
        """Numbers, `n` of them if that is given."""
        values = self.list(key)
        if n is not None and len(values) != n:
            self._wrong(key, f"{n} numbers", values)
        return tuple(self._as_number(key, value) for value in values)

    def wholes(self, key: str) -> tuple[int, ...]:
        """Whole numbers of at least 0."""
        values = self.list(key)
        if not all(type(value) is int and 0 <= value < 2**63 for value in values):
            self._wrong(key, "whole numbers of at least 0", values)
        return tuple(values)

    def texts(self, key: str) -> tuple[str, ...]:
        """Several texts."""
        values = self.list(key)
        return tuple(values) if all(isinstance(v, str) for v in values) else self._wrong(key, "texts", values)

    def label(self, key: str) -> int | str:
        """The number of a class, or its name."""
        return self.text(key) if isinstance(self.get(key), str) else self.whole(key)

    def labels(self, key: str) -> NDArray[Any]:
        """The labels (n,) that `pack_labels` gave: numbers, or names as an array of objects."""
        if not isinstance(self.get(key), list):
            return self.array(key, kinds="iu", ndim=(1,))
        names = self.texts(key)
        labels = np.empty(len(names), dtype=object)
        labels[:] = names
        return labels

    def array(self, key: str, *, kinds: str, ndim: Sequence[int]) -> NDArray[Any]:
        """The array of that name, which owns its memory.

        Args:
            key: its name.
            kinds: letters of the types that it may have, as NumPy has them: "b", "u", "i" and "f".
            ndim: how many axes it may have.
        """
        packed = self.fields(key)
        dtype = np.dtype(packed.word("dtype", _DTYPES + _FLOATS))
        shape = packed.wholes("shape")
        size = math.prod(shape)
        if dtype.kind not in kinds or len(shape) not in ndim:
            self._wrong(key, f"an array of type {'/'.join(kinds)} with {' or '.join(map(str, ndim))} axes", "another")
        self._budget[0] -= size * dtype.itemsize
        if self._budget[0] < 0:
            raise ArgumentError(
                f"{self._called(key)} has the shape {shape}: the arrays of a file may take {MOST_BYTES:,} bytes"
            )
        return packed._unpacked(dtype, shape, size)

    def check(self, condition: bool, key: str, expected: str) -> None:
        """Complains of a value that is not as expected, beside the others."""
        if not condition:
            self._wrong(key, expected, "another")

    def _unpacked(self, dtype: np.dtype, shape: tuple[int, ...], size: int) -> NDArray[Any]:
        if dtype.kind == "b":
            runs = self.wholes("runs")
            if sum(runs) != size:
                self._wrong("runs", f"runs of {size} values together", sum(runs))
            return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)
        if "parts" in self:
            self.check(dtype.kind == "f" and self.whole("parts") == _PARTS, "parts", f"{_PARTS}, of an array of floats")
            return _of_255_parts(self._from_png(shape), dtype)
        if "png" in self:
            return self._from_png(shape)
        if "planes" in self:
            planes = np.frombuffer(self._inflated("planes", size * dtype.itemsize), dtype=np.uint8)
            little = np.ascontiguousarray(planes.reshape(dtype.itemsize, size).T).view(dtype.newbyteorder("<"))
            return little.astype(dtype).reshape(shape)
        raw = self._inflated("deflate", size * dtype.itemsize)
        return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype).reshape(shape)

    def _inflated(self, key: str, n_bytes: int) -> bytes:
        data = self._bytes(key)
        inflater = zlib.decompressobj()
        try:
            raw = inflater.decompress(data, n_bytes + 1)
        except zlib.error as error:
            raise ArgumentError(f"{self._called(key)} is damaged: {error}") from error
        if len(raw) != n_bytes or not inflater.eof:
            self._wrong(key, f"{n_bytes} bytes", f"{len(raw)} or more")
        return raw

    def _from_png(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the shape was checked already
                picture = Image.open(io.BytesIO(self._bytes("png")), formats=["PNG"])
            if (picture.size[::-1], picture.mode) != (shape[:2], _PNG_MODES.get(len(shape))):
                self._wrong("png", f"a picture of the shape {shape}", f"{picture.mode} {picture.size[::-1]}")
            return np.array(picture)
        except ArgumentError:
            raise
        except Exception as error:  # a damaged file may fail in any way
            raise ArgumentError(f"{self._called('png')} is damaged: {error}") from error

    def _bytes(self, key: str) -> bytes:
        try:
            return base64.b64decode(self.text(key), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ArgumentError(f"{self._called(key)} is not base64: {error}") from error

    def _as_number(self, key: str, value: Any) -> float:
        if isinstance(value, str) and value in _NOT_FINITE:
            return _NOT_FINITE[value]
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or abs(value) > 1e308:
            self._wrong(key, "a number", value)
        return float(value)

    def _called(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key

    def _wrong(self, key: str, expected: str, got: Any) -> Any:
        shown = repr(got)
        raise ArgumentError(
            f"{self._called(key)} must be {expected}, got {shown if len(shown) < 60 else shown[:57] + '...'}"
        )


def _in_255_parts(array: NDArray[np.floating]) -> NDArray[np.uint8] | None:
    """The bytes of a picture whose numbers are bytes / 255, if it is one."""
    if array.ndim not in _PNG_MODES or not array.size or not (array.min() >= 0 and array.max() <= 1):
        return None
    parts = np.rint(array * array.dtype.type(_PARTS)).astype(np.uint8)
    fits = is_picture(parts) and np.array_equal(_of_255_parts(parts, array.dtype), array)
    return parts if fits and not np.signbit(array).any() else None


def _of_255_parts(parts: NDArray[np.uint8], dtype: np.dtype) -> NDArray[np.floating]:
    return parts.astype(dtype) / dtype.type(_PARTS)


def _as_png(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(file, format="PNG")
    return file.getvalue()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
