"""Encoded rows as a DataFrame like the training table, for models that find their columns by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_anchors._checks import one_of, said
from torch_anchors._shapes import Float
from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import ArgumentError
from torch_anchors.tables.columns import Column
from torch_anchors.tables.schema import TableSchema

ROWS_AS = ("array", "tensor", "dataframe")
"""What a function can be given rows as."""

_NO_FRAMES = " Where train_data has categories it was given codes; pass rows_as='dataframe' for a DataFrame like that."
"""What to do where a function failed on the arrays of a table that was a DataFrame."""

_FRAMES = " It was given a DataFrame like train_data; pass rows_as='array' for numbers and codes of categories."
"""What to do where a function failed on a DataFrame."""


@dataclass(frozen=True, slots=True)
class FrameColumn:
    """A column of encoded rows as the training table had it.

    Args:
        column: says what the codes mean.
        dtype: pandas' type of the training column.
        gap: what the training column had where a value is missing; NaN where none was.
    """

    column: Column
    dtype: Any
    gap: Any

    @classmethod
    def of(cls, column: Column, values: Any) -> FrameColumn:
        """The column whose training values are a pandas Series."""
        gone = values[values.isna().to_numpy()]
        return cls(column, values.dtype, gone.iloc[0] if len(gone) else np.nan)

    def decode(self, numbers: Float[np.ndarray, " rows"]) -> Any:
        """The values, as an array of the training column's type.

        A category that the schema does not know is missing. Where the type cannot hold a value of the explained row,
        such as a gap among whole numbers, the values are as pandas would have them: floats, or objects.
        """
        if self.column.categories is None or self.column.coded:
            return self._numbers(numbers)
        return self._categories(numbers, self.column.categories)

    def _numbers(self, numbers: NDArray[np.float64]) -> Any:
        if self.dtype == object:
            values = numbers.astype(object)
            values[np.isnan(numbers)] = self.gap
            return values
        if not isinstance(self.dtype, np.dtype):
            return self._extended(numbers)
        with np.errstate(invalid="ignore", over="ignore"):
            values = numbers.astype(self.dtype)
        return values if self.dtype.kind == "f" or (values == numbers).all() else numbers

    def _extended(self, numbers: NDArray[np.float64]) -> Any:
        """Numbers in a type of pandas' own, which has a place for those that are missing."""
        import pandas

        try:
            return pandas.array(numbers, dtype=self.dtype)
        except (TypeError, ValueError):  # a fraction among whole numbers
            return numbers

    def _categories(self, codes: NDArray[np.float64], categories: tuple[Any, ...]) -> Any:
        import pandas

        n = len(categories)
        places = np.where(codes < n, codes, n).astype(np.intp)  # of NaN, too
        if hasattr(self.dtype, "categories"):
            known = np.append(self.dtype.categories.get_indexer(list(categories)), -1)
            return pandas.Categorical.from_codes(known[places], dtype=self.dtype)
        values = np.empty(n + 1, dtype=object)
        values[:n] = np.fromiter(categories, dtype=object, count=n)
        values[n] = self.gap
        if isinstance(self.dtype, np.dtype):  # objects, or truth values, which have no place for a gap
            shown = values[places]
            return shown if (places == n).any() else shown.astype(self.dtype)
        return pandas.array(values, dtype=self.dtype).take(places)


@dataclass(frozen=True, slots=True)
class FrameRows:
    """Encoded rows as DataFrames like the training table: the same columns, in its order and of its types.

    Args:
        columns: one for each feature.
        labels: pandas' index of the columns.

    Example:
        >>> import pandas
        >>> table = pandas.DataFrame({"Age": [37, 52], "Job": ["Nurse", "Clerk"]})
        >>> schema = TableSchema.infer(table)
        >>> FrameRows.of(table, schema)(schema.encode(table)).equals(table)
        True
    """

    columns: tuple[FrameColumn, ...]
    labels: Any

    @classmethod
    def of(cls, table: Any, schema: TableSchema) -> FrameRows:
        """Rows like those of a pandas DataFrame, of whose columns `schema` is."""
        places = schema.places_in(table)
        columns = (FrameColumn.of(c, table.iloc[:, place]) for c, place in zip(schema.columns, places, strict=True))
        return cls(tuple(columns), table.columns[places])

    @property
    def has_categories(self) -> bool:
        """Whether some columns hold more than numbers."""
        return any(one.column.categories is not None and not one.column.coded for one in self.columns)

    def has(self, names: Sequence[str]) -> bool:
        """Whether there are columns of these names, of which there are some."""
        return len(names) > 0 and set(names) <= set(map(str, self.labels))

    def __call__(self, rows: Float[np.ndarray, "rows columns"]) -> Any:
        """The DataFrame of encoded rows."""
        import pandas

        values = (one.decode(numbers) for one, numbers in zip(self.columns, rows.T, strict=True))
        # A type that is not named is found by looking at all objects, and may be another one.
        frame = pandas.DataFrame({i: pandas.Series(one, dtype=one.dtype) for i, one in enumerate(values)})
        frame.columns = self.labels
        return frame


