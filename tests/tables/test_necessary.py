"""Which columns of a row are necessary for the model's answer, against the truth over all perturbed rows."""

from __future__ import annotations

import copy
import pickle
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from torch_anchors import AnchorTabular, ArgumentError, NecessaryExplanation, Status, TabularExplanation, load
from torch_anchors.tables import column_sampler
from torch_anchors.targets.values import Within

NAMES = ["age", "job", "pay", "debt"]
RNG = np.random.default_rng(2)
ROWS = np.column_stack([RNG.normal(size=40), RNG.integers(0, 2, 40), RNG.normal(size=(40, 2))])
ROW = np.array([3.0, 1.0, -0.2, 0.1])
"""Age is unlike all training rows'."""


def planted(rows: np.ndarray) -> np.ndarray:
    """1 for an age that no training row has, whatever else."""
    return (rows[:, 0] == 3.0).astype(int)


def either(rows: np.ndarray) -> np.ndarray:
    return ((rows[:, 0] == 3.0) | (rows[:, 2] == -0.2)).astype(int)


def blurred(rows: np.ndarray) -> np.ndarray:
    return (rows[:, 0] + 0.5 * rows[:, 1] + 0.3 * rows[:, 2] > 0.4).astype(int)


def explainer_of(model: Any = planted, rows: Any = ROWS, **settings: Any) -> AnchorTabular:
    given = {"feature_names": NAMES, "categorical_names": {1: ["cook", "nurse"]}, "seed": 0, "dtype": np.float64}
    return AnchorTabular(model, **{**given, **settings}).fit(rows)


def explained(model: Any = planted, row: Any = ROW, **question: Any) -> NecessaryExplanation:
    found = explainer_of(model).explain(row, **{"question": "necessary", **question})
    assert isinstance(found, NecessaryExplanation)
    return found


def true_precision(model: Any, columns: tuple[int, ...], row: np.ndarray = ROW, fixed: tuple[int, ...] = ()) -> float:
    """The share of rows of another label over all masks and all training rows, weighted as they are drawn."""
    label, free = model(row[None])[0], [k for k in range(4) if k not in columns and k not in fixed]
    shares = []
    for replaced in product([False, True], repeat=len(free)):
        rows = np.repeat(row[None], len(ROWS), axis=0)
        hidden = [*columns, *(k for k, is_replaced in zip(free, replaced, strict=True) if is_replaced)]
        rows[:, hidden] = ROWS[:, hidden]
        shares.append((model(rows) != label).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize(("model", "expected"), [(planted, (0,)), (either, (0, 2))])
@pytest.mark.parametrize("method", ["exact", "beam", "auto"])
def test_planted_columns_come_back(model: Any, expected: tuple[int, ...], method: str) -> None:
    found = explained(model, method=method)
    assert found.features == expected
    assert found.success
    assert found.coverage == 0.5 ** len(expected)
    assert (found.question, found.label, found.answer) == ("necessary", 1, 1)
    assert found.all_replaced == 1.0


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.99])
@pytest.mark.parametrize("fixed", [(), (2,), (1, 3)])
def test_exact_answers_are_those_of_brute_force(threshold: float, fixed: tuple[int, ...]) -> None:
    row = np.array([0.5, 1.0, 0.3, 0.1])
    found = explained(blurred, row, method="exact", threshold=threshold, fixed=[NAMES[k] for k in fixed] or None)
    free = [k for k in range(4) if k not in fixed]
    truth = {
        columns: true_precision(blurred, columns, row, fixed) for n in range(5) for columns in combinations(free, n)
    }
    assert found.precision == pytest.approx(truth[found.features])
    reaching = [columns for columns, precision in truth.items() if precision >= threshold - 1e-12]
    assert found.success is bool(reaching)
    if reaching:
        assert len(found.features) == min(map(len, reaching))
    else:
        assert found.precision == pytest.approx(max(truth.values()))
    assert found.fixed == fixed
    assert (found.all_replaced is None) is bool(fixed)
    if not fixed:
        assert found.all_replaced == pytest.approx(truth[(0, 1, 2, 3)])


def test_sampled_answers_are_seldom_false() -> None:
    rng, n_false, n_found = np.random.default_rng(0), 0, 0
    rows = np.column_stack([rng.normal(size=60), rng.integers(0, 2, 60), rng.normal(size=(60, 2))])
    truths: dict[tuple[int, ...], float] = {}
    for seed, row in enumerate(rows):
        found = explainer_of(blurred, seed=seed).explain(row, question="necessary", threshold=0.6)
        truths = {found.features: true_precision(blurred, found.features, row)}
        low, high = found.precision_interval
        n_found += found.success
        n_false += found.success and truths[found.features] < 0.6 - 1e-12
        n_false += not low - 1e-9 <= truths[found.features] <= high + 1e-9
    assert n_found > 10
    assert n_false <= 0.1 * 60


