"""Lists of rules: what they say, how they are chosen, and what is said of them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

import torch_anchors
from tests.datasets.inputs import of_images, of_rows, pixels, rows_of_table
from tests.datasets.rules import COOK, NURSE, VET, above, explanation_of, random_table, table, up_to
from torch_anchors.datasets.evaluate import evaluate
from torch_anchors.datasets.found_rule import FoundRule
from torch_anchors.datasets.pick import pick
from torch_anchors.datasets.rule_list import RuleList
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Status
from torch_anchors.tables.anchor_tabular import AnchorTabular
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.targets.values import Between, Within

OLD_COOKS, COOKS, NURSES = (
    explanation_of(COOK, above(50), label=0),
    explanation_of(COOK, label=1),
    explanation_of(NURSE, label=2),
)
ROWS = table((55, 0), (45, 0), (30, 1), (30, 2), (60, 1))


def rules_of(*explanations: TabularExplanation) -> tuple[FoundRule, ...]:
    return tuple(map(FoundRule.of, explanations))


# ------------------------------------------------------------------------------------------------- predicting


def test_the_first_rule_that_holds_says_the_label() -> None:
    rules = RuleList.in_order([OLD_COOKS, COOKS, NURSES])
    assert rules.which(ROWS).tolist() == [0, 1, 2, -1, 2]
    assert rules.predict(ROWS).tolist() == [0, 1, 2, -1, 2]
    assert RuleList.in_order([COOKS, OLD_COOKS]).predict(ROWS).tolist() == [1, 1, -1, -1, -1]
    assert rules.predict(ROWS).dtype == np.int64


def test_what_is_said_elsewhere() -> None:
    rules = RuleList.in_order([COOKS, NURSES])
    assert rules.predict(ROWS, otherwise=7).tolist() == [1, 1, 2, 7, 2]
    assert rules.predict(ROWS, otherwise=None).tolist() == [1, 1, 2, None, 2]
    assert rules.predict(ROWS, otherwise="ask").tolist() == [1, 1, 2, "ask", 2]
    assert RuleList.in_order([COOKS, explanation_of(label=0)]).predict(ROWS).tolist() == [1, 1, 0, 0, 0]


def test_labels_may_be_class_names() -> None:
    rules = RuleList.in_order([explanation_of(COOK, label="rich"), explanation_of(label="poor")])
    assert rules.predict(ROWS).tolist() == ["rich", "rich", "poor", "poor", "poor"]
    assert RuleList(rules.rules[:1]).predict(ROWS).tolist() == ["rich", "rich", -1, -1, -1]
    labels = np.array(["rich", "poor", "poor", "rich", "poor"])
    assert [own.n_agreeing for own in rules.assess(ROWS, labels).prefixes] == [1, 3]
    assert rules.first(1).assess(ROWS, list(labels)).prefixes[0].n_agreeing == 1


def test_tables_of_any_kind() -> None:
    rules = RuleList.in_order([OLD_COOKS, COOKS, NURSES])
    frame = pd.DataFrame({"job": np.array(["cook", "nurse", "vet"])[ROWS[:, 1].astype(int)], "age": ROWS[:, 0]})
    for given in (frame, torch.as_tensor(ROWS), ROWS.tolist()):
        assert rules.which(given).tolist() == [0, 1, 2, -1, 2]
    assert rules.which(ROWS[:0]).tolist() == []


# --------------------------------------------------------------------------------------------------- choosing


def test_the_rules_that_add_the_most_rows_come_first() -> None:
    rows = random_table(400)
    labels = np.where(rows[:, 0] > 30, 1, 0)
    old, young = explanation_of(above(30)), explanation_of(up_to(30), label=0)
    narrow = explanation_of(above(50), NURSE)
    rules = RuleList.from_explanations([narrow, young, old, old], rows, labels=labels)
    assert rules.rules == rules_of(old, young)
    assert (rules.predict(rows) == labels).all()
    assert RuleList.from_explanations([narrow, young, old], rows, k=1, labels=labels).rules == rules_of(old)


def test_the_list_agrees_with_the_model_on_the_share_that_was_asked_for() -> None:
    """Cooks have label 1 but for the old ones; the rule for all cooks may come after that for old ones only."""
    rows = random_table(400)
    labels = np.where((rows[:, 1] == 0) & (rows[:, 0] <= 50), 1, 0)
    chosen = RuleList.from_explanations([COOKS, OLD_COOKS], rows, labels=labels).rules
    assert chosen == rules_of(OLD_COOKS, COOKS)
    assert COOKS.precision_on(rows, labels) < COOKS.threshold
    lenient = explanation_of(COOK, label=1, threshold=0.7)
    assert RuleList.from_explanations([lenient, OLD_COOKS], rows, labels=labels).rules == rules_of(lenient)
    share = COOKS.precision_on(rows, labels)
    for fidelity, expected in ((share, (COOKS,)), (share + 1e-9, (OLD_COOKS, COOKS))):
        chosen = RuleList.from_explanations([COOKS, OLD_COOKS], rows, labels=labels, fidelity=fidelity)
        assert chosen.rules == rules_of(*expected)


def test_labels_may_be_a_function_and_the_model_is_asked_without() -> None:
    rows = random_table(50)
    asked = explanation_of(COOK, predict=lambda X: np.ones(len(X), dtype=np.int64))
    assert RuleList.from_explanations([asked], rows).rules == rules_of(asked)
    assert RuleList.from_explanations([COOKS], rows, labels=lambda X: np.ones(len(X))).rules == rules_of(COOKS)
    with pytest.raises(ArgumentError, match="have no model to ask"):
        RuleList.from_explanations([COOKS], rows)
    with pytest.raises(ArgumentError, match=r"of 1 different rule none agrees .* at least 0\.95 .* Or are labels not"):
        RuleList.from_explanations([COOKS], rows, labels=np.zeros(50, dtype=int))


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_from_explanations_to_an_assessment(sampling: str, tmp_path: Path) -> None:
    explainer = of_rows(sampling=sampling)
    explanations = explainer.explain_batch(rows_of_table(60), threshold=0.9)
    chosen_on, kept_back = rows_of_table(400, seed=2), rows_of_table(400, seed=3)
    rules = torch_anchors.RuleList.from_explanations(explanations, chosen_on, k=4)
    assert 2 <= len(rules) <= 4
    found = rules.assess(kept_back)
    whole = found.prefixes[-1]
    covered = rules.which(kept_back) >= 0
    agrees = rules.predict(kept_back)[covered] == explainer.predict(kept_back)[covered]
    assert (whole.coverage, whole.fidelity) == (covered.mean(), agrees.mean())
    assert whole.fidelity > 0.85
    for number, one in enumerate(explanations):
        one.save(tmp_path / f"{number}.json")
    found_by_coverage = RuleList.in_order(pick(explanations, chosen_on, 4))
    assert found_by_coverage.assess(kept_back).prefixes[-1].coverage >= whole.coverage - 0.05
    loaded = [torch_anchors.load(tmp_path / f"{number}.json") for number in range(60)]
    again = RuleList.from_explanations(loaded, chosen_on, k=4, labels=explainer.predict)
    assert again.words == rules.words
    assert again.assess(kept_back, explainer.predict(kept_back)).to_dict() == found.to_dict()


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_what_evaluate_has_written_gives_the_same_list(sampling: str, tmp_path: Path) -> None:
    explainer, explained = of_rows(sampling=sampling), rows_of_table(60)
    chosen_on, kept_back = rows_of_table(400, seed=2), rows_of_table(400, seed=3)
    ids = [f"{number:02d}" for number in range(60)]
    evaluation = evaluate(explainer, explained, tmp_path, ids=ids, part_size=7, threshold=0.9, progress=False)
    rules = RuleList.from_evaluation(evaluation, explainer, chosen_on, k=4)
    expected = RuleList.from_explanations(explainer.explain_batch(explained, threshold=0.9), chosen_on, k=4)
    assert rules.to_dict() == expected.to_dict()
    assert rules.assess(kept_back).to_dict() == expected.assess(kept_back).to_dict()
    assert RuleList.from_evaluation(evaluation, explainer, chosen_on, 1, fidelity=0.0).words == rules.first(1).words


def test_a_model_of_names() -> None:
    iris = load_iris()
    names = iris.target_names[(iris.data[:, 2] > 2.5).astype(int) + (iris.data[:, 3] > 1.6)]

    def model(rows: np.ndarray) -> np.ndarray:
        return iris.target_names[(rows[:, 2] > 2.5).astype(int) + (rows[:, 3] > 1.6)]

    explainer = AnchorTabular(model, ["a", "b", "c", "d"], dtype=np.float64, seed=0, sampling="conditional")
    explanations = explainer.fit(iris.data, (10, 30, 50, 70)).explain_batch(iris.data, threshold=0.8, delta=0.3)
    rules = RuleList.from_explanations(explanations, iris.data[::2])
    assert set(rules.predict(iris.data, otherwise="none")) <= {"setosa", "versicolor", "virginica", "none"}
    assert rules.assess(iris.data[1::2]).to_dict() == rules.assess(iris.data[1::2], names[1::2]).to_dict()
    assert rules.assess(iris.data[1::2]).prefixes[-1].fidelity > 0.8


# -------------------------------------------------------------------------------------------------- assessing


def test_every_prefix_is_assessed_as_if_it_were_the_list() -> None:
    rules = RuleList.in_order([OLD_COOKS, COOKS, NURSES])
    rows = random_table(200)
    labels = np.random.default_rng(1).integers(0, 3, 200)
    for n, prefix in enumerate(rules.assess(rows, labels, delta=0.1).prefixes, 1):
        shorter = rules.first(n)
        covered = shorter.which(rows) >= 0
        assert prefix.n_covered == covered.sum()
        assert prefix.n_agreeing == (shorter.predict(rows) == labels)[covered].sum()
        assert prefix.n_rules == n


def test_rows_without_an_answer_agree_with_nothing() -> None:
    """-1 is a label like any other, and also what the list says where it says nothing."""
    rules = RuleList.in_order([explanation_of(COOK, label=-1)])
    (found,) = rules.assess(ROWS, np.full(5, -1)).prefixes
    assert (found.n_covered, found.n_agreeing) == (2, 2)


def test_rows_that_the_list_was_chosen_on_are_refused() -> None:
    rows = random_table(100)
    labels = np.ones(100, dtype=int)
    rules = RuleList.from_explanations([COOKS], rows, labels=labels)
    with pytest.raises(ArgumentError, match="X must be rows that had no part in choosing the list, got those"):
        rules.assess(rows.copy(), labels)
    with pytest.raises(ArgumentError, match="got those it was chosen on"):
        rules.first(1).assess(rows, labels)
    assert rules.assess(rows[:99], labels[:99]).prefixes[0].n_agreeing > 0
    assert RuleList(rules.rules).assess(rows, labels).prefixes[0].n_agreeing > 0


# ------------------------------------------------------------------------------------------------------ words


def test_words_and_pages() -> None:
    rules = RuleList.in_order([OLD_COOKS, explanation_of(VET, label="a<b"), explanation_of(label="poor")])
    assert str(rules).split("\n") == [
        "1. where age > 50.00 and job = cook: label 0",
        "2. where job = vet: a<b",
        "3. everywhere: poor",
        "Elsewhere the list says nothing.",
    ]
    assert repr(rules).startswith("RuleList(['where age > 50.00 and job = cook: label 0', 'where job = vet")
    page = rules._repr_html_()
    assert page.count("<tr>") == 4
    assert "<td>2</td><td style='text-align:left'>where job = vet</td><td>a&lt;b</td><td>0.951</td>" in page
    assert page.startswith("<p>The first of these rules that holds gives the label; where none does, the list says")


def test_plain_values_and_pickles() -> None:
    rules = RuleList.in_order([explanation_of(above(30.5), COOK, label="rich"), NURSES])
    found = json.loads(json.dumps(rules.to_dict()))["rules"]
    assert found[0] == {
        "conditions": ["age > 30.50", "job = cook"],
        "predicates": [
            {"column": "age", "operator": ">", "value": 30.5},
            {"column": "job", "operator": "==", "value": "cook"},
        ],
        "label": "rich",
        "label_name": "rich",
        "precision": 0.98,
        "precision_interval": [0.9512, 0.9979],
        "coverage": 0.25,
        "threshold": 0.95,
        "delta": 0.1,
        "sampling": "conditional",
    }
    assert found[1]["label"] == 2
    assert pickle.loads(pickle.dumps(rules)).predict(ROWS).tolist() == rules.predict(ROWS).tolist()


@pytest.mark.usefixtures("unchecked")
def test_errors_say_what_was_expected() -> None:
    rows, labels = random_table(10), np.ones(10)
    with pytest.raises(ArgumentError, match="explanations must be at least one, got none"):
        RuleList.in_order([])
    with pytest.raises(ArgumentError, match="number 1 has the status 'no anchor reached the threshold'"):
        RuleList.in_order([COOKS, explanation_of(status=Status.NOT_FOUND)])
    with pytest.raises(ArgumentError, match="got ImageExplanation as number 0"):
        RuleList.from_explanations([of_images().explain(pixels(0))], rows)
    with pytest.raises(ArgumentError, match="k must be a whole number of at least 1, got 0"):
        RuleList.from_explanations([COOKS], rows, 0, labels=labels)
    with pytest.raises(ArgumentError, match=r"fidelity must be None or a share in \[0, 1\], got 95"):
        RuleList.from_explanations([COOKS], rows, labels=labels, fidelity=95)
    with pytest.raises(ArgumentError, match=r"one for each of the 10 rows of X, got the shape \(9,\)"):
        RuleList.from_explanations([COOKS], rows, labels=labels[1:])
    with pytest.raises(ArgumentError, match="X must be a table of at least one row, got none"):
        RuleList.in_order([COOKS]).assess(rows[:0], [])
    with pytest.raises(ArgumentError, match=r"delta must be a probability in \(0, 1\), got 1"):
        RuleList.in_order([COOKS]).assess(rows, labels, delta=1)
    with pytest.raises(ArgumentError, match=r"n must be a whole number of at least 1 and at most 1, got 2"):
        RuleList.in_order([COOKS]).first(2)


def price(rows: np.ndarray) -> np.ndarray:
    return 10 * (rows[:, 0] > 0) + 0.1 * rows[:, 1]


def test_rules_about_a_range_of_values_are_a_list_and_those_about_each_rows_own_value_are_not() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 2))
    explainer = AnchorTabular(price, ["a", "b"], seed=0, sampling="conditional").fit(rows)
    found = explainer.explain_batch(rows[:20], target=Between(low=5))
    rules = RuleList.from_explanations(found, rows, k=2)
    assert (np.asarray(rules.predict(rows)) == (price(rows) >= 5)).mean() > 0.95
    with pytest.raises(ArgumentError, match=r"must be about the same labels.*target=Within\(tolerance=3\)"):
        RuleList.from_explanations(explainer.explain_batch(rows[:20], target=Within(3)), rows)
