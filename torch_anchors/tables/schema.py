"""What a user calls a table <-> a matrix of numbers and category codes, and the rows that a model reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._checks import is_whole, said
from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.errors import ArgumentError, words_of
from torch_anchors.tables.columns import Column, missing
from torch_anchors.tables.local import local


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The columns of a table, and how tables with these columns become matrices; make one with `TableSchema.infer`.

    A table is a pandas or Polars DataFrame, a mapping from names to columns, a pandas Series (one row), a NumPy
    array, a tensor, nested lists, or what `local` makes one of; a single row may be one-dimensional. Its *encoded*
    form is a float64 matrix with one column for each feature: a number, or the code of a category. A category that the
    schema does not know has the code `n_categories`. What is missing (NaN, None, or what pandas or Polars take for
    missing) is NaN in either.

    Args:
        columns: one for each feature.
        ohe: whether the model reads categories as one-hot columns. Arrays and tensors then have a block of 0s and
            one 1 in place of each categorical feature; a DataFrame may have the block or the category.
    """

    columns: tuple[Column, ...]
    ohe: bool = False

    @classmethod
    def infer(
        cls,
        table: Any,
        feature_names: Sequence[Any] | None = None,
        categorical_names: Mapping[Any, Sequence[Any]] | None = None,
        ohe: bool = False,
    ) -> TableSchema:
        """The columns of `table`.

        Columns that hold text, booleans or pandas categories are categorical, their categories in pandas' order or
        sorted; so are those in `categorical_names`. All others are numeric.

        Args:
            table: training rows.
            feature_names: names of the features; of a DataFrame, the columns to use. None takes a DataFrame's names,
                or x0, x1, ... for an array.
            categorical_names: for the number (or name) of each categorical feature, its categories; where the table
                holds numbers in it, category i is the one of code i. Numbers count features, whatever `ohe` is.
            ohe: whether an array's categories are one-hot encoded.

        Raises:
            ArgumentError: a column that is neither numbers nor categories, a feature in `categorical_names` or
                `feature_names` that is not in the table, or a number of columns that does not fit.

        Example:
            >>> TableSchema.infer(np.zeros((5, 2)), ["Age", "Job"], {1: ["Clerk", "Nurse"]}).columns[1]
            Column(name='Job', categories=('Clerk', 'Nurse'), coded=True)
        """
        by_name = _by_name(table, "train_data")
        names = list(by_name or ()) if feature_names is None else _names(feature_names, _labels(table))
        if by_name is not None and (not ohe or set(names) <= set(by_name)):
            values = _select(by_name, names, "train_data")
        else:
            rows = _as_matrix(table, "train_data")
            names = names or [f"x{i}" for i in range(rows.shape[1])]
            known = _by_number(categorical_names, names)
            if ohe:
                columns = tuple(Column(name, known.get(i), coded=i in known) for i, name in enumerate(names))
                schema = cls(columns, ohe)
                _require_width(rows, schema.width, "train_data")
                return schema
            _require_width(rows, len(names), "train_data")
            values = list(rows.T)
        known = _by_number(categorical_names, names)
        return cls(
            tuple(Column.infer(name, v, known.get(i)) for i, (name, v) in enumerate(zip(names, values, strict=True))),
            ohe,
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def n_categories(self) -> tuple[int | None, ...]:
        """Number of categories of each column; None for numeric ones."""
        return tuple(column.n_categories for column in self.columns)

    @property
    def width(self) -> int:
        """Number of columns that the model reads."""
        return sum(n or 1 for n in self.n_categories) if self.ohe else len(self.columns)

    def encode(self, table: Any, *, argument: str = "X") -> Float[np.ndarray, "rows columns"]:
        """The table as numbers and category codes.

        Args:
            table: any table with these columns; a DataFrame's are found by name, and it may have others.
            argument: what error messages call the table.

        Raises:
            ArgumentError: other columns than the schema's, values that are no numbers where numbers are expected,
                infinite values, or one-hot blocks that are not one-hot.

        Example:
            >>> schema = TableSchema((Column("Age"), Column("Job", ("Clerk", "Nurse"))))
            >>> schema.encode({"Age": [37, 52], "Job": ["Nurse", "Clerk"]})
            array([[37.,  1.],
                   [52.,  0.]])
        """
        table = local(table)
        by_name = _by_name(table, argument)
        if by_name is not None and (not self.ohe or set(self.names) <= set(by_name)):
            values = _select(by_name, self.names, argument)
        else:
            rows = _as_matrix(table, argument)
            _require_width(rows, self.width, argument)
            values = self._collapse(rows, argument) if self.ohe else list(rows.T)
        columns = [c.encode(v, argument=argument) for c, v in zip(self.columns, values, strict=True)]
        return np.column_stack(columns)

    def column_numbers(self, given: Any, argument: str) -> tuple[int, ...]:
        """Numbers of columns that are given by name or number, one or several, sorted; () for None.

        Args:
            given: what a user gave.
            argument: what error messages call it.

        Raises:
            ArgumentError: there is no such column.

        Example:
            >>> TableSchema((Column("Age"), Column("Job"))).column_numbers(["Job", 0], "exclude")
            (0, 1)
        """
        one = given is None or isinstance(given, str) or not isinstance(given, Iterable)
        names, numbers = self.names, set()
        for key in ([] if given is None else [given]) if one else given:
            number = names.index(key) if isinstance(key, str) and key in names else key
            if not is_whole(number) or not 0 <= number < len(names):
                raise ArgumentError(
                    f"{argument} must have names or numbers (0 to {len(names) - 1}) of columns, got {said(key)}; the "
                    f"columns are {said(list(names))}."
                )
            numbers.add(int(number))
        return tuple(sorted(numbers))

    def places_in(self, frame: Any) -> list[int]:
        """Where each of the columns is among those of a DataFrame from which the schema was inferred."""
        place_of = {name: place for place, name in enumerate(_as_text(list(frame.columns)))}
        return [place_of[name] for name in self.names]

    def decode(self, rows: Float[np.ndarray, "rows columns"]) -> dict[str, NDArray[Any]]:
        """The values of each column as the user's tables have them; `pandas.DataFrame` makes a table of the result.

        Categories that are missing, or that the schema does not know, are None; missing numbers are NaN.
        """
        return {c.name: c.decode(values) for c, values in zip(self.columns, rows.T, strict=True)}

    def check_known(self, rows: Float[np.ndarray, "rows columns"], *, argument: str = "train_data") -> None:
        """Raises an ArgumentError where encoded rows have a category that the schema does not know."""
        for column, values in zip(self.columns, rows.T, strict=True):
            if column.categories is None:
                continue
            unknown = np.setdiff1d(values[~np.isnan(values)], np.arange(len(column.categories)))
            if len(unknown):
                raise ArgumentError(
                    f"{argument} must have the codes 0 to {len(column.categories) - 1} in the column {column.name!r}, "
                    f"for the categories {list(column.categories)!r}, got {unknown[:5].tolist()}. Name all categories."
                )

    def encoder(self, device: torch.device | str) -> Callable[[Tensor], Tensor]:
        """A function from encoded rows (n, columns) on `device` to the rows (n, width) that the model reads.

        A category that is missing, or that the schema does not know, is all 0s in one-hot columns; a missing number is
        NaN, and so is a missing category where its code is read.
        """
        if not self.ohe:
            return _as_they_are
        source = [i for i, n in enumerate(self.n_categories) for _ in range(n or 1)]
        category = [code for n in self.n_categories for code in ([-1] if n is None else range(n))]
        return _OneHot(*torch.tensor([source, category], device=device))

    def _collapse(self, rows: Shaped[np.ndarray, "rows features"], argument: str) -> list[NDArray[Any]]:
        """The columns of one-hot encoded rows: numbers and category codes."""
        columns, first = [], 0
        for column in self.columns:
            last = first + (column.n_categories or 1)
            block = rows[:, first:last]
            if column.categories is None:
                columns.append(block[:, 0])
            else:
                columns.append(_codes_of_one_hot(block, f"{argument} must be one-hot in its columns", first, column))
            first = last
        return columns


@dataclass(frozen=True, slots=True)
class _OneHot:
    """From encoded rows to numbers and one-hot categories: each feature's column, and its category or -1."""

    columns: Int[Tensor, " features"]
    codes: Int[Tensor, " features"]

    def __call__(self, rows: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows features"]:
        values = rows.index_select(1, self.columns)
        return torch.where(self.codes < 0, values, (values == self.codes).to(values.dtype))


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


def _codes_of_one_hot(
    block: Shaped[np.ndarray, "rows categories"], must: str, first: int, column: Column
) -> NDArray[np.float64]:
    """Codes of the categories of a one-hot block: NaN where all of it is missing, `n_categories` where all is 0."""
    n = block.shape[1]
    gone = np.stack([missing(values) for values in block.T], axis=1)
    absent = gone.all(axis=1)
    present = block[~absent]
    if (gone.any(axis=1) != absent).any() or not np.isin(present, (0, 1)).all() or (present.sum(axis=1) > 1).any():
        raise ArgumentError(
            f"{must} {first} to {first + n - 1}, for {column.name!r}: 0s and at most one 1, or all of them missing. "
            "With codes or categories there, leave ohe at False."
        )
    codes = np.full(len(block), np.nan)
    codes[~absent] = np.where(present.any(axis=1), present.argmax(axis=1), n)
    return codes


def _labels(table: Any) -> list[Any] | None:
    """What the columns of a DataFrame or mapping, or the values of a Series, are called; None for any other table."""
    if hasattr(table, "columns") and hasattr(table, "__getitem__"):
        return list(table.columns)
    if isinstance(table, Mapping) or (hasattr(table, "to_frame") and hasattr(table, "items")):
        return list(table.keys())
    return None


def _by_name(table: Any, argument: str) -> dict[str, Any] | None:
    """The columns of a DataFrame or mapping, or the values of a Series, by name; None for any other table."""
    labels = _labels(table)
    if labels is None:
        return None
    names = _as_text(labels)
    if twice := _repeated(names):
        raise ArgumentError(
            f"{argument} must have columns of different names, got {twice!r} more than once. Rename them."
        )
    if not names:
        raise ArgumentError(f"{argument} must be a table (rows, columns) or one row, got none of either.")
    columns = ((name, table[label]) for name, label in zip(names, labels, strict=True))
    return {name: [column] if np.ndim(column) == 0 else column for name, column in columns}


def _as_text(labels: Sequence[Any]) -> list[str]:
    """Labels of columns as text; with its type where one that is no text would be called like another: 1 and "1"."""
    texts = [str(label) for label in labels]
    n_of = Counter(texts)
    return [
        text if isinstance(label, str) or n_of[text] == 1 else f"{text} ({type(label).__name__})"
        for text, label in zip(texts, labels, strict=True)
    ]


def _repeated(names: Iterable[Any]) -> list[Any]:
    return [name for name, n in Counter(names).items() if n > 1]


def _names(feature_names: Any, labels: Sequence[Any] | None) -> list[str]:
    """The user's names of the features, as a DataFrame with these labels has them."""
    several = isinstance(feature_names, Iterable) and not isinstance(feature_names, (str, bytes, Mapping))
    given = list(feature_names) if several else []
    if not given:
        raise ArgumentError(
            f"feature_names must be None or a sequence of the names of all columns, got {said(feature_names)}."
        )
    known: dict[Any, str] = dict(zip(labels or (), _as_text(labels or ()), strict=True))
    own: dict[Any, str] = dict(zip(map(_hashable, given), _as_text(given), strict=True))
    names = [known.get(label, own[label]) for label in map(_hashable, given)]
    if twice := _repeated(names):
        raise ArgumentError(f"feature_names must name each feature once, got {twice!r} more often.")
    return names


def _hashable(label: Any) -> Any:
    return label if isinstance(label, Hashable) else str(label)


def _select(by_name: Mapping[str, Any], names: Sequence[str], argument: str) -> list[Any]:
    absent = [name for name in names if name not in by_name]
    if absent:
        raise ArgumentError(
            f"{argument} must have the columns {list(names)!r}, but lacks {absent!r}; it has {list(by_name)!r}. "
            "Rename its columns, or change feature_names."
        )
    return [by_name[name] for name in names]


def _as_matrix(table: Any, argument: str) -> Shaped[np.ndarray, "rows columns"]:
    """An array, a tensor, nested lists or a DataFrame as an array (rows, columns)."""
    if isinstance(table, Tensor):
        table = table.detach().cpu()
        table = table.float() if table.dtype == torch.bfloat16 else table  # NumPy has no such type.
    try:
        rows = np.asarray(table)
    except Exception as error:  # of ragged lists, or of tensors without values
        raise ArgumentError(
            f"{argument} must be a table (rows, columns) or one row, got {said(table)}, of which no array can be made: "
            f"{words_of(error)}."
        ) from error
    if rows.dtype.kind in "US" and rows.ndim:
        if isinstance(table, np.ndarray):
            raise ArgumentError(
                f"{argument} must hold numbers, got an array of text, in which numbers and text look alike. Pass a "
                "DataFrame, or an array of dtype object."
            )
        rows = np.asarray(table, dtype=object)
    if rows.ndim == 1:
        rows = rows[None]
    if rows.ndim != 2 or rows.shape[1] == 0:
        got = f"the shape {rows.shape}" if rows.shape else type(table).__name__
        raise ArgumentError(f"{argument} must be a table (rows, columns) or one row, got {got}.")
    return rows


def _require_width(rows: Shaped[np.ndarray, "rows columns"], width: int, argument: str) -> None:
    if rows.shape[1] != width:
        raise ArgumentError(
            f"{argument} must have {width} columns, as feature_names and categorical_names say, got {rows.shape[1]}."
        )


def _categories(feature: Any, categories: Any) -> tuple[Any, ...]:
    """The names of a feature's categories, which must be some, and different."""
    several = isinstance(categories, Iterable) and not isinstance(categories, (str, bytes))
    names = tuple(categories) if several else ()
    if not names or not all(isinstance(name, Hashable) for name in names):
        raise ArgumentError(
            f"categorical_names must have a sequence of categories for {feature!r}, got {said(categories)}."
        )
    if twice := _repeated(names):
        raise ArgumentError(
            f"categorical_names must have different categories for {feature!r}, got {twice!r} more than once."
        )
    return names


def _by_number(
    categorical_names: Mapping[Any, Sequence[Any]] | None, names: Sequence[str]
) -> dict[int, tuple[Any, ...]]:
    """The categories of each categorical feature by its number, which may have been given by name."""
    known = {}
    if categorical_names is not None and not isinstance(categorical_names, Mapping):
        raise ArgumentError(
            "categorical_names must be a dictionary from features to their categories, or None, got "
            f"{said(categorical_names)}."
        )
    for key, categories in (categorical_names or {}).items():
        number = names.index(key) if key in names else key
        if not is_whole(number) or not 0 <= number < len(names):
            raise ArgumentError(
                f"categorical_names must have numbers from 0 to {len(names) - 1}, or names, of features as keys, got "
                f"{key!r}. With ohe, a number counts features, not one-hot columns."
            )
        known[int(number)] = _categories(key, categories)
    return known
