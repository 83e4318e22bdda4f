"""The one path from instances to explanations: what a wing is asked, and what it need not care for."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import torch_anchors
from tests.anchor_series import AnchorSeries, SeriesExplanation
from tests.figures import words
from tests.grids import grid_explainer
from torch_anchors import explainer as explainer_module
from torch_anchors.engine.job import Case
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.runner import Finished
from torch_anchors.errors import AnchorsWarning, ArgumentError, PredictorCallError, PredictorReturnTypeError
from torch_anchors.explainer import READERS, Explainer, ahead, version
from torch_anchors.search.protocol import SearchSpace
from torch_anchors.settings import ExplainSettings
from torch_anchors.targets.classes import Bit


def test_the_version_is_known() -> None:
    assert version()[0].isdigit() or version() == "unknown"


def test_a_source_tree_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(explainer_module, "installed_version", fail)
    assert version() == "unknown"


# ---------------------------------------------------------------------------------------------------- a wing's part


def peak(rows: Tensor) -> Tensor:
    """1 where the series has its peak, 0 where it is flat there; no label at all where it is negative there."""
    scores = torch.stack([torch.full((len(rows),), 6.0), rows[:, 2]], dim=1)
    return torch.where((rows[:, 2] < 0)[:, None], torch.nan, scores)


def above_six(rows: Tensor) -> Tensor:
    """A label without an axis of classes."""
    return (rows[:, 2] > 6).long()


def series_of(number: int, height: float = 9.0) -> np.ndarray:
    series = np.random.default_rng(number).random(12).astype(np.float32)
    series[2] = height
    return series


class Recording(AnchorSeries):
    """A wing that keeps what it is asked."""

    def __init__(self, predictor: Any = peak, **settings: Any) -> None:
        self.made: list[list[Case]] = []
        self.searched: list[tuple[list[Case], list[int | None]]] = []
        self.told: list[list[Finished]] = []
        super().__init__(predictor, n_segments=6, seed=0, **settings)

    def cases(self, instances: Sequence[Any], question: ExplainSettings) -> list[Case]:
        self.made.append(super().cases(instances, question))
        return self.made[-1]

    def spaces(self, cases: Sequence[Case], labels: Sequence[int | None], settings: Any) -> list[SearchSpace]:
        self.searched.append((list(cases), list(labels)))
        return super().spaces(cases, labels, settings)

    def explanations(self, finished: Sequence[Finished], settings: ExplainSettings) -> Iterator[SeriesExplanation]:
        self.told.append(list(finished))
        return super().explanations(finished, settings)


class AnswersFirst(Recording):
    answers_first = True


@pytest.mark.parametrize("together", [1, 4, 100])
def test_instances_are_made_ready_together_and_their_searches_begun_together(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recording, "together", together)
    explainer = Recording()
    found = explainer.explain_batch([series_of(n) for n in range(10)])
    assert [one.features for one in found] == [(1,)] * 10
    sizes = [min(together, 10 - first) for first in range(0, 10, together)]
    assert [len(group) for group in explainer.made] == sizes
    assert [cases for cases, _ in explainer.searched] == explainer.made
    assert {label for _, labels in explainer.searched for label in labels} == {None}
    assert sorted(one.place for wave in explainer.told for one in wave) == list(range(10))


def test_a_wing_may_need_the_answers_first() -> None:
    explainer = AnswersFirst()
    explainer.explain_batch([series_of(0), series_of(1, height=1.0), series_of(2)])
    assert [label for _, labels in explainer.searched for label in labels] == [1, 0, 1]


@pytest.mark.parametrize("wing", [Recording, AnswersFirst])
def test_a_given_label_is_that_of_every_case(wing: type[Recording]) -> None:
    explainer = wing()
    found = explainer.explain_batch([series_of(0), series_of(1, height=-1.0)], label=1)
    assert [one.label for one in found] == [1, 1]
    assert [label for _, labels in explainer.searched for label in labels] == [1, 1]
    assert [case.label for group in explainer.made for case in group] == [None, None]  # a wing need not care


@pytest.mark.parametrize("wing", [Recording, AnswersFirst])
@pytest.mark.parametrize("together", [1, 5])
def test_an_instance_without_a_label_is_named_and_no_search_of_a_wing_is_bothered(
    wing: type[Recording], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recording, "together", together)
    explainer = wing()
    given = [series_of(n, height=-1.0 if n == 2 else 9.0) for n in range(5)]
    with pytest.raises(PredictorReturnTypeError, match=r"NaN for the sequence itself; .*number 2 of those") as caught:
        explainer.explain_batch(given)
    finished = caught.value.finished
    assert {0, 1} <= set(finished) <= {0, 1, 3, 4}
    assert {one.features for one in finished.values()} == {(1,)}
    assert all(one.place != 2 for wave in explainer.told for one in wave)


class Picky(Recording):
    """A wing that cannot make every series ready."""

    def cases(self, instances: Sequence[Any], question: ExplainSettings) -> list[Case]:
        if any(len(series) != 12 for series in instances):
            raise ArgumentError("series must have 12 steps.")
        return super().cases(instances, question)


@pytest.mark.parametrize("n_workers", [0, 2])
@pytest.mark.parametrize("together", [1, 4])
def test_what_cannot_be_explained_may_be_left_out(
    together: int, n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Picky, "together", together)
    given = [series_of(0), series_of(1)[:5], series_of(2), series_of(3, height=-1.0), series_of(4)]
    with pytest.warns(AnchorsWarning, match="left out: ") as caught:
        found = Picky().explain_batch(given, on_error="skip", n_workers=n_workers)
    told = [str(warning.message) for warning in caught]
    assert len(told) == 2
    assert re.search(r"series must have 12 steps\. \(It was sequence number 1 of those given", told[0])
    assert re.search(r"NaN for the sequence itself; .*\(It was sequence number 3 of those given", told[1])
    expected = Picky().explain_batch([given[0], given[2], given[4]])
    assert [one.to_dict()["path"] for one in found] == [one.to_dict()["path"] for one in expected]


@pytest.mark.parametrize("together", [1, 4])
def test_what_cannot_be_made_ready_ends_the_work_when_its_turn_comes(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Picky, "together", together)
    given = [series_of(0), series_of(1), series_of(2)[:5], series_of(3)]
    stream = Picky().explain_iter(given)
    assert [next(stream).features for _ in range(2)] == [(1,), (1,)]
    with pytest.raises(ArgumentError, match=r"12 steps\. \(It was sequence number 2 of those given, from 0\.\)"):
        next(stream)
    with pytest.raises(ArgumentError, match=r"^series must have 12 steps\.$"):
        Picky().explain(given[2])


def test_what_all_explanations_have_in_common() -> None:
    explainer = Recording()
    explanation = explainer.explain(series_of(0), 0.9, delta=0.05, method="beam", max_rows_total=5000)
    (finished,) = explainer.told[0]
    found = finished.found
    for name in ("precision", "precision_interval", "coverage", "status", "path"):
        assert getattr(explanation, name) == getattr(found.result, name)
    assert (explanation.n_rows, explanation.n_calls) == (found.n_rows, found.n_calls)
    assert explanation.seconds == found.seconds > 0
    assert (explanation.features, explanation.label, explanation.label_name) == (found.result.anchor, 1, None)
    assert (explanation.threshold, explanation.delta) == (0.9, 0.05)
    params = explanation.meta["params"]
    assert {name: params[name] for name in ("seed", "n_segments", "max_rows")} == {
        "seed": 0,
        "n_segments": 6,
        "max_rows": "auto",
    }
    assert (params["threshold"], params["method"], params["max_rows_total"]) == (0.9, "beam", 5000)
    assert not {"series", "progress", "n_workers"} & set(params)
    assert {key: explanation.meta[key] for key in ("name", "type", "explanations", "version")} == {
        "name": "Recording",
        "type": ["blackbox"],
        "explanations": ["local"],
        "version": version(),
    }
    assert "threshold" not in explainer.meta["params"]


def test_the_latest_label_is_that_of_explain() -> None:
    explainer = Recording()
    assert explainer.instance_label is None
    explainer.explain_batch([series_of(0)])
    assert explainer.instance_label is None
    explainer.explain(series_of(0))
    assert explainer.instance_label == 1
    with pytest.raises(PredictorReturnTypeError):
        explainer.explain(series_of(0, height=-1.0))
    assert explainer.instance_label == 1
    explainer.explain(series_of(0, height=1.0))
    assert explainer.instance_label == 0


def test_labels_may_be_named() -> None:
    def predict(rows: np.ndarray) -> np.ndarray:
        return np.where(rows[:, 2] > 6, "peak", "flat")

    class Named(Recording):
        def __init__(self) -> None:
            super().__init__(predict)
            self._wrap = partial(Predictor, dtype=np.float32)
            self.reset_predictor(predict)

    explainer = Named()
    explanation = explainer.explain(series_of(0))
    assert explanation.label == explanation.label_name == explainer.instance_label == "peak"
    assert explainer.explain(series_of(0), label="flat").label == "flat"
    assert Named().explain(series_of(0), label="flat").label == "flat"  # before it was ever returned
    for made in (explainer, Named()):
        with pytest.raises(ArgumentError, match=r"label must be a class name .* such as flat, peak, got 'hill'"):
            made.explain(series_of(0), label="hill")
        with pytest.raises(ArgumentError, match=r"label must be a class name, .* such as flat, peak, got 5"):
            made.explain(series_of(0), label=5)


@pytest.mark.parametrize(
    ("model", "label", "words"),
    [
        (lambda rows: torch.stack([rows[:, 2] - 6, -rows[:, 2]], 1), 2, "label must be .* 0 to 1, got 2"),
        (lambda rows: torch.stack([rows[:, 2] - 6, -rows[:, 2]], 1), -1, "label must be .* 0 to 1, got -1"),
        (lambda rows: torch.stack([rows[:, 2] - 6, -rows[:, 2]], 1), 10**30, "label must be .*, got 10{30}"),
        (lambda rows: torch.stack([rows[:, 2] - 6, -rows[:, 2]], 1), "peak", "no class names .* 0 to 1, got 'peak'"),
        (lambda rows: rows[:, 2:3] - 6, 7, "label must be .* 0 to 1, got 7"),
        (above_six, "peak", "no class names but labels, got 'peak'"),
        (above_six, 10**30, r"between -2\*\*53 and 2\*\*53"),
    ],
)
def test_a_label_that_names_no_class_is_told_before_anything_is_searched(model: Any, label: Any, words: str) -> None:
    sizes: list[int] = []

    def recording(rows: Tensor) -> Tensor:
        sizes.append(len(rows))
        return model(rows)

    explainer = Recording(recording)
    for _ in range(2):
        with pytest.raises(ArgumentError, match=words):
            explainer.explain(series_of(0), label=label)
    assert sizes in ([1], [])  # one row, which tells what there is; none is needed for a number like that


def test_a_label_that_was_never_returned_may_be_one() -> None:
    explanation = Recording(above_six).explain(series_of(0), label=3)
    assert explanation.label == 3
    assert not explanation.success


def test_where_the_model_fails_on_an_instance_another_tells_which_classes_there_are() -> None:
    def model(rows: Tensor) -> Tensor:
        if (rows[:, 0] > 90).any():
            raise ValueError("too high")
        return torch.stack([rows[:, 2] - 6, -rows[:, 2]], 1)

    bad, good = series_of(0).copy(), series_of(0)
    bad[0] = 100
    explainer = Recording(model)
    with pytest.warns(AnchorsWarning, match="left out: .*too high"):
        (explanation,) = explainer.explain_batch([bad, good], label=0, on_error="skip")
    assert explanation.label == 0
    with pytest.raises(ArgumentError, match="0 to 1, got 2"):
        Recording(model).explain_batch([bad, good], label=2, on_error="skip")


def test_another_predictor_starts_afresh(unchecked: None) -> None:
    explainer = Recording()
    assert explainer.predictor.model is peak
    explainer.explain(series_of(0))
    first = explainer._max_rows
    flat = lambda rows: (rows[:, 11] > 100).long()  # noqa: E731
    explainer.reset_predictor(flat)
    assert explainer.predictor.model is flat
    assert explainer._max_rows is not first
    assert explainer.explain(series_of(0)).label == 0
    with pytest.raises(ArgumentError, match=r"predictor must be a torch\.nn\.Module or a callable"):
        explainer.reset_predictor("resnet")
    assert explainer.predictor.model is flat
    explainer.predictor = peak
    assert explainer.predictor.model is peak
    explainer.predictor = explainer.predictor  # its function of labels stands for the model
    assert explainer.predictor.model is peak
    assert explainer.predictor(np.stack([series_of(0), series_of(1, height=1.0)])).tolist() == [1, 0]


@pytest.mark.parametrize(("max_rows", "n", "tuning"), [("auto", 512, True), (33, 33, False)])
def test_a_wing_may_say_with_how_many_rows_to_begin(
    max_rows: int | str, n: int, tuning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recording, "first_max_rows", 512)
    explainer = Recording()
    explainer.max_rows = max_rows
    explainer.reset_predictor(peak)
    assert (explainer._max_rows.n, explainer._max_rows.tuning) == (n, tuning)
    monkeypatch.setattr(Recording, "first_max_rows", 0)
    assert not Recording()._max_rows.tuning  # the shape of a row will tell


@pytest.mark.parametrize(("asked", "device", "n_workers"), [(None, "cpu", 0), (None, "cuda", READERS), (2, "cpu", 2)])
def test_workers_make_instances_ready_where_the_cpu_has_time(
    asked: int | None, device: str, n_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    explainer = Recording()
    monkeypatch.setattr(explainer, "_explained", lambda *a, **k: seen.append((k["total"], k["n_workers"])) or iter(()))
    explainer._predictor.device = torch.device(device)
    explainer.explain_iter([1, 2, 3], n_workers=asked)
    explainer.explain_iter(iter([1, 2, 3]), n_workers=asked)
    assert seen == [(3, n_workers), (None, n_workers)]


def test_one_explanation_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def reading(items: Iterable[Any], prepare: Any, *, together: int, n_workers: int) -> Iterator[Any]:
        seen.append(n_workers)
        return ahead(items, prepare, together=together, n_workers=n_workers)

    monkeypatch.setattr(explainer_module, "ahead", reading)
    explainer = Recording()
    monkeypatch.setattr(type(explainer._predictor), "static_shapes", True)
    explainer.explain(series_of(0))
    explainer.explain_batch([series_of(0)], n_workers=3)
    assert seen == [0, 3]


def test_what_a_wing_must_add_is_abstract() -> None:
    assert Explainer.__abstractmethods__ == {"instances", "cases", "spaces", "explanations"}
    with pytest.raises(TypeError, match="abstract"):
        Explainer(peak, wrap=len, max_rows=1, seed=0, params={})  # type: ignore[abstract]


@pytest.mark.parametrize(("every", "n_rounds"), [(1, 2), (10_000, 0)])
def test_a_verbose_search_tells_what_it_does(every: int, n_rounds: int, capsys: pytest.CaptureFixture[str]) -> None:
    explainer = Recording()
    explainer.explain(series_of(0), verbose=True, verbose_every=every, method="beam")
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("anchor (1,): exact, precision 1.000")
    assert all(line.startswith(f"round {n}, ") for n, line in enumerate(lines[:-1], start=1))
    assert (len(lines) - 1 >= n_rounds) if n_rounds else len(lines) == 1
    explainer.explain(series_of(0), method="beam")
    assert capsys.readouterr() == ("", "")


# --------------------------------------------------------------------------------------- models that are not so simple


class Dice:
    """A model whose answers depend on chance where the series is flat at its peak."""

    def __init__(self) -> None:
        self.chance = torch.Generator().manual_seed(0)

    def __call__(self, rows: Tensor) -> Tensor:
        throws = torch.rand(len(rows), generator=self.chance) < 0.5
        return ((rows[:, 2] > 6) | throws).long()


class Checking(Recording):
    """A wing whose predictors are asked twice, and whose samplers heed what comes of it."""

    def __init__(self, predictor: Any) -> None:
        super().__init__(predictor)
        self._wrap = partial(Predictor, check_repeats=True)
        self.reset_predictor(predictor)

    def cases(self, instances: Sequence[Any], question: ExplainSettings) -> list[Case]:
        cases = super().cases(instances, question)
        for case in cases:
            case.sampler.repeatable = self._predictor.repeats
        return cases


def test_instances_under_way_begin_anew_where_a_model_does_not_repeat_itself() -> None:
    explainer, n_read = Checking(Dice()), 0

    def given() -> Iterator[np.ndarray]:
        nonlocal n_read
        for number in range(6):
            n_read += 1
            yield series_of(number)

    with pytest.warns(AnchorsWarning, match="another label when it was asked again") as caught:
        found = explainer.explain_batch(given(), method="beam", threshold=0.9)
    assert len(caught) == 1
    assert n_read == 6
    assert [one.features for one in found] == [(1,)] * 6
    assert not explainer._predictor.repeats
    assert {case.sampler.repeatable for case in explainer.made[0]} == {True}
    assert {case.sampler.repeatable for group in explainer.made[-6:] for case in group} == {False}
    n_made = len(explainer.made)
    explainer.explain(series_of(7), method="beam", threshold=0.9)  # who knows it begins once
    assert len(explainer.made) == n_made + 1


def test_a_model_that_repeats_itself_is_asked_twice_at_first_only() -> None:
    n_asked = 0

    def counting(rows: Tensor) -> Tensor:
        nonlocal n_asked
        n_asked += len(rows)
        return peak(rows)

    explainer = Checking(counting)
    first = explainer.explain_batch([series_of(n) for n in range(6)], method="beam")
    n_first = n_asked - sum(one.n_rows for one in first)
    assert 0 < n_first <= 100
    second = explainer.explain_batch([series_of(n) for n in range(6, 12)], method="beam")
    assert n_asked - n_first == sum(one.n_rows for one in [*first, *second])
    assert len(explainer.made) == 12


@pytest.mark.parametrize("wing", [Recording, AnswersFirst])
def test_a_model_that_fails_on_one_instance_spares_the_others(wing: type[Recording]) -> None:
    def delicate(rows: Tensor) -> Tensor:
        if (rows[:, 0] == 0.5).any():
            raise ZeroDivisionError("cannot look at this")
        return peak(rows)

    given = [series_of(n) for n in range(5)]
    for step in (0, 1):  # a whole segment, so that hiding it does not help
        given[2][step] = 0.5
    expected = [one.to_dict()["path"] for one in wing().explain_batch([*given[:2], *given[3:]])]
    with pytest.warns(
        AnchorsWarning, match=r"ZeroDivisionError: cannot look at this.*sequence number 2 of those given"
    ):
        found = wing(delicate).explain_batch(given, on_error="skip")
    assert [one.to_dict()["path"] for one in found] == expected
    with pytest.raises(PredictorCallError, match=r"cannot look at this.*sequence number 2 of those given") as caught:
        wing(delicate).explain_batch(given)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert {0, 1} <= set(caught.value.finished) <= {0, 1, 3, 4}
    with pytest.raises(PredictorCallError, match=r"cannot look at this \(called with rows of shape") as caught:
        wing(delicate).explain(given[2])
    assert "number" not in str(caught.value)


# ------------------------------------------------------------------------------------------------ many, with errors


def test_outcomes_are_explanations_or_errors_by_their_numbers() -> None:
    explainer = AnchorSeries(peak, 4, seed=0)
    question = type(explainer).explain_batch.question(None, threshold=0.9)
    found = list(explainer.outcomes(iter([series_of(0), series_of(1, -1.0), series_of(2)]), question))
    assert [number for number, _ in found] == [0, 1, 2]
    assert isinstance(found[1][1], PredictorReturnTypeError)
    assert "those given" not in str(found[1][1])  # whoever asks knows which one it is
    for number in (0, 2):
        made = found[number][1]
        assert isinstance(made, SeriesExplanation)
        assert made.features == explainer.explain(series_of(number), threshold=0.9).features


def test_a_wing_may_leave_out_what_scores_need() -> None:
    explainer = AnchorSeries(peak, 4, seed=3)
    assert explainer.scores([explainer.explain(series_of(0))]) == [None]
    assert explainer.scores([]) == []
    assert explainer.seed == 3


def test_digests_are_of_the_model() -> None:
    def other(rows: Tensor) -> Tensor:
        return peak(rows) + 1

    assert AnchorSeries(peak, 4).digests() == AnchorSeries(peak, 5, seed=1).digests()
    assert AnchorSeries(peak, 4).digests() != AnchorSeries(other, 4).digests()


# ------------------------------------------------------------------------------------------------- names of classes


def two_classes(rows: torch.Tensor) -> torch.Tensor:
    return torch.stack([0.5 - rows[:, 0, 0, 0], rows[:, 0, 0, 0] - 0.5], dim=1)


@pytest.mark.parametrize("class_names", [("dark", "bright"), {1: "bright", 0: "dark"}, ["dark", "bright"]])
def test_names_that_were_given_once_are_everywhere(class_names: Any, tmp_path: Path) -> None:
    explainer = grid_explainer(two_classes, 2, class_names=class_names)
    explanation = explainer.explain(torch.ones(1, 4, 4))
    assert (explanation.label, explanation.label_name, explanation.label_words) == (1, "bright", "bright")
    assert explanation.answer_names == {0: "dark", 1: "bright"}
    assert "the model answers bright with" in str(explanation)
    assert "another label hides superpixel 0 alone: dark" in str(explanation)
    assert {"“bright”", "“dark”"} < set(words(explanation.plot()))
    assert explanation.to_dict()["label_name"] == "bright"
    explanation.save(tmp_path / "one.json")
    assert str(torch_anchors.load(tmp_path / "one.json")) == str(explanation)
    assert explainer.explain(torch.zeros(1, 4, 4), label="dark").label == 0
    assert pickle.loads(pickle.dumps(explanation)).answer_names == explanation.answer_names


def test_a_user_may_call_classes_otherwise_in_a_picture() -> None:
    explanation = grid_explainer(two_classes, 2, class_names=("dark", "bright")).explain(torch.ones(1, 4, 4))
    assert "“day”" in words(explanation.plot({0: "night", 1: "day"}))
    assert explanation.called(["night", "day"]) == "“day”"


def test_of_many_classes_an_explanation_knows_those_that_it_shows() -> None:
    def many(rows: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot((rows[:, 0, 0, 0] > 0.5).long() * 70, 100).float()

    names = [f"class number {k}" for k in range(100)]
    explanation = grid_explainer(many, 2, class_names=names).explain(torch.ones(1, 4, 4))
    assert explanation.answer_names == {70: "class number 70", 0: "class number 0"}


def test_names_that_do_not_fit_are_errors() -> None:
    explainer = grid_explainer(two_classes, 2, class_names=("dark", "bright", "grey"))
    with pytest.raises(ArgumentError, match="class_names must be one for each of the predictor's 2 classes, got 3"):
        explainer.explain(torch.ones(1, 4, 4))
    explainer = grid_explainer(two_classes, 2, class_names=("dark", "bright"))
    with pytest.raises(ArgumentError, match=r"none is called 'brigth'. Did you mean 'bright'\?"):
        explainer.explain(torch.ones(1, 4, 4), label="brigth")


@pytest.mark.parametrize("class_names", ["dark", [1, 2], {"dark": 0}, 3])
def test_what_are_no_names_is_an_error(class_names: Any, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match="class_names must be a text for each class, or texts by the numbers"):
        grid_explainer(two_classes, 2, class_names=class_names)


def test_another_target_about_a_class_calls_it_by_its_name() -> None:
    explainer = grid_explainer(two_classes, 2, class_names=("dark", "bright"))
    explanation = explainer.explain(torch.ones(1, 4, 4), target=Bit(1, threshold=0))
    assert explanation.label_words == "yes for bright"
    assert explainer.explain(torch.ones(1, 4, 4)).label_words == "bright"
