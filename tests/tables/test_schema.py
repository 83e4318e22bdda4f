from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from torch_anchors.errors import ArgumentError
from torch_anchors.tables.columns import Column
from torch_anchors.tables.local import local
from torch_anchors.tables.schema import TableSchema

FRAME = pd.DataFrame(
    {
        "age": [37, 52, 19],
        "job": ["nurse", "clerk", "nurse"],
        "pay": [1.5, 2.5, 0.5],
        "smokes": [True, False, False],
        "grade": pd.Categorical(["low", "high", "low"], categories=["low", "mid", "high"]),
    }
)
CODES = [[37, 1, 1.5, 1, 0], [52, 0, 2.5, 0, 2], [19, 1, 0.5, 0, 0]]
NAMES = ["job", "age", "city"]
CATEGORIES = {0: ["clerk", "nurse"], 2: ["rome", "oslo", "lima"]}
ORDINAL = np.array([[1, 37.0, 2], [0, 52.0, 0], [1, 19.0, 1]])
ONE_HOT = np.array([[0, 1, 37.0, 0, 0, 1], [1, 0, 52.0, 1, 0, 0], [0, 1, 19.0, 0, 1, 0]])


@pytest.mark.parametrize("frame", [FRAME, pl.DataFrame(FRAME.to_dict("list")), dict(FRAME.items())])
def test_a_frame_becomes_codes_and_comes_back(frame):
    schema = TableSchema.infer(FRAME)
    assert schema.names == ("age", "job", "pay", "smokes", "grade")
    assert schema.n_categories == (None, 2, None, 2, 3)
    codes = schema.encode(frame)
    assert codes.tolist() == CODES
    back = pd.DataFrame(schema.decode(codes))
    assert back.astype(FRAME.dtypes).equals(FRAME)
    assert schema.encode(back).tolist() == CODES


def test_columns_are_found_by_name_in_any_order_and_among_others():
    schema = TableSchema.infer(FRAME)
    shuffled = FRAME[["grade", "pay", "age", "smokes", "job"]].assign(extra="x")
    assert schema.encode(shuffled).tolist() == CODES


def test_feature_names_choose_columns():
    schema = TableSchema.infer(FRAME, ["pay", "job"])
    assert schema.encode(FRAME).tolist() == [[1.5, 1], [2.5, 0], [0.5, 1]]


def test_labels_that_are_no_text_are_names_all_the_same():
    frame = pd.DataFrame(np.arange(4.0).reshape(2, 2))
    assert TableSchema.infer(frame).names == ("0", "1")
    assert TableSchema.infer(frame).encode(frame).tolist() == [[0, 1], [2, 3]]


def test_one_row_may_be_a_series_a_list_or_a_mapping():
    schema = TableSchema.infer(FRAME)
    rows = [FRAME.iloc[1], FRAME.iloc[1:2], dict(FRAME.iloc[1]), CODES[1], [52, "clerk", 2.5, False, "high"]]
    for row in rows:
        assert schema.encode(row).tolist() == CODES[1:2]


@pytest.mark.parametrize(
    "array",
    [ORDINAL, ORDINAL.astype(np.float32), ORDINAL.tolist(), torch.tensor(ORDINAL), torch.tensor(ORDINAL).bfloat16()],
)
def test_arrays_hold_codes_of_the_named_categories(array):
    schema = TableSchema.infer(array, NAMES, CATEGORIES)
    assert schema.columns[2] == Column("city", ("rome", "oslo", "lima"), coded=True)
    assert schema.encode(array).tolist() == ORDINAL.tolist()
    assert schema.decode(ORDINAL)["city"].tolist() == [2, 0, 1]


def test_an_array_of_objects_is_read_like_a_frame():
    array = np.array([["clerk", 1.5], ["nurse", 2]], dtype=object)
    schema = TableSchema.infer(array)
    assert schema.names == ("x0", "x1")
    assert schema.encode(array).tolist() == [[0, 1.5], [1, 2]]


def test_categories_may_be_given_by_name():
    assert TableSchema.infer(ORDINAL, NAMES, {"city": ["a", "b", "c"]}).n_categories == (None, None, 3)