def test_words_of_what_was_found() -> None:
    words = str(explained(either))
    assert words.startswith(
        "With age = 3.00 and pay = -0.20 replaced by the values of a random training row, the model answers something "
        "else than label 1 with precision "
    )
    assert "whether or not the other columns are replaced as well (each with probability 0.5)." in words
    assert "With age = 3.00 replaced by the value of a random" in str(explained())


def test_words_where_even_replacing_everything_is_not_enough() -> None:
    """Of most training rows the model says what it says of this one."""
    found = explained(lambda rows: (rows[:, 1] < 2).astype(int))
    assert (found.status, found.all_replaced) == (Status.NOT_FOUND, 0.0)
    assert "Even with all columns replaced, only 0 % of rows have another label: so many of the training rows do." in (
        str(found)
    )
    mostly = explained(blurred, np.array([-2.0, 0.0, 0.0, 0.0]))
    assert not mostly.success
    assert mostly.all_replaced == pytest.approx((blurred(ROWS) == 1).mean())
    assert f"only {100 * mostly.all_replaced:.3g} % of rows have another label" in str(mostly)


def test_words_where_nothing_needs_to_be_replaced() -> None:
    found = explained(label=0)
    assert (found.status, found.features, found.answer) == (Status.NOT_FOUND, (0,), 1) or not found.success
    other = explained(planted, np.array([0.0, 1.0, -0.2, 0.1]), label=1)
    assert (other.status, other.features) == (Status.EMPTY_HOLDS, ())
    words = str(other)
    assert "the model answers something else than label 1 anyway" in words
    assert "none needs to be replaced in particular" in words
    assert "For the instance itself the model answers label 0, not label 1." in words
    assert "nearest" not in words


def test_excluded_columns_are_in_no_anchor_and_fixed_ones_are_named() -> None:
    found = explained(either, exclude="age", threshold=0.4)
    assert found.excluded == (0,)
    assert 0 not in found.features
    kept = explained(either, fixed=["pay"])
    assert (kept.fixed, kept.success) == ((2,), False)
    assert "while pay = -0.20 stays" in str(kept)
    for example in kept.examples:
        assert example.row["pay"] == -0.2


def test_examples_and_the_nearest_change() -> None:
    found = explained(either)
    assert found.examples
    for example in found.examples:
        assert example.row["age"] in ROWS[:, 0]
        assert example.row["pay"] in ROWS[:, 2]
        assert example.hit
        assert example.label == 0
    miss = found.nearest_miss
    assert miss is not None
    assert miss.changed == (0, 2)
    assert (miss.label, miss.hit) == (0, True)
    assert (miss.row["debt"], miss.row["job"]) == (0.1, 1.0)
    assert f"differs in age = {miss.row['age']:.2f}"[:20] in str(found)


def test_missing_values_are_replaced_and_stated() -> None:
    rows = ROWS.copy()
    rows[::4, 0] = np.nan
    found = explainer_of(lambda rows: np.isnan(rows[:, 0]).astype(int), rows).explain(
        np.array([np.nan, 1.0, 0.0, 0.0]), question="necessary", threshold=0.6
    )
    assert found.names == ("age is missing",)
    assert found.rule.applies(rows).tolist() == np.isnan(rows[:, 0]).tolist()


def test_a_data_frame_and_one_hot_columns() -> None:
    frame = pd.DataFrame({"job": ["cook", "nurse", "baker", "cook"] * 10, "pay": np.arange(40.0)})
    by_frame = AnchorTabular(lambda rows: (rows[:, 0] == 0).astype(int), seed=0, dtype=np.float64).fit(frame)
    found = by_frame.explain(frame.iloc[:1], question="necessary", threshold=0.6)
    assert found.names in (("job = baker",), ("job = cook",))
    one_hot = np.eye(3)[RNG.integers(0, 3, 60)]
    explainer = AnchorTabular(
        lambda rows: rows[:, 1].astype(int), ["job"], {0: ["a", "b", "c"]}, ohe=True, seed=0, dtype=np.float64
    ).fit(one_hot)
    assert explainer.explain(np.array([0.0, 1.0, 0.0]), question="necessary", threshold=0.5).names == ("job = b",)


def test_a_target_that_compares() -> None:
    explainer = explainer_of(lambda rows: rows[:, 0] + 0.01 * rows[:, 2])
    found = explainer.explain(ROW, question="necessary", target=Within(0.5))
    assert found.features == (0,)
    assert found.success
    assert found.all_replaced == 1.0


def test_a_batch_is_what_each_row_is_alone() -> None:
    rows = np.column_stack([RNG.normal(size=6), RNG.integers(0, 2, 6), RNG.normal(size=(6, 2))])
    explainer = explainer_of(blurred)
    together = explainer.explain_batch(rows, question="necessary", threshold=0.6)
    for one, row in zip(together, rows, strict=True):
        alone = explainer.explain(row, question="necessary", threshold=0.6).to_dict()
        unlike = {"seconds", "n_calls"}
        assert {k: v for k, v in one.to_dict().items() if k not in unlike} == {
            k: v for k, v in alone.items() if k not in unlike
        }


