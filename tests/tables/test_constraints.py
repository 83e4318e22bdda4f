"""Columns that stay as they are, and columns that no rule may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import torch_anchors
from tests.fuzz import facts
from torch_anchors import AnchorTabular
from torch_anchors.errors import ArgumentError

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(40, 10, 2000),
        "job": RNG.choice(["clerk", "cook", "nurse"], 2000),
        "pay": RNG.normal(size=2000),
        "rent": RNG.normal(size=2000),
    }
)
ROW = pd.DataFrame({"age": [61.0], "job": ["nurse"], "pay": [2.1], "rent": [0.1]})
BY_METHOD = [
    ("interventional", "auto"),
    ("interventional", "beam"),
    ("interventional", "guided"),
    ("conditional", "auto"),
    ("conditional", "beam"),
]


def model(rows: np.ndarray) -> np.ndarray:
    """1 where age is above 40, or the job is nurse and pay is above 0."""
    return ((rows[:, 0] > 40) | ((rows[:, 1] == 2) & (rows[:, 2] > 0))).astype(int)


def explainer(sampling: str = "interventional", **settings: Any) -> AnchorTabular:
    seen: list[np.ndarray] = []

    def seeing(rows: np.ndarray) -> np.ndarray:
        seen.append(rows.copy())
        return model(rows)

    made = AnchorTabular(seeing, seed=0, sampling=sampling, **settings).fit(FRAME)
    made.seen = seen  # type: ignore[attr-defined]
    return made


def columns_of(explanation: Any) -> set[str]:
    return {predicate.name for predicate in explanation.predicates}


@pytest.mark.parametrize(("sampling", "method"), BY_METHOD)
def test_no_rule_names_an_excluded_column(sampling: str, method: str) -> None:
    made = explainer(sampling)
    assert columns_of(made.explain(ROW, method=method)) == {"age"}
    found = made.explain(ROW, method=method, exclude=["age"])
    assert columns_of(found) == {"job", "pay"}
    assert found.excluded == (0,)
    assert found.success
    varied = {row[0] for rows in made.seen for row in rows}  # type: ignore[attr-defined]
    assert len(varied) > 100  # it varies like all others
    again = made.explain_batch(pd.concat([ROW, FRAME.iloc[:2]]), method=method, exclude=0)[0]
    assert facts(again) == facts(found)


@pytest.mark.parametrize(("sampling", "method"), BY_METHOD)
def test_where_no_column_is_left_the_answer_is_honest(sampling: str, method: str) -> None:
    found = explainer(sampling).explain(ROW, method=method, exclude=list(FRAME))
    assert found.anchor == []
    assert not found.success
    low, high = found.precision_interval
    assert low <= model(explainer().schema.encode(FRAME)).mean() <= high


@pytest.mark.parametrize("method", ["auto", "beam", "guided"])
def test_fixed_columns_keep_the_rows_value_in_every_row(method: str) -> None:
    made = explainer()
    made.explain(ROW)  # the training rows are labelled before
    made.seen.clear()  # type: ignore[attr-defined]
    found = made.explain(ROW, method=method, fixed=["job", "rent"], exclude="age")
    rows = np.concatenate(made.seen)  # type: ignore[attr-defined]
    assert (rows[:, 1] == 2).all()
    assert (rows[:, 3] == np.float32(0.1)).all()
    assert len(set(rows[:, 0])) > 30
    assert columns_of(found) == {"pay"}  # as the job is known
    assert (found.fixed, found.excluded) == ((1, 3), (0,))
    assert "whatever the other columns hold while job = nurse and rent = 0.10 stay; " in str(found)
    together = made.explain_batch(pd.concat([FRAME.iloc[:3], ROW]), method=method, fixed=[1, 3], exclude="age")
    assert facts(together[-1]) == facts(found)


@pytest.mark.parametrize("method", ["auto", "beam"])
def test_what_is_fixed_may_be_enough(method: str) -> None:
    found = explainer().explain(ROW, method=method, fixed="age")
    assert found.anchor == []
    assert found.success
    assert "on nearly every row while age = 61.00 stays, with precision at least" in str(found)
    missing = AnchorTabular(lambda x: np.isnan(x[:, 0]).astype(int), seed=0).fit(
        FRAME.assign(age=np.nan, pay=FRAME.age)
    )
    assert "while age is missing stays" in str(missing.explain(ROW.assign(age=None), method=method, fixed="age"))


def test_a_certified_rule_is_about_rows_with_the_fixed_values() -> None:
    """Its precision over rows drawn anew is what the interval says."""
    made = explainer()
    found = made.explain(ROW, fixed="job", exclude="age")
    rows = made.schema.encode(FRAME)
    held = rows[found.applies(FRAME)]
    rng = np.random.default_rng(1)
    drawn = rows[rng.integers(len(rows), size=20_000)].copy()
    drawn[:, 2], drawn[:, 1] = held[rng.integers(len(held), size=20_000), 2], 2
    low, high = found.precision_interval
    assert low - 0.01 <= model(drawn).mean() <= high + 0.01


def test_a_file_keeps_what_was_asked(tmp_path: Path) -> None:
    found = explainer().explain(ROW, fixed="job", exclude=["age"])
    assert (found.params["fixed"], found.params["exclude"]) == (["job"], ["age"])
    found.save(tmp_path / "rule.json")
    again = torch_anchors.load(tmp_path / "rule.json")
    assert (again.fixed, again.excluded, str(again)) == ((1,), (0,), str(found))


def test_several_anchors_have_none_of_these_columns() -> None:
    found = explainer().explain(ROW, n_anchors=3, exclude="rent")
    assert [sorted({p.name for p in one.rule.predicates}) for one in found.anchors] == [["age"], ["job", "pay"]]  # type: ignore[attr-defined]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (
            {"exclude": ["wage"]},
            r"exclude must have names or numbers \(0 to 3\) of columns, got 'wage'; the columns are",
        ),
        ({"exclude": 4}, "exclude must have names or numbers"),
        ({"exclude": [True]}, "exclude must have names or numbers"),
        ({"fixed": [0.5]}, "fixed must have names or numbers"),
        ({"fixed": object()}, "fixed must have names or numbers"),
        ({"fixed": [0, 1, 2, 3]}, "fixed must leave at least one column that varies"),
    ],
)
def test_columns_must_be_there(asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        explainer().explain(ROW, **asked)


def test_rows_that_are_taken_as_they_are_cannot_have_fixed_columns() -> None:
    with pytest.raises(
        ArgumentError, match=r"fixed must be None with sampling='conditional'.*sampling='interventional'"
    ):
        explainer("conditional").explain(ROW, fixed="job")
