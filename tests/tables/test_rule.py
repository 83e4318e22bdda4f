import numpy as np
import pandas as pd
import pytest
import torch

from torch_anchors.tables.discretizer import Discretizer
from torch_anchors.tables.rule import Predicate, Rule, format_number
from torch_anchors.tables.schema import TableSchema

FRAME = pd.DataFrame(
    {"Age": np.arange(20.0, 70.0), "Job": ["Nurse", "Clerk"] * 25, "Smokes": [True] * 10 + [False] * 40}
)
SCHEMA = TableSchema.infer(FRAME)
OLD = Predicate(0, "Age", ">", 37.0, 37.0)
YOUNG = Predicate(0, "Age", "<=", 48.0, 48.0)
NURSE = Predicate(1, "Job", "==", "Nurse", 1.0)


def test_conditions_on_one_column_are_merged():
    assert Rule((OLD, NURSE, YOUNG), SCHEMA).conditions == ["37.00 < Age <= 48.00", "Job = Nurse"]
    assert str(Rule((OLD, NURSE), SCHEMA)) == "Age > 37.00 AND Job = Nurse"
    assert Rule((YOUNG,), SCHEMA).conditions == ["Age <= 48.00"]
    assert [str(p) for p in (OLD, YOUNG, NURSE)] == ["Age > 37.00", "Age <= 48.00", "Job = Nurse"]


def test_of_two_bounds_on_one_side_the_tighter_is_shown():
    older = Predicate(0, "Age", ">", 40.0, 40.0)
    assert Rule((OLD, older), SCHEMA).conditions == ["Age > 40.00"]


def test_bounds_that_round_alike_are_shown_in_full():
    bounds = (Predicate(0, "x", ">", 12.3412, 12.3412), Predicate(0, "x", "<=", 12.3437, 12.3437))
    assert Rule(bounds, SCHEMA).conditions == ["12.3412 < x <= 12.3437"]


def test_columns_of_one_name_stay_apart():
    rule = Rule((OLD, Predicate(2, "Age", "<=", 48.0, 48.0)), SCHEMA)
    assert rule.conditions == ["Age > 37.00", "Age <= 48.00"]


def test_a_rule_applies_where_all_predicates_hold():
    rule = Rule((OLD, YOUNG, NURSE), SCHEMA)
    expected = ((FRAME.Age > 37) & (FRAME.Age <= 48) & (FRAME.Job == "Nurse")).to_numpy()
    codes = SCHEMA.encode(FRAME)
    for table in (FRAME, FRAME[["Job", "Smokes", "Age"]], codes, torch.as_tensor(codes)):
        assert np.array_equal(rule.applies(table), expected)
    assert np.array_equal(rule.holds(codes), expected)
    assert 0 < expected.sum() < len(FRAME)
    assert rule.applies(FRAME.iloc[18]).tolist() == [True]


def test_a_rule_without_predicates_holds_everywhere():
    rule = Rule((), SCHEMA)
    assert rule.applies(FRAME).all()
    assert rule.holds(np.zeros((3, 3))).tolist() == [True] * 3
    assert (str(rule), rule.conditions, len(rule)) == ("(no condition)", [], 0)


@pytest.mark.parametrize("i", [0, 7, 23, 49])
def test_the_rule_of_bins_holds_where_the_bins_do(i):
    codes = SCHEMA.encode(FRAME)
    discretizer = Discretizer.fit(codes, SCHEMA.n_categories)
    binned = discretizer.bin(torch.as_tensor(codes))
    predicates = discretizer.predicates(binned[i : i + 1])
    bins = torch.stack([predicates.column, predicates.low, predicates.high])[:, 0].T.tolist()
    rule = Rule.from_bins(SCHEMA, discretizer, [tuple(b) for b in bins], codes[i])
    assert len(rule) == len(bins) == 5
    for predicate, (column, low, high) in zip(rule.predicates, bins, strict=True):
        expected = ((binned[:, column] >= low) & (binned[:, column] <= high)).numpy()
        assert np.array_equal(predicate.applies(codes), expected)
    assert rule.applies(FRAME.iloc[i]).all()
    assert rule.conditions[1:] == [f"Job = {FRAME.Job[i]}", f"Smokes = {FRAME.Smokes[i]}"]


def test_an_interval_of_bins_is_two_predicates():
    codes = SCHEMA.encode(FRAME)
    discretizer = Discretizer.fit(codes, SCHEMA.n_categories)
    assert Rule.from_bins(SCHEMA, discretizer, [(0, 1, 1)], codes[20]).conditions == ["32.25 < Age <= 44.50"]


def test_a_category_that_training_did_not_have_is_shown_as_it_came():
    schema = TableSchema.infer(np.array([[0.0], [1.0]]), ["Job"], {0: ["Clerk", "Nurse"]})
    instance = np.array([7.0])
    discretizer = Discretizer.fit(np.array([[0.0], [1.0]]), [2])
    rule = Rule.from_bins(schema, discretizer, [(0, 2, 2)], instance)
    assert rule.conditions == ["Job = 7.0"]
    assert rule.applies(np.array([[7.0], [1.0], [2.0]])).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (37.0, "37.00"),
        (-2.5, "-2.50"),
        (1234567.891, "1234567.89"),
        (0.5, "0.50"),
        (0.12345, "0.123"),
        (-0.0013, "-0.0013"),
        (0.00999, "0.00999"),
        (0.99999, "1.00"),
        (2.5e-7, "2.5e-07"),
        (3e20, "3e+20"),
        (0.0, "0.00"),
    ],
)
def test_numbers_keep_two_decimals_or_three_digits(number, shown):
    assert format_number(number) == shown
