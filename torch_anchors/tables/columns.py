"""A column of a user's table: what it holds, and its values <-> numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._checks import said
from torch_anchors._shapes import Bool, Float
from torch_anchors.errors import ArgumentError
from torch_anchors.packing import Fields


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; make one from its values with `Column.infer`.

    Values are anything that `np.asarray` turns into one array: a pandas or Polars Series, an array, a list. A value
    that is `missing` is NaN in its encoded form, in columns of numbers and of categories alike.

    Args:
        name: what the user calls it.
        categories: its categories, of which category i has the code i; None for a column of numbers.
        coded: whether the user's tables hold the codes, and `categories` are only their names.
    """

    name: str
    categories: tuple[Any, ...] | None = None
    coded: bool = False

    @classmethod
    def infer(cls, name: str, values: Any, categories: Sequence[Any] | None = None) -> Column:
        """The column that holds `values`.

        Text, booleans and pandas categories make a categorical column, its categories in pandas' order or sorted. A
        column whose values are all missing is one of numbers.

        Args:
            name: what the user calls it.
            values: of the training rows.
            categories: the categories, when they are known; codes of them if `values` are numbers.

        Raises:
            ArgumentError: the values are neither numbers, text, booleans nor categories.
        """
        array = _as_array(values)
        if categories is not None:
            return cls(name, tuple(categories), coded=_are_numbers(array[~missing(values)]))
        known = getattr(getattr(values, "dtype", None), "categories", None)
        if known is not None and hasattr(known, "tolist"):  # pandas
            return cls(name, tuple(known.tolist()))
        if array.dtype.kind in "iuf":
            return cls(name)
        if array.dtype.kind not in "bOU":
            raise ArgumentError(
                f"the column {name!r} must hold numbers, text, booleans or categories, got {array.dtype}. Turn it "
                "into a number first, such as days since a date."
            )
        present = array[~missing(values)].tolist()
        if not all(isinstance(value, Hashable) for value in present):
            raise ArgumentError(
                f"the column {name!r} must hold numbers, text, booleans or categories, got "
                f"{said(next(value for value in present if not isinstance(value, Hashable)))}."
            )
        if array.size and not present:
            return cls(name)
        present = set(present)
        if present <= {False, True} and all(isinstance(v, bool) for v in present):
            return cls(name, (False, True))
        if all(isinstance(value, Number) for value in present):
            return cls(name)
        return cls(name, tuple(sorted(present, key=str)))

    @property
    def n_categories(self) -> int | None:
        """Number of categories; None for a column of numbers."""
        return None if self.categories is None else len(self.categories)

    def encode(self, values: Any, *, argument: str = "X") -> Float[np.ndarray, " rows"]:
        """The numbers, or the codes of the categories; a category not known has the code `n_categories`.

        What is missing is NaN, the same one always, whatever the user's tables have for it.

        Numbers in a column whose categories are text are taken for codes, and kept as they are.

        Raises:
            ArgumentError: something else than numbers in a column of numbers, or infinity.
        """
        array, gone = _as_array(values), missing(values)
        encoded = np.full(len(array), np.nan)
        present = array[~gone]
        if self.categories is None or (_are_numbers(present) and self._holds_codes()):
            encoded[~gone] = self._as_numbers(present, argument)
        else:
            encoded[~gone] = self._as_codes(present, self.categories)
        encoded[np.isnan(encoded)] = np.nan  # one NaN of many: digests tell their bits apart
        return encoded

    def decode(self, numbers: Float[np.ndarray, " rows"]) -> NDArray[Any]:
        """The values as the user's tables have them; None for a category that is missing or not known."""
        if self.categories is None or self.coded:
            return numbers
        shown = np.empty(len(numbers), dtype=object)
        shown[:] = [
            self.shown(number) if number in range(len(self.categories)) else None for number in numbers.tolist()
        ]
        return shown

    def shown(self, number: float) -> Any:
        """An encoded value in the user's words: the category of a code that is known, otherwise the number."""
        if self.categories is None or number not in range(len(self.categories)):
            return number
        return self.categories[int(number)]

    def to_fields(self) -> dict[str, Any]:
        """The column in values that JSON knows.

        Raises:
            ArgumentError: categories that are neither text, numbers nor booleans.
        """
        categories = None if self.categories is None else [self._as_plain(one) for one in self.categories]
        return {"name": self.name, "categories": categories, "coded": self.coded}

    @classmethod
    def read(cls, fields: Fields) -> Column:
        """The column that `to_fields` gave.

        Raises:
            ArgumentError: it is no column.
        """
        categories = None if fields.get("categories") is None else tuple(fields.list("categories"))
        fields.check(all(map(is_plain, categories or ())), "categories", "text, numbers and booleans")
        return cls(fields.text("name"), categories, fields.truth("coded"))

    def _as_plain(self, category: Any) -> Any:
        value = category.item() if isinstance(category, np.generic) else category
        if not is_plain(value):
            raise ArgumentError(
                f"the column {self.name!r} must have categories of text, numbers or booleans to be saved, got "
                f"{type(value).__name__}; turn them into text before fit."
            )
        return value

    def _holds_codes(self) -> bool:
        return self.coded or not any(isinstance(category, Number) for category in self.categories or ())

    def _as_codes(self, array: NDArray[Any], categories: Sequence[Any]) -> NDArray[np.float64]:
        code_of = {category: code for code, category in enumerate(categories)}
        unknown = len(code_of)
        codes = (code_of.get(v, unknown) if isinstance(v, Hashable) else unknown for v in array.tolist())
        return np.fromiter(codes, dtype=np.float64, count=len(array))

    def _as_numbers(self, array: NDArray[Any], argument: str) -> NDArray[np.float64]:
        try:
            if array.dtype.kind not in "biufOU":
                raise TypeError(f"{array.dtype} is not a type of number")
            numbers = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(
                f"{argument} must hold numbers in the column {self.name!r}, got {array[:3].tolist()}. Text is read as "
                "categories when train_data holds text there or categorical_names names the categories."
            ) from error
        if np.isinf(numbers).any():
            raise ArgumentError(
                f"{argument} must hold finite numbers in the column {self.name!r}, got infinity. Replace it first."
            )
        return numbers