@dataclass(frozen=True, slots=True)
class RowsAs:
    """What a user says that a function gets rows as.

    Args:
        kind: one of `ROWS_AS`, or None where the training table and the function decide.
        dtype: of the values, as `Predictor` takes it.
    """

    kind: str | None
    dtype: Any

    @classmethod
    def checked(cls, kind: Any, model: Any, dtype: Any, ohe: bool) -> RowsAs:
        """What was said, with the type of the values that goes with it.

        Raises:
            ArgumentError: there is no such kind, or it does not go with the model, `dtype` or `ohe`.
        """
        if kind is not None:
            one_of("rows_as", kind, ROWS_AS)
        if isinstance(model, nn.Module) and kind in ("array", "dataframe"):
            raise ArgumentError(f"rows_as must be None or 'tensor' for an nn.Module, got {kind!r}. Leave it out.")
        if kind == "dataframe" and (dtype is not None or ohe):
            raise ArgumentError(
                "rows_as='dataframe' makes columns of the types and categories of train_data, beside which dtype "
                f"must be None and ohe False, got {said(dtype)} and {ohe}. Leave them out."
            )
        default = {"array": np.float32, "tensor": torch.float32}.get(kind or "") if dtype is None else dtype
        if kind in ("array", "tensor") and isinstance(default, torch.dtype) != (kind == "tensor"):
            wanted = "torch dtype such as torch.float32" if kind == "tensor" else "NumPy type such as np.float32"
            raise ArgumentError(f"dtype must be None or a {wanted} with rows_as={kind!r}, got {said(dtype)}.")
        return cls(kind, default)

    def like(self, table: Any, schema: TableSchema, rows: Float[np.ndarray, "rows columns"]) -> Given:
        """What rows become that are like those of a training table.

        Args:
            table: the training table.
            schema: its columns.
            rows: it, encoded.

        Raises:
            ArgumentError: DataFrames are asked for, and the training table is none of pandas'.
        """
        is_frame = all(hasattr(table, name) for name in ("iloc", "dtypes", "columns"))
        if self.kind == "dataframe" and not is_frame:
            raise ArgumentError(
                "train_data must be a pandas DataFrame with rows_as='dataframe', which makes rows like it, got "
                f"{type(table).__name__}. Make one of it: train_data.to_pandas(), or pandas.DataFrame(train_data)."
            )
        as_array = not isinstance(table, Tensor)
        if not is_frame or schema.ohe or self.kind not in (None, "dataframe"):
            return Given(as_array)
        return Given(as_array, FrameRows.of(table, schema), None if self.kind else rows[:1])


@dataclass(frozen=True, slots=True)
class Given:
    """What rows become before a function is given them.

    Args:
        as_array: whether a function that may be given either is given arrays, not tensors.
        frames: what makes DataFrames of rows; None where there are none.
        trial: an encoded row (1, columns) by which a function shows whether it takes DataFrames; None if it must.
    """

    as_array: bool
    frames: FrameRows | None = None
    trial: Float[np.ndarray, "1 columns"] | None = None

    def to(self, predictor: Predictor) -> Predictor:
        """The predictor, its function given such rows.

        Raises:
            ArgumentError: it must be given DataFrames, and is an ``nn.Module``.
        """
        plain = predictor.plain
        if self.frames is not None and (self.trial is None or self._is_for_frames(plain)):
            return plain.handing(self.frames, _FRAMES)
        given = plain.taking(self.as_array)
        return given if self.frames is None or not given.takes_either else given.handing(None, _NO_FRAMES)

    def _is_for_frames(self, predictor: Predictor) -> bool:
        """Whether it is a method of an estimator that was fitted on such columns, and takes a row of them."""
        if self.frames is None or self.trial is None or not predictor.takes_either:
            return False
        try:
            if not (self.frames.has_categories and self.frames.has(_names_known_to(predictor.model))):
                return False
            predictor.model(self.frames(self.trial))
        except Exception:  # it was not fitted, or on codes in place of words
            return False
        return True


def _names_known_to(function: Any) -> list[str]:
    """The columns that the estimator was fitted on whose method a function is; none where it does not say."""
    estimator = getattr(function, "__self__", None)
    found = (getattr(estimator, key, None) for key in ("feature_names_in_", "feature_names_"))  # the latter CatBoost's
    return next(([str(name) for name in names] for names in found if names is not None), [])
