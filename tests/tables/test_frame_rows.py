"""Rows reach a function as a DataFrame like the training table, to the last type, gap and category."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from torch_anchors import AnchorTabular, evaluate, load
from torch_anchors.errors import ArgumentError, PredictorCallError
from torch_anchors.tables.frame_rows import FrameRows
from torch_anchors.tables.schema import TableSchema


def people(n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "pay": rng.normal(size=n),
            "job": rng.choice(["chef", "clerk", "nurse"], n),
            "town": pd.Categorical(rng.choice(["low", "high"], n), categories=["low", "mid", "high"], ordered=True),
            "owns": rng.random(n) > 0.5,
        }
    )
    table.loc[::9, "pay"] = np.nan
    table.loc[::11, "job"] = np.nan
    return table


TABLE = people()
HELPS = np.where((TABLE.job == "nurse") & (TABLE.age > 45), "yes", "no")


def fitted_pipeline(columns: Any = ("job", "town"), table: pd.DataFrame = TABLE) -> Any:
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        make_column_transformer((words, list(columns)), remainder="passthrough"), DecisionTreeClassifier(random_state=0)
    ).fit(table, HELPS)


PIPELINE = fitted_pipeline()
ROW = TABLE[HELPS == "yes"].iloc[[0]]


def frame_of(table: pd.DataFrame, rows: pd.DataFrame | None = None, **of: Any) -> pd.DataFrame:
    schema = TableSchema.infer(table, **of)
    return FrameRows.of(table, schema)(schema.encode(table if rows is None else rows))


ALL_TYPES = pd.DataFrame(
    {
        "int": np.arange(4),
        "byte": np.arange(4, dtype=np.uint8),
        "single": np.array([0.1, np.nan, 2, 3], dtype=np.float32),
        "double": [0.1, np.nan, 2e300, -3],
        "truth": [True, False, True, True],
        "text": ["b", "a", None, "b"],
        "object": pd.Series(["b", "a", None, "b"], dtype=object),
        "objects": pd.Series(["b", "a", np.nan, "b"], dtype=object),
        "truths": pd.Series([True, None, False, True], dtype=object),
        "numbers": pd.Series([1.5, None, 2.0, 3.0], dtype=object),
        "Int64": pd.Series([1, None, 3, 4], dtype="Int64"),
        "Float64": pd.Series([1.5, None, 3, 4], dtype="Float64"),
        "boolean": pd.Series([True, None, False, True], dtype="boolean"),
        "string": pd.Series(["x", None, "z", "x"], dtype="string"),
        "category": pd.Categorical(["z", None, "x", "z"], categories=["z", "y", "x"], ordered=True),
        "numbered": pd.Categorical([30, 10, None, 30], categories=[30, 20, 10]),
        "arrow": pd.Series([1, None, 3, 4], dtype="int64[pyarrow]"),
        "names": pd.Series(["x", None, "z", "x"], dtype="string[pyarrow]"),
    }
)


@pytest.mark.parametrize("name", ALL_TYPES.columns)
def test_a_column_of_any_type_comes_back_as_it_was(name: str) -> None:
    table = ALL_TYPES[[name]]
    pd.testing.assert_frame_equal(frame_of(table), table)
    assert type(frame_of(table).iloc[1, 0]) is type(table.iloc[1, 0])


def test_a_table_comes_back_as_it_was_with_labels_of_any_type_and_with_chosen_columns_only() -> None:
    pd.testing.assert_frame_equal(frame_of(ALL_TYPES), ALL_TYPES)
    labelled = TABLE.set_axis([1, "1", ("a", 2), 2.5, None], axis=1)
    pd.testing.assert_frame_equal(frame_of(labelled), labelled)
    pd.testing.assert_frame_equal(frame_of(TABLE, feature_names=["job", "age"]), TABLE[["job", "age"]])


def test_codes_with_names_stay_the_codes_that_the_table_has() -> None:
    coded = pd.DataFrame({"job": [0, 1, 1], "own": [True, False, True]})
    found = frame_of(coded, categorical_names={"job": ["clerk", "nurse"], "own": ["no", "yes"]})
    pd.testing.assert_frame_equal(found, coded)


def test_named_categories_in_another_order_than_pandas_are_the_same_words() -> None:
    found = frame_of(ALL_TYPES[["category"]], categorical_names={"category": ["x", "y", "z"]})
    pd.testing.assert_frame_equal(found, ALL_TYPES[["category"]])


def test_what_a_type_cannot_hold_is_kept_and_not_cut_off() -> None:
    rows = pd.DataFrame({"int": [1.5, np.nan], "byte": [300, -1], "Int64": [1.5, np.nan], "truth": [None, True]})
    found = frame_of(ALL_TYPES[list(rows)], rows)
    assert found["int"].iloc[0] == 1.5
    assert np.isnan(found["int"].iloc[1])
    assert found["byte"].tolist() == [300, -1]
    assert found["Int64"].iloc[0] == 1.5
    assert pd.isna(found["truth"].iloc[0])
    assert found["truth"].iloc[1] is True


@pytest.mark.parametrize("name", ["text", "object", "category", "string"])
def test_a_category_that_the_training_table_lacks_is_missing(name: str) -> None:
    found = frame_of(ALL_TYPES[[name]], pd.DataFrame({name: ["never seen"]}))
    assert found[name].isna().all()
    assert found.dtypes[name] == ALL_TYPES.dtypes[name]


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_a_pipeline_is_found_out_and_explained_as_with_a_wrapper_of_ones_own(method: str, sampling: str) -> None:
    schema = TableSchema.infer(TABLE)

    def wrapped(rows: np.ndarray) -> Any:
        return getattr(PIPELINE, method)(pd.DataFrame(schema.decode(rows)).astype(TABLE.dtypes))

    own = AnchorTabular(getattr(PIPELINE, method), seed=0, sampling=sampling).fit(TABLE).explain(ROW)
    other = AnchorTabular(wrapped, dtype=np.float64, seed=0, sampling=sampling).fit(TABLE).explain(ROW)
    assert set(own.anchor) == {"job = nurse", *[name for name in own.anchor if name.startswith("age > ")]}
    assert (own.anchor, own.precision, own.coverage, own.label) == (
        other.anchor,
        other.precision,
        other.coverage,
        other.label,
    )


def seen_by(model: Any, table: Any = TABLE, **options: Any) -> set[Any]:
    """Types of what a method of an estimator is given."""
    seen: set[Any] = set()

    class Watched:
        feature_names_in_ = np.array(list(getattr(table, "columns", []))[:2])

        def predict(self, rows: Any) -> Any:
            seen.add(type(rows))
            return model(rows)

    AnchorTabular(Watched().predict, seed=0, **options).fit(table).explain(table[:1])
    return seen


def zeros(rows: Any) -> np.ndarray:
    return np.zeros(len(rows), dtype=int)


@pytest.mark.parametrize(
    ("table", "options", "kind"),
    [
        (TABLE, {}, pd.DataFrame),
        (TABLE, {"rows_as": "array"}, np.ndarray),
        (TABLE, {"rows_as": "tensor"}, torch.Tensor),
        (TABLE, {"dtype": np.float64}, np.ndarray),
        (TABLE[["age", "pay"]], {}, np.ndarray),
        (TABLE[["age", "pay"]], {"rows_as": "dataframe"}, pd.DataFrame),
        (TABLE[["age", "pay"]].to_numpy(), {}, np.ndarray),
        (torch.tensor(TABLE[["age", "pay"]].to_numpy()), {}, torch.Tensor),
    ],
)
def test_who_is_given_what(table: Any, options: dict[str, Any], kind: type) -> None:
    assert seen_by(zeros, table, **options) == {kind}


def test_an_estimator_of_codes_is_given_codes_as_before() -> None:
    codes = pd.DataFrame(TableSchema.infer(TABLE).encode(TABLE), columns=TABLE.columns).fillna(-1)
    tree = DecisionTreeClassifier(random_state=0).fit(codes.to_numpy(), HELPS)

    class OfCodes:
        feature_names_in_ = codes.columns.to_numpy()

        def predict(self, rows: Any) -> Any:
            return tree.predict(np.nan_to_num(np.asarray(rows, dtype=float), nan=-1))  # raises on words

    own = AnchorTabular(OfCodes().predict, seed=0).fit(TABLE).explain(ROW)
    arrays = AnchorTabular(OfCodes().predict, seed=0, rows_as="array").fit(TABLE).explain(ROW)
    assert own.anchor == arrays.anchor
    assert own.precision == arrays.precision


def test_a_row_is_explained_alike_alone_in_a_batch_pickled_and_after_another_fit() -> None:
    explainer = AnchorTabular(PIPELINE.predict_proba, seed=0).fit(TABLE)
    alone = [explainer.explain(TABLE.iloc[[i]]) for i in range(4)]
    again = AnchorTabular(lambda rows: zeros(rows), seed=0).fit(TABLE)
    again.reset_predictor(PIPELINE.predict_proba)
    refitted = AnchorTabular(PIPELINE.predict_proba, seed=0, rows_as="dataframe").fit(TABLE[::-1]).fit(TABLE)
    for other in (explainer, pickle.loads(pickle.dumps(explainer)), again, refitted):
        batch = other.explain_batch(TABLE.iloc[:4])
        assert [(one.anchor, one.precision) for one in batch] == [(one.anchor, one.precision) for one in alone]


def test_a_fit_on_an_array_after_one_on_a_dataframe_gives_arrays_again() -> None:
    seen: list[type] = []

    def model(rows: Any) -> np.ndarray:
        seen.append(type(rows))
        return zeros(rows)

    class Of:
        feature_names_in_ = TABLE.columns.to_numpy()
        predict = staticmethod(model)

        def __call__(self, rows: Any) -> np.ndarray:
            return model(rows)

    explainer = AnchorTabular(Of().__call__, seed=0).fit(TABLE)
    explainer.explain(ROW)
    assert set(seen) == {pd.DataFrame}
    seen.clear()
    numbers = TABLE[["age", "pay"]].to_numpy()
    explainer.fit(numbers).explain(numbers[0])
    assert set(seen) == {np.ndarray}


def test_labels_probabilities_the_file_and_a_data_set_work_as_with_arrays(tmp_path: Path) -> None:
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["town"]), remainder="drop"), LogisticRegression()
    ).fit(TABLE, HELPS)
    explainer = AnchorTabular(model.predict_proba, class_names=["no", "yes"], seed=0).fit(TABLE)
    expected = (model.predict(TABLE) == "yes").astype(int)
    assert (explainer.predict(TABLE) == expected).all()
    assert (explainer.predictor(TABLE) == expected).all()
    explanation = explainer.explain(ROW)
    explanation.save(tmp_path / "one.json")
    assert load(tmp_path / "one.json").anchor == explanation.anchor
    found = evaluate(explainer, TABLE.iloc[:6], out=tmp_path / "all")
    shares = model.predict_proba(TABLE.iloc[:6]).max(axis=1)
    assert found.table()["score"].to_pylist() == pytest.approx(shares, abs=1e-6)


@pytest.mark.parametrize("question", ["sufficient", "necessary"])
def test_gaps_stay_gaps_for_every_question(question: str) -> None:
    seen: list[pd.DataFrame] = []

    def model(rows: pd.DataFrame) -> np.ndarray:
        seen.append(rows)
        return (rows["job"].isna() | (rows["age"] > 60)).to_numpy().astype(int)

    explainer = AnchorTabular(model, rows_as="dataframe", seed=0).fit(TABLE)
    explanation = explainer.explain(TABLE.iloc[[0]], question=question)
    assert explanation.label == 1
    assert all((rows.dtypes == TABLE.dtypes).all() for rows in seen)
    assert any("job" in name for name in explanation.anchor) or question == "sufficient"


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ArgumentError, match=r"rows_as must be .*'dataframe'.*got 'frame'"):
        AnchorTabular(zeros, rows_as="frame")
    with pytest.raises(ArgumentError, match=r"rows_as must be None or 'tensor' for an nn\.Module, got 'dataframe'"):
        AnchorTabular(nn.Linear(2, 2), rows_as="dataframe")
    with pytest.raises(ArgumentError, match=r"dtype must be None and ohe False, got .*float64.* and False"):
        AnchorTabular(zeros, rows_as="dataframe", dtype=np.float64)
    with pytest.raises(ArgumentError, match="dtype must be None and ohe False, got None and True"):
        AnchorTabular(zeros, rows_as="dataframe", ohe=True)
    with pytest.raises(ArgumentError, match=r"dtype must be None or a NumPy type .* rows_as='array', got torch"):
        AnchorTabular(zeros, rows_as="array", dtype=torch.float32)
    with pytest.raises(ArgumentError, match=r"dtype must be None or a torch dtype .* rows_as='tensor', got"):
        AnchorTabular(zeros, rows_as="tensor", dtype=np.float32)
    with pytest.raises(ArgumentError, match=r"train_data must be a pandas DataFrame .* got ndarray.*DataFrame\("):
        AnchorTabular(zeros, rows_as="dataframe").fit(np.zeros((3, 2)))
    explainer = AnchorTabular(zeros, rows_as="dataframe").fit(TABLE)
    with pytest.raises(ArgumentError, match=r"rows_as must be None or .tensor. for an nn\.Module"):
        explainer.reset_predictor(nn.Linear(2, 2))


def test_a_function_that_fails_is_told_what_it_was_given_and_what_else_there_is() -> None:
    def by_name(rows: Any) -> Any:
        return rows["no such column"]

    with pytest.raises(PredictorCallError, match=r"a DataFrame of shape \(\d+, 5\)\).*pass rows_as='array'"):
        AnchorTabular(by_name, rows_as="dataframe", seed=0).fit(TABLE).explain(ROW)
    with pytest.raises(PredictorCallError, match=r"codes; pass rows_as='dataframe'"):
        AnchorTabular(by_name, seed=0).fit(TABLE).explain(ROW)


def boosted(library: str) -> Any:
    if library == "xgboost":
        options = {"n_estimators": 20, "max_depth": 3, "enable_categorical": True, "tree_method": "hist", "n_jobs": 1}
        return pytest.importorskip("xgboost").XGBClassifier(**options)
    if library == "lightgbm":
        return pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1)
    options = {"iterations": 20, "verbose": 0, "thread_count": 1, "allow_writing_files": False, "cat_features": ["job"]}
    return pytest.importorskip("catboost").CatBoostClassifier(**options)


def test_a_model_that_was_not_fitted_yet_is_no_matter_until_it_is_asked() -> None:
    class Unfitted:
        @property
        def feature_names_in_(self) -> Any:
            raise RuntimeError("not fitted")

        def predict(self, rows: Any) -> Any:
            raise RuntimeError("not fitted")

    explainer = AnchorTabular(Unfitted().predict, seed=0).fit(TABLE)
    with pytest.raises(PredictorCallError, match="not fitted"):
        explainer.explain(ROW)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_boosted_trees_on_pandas_categories_are_found_out(library: str) -> None:
    jobs = pd.Categorical(TABLE.job.fillna("none"), categories=["nurse", "none", "chef", "clerk"])
    table = TABLE[["age", "pay"]].assign(job=jobs)
    model = boosted(library).fit(table, (HELPS == "yes").astype(int))
    row = table.loc[ROW.index]
    explanation = AnchorTabular(model.predict_proba, seed=0).fit(table).explain(row)
    assert explanation.label == 1
    assert "job = nurse" in explanation.anchor
    given = AnchorTabular(model.predict_proba, seed=0, rows_as="dataframe").fit(table).explain(row)
    assert (given.anchor, given.precision) == (explanation.anchor, explanation.precision)


def test_catboost_on_words_is_found_out() -> None:
    table = TABLE[["age", "job"]].fillna({"job": "none"})
    model = boosted("catboost").fit(table, (HELPS == "yes").astype(int))
    explanation = AnchorTabular(model.predict_proba, seed=0).fit(table).explain(table.loc[ROW.index])
    assert "job = nurse" in explanation.anchor