def test_codes_in_a_frame_take_their_names_from_categorical_names():
    frame = pd.DataFrame(ORDINAL, columns=NAMES)
    schema = TableSchema.infer(frame, None, CATEGORIES)
    assert schema.encode(frame).tolist() == ORDINAL.tolist()
    assert schema.columns[2].shown(2.0) == "lima"


@pytest.mark.parametrize("categories", [CATEGORIES, {"job": CATEGORIES[0], "city": CATEGORIES[2]}])
def test_one_hot_rows_are_codes_and_codes_one_hot_rows(categories, device):
    schema = TableSchema.infer(ONE_HOT, NAMES, categories, ohe=True)
    assert schema.width == 6
    codes = schema.encode(ONE_HOT)
    assert codes.tolist() == ORDINAL.tolist()
    rows = schema.encoder(device)(torch.as_tensor(codes, device=device))
    assert rows.cpu().numpy().tolist() == ONE_HOT.tolist()


def test_unknown_categories_are_no_one_hot_column():
    schema = TableSchema.infer(ONE_HOT, NAMES, CATEGORIES, ohe=True)
    none = np.array([[0, 0, 5.0, 0, 0, 1]])
    codes = schema.encode(none)
    assert codes.tolist() == [[2, 5, 2]]
    assert schema.encoder("cpu")(torch.as_tensor(codes)).tolist() == none.tolist()


def test_a_frame_of_categories_feeds_a_one_hot_model():
    frame = pd.DataFrame({"job": ["nurse", "clerk"], "age": [3.0, 4.0]})
    schema = TableSchema.infer(frame, ohe=True)
    assert schema.encoder("cpu")(torch.as_tensor(schema.encode(frame))).tolist() == [[0, 1, 3], [1, 0, 4]]


def test_a_frame_of_one_hot_columns_is_read_by_place():
    frame = pd.DataFrame(ONE_HOT, columns=list("abcdef"))
    schema = TableSchema.infer(frame, NAMES, CATEGORIES, ohe=True)
    assert schema.encode(frame).tolist() == ORDINAL.tolist()


def test_without_one_hot_the_model_reads_the_codes():
    codes = torch.as_tensor(ORDINAL)
    assert TableSchema.infer(ORDINAL, NAMES, CATEGORIES).encoder("cpu")(codes) is codes


HOLES = FRAME[["age", "job", "pay"]].assign(age=[1.0, np.nan, 2.0], job=["nurse", None, "clerk"])


@pytest.mark.parametrize(
    "table",
    [
        HOLES,
        HOLES.convert_dtypes(),
        HOLES.astype({"job": "category"}),
        HOLES.to_dict("list"),
        pl.from_pandas(HOLES),
        pa.Table.from_pandas(HOLES),
    ],
    ids=["pandas", "nullable", "categories", "mapping", "polars", "arrow"],
)
def test_missing_values_are_nan_in_numbers_and_in_categories(table):
    schema = TableSchema.infer(local(table))
    assert schema.columns[1].categories == ("clerk", "nurse")
    encoded = schema.encode(table)
    assert np.array_equal(encoded, np.column_stack([HOLES.age, [1, np.nan, 0], HOLES.pay]), equal_nan=True)
    decoded = schema.decode(encoded)
    assert np.isnan(decoded["age"][1])
    assert decoded["job"].tolist() == ["nurse", None, "clerk"]


def test_every_missing_value_has_the_same_bits():
    other = -np.float64(np.nan)
    schema = TableSchema.infer(np.zeros((2, 2)))
    bits = [schema.encode([[0, gone]]).tobytes() for gone in (np.nan, other, None, pd.NA, pd.NaT)]
    assert np.float64(np.nan).tobytes() != other.tobytes()
    assert len(set(bits)) == 1


def test_missing_values_of_one_hot_arrays():
    schema = TableSchema.infer(ONE_HOT, NAMES, CATEGORIES, ohe=True)
    rows = ONE_HOT.astype(float).copy()
    width = len(CATEGORIES[0])
    rows[0, :width] = np.nan
    rows[1, width] = np.nan
    encoded = schema.encode(rows)
    assert np.isnan(encoded).tolist() == [[True, False, False], [False, True, False], [False, False, False]]
    read = schema.encoder("cpu")(torch.as_tensor(encoded))
    assert read[0, :width].tolist() == [0] * width  # no category, as for one that is not known
    rows[0, 0] = 1
    with pytest.raises(ArgumentError, match="0s and at most one 1, or all of them missing"):
        schema.encode(rows)


