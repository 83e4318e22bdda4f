"""Missing values: a value of their own for rules, and NaN for the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import torch_anchors
from tests.fuzz import facts
from torch_anchors import AnchorTabular, RuleList, evaluate
from torch_anchors.errors import AnchorsWarning, ArgumentError, PredictorCallError, PredictorReturnTypeError
from torch_anchors.tables.discretizer import Discretizer
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

NAN = np.nan


def frame_of(n: int, seed: int = 0) -> pd.DataFrame:
    """Age and job have gaps, pay has none; nothing depends on anything."""
    rng = np.random.default_rng(seed)
    age, job = rng.normal(40, 10, n), rng.choice(["clerk", "cook", "nurse"], n).astype(object)
    age[rng.random(n) < 0.4], job[rng.random(n) < 0.4] = NAN, None
    return pd.DataFrame({"age": age, "job": job, "pay": rng.normal(size=n)})


FRAME = frame_of(1500)
ENCODED = AnchorTabular(len, seed=0).fit(FRAME).schema.encode(FRAME)
BOTH_MISSING = FRAME.age.isna() & FRAME.job.isna()


def planted(rows: Any) -> Any:
    """1 where age and job are missing, 0 where age is known and above 40, otherwise 2."""
    gone = np.isnan(rows)
    return np.where(gone[:, 0] & gone[:, 1], 1, np.where(rows[:, 0] > np.percentile(FRAME.age.dropna(), 50), 0, 2))


def explainer(model: Any = planted, **settings: Any) -> AnchorTabular:
    return AnchorTabular(model, **{"seed": 0, **settings}).fit(FRAME)


# ------------------------------------------------------------------------------------------------ bins and rows


ROWS = np.array([[1.0, 0], [2, 1], [NAN, NAN], [3, 1], [4, NAN], [NAN, 0]])


def test_a_missing_value_has_a_bin_above_all_others_and_an_unknown_one_another() -> None:
    discretizer = Discretizer.fit(ROWS, [None, 2], (50,))
    assert discretizer.cuts[0].tolist() == [2.5]  # of the values that are there
    assert discretizer.n_bins.tolist() == [3, 3]
    assert (discretizer.minimum.tolist(), discretizer.maximum.tolist()) == ([1, 0], [4, 1])
    values = torch.tensor([[9.0, 1], [NAN, NAN], [-9, 7]], dtype=torch.float64)
    assert discretizer.bin(values).tolist() == [[1, 1], [2, 2], [0, 3]]
    without = Discretizer.fit(ROWS[[0, 1, 3]], [None, 2], (50,))
    assert without.n_bins.tolist() == [2, 2]
    assert without.bin(values).tolist() == [[1, 1], [2, 2], [0, 2]]  # where no training row is


def test_at_most_and_above_never_hold_for_a_missing_value_and_its_one_condition_is_that_it_is_missing() -> None:
    training = TrainingRows.fit(ROWS, [None, 2], (25, 50, 75))
    sampler = RowSampler(training, ROWS)
    for i, row in enumerate(ROWS):
        held = {}
        for p in sampler.ids(i):
            ((column, low, high),) = sampler.bins(i, (p,))
            bins = training.binned[:, column].numpy()
            held[p] = np.flatnonzero((low <= bins) & (bins <= high))
            gone = np.isnan(ROWS[held[p], column])
            assert gone.all() if np.isnan(row[column]) else not gone.any()
            assert sampler.n_covered([i], [(p,)]).tolist() == [len(held[p])]
        assert len(held) == (1 if np.isnan(row[0]) else 3) + 1


def test_a_column_that_is_constant_but_for_gaps_has_a_condition_only_for_these() -> None:
    rows = np.array([[5.0, 1], [5, 2], [NAN, 3]])
    sampler = RowSampler(TrainingRows.fit(rows, [None, None], ()), rows)
    assert [len(sampler.ids(i)) for i in range(3)] == [0, 0, 1]
    nothing = np.column_stack([np.full(3, NAN), [1.0, 2, 3]])
    assert RowSampler(TrainingRows.fit(nothing, [None, None], ()), nothing).ids(0) == []


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_drawn_rows_satisfy_their_anchor(sampling: str) -> None:
    made = explainer(sampling=sampling)
    row = ENCODED[np.flatnonzero(BOTH_MISSING)[0]]
    sampler = made.samplers[0]
    lookups = sampler.build_lookups(row)
    assert sorted(lookups[2].values()) == [0, 1, 2, 2, 2]
    of_column = {column: p for p, column in lookups[2].items() if column < 2}
    rows, bins, coverage = sampler.perturbation((of_column[0], of_column[1]), 200)
    assert np.isnan(rows[:, :2]).all()
    assert (bins[:, :2] == made._fitted.training.discretizer.n_values[:2]).all()
    assert coverage == BOTH_MISSING.mean()
    hits = sampler((0, (of_column[0],)), 100)[3]
    assert hits[:, of_column[0]].all()
    assert 0 < hits[:, of_column[1]].mean() < 1
    with pytest.raises(ArgumentError, match="anchor must have encoded features"):
        sampler.perturbation((of_column[0] + 1,), 3)  # there is no cut point to be above or below


def test_what_was_never_missing_in_training_stays_missing_in_drawn_rows() -> None:
    def model(rows: Any) -> Any:
        return np.isnan(rows[:, 0]).astype(int)

    made = AnchorTabular(model, seed=0).fit(FRAME.dropna())
    with pytest.warns(AnchorsWarning, match="a missing value stays missing"):
        found = made.explain(pd.DataFrame({"age": [None], "job": ["cook"], "pay": [0.0]}), method="beam")
    assert found.anchor == ["age is missing"]
    assert (found.success, found.coverage, found.label) == (True, 0.0, 1)
    assert all(np.isnan(example.row["age"]) for example in found.examples)


# ------------------------------------------------------------------------------------------------ explanations


@pytest.mark.parametrize(
    ("sampling", "method"),
    [("interventional", "auto"), ("interventional", "beam"), ("interventional", "guided"), ("conditional", "auto")],
)
def test_a_rule_about_missing_values(sampling: str, method: str) -> None:
    made = explainer(sampling=sampling)
    rows = FRAME[BOTH_MISSING].iloc[:3]
    found = made.explain_batch(rows, method=method)
    assert [facts(one) for one in found] == [facts(made.explain(rows.iloc[[i]], method=method)) for i in range(3)]
    for one in found:
        assert one.success
        assert one.anchor == ["age is missing", "job is missing"]
        assert "Where age is missing and job is missing, the model answers label 1" in str(one)
        assert one.coverage == pytest.approx(BOTH_MISSING.mean())
        assert [(p.operator, p.value) for p in one.predicates] == [("is missing", None)] * 2
        assert (one.applies(FRAME) == BOTH_MISSING).all()
        new = frame_of(500, seed=1)
        assert one.precision_on(new) == 1
        assert one.applies(new.convert_dtypes()).sum() == (new.age.isna() & new.job.isna()).sum()
        assert all(np.isnan(example.row["age"]) and example.row["job"] is None for example in one.examples)
        assert one.raw["names"]
        names: dict[str, Any] = {"predicates": list(one.features), "instance": one.instance}
        made.add_names_to_exp(names)
        assert names["names"] == one.anchor
        one.plot()


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_a_rule_about_numbers_does_not_cover_what_is_missing(sampling: str) -> None:
    row = FRAME[(FRAME.age > 55)].iloc[[0]]
    found = explainer(sampling=sampling).explain(row)
    assert found.success
    assert found.anchor[0].startswith("age > 3") or found.anchor[0].startswith("age > 4")
    assert not found.applies(FRAME[FRAME.age.isna()]).any()
    assert found.coverage == (FRAME.age > found.predicates[0].value).mean()


def test_a_stored_explanation_comes_back(tmp_path: Path) -> None:
    found = explainer().explain(FRAME[BOTH_MISSING].iloc[[0]])
    found.save(tmp_path / "rule.json")
    again = torch_anchors.load(tmp_path / "rule.json")
    assert again.rule == found.rule
    assert hash(again.predicates) == hash(found.predicates)
    assert np.array_equal(again.instance, found.instance, equal_nan=True)
    assert str(again) == str(found)
    assert again.examples[0].row["job"] is None
    assert (again.applies(FRAME) == BOTH_MISSING).all()


def test_the_bits_of_a_nan_make_no_difference() -> None:
    made = explainer()
    other = -np.float64(NAN)
    one, two = (made.explain(np.array([gone, NAN, 0.3])) for gone in (NAN, other))
    assert facts(one) == facts(two)


def test_a_run_over_a_table_and_a_rule_list_of_it(tmp_path: Path) -> None:
    made = explainer()
    table = frame_of(60, seed=2)
    evaluation = evaluate(made, table, tmp_path / "out", progress=False)
    assert not evaluation.counts()["failed"]
    rules = RuleList.from_evaluation(evaluation, made, table)
    gone = table.age.isna() & table.job.isna()
    assert (np.asarray(rules.predict(table))[gone.to_numpy()] == 1).all()
    assert "age is missing and job is missing" in str(rules)


# ------------------------------------------------------------------------------------------------ models


def models() -> dict[str, Any]:
    """What makes a classifier of encoded rows with NaN, by what it is called."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeClassifier

    def xgboost() -> Any:
        return pytest.importorskip("xgboost").XGBClassifier(n_estimators=20, n_jobs=1)

    def lightgbm() -> Any:
        return pytest.importorskip("lightgbm").LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1)

    return {
        "histogram boosting": lambda: HistGradientBoostingClassifier(max_iter=20, categorical_features=[1]),
        "imputer": lambda: make_pipeline(SimpleImputer(add_indicator=True), DecisionTreeClassifier(random_state=0)),
        "xgboost": xgboost,
        "lightgbm": lightgbm,
    }


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize("name", models())
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_models_that_read_nan(name: str, sampling: str) -> None:
    model = models()[name]()
    model.fit(ENCODED, planted(ENCODED))
    assert (model.predict(ENCODED) == planted(ENCODED)).mean() > 0.98
    made = explainer(model.predict_proba, sampling=sampling)
    found = made.explain(FRAME[BOTH_MISSING].iloc[[0]])
    assert found.success
    assert found.anchor == ["age is missing", "job is missing"]


