import numpy as np
import pandas as pd
import polars as pl
import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.tables.columns import Column, missing

TEXT = ["b", "a", "b", "c"]


@pytest.mark.parametrize(
    "values",
    [
        np.array(TEXT),
        np.array(TEXT, dtype=object),
        pd.Series(TEXT),
        pd.Series(TEXT, dtype="string"),
        pd.Series(TEXT, dtype="category"),
        pl.Series(TEXT),
        pl.Series(TEXT, dtype=pl.Enum(["a", "b", "c"])),
        TEXT,
    ],
    ids=lambda values: type(values).__module__ + str(getattr(values, "dtype", "")),
)
def test_text_is_a_categorical_column_that_comes_back(values):
    column = Column.infer("job", values)
    assert column == Column("job", ("a", "b", "c"))
    codes = column.encode(values)
    assert codes.tolist() == [1, 0, 1, 2]
    assert column.decode(codes).tolist() == TEXT


def test_pandas_categories_keep_their_order_and_those_that_no_row_has():
    values = pd.Series(pd.Categorical(["low", "high"], categories=["low", "mid", "high"]))
    column = Column.infer("pay", values)
    assert column.categories == ("low", "mid", "high")
    assert column.encode(values).tolist() == [0, 2]


@pytest.mark.parametrize(
    "values",
    [np.array([True, False, True]), pd.Series([True, False, True], dtype="boolean"), pl.Series([True, False, True])],
)
def test_booleans_are_two_categories(values):
    column = Column.infer("smokes", values)
    assert column.categories == (False, True)
    assert column.encode(values).tolist() == [1, 0, 1]
    assert column.decode(np.array([1.0, 0.0])).tolist() == [True, False]
    assert column.shown(1.0) is True


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2]),
        np.array([1, 2], dtype=np.uint8),
        np.array([1, 2.0], dtype=object),
        pd.Series([1, 2], dtype="Int64"),
        pl.Series([1, 2]),
    ],
)
def test_numbers_are_a_numeric_column(values):
    column = Column.infer("age", values)
    assert column.categories is None
    assert column.n_categories is None
    assert column.encode(values).tolist() == [1.0, 2.0]
    assert column.decode(np.array([1.5])).tolist() == [1.5]
    assert column.shown(3.5) == 3.5


def test_numbers_of_a_column_with_named_categories_are_codes():
    column = Column.infer("job", np.array([0, 2, 1]), ["clerk", "nurse", "cook"])
    assert column.coded
    assert column.encode(np.array([2.0, 0.0])).tolist() == [2, 0]
    assert column.encode(np.array(["cook", "clerk"])).tolist() == [2, 0]  # their names are understood as well
    assert column.decode(np.array([2.0])).tolist() == [2]
    assert column.shown(2.0) == "cook"


def test_text_of_a_column_with_named_categories_takes_their_order():
    column = Column.infer("job", np.array(["nurse", "clerk"]), ["nurse", "cook", "clerk"])
    assert not column.coded
    assert column.encode(["clerk", "nurse"]).tolist() == [2, 0]
    assert column.encode(np.array([2, 0])).tolist() == [2, 0]  # numbers can only be codes


def test_numbers_that_are_categories_are_not_codes():
    column = Column.infer("year", pd.Series([1999, 2001], dtype="category"))
    assert column.categories == (1999, 2001)
    assert column.encode(np.array([2001, 1999, 0])).tolist() == [1, 0, 2]


def test_unknown_categories_have_a_code_of_their_own():
    column = Column.infer("job", TEXT)
    assert column.encode(["a", "z"]).tolist() == [0, 3]
    assert column.decode(np.array([0.0, 3.0])).tolist() == ["a", None]
    assert column.shown(3.0) == 3.0


def test_mixed_categories_are_sorted_as_text():
    assert Column.infer("mixed", np.array(["b", 1, "a"], dtype=object)).categories == (1, "a", "b")


@pytest.mark.parametrize("values", [np.array(["2020-01-01"], dtype="datetime64[D]"), np.array([1j])])
def test_other_types_are_refused_by_name(values):
    with pytest.raises(ArgumentError, match="the column 'when' must hold numbers, text, booleans or categories"):
        Column.infer("when", values)


def test_text_and_infinity_among_numbers_are_refused():
    with pytest.raises(ArgumentError, match=r"train_data must hold numbers in the column 'age', got \['old'\]"):
        Column("age").encode(np.array(["old"], dtype=object), argument="train_data")
    with pytest.raises(ArgumentError, match="finite numbers in the column 'age', got infinity"):
        Column("age").encode([1.0, np.inf])


@pytest.mark.parametrize(
    "values",
    [
        np.array([1.0, np.nan]),
        np.array(["a", None], dtype=object),
        np.array(["a", np.nan], dtype=object),
        pd.Series(["a", None]),
        pd.Series(["a", None], dtype="category"),
        pd.Series([1, None], dtype="Int64"),
        pl.Series(["a", None]),
        pl.Series([1.0, float("nan")]),
        pl.Series([1, None]),
    ],
)
def test_missing_values_are_found(values):
    assert missing(values).tolist() == [False, True]


def test_nothing_is_missing_in_whole_numbers():
    assert not missing(np.arange(3)).any()