def test_a_missing_code_is_known():
    schema = TableSchema.infer(ORDINAL, NAMES, CATEGORIES)
    holes = ORDINAL.astype(float).copy()
    holes[0] = np.nan
    schema.check_known(schema.encode(holes))


def test_unknown_codes_in_training_are_refused():
    schema = TableSchema.infer(ORDINAL, NAMES, CATEGORIES)
    schema.check_known(ORDINAL)
    with pytest.raises(ArgumentError, match=r"codes 0 to 1 in the column 'job', .* got \[7.0\]. Name all"):
        schema.check_known(np.array([[7, 0, 0], [1, 0, 0]], dtype=float))


def test_columns_that_do_not_fit_are_refused():
    schema = TableSchema.infer(FRAME)
    with pytest.raises(ArgumentError, match=r"X must have the columns .* but lacks \['pay'\]"):
        schema.encode(FRAME.drop(columns="pay"))
    with pytest.raises(ArgumentError, match=r"X must have 5 columns, .* got 4"):
        schema.encode(np.zeros((2, 4)))
    with pytest.raises(ArgumentError, match=r"train_data must have 3 columns, .* got 6"):
        TableSchema.infer(ONE_HOT, NAMES, CATEGORIES)
    with pytest.raises(ArgumentError, match=r"train_data must have 6 columns, .* got 3"):
        TableSchema.infer(ORDINAL, NAMES, CATEGORIES, ohe=True)
    with pytest.raises(ArgumentError, match=r"train_data must have the columns .* but lacks \['height'\]"):
        TableSchema.infer(FRAME, ["age", "height"])
    with pytest.raises(ArgumentError, match="must be a table"):
        schema.encode(np.zeros((2, 2, 5)))


def test_rows_that_are_not_one_hot_are_refused():
    schema = TableSchema.infer(ONE_HOT, NAMES, CATEGORIES, ohe=True)
    for block in ([1, 1, 0], [0, 2, 0], [0.5, 0, 0]):
        with pytest.raises(ArgumentError, match="one-hot in its columns 3 to 5, for 'city'"):
            schema.encode(np.array([[1, 0, 5.0, *block]]))


@pytest.mark.parametrize("key", [3, -1, "town", 1.5])
def test_categories_of_no_feature_are_refused(key):
    with pytest.raises(ArgumentError, match="categorical_names must have numbers from 0 to 2, or names"):
        TableSchema.infer(ORDINAL, NAMES, {key: ["a"]})


def test_an_array_of_text_is_refused():
    with pytest.raises(ArgumentError, match=r"got an array of text, .* Pass a DataFrame"):
        TableSchema.infer(np.array([["a", "1.5"]]))


def test_names_that_look_alike_are_told_apart() -> None:
    frame = pd.DataFrame({1: [10.0, 20.0], "1": [1.0, 2.0]})
    schema = TableSchema.infer(frame)
    assert schema.names == ("1 (int)", "1")
    assert schema.encode(frame[["1", 1]]).tolist() == [[10.0, 1.0], [20.0, 2.0]]
    assert TableSchema.infer(frame, [1, "1"]).names == schema.names
    assert TableSchema.infer(frame, ["1"]).encode(frame).tolist() == [[1.0], [2.0]]
    assert TableSchema.infer(frame, [1]).encode(frame).tolist() == [[10.0], [20.0]]
    assert TableSchema.infer(np.zeros((2, 2)), [1, "1"]).names == schema.names
    assert TableSchema.infer(pd.DataFrame({1: [0.0], 2: [0.0]})).names == ("1", "2")


@pytest.mark.parametrize(
    ("table", "settings", "words"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, r"train_data must have .* names, got \['a'\] more than once"),
        (np.zeros((2, 2)), {"feature_names": ["a", "a"]}, r"feature_names must name each feature once, got \['a'\]"),
        (np.zeros((2, 1)), {"categorical_names": {0: ["x", "y", "x"]}}, r"different categories .*got \['x'\]"),
        (np.zeros((2, 1)), {"categorical_names": {0: [1, True]}}, r"different categories .*got \[1\]"),
    ],
)
def test_a_name_that_stands_twice_is_an_error(table: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        TableSchema.infer(table, **settings)
