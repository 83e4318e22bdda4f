"""Rules read from the folder of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.datasets.inputs import COLUMNS, of_images, of_rows, pixels, rich, rows_of_table
from torch_anchors.datasets.evaluate import evaluate
from torch_anchors.datasets.evaluated_rules import evaluated_rules
from torch_anchors.datasets.found_rule import FoundRule
from torch_anchors.errors import ArgumentError
from torch_anchors.tables.anchor_tabular import AnchorTabular

IDS = [f"{number:02d}" for number in range(30)]


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_rules_are_those_of_the_explanations_that_reach_the_threshold(sampling: str, tmp_path: Path) -> None:
    explainer, rows = of_rows(sampling=sampling), rows_of_table(30)
    turned = IDS[::-1]  # written in another order than that of ids
    settings = {"threshold": 0.9, "delta": 0.2}
    evaluation = evaluate(explainer, rows, tmp_path, ids=turned, part_size=7, progress=False, **settings)
    explanations = explainer.explain_batch(rows, **settings)[::-1]
    expected = [FoundRule.of(one) for one in explanations if one.success]
    assert 0 < len(expected) < 30
    assert evaluated_rules(evaluation, explainer) == expected


def test_a_frame_with_categories_and_a_model_of_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"job": rng.choice(["cook", "nurse", "vet"], 600), "smokes": rng.random(600) < 0.5})

    def model(rows: np.ndarray) -> np.ndarray:
        return np.where((rows[:, 0] == 1) & (rows[:, 1] == 0), "well", "ill")

    explainer = AnchorTabular(model, dtype=np.float64, seed=0, sampling="conditional").fit(frame)
    evaluation = evaluate(explainer, frame[:30], tmp_path, ids=IDS, progress=False)
    expected = [FoundRule.of(one) for one in explainer.explain_batch(frame[:30]) if one.success]
    assert {one.label for one in expected} == {"well", "ill"}
    assert evaluated_rules(evaluation, explainer) == expected


def test_another_explainer_is_refused(tmp_path: Path) -> None:
    explainer = of_rows(sampling="conditional")
    evaluation = evaluate(explainer, rows_of_table(5), tmp_path, progress=False)
    others = {
        "model, labels of the training rows": of_rows(lambda rows: -rich(rows), sampling="conditional"),
        "sampling": of_rows(sampling="interventional"),
        "training rows, labels of the training rows": AnchorTabular(
            rich, COLUMNS, dtype=torch.float32, seed=0, sampling="conditional"
        ).fit(rows_of_table(299, seed=1)),
    }
    for differs, other in others.items():
        with pytest.raises(ArgumentError, match=rf"was written by; these differ: {differs}\.$"):
            evaluated_rules(evaluation, other)


def test_nothing_found(tmp_path: Path) -> None:
    explainer = of_rows(lambda rows: (torch.sin(1e5 * rows[:, 0]) > 0).long(), sampling="conditional")
    evaluation = evaluate(explainer, rows_of_table(5), tmp_path, progress=False)
    with pytest.raises(ArgumentError, match=r"of 5 none does\. Explain more rows, or ask for a lower threshold"):
        evaluated_rules(evaluation, explainer)


@pytest.mark.usefixtures("unchecked")
def test_pictures_and_other_things_are_refused(tmp_path: Path) -> None:
    explainer = of_images()
    evaluation = evaluate(explainer, [pixels(0)], tmp_path, progress=False)
    with pytest.raises(ArgumentError, match="explainer must be the AnchorTabular of the evaluation, got"):
        evaluated_rules(evaluation, explainer)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="these differ: model, columns"):
        evaluated_rules(evaluation, of_rows())
    with pytest.raises(ArgumentError, match="evaluation must be what evaluate returns, got"):
        evaluated_rules(tmp_path, of_rows())  # type: ignore[arg-type]


def test_what_is_necessary_is_no_rule(tmp_path: Path) -> None:
    explainer = of_rows()
    evaluation = evaluate(explainer, rows_of_table(3), tmp_path, question="necessary", progress=False)
    with pytest.raises(ArgumentError, match=r"asks what is necessary\. Evaluate with question='sufficient'"):
        evaluated_rules(evaluation, explainer)
    page = evaluation.report(tmp_path / "page.html").read_text()
    assert "The answer stays" not in page
    assert "The answer changes" in page or "are replaced" in page or "No anchor was found" in page