def test_several_anchors_share_no_column() -> None:
    def any_of_two(rows: np.ndarray) -> np.ndarray:
        return ((rows[:, 0] == 3.0) & (rows[:, 2] == -0.2)).astype(int)

    found = explained(any_of_two, n_anchors=3, threshold=0.8)
    assert {anchor.features for anchor in found.anchors} == {(0,), (2,)}
    assert {anchor.names for anchor in found.anchors} == {("age = 3.00",), ("pay = -0.20",)}
    assert again(found).anchors == found.anchors


def again(found: NecessaryExplanation) -> NecessaryExplanation:
    return NecessaryExplanation.from_json(found.to_json())


def test_files_pictures_and_pickles(tmp_path: Path) -> None:
    for found in (explained(either), explained(either, fixed=["pay"]), explained(blurred, threshold=0.4)):
        found.save(tmp_path / "columns.json")
        loaded = load(tmp_path / "columns.json")
        assert isinstance(loaded, NecessaryExplanation)
        for other in (loaded, pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
            assert other.to_dict() == found.to_dict()
            assert str(other) == str(found)
            assert other._repr_html_() == found._repr_html_()
            assert "It took" in str(found)
            assert "It took" not in found._repr_html_()
        found.plot(tmp_path / "before.png"), loaded.plot(tmp_path / "after.png")
        assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


def test_raw_data_and_attributions() -> None:
    found = explained(either, method="exact")
    assert isinstance(found, TabularExplanation)
    assert found.anchor == ["age = 3.00", "pay = -0.20"]
    raw = found.raw
    assert sorted(raw["feature"]) == [0, 2]
    assert sorted(raw["names"]) == ["age = 3.00", "pay = -0.20"]
    assert raw["precision"][-1] == found.precision
    assert raw["instance"].tolist() == ROW.tolist()
    assert len(raw["examples"]) == 2
    marginal = found.attribution("marginal")
    assert marginal[[0, 2]].min() > 0.2 > np.abs(marginal[[1, 3]]).max()
    assert set(np.argsort(-found.attribution("order"))[:2].tolist()) == {0, 2}
    assert found.attribution("member").tolist() == [1, 0, 1, 0]
    assert found.precision_on(ROWS, planted(ROWS)) != found.precision_on(ROWS, planted(ROWS))  # no row is like it
    assert "training_path" not in found.to_dict()


def test_of_very_many_training_rows_a_part_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_sampler, "MOST_ROWS", 10)
    explainer = explainer_of(blurred)
    found = explainer.explain(np.array([0.5, 1.0, 0.3, 0.1]), question="necessary", method="exact")
    chosen = explainer._fitted.replacements()
    assert len(chosen.values) == 10
    assert found.n_rows <= 2**4 * 10
    assert found.all_replaced == (blurred(chosen.values.numpy()) == 0).mean()


def test_a_model_that_does_not_repeat_itself_is_told_no_share() -> None:
    rng = torch.Generator().manual_seed(0)

    def noisy(rows: np.ndarray) -> np.ndarray:
        flipped = torch.rand(len(rows), generator=rng).numpy() < 0.3
        return planted(rows) ^ flipped

    with pytest.warns(UserWarning, match="another label when it was asked again"):
        found = explainer_of(noisy).explain(ROW, question="necessary", label=1)
    assert found.all_replaced is None


def test_it_is_refused_where_rows_are_taken_as_they_are() -> None:
    with pytest.raises(ArgumentError, match="question must be 'sufficient' with sampling='conditional'"):
        explainer_of(sampling="conditional").explain(ROW, question="necessary")
    with pytest.raises(ArgumentError, match="question must be one of"):
        explained(question="why")
    with pytest.raises(ArgumentError, match="fixed must leave at least one column"):
        explained(fixed=NAMES)


@pytest.mark.parametrize("fixed", [(), (1,)])
def test_effects_are_what_replacing_a_column_adds_to_the_chance_of_a_change(fixed: tuple[int, ...]) -> None:
    row = np.array([0.5, 1.0, -0.2, 0.1])
    found = explained(blurred, row, method="exact", fixed=[NAMES[k] for k in fixed] or None)
    for k in range(4):
        others = tuple(i for i in fixed if i != k)
        changes = true_precision(blurred, (k,), row, others), true_precision(blurred, (), row, (k, *others))
        assert found.effects[k] == pytest.approx(0.0 if k in fixed else changes[0] - changes[1])
    assert found.attribution("marginal").shape == found.attribution().shape == (4,)
    assert found.attribution().argmax() == 0
    again = type(found).from_json(found.to_json())
    assert again.attribution("marginal").tolist() == found.attribution("marginal").tolist()
