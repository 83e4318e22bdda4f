"""Failures of inputs and of the model, and interruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.datasets.inputs import brightness, by_id, of_images, of_rows, pixels, rows_of_table
from torch_anchors import Evaluation, evaluate
from torch_anchors.datasets import row_maker
from torch_anchors.datasets.parts import PartWriter
from torch_anchors.datasets.row_maker import AT_FIRST
from torch_anchors.errors import PredictorCallError, PredictorReturnTypeError

BAD = (240, 7, 11)
"""A colour that the model cannot stand; no other picture has so much of it."""


def hates_bad(rows: Tensor) -> Tensor:
    blue, green = rows[:, 2, 8:].mean((1, 2)), rows[:, 1, 8:].mean((1, 2))
    if ((blue - BAD[2]).abs() < 1).any() and ((green - BAD[1]).abs() < 1).any():
        raise ValueError("what a colour")
    return brightness(rows)


def bad() -> np.ndarray:
    return np.full((16, 16, 3), BAD, dtype=np.uint8)


def reasons(evaluation: Evaluation) -> dict[str, str]:
    return {id: row["reason"] for id, row in by_id(evaluation).items() if row["reason"]}


def quietly(*arguments: Any, **more: Any) -> Evaluation:
    return evaluate(*arguments, progress=False, **more)


def test_each_bad_input_is_a_row_with_its_reason_and_the_others_are_explained(tmp_path: Path) -> None:
    images: list[Any] = [pixels(0), np.zeros((16, 16, 5), np.uint8), pixels(1), bad(), np.full((16, 16, 3), np.nan)]
    images += ["no image", pixels(2)]
    found = quietly(of_images(hates_bad), images, tmp_path)
    assert list(reasons(found)) == ["1", "4", "5", "3"]
    assert "must be an array of shape (height, width, 1 to 4)" in reasons(found)["1"]
    assert "The predictor raised ValueError: what a colour" in reasons(found)["3"]
    assert "must have finite pixels" in reasons(found)["4"]
    assert "got str" in reasons(found)["5"]
    assert all("of those given" not in reason for reason in reasons(found).values())
    alone = of_images(hates_bad)
    for id, row in by_id(found).items():
        if row["reason"] is None:
            explanation = alone.explain(images[int(id)])
            assert row["features"] == list(explanation.features)
            assert row["precision_low"] == explanation.precision_interval[0]
            assert row["n_rows"] == explanation.n_rows


def test_a_bad_row_of_a_table_fails_alone(tmp_path: Path) -> None:
    rows = rows_of_table(20)
    rows[3, 1] = np.nan
    rows[5, 0] = np.inf
    found = quietly(of_rows(), rows, tmp_path)
    assert set(reasons(found)) == {"3", "5"}
    assert "returned NaN for the row itself" in reasons(found)["3"]  # the model makes nothing of a missing value
    assert "must hold finite numbers in the column 'age'" in reasons(found)["5"]
    whole = quietly(
        of_rows(), np.delete(rows, (3, 5), axis=0), tmp_path / "whole", ids=np.delete(np.arange(20), (3, 5))
    )
    assert by_id(whole) == {id: row for id, row in by_id(found).items() if row["reason"] is None}


def test_a_model_that_fails_on_everything_stops_the_work_with_one_error_and_no_row(tmp_path: Path) -> None:
    calls = 0

    def broken(rows: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        raise RuntimeError("no kernel image")

    with pytest.raises(PredictorCallError, match=rf"no kernel image.* on each of the first {AT_FIRST} images, so"):
        quietly(of_images(broken), [pixels(i) for i in range(300)], tmp_path)
    assert calls < 60
    assert len(Evaluation(tmp_path)) == 0
    found = quietly(of_images(broken), [pixels(i) for i in range(AT_FIRST - 1)], tmp_path / "few")
    assert found.counts() == {"failed": AT_FIRST - 1}


def test_no_label_at_all_is_a_failure_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"returned NaN for the image itself.* stopped"):
        quietly(of_images(lambda rows: brightness(rows) * torch.nan), [pixels(i) for i in range(20)], tmp_path)


def test_a_model_that_breaks_later_stops_too_and_its_last_failures_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_maker, "LATER", 7)
    images = [pixels(0), bad(), pixels(1), *(bad() for _ in range(20)), pixels(2)]
    with pytest.raises(PredictorCallError, match="on 7 images in a row, so the work has stopped"):
        quietly(of_images(hates_bad), images, tmp_path)
    assert set(by_id(Evaluation(tmp_path))) == {"0", "1", "2"}
    monkeypatch.setattr(row_maker, "LATER", 100)
    found = quietly(of_images(hates_bad), images, tmp_path)
    assert found.counts()["failed"] == 21
    assert len(found) == 24


def test_bad_inputs_at_the_beginning_of_the_rest_do_not_stop_a_run_that_did_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [pixels(0), *(bad() for _ in range(AT_FIRST + 1)), pixels(1)]
    quietly(of_images(hates_bad), images[:1], tmp_path)
    assert quietly(of_images(hates_bad), images, tmp_path).counts()["failed"] == AT_FIRST + 1


class Model:
    """The same model for the digest, whenever it is interrupted."""

    def __init__(self, n: int = 0) -> None:
        self.n_left = n

    def __call__(self, rows: Tensor) -> Tensor:
        self.n_left -= 1
        if self.n_left == 0:
            raise KeyboardInterrupt
        return brightness(rows)


@pytest.mark.parametrize("n", [1, 6])
def test_an_interruption_saves_what_is_finished_and_says_how_to_go_on(tmp_path: Path, n: int) -> None:
    images = [pixels(i) for i in range(8)]
    with pytest.raises(KeyboardInterrupt) as caught:
        quietly(of_images(Model(n), max_rows=16), images, tmp_path)
    n_done = len(Evaluation(tmp_path))
    assert (
        str(caught.value) == f"{n_done} of 8 images are in {tmp_path}; the same command continues (without --overwrite)"
    )
    assert Evaluation(tmp_path).n_inputs is None
    whole = quietly(of_images(Model(), max_rows=16), images, tmp_path / "whole")
    assert by_id(quietly(of_images(Model(), max_rows=16), images, tmp_path)) == by_id(whole)
    assert Evaluation(tmp_path).complete
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_interrupted_run_had_finished_something_in_between(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        quietly(of_images(Model(7), max_rows=16), [pixels(i) for i in range(8)], tmp_path)
    assert 0 < len(Evaluation(tmp_path)) < 8


def test_a_second_interruption_does_not_wait_for_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(writer: PartWriter) -> None:
        raise KeyboardInterrupt("again")

    with monkeypatch.context() as patch:
        patch.setattr(PartWriter, "flush", again)
        with pytest.raises(KeyboardInterrupt, match="again"):
            quietly(of_images(Model(7), max_rows=16), [pixels(i) for i in range(8)], tmp_path)
    assert len(Evaluation(tmp_path)) == 0
    assert len(quietly(of_images(Model(), max_rows=16), [pixels(i) for i in range(8)], tmp_path)) == 8


def test_a_stream_of_unknown_length_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match=r"^\d images are in "):
        quietly(of_images(Model(7), max_rows=16), (pixels(i) for i in range(8)), tmp_path)
    found = quietly(of_images(Model(), max_rows=16), (pixels(i) for i in range(8)), tmp_path)
    assert found.n_inputs == len(found) == 8
    assert found.complete


def test_an_explanation_whose_row_the_model_cannot_score_has_no_score_and_the_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = of_rows()
    scores = explainer.scores

    def picky(explanations: list[Any]) -> list[float | None]:
        if any(one.instance[0] > 1 for one in explanations):
            raise PredictorCallError("not this one")
        return scores(explanations)

    monkeypatch.setattr(explainer, "scores", picky)
    rows = rows_of_table(20)
    assert (rows[:, 0] > 1).any()
    for id, row in by_id(quietly(explainer, rows, tmp_path)).items():
        assert (row["score"] is None) == (rows[int(id), 0] > 1)