def is_plain(value: Any) -> bool:
    """Whether a value of a table is one that JSON knows."""
    return isinstance(value, (str, bool, int)) or (isinstance(value, float) and bool(np.isfinite(value)))


def missing(values: Any) -> Bool[np.ndarray, " rows"]:
    """Which of a column's values are missing: NaN, None, or what pandas or Polars take for missing."""
    array = _as_array(values)
    for ask in ("isna", "is_null"):  # pandas, Polars
        if hasattr(values, ask):
            gone = np.asarray(getattr(values, ask)(), dtype=bool)
            return gone | np.isnan(array) if array.dtype.kind == "f" else gone
    if array.dtype.kind == "f":
        return np.isnan(array)
    if array.dtype.kind == "O":
        return np.array([_is_missing(value) for value in array.tolist()], dtype=bool)
    return np.zeros(len(array), dtype=bool)


def _as_array(values: Any) -> NDArray[Any]:
    """The values of a column; those of a list as they are, where NumPy would turn NaN beside text into "nan"."""
    array = np.asarray(values)
    return np.asarray(values, dtype=object) if array.dtype.kind == "U" and isinstance(values, (list, tuple)) else array


def _is_missing(value: Any) -> bool:
    """Whether a single value is None, NaN or NaT, which are not equal to themselves, or pandas' NA."""
    same = value is not None and value == value
    return not same if isinstance(same, (bool, np.bool_)) else type(same).__name__ == "NAType"


def _are_numbers(array: NDArray[Any]) -> bool:
    if array.dtype.kind == "O":
        return all(isinstance(value, Number) for value in array.tolist())
    return array.dtype.kind in "biuf"