def test_a_model_that_answers_nan_is_told_of_the_columns() -> None:
    made = explainer(lambda rows: np.stack([rows[:, 0], rows[:, 2]], axis=1))
    with pytest.raises(
        PredictorReturnTypeError, match=r"no label to explain.*missing values, .*columns \['age', 'job'\]"
    ):
        made.explain(FRAME[BOTH_MISSING].iloc[[0]])
    whole = FRAME.assign(age=1.0, job="cook")
    with pytest.raises(PredictorReturnTypeError) as caught:
        AnchorTabular(lambda rows: rows * np.nan, seed=0).fit(whole).explain(whole.iloc[[0]])
    assert "missing values" not in str(caught.value)


def test_a_model_that_fails_on_nan_is_named_with_the_remedy() -> None:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(np.nan_to_num(ENCODED), planted(ENCODED))
    with pytest.raises(PredictorCallError, match=r"(?s)contains NaN.*the rows have missing values.*SimpleImputer"):
        explainer(model.predict_proba).explain(FRAME.iloc[[0]])
    with pytest.raises(PredictorCallError) as caught:
        AnchorTabular(lambda rows: 1 / 0, seed=0).fit(FRAME.dropna()).explain(FRAME.dropna().iloc[[0]])
    assert "missing" not in str(caught.value)
