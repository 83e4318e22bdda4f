"""Models that do not repeat themselves are noticed, and explained by rows that are predicted anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_anchors import AnchorImage, AnchorsWarning, AnchorTabular, Status
from torch_anchors.engine.repeats import N_COMPARED

GRID = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 3}, "fill": 0.0, "seed": 0}
ONES = torch.ones(1, 8, 9)


def flipping(share: float) -> Callable[[Tensor], Tensor]:
    """1 where the upper left pixel is shown, but for a share of answers that chance decides."""
    chance = torch.Generator().manual_seed(0)

    def model(rows: Tensor) -> Tensor:
        shown = (rows.flatten(1)[:, 0] > 0.5).long()
        return torch.where(torch.rand(len(rows), generator=chance) < share, 1 - shown, shown)

    return model


def compared(rows: Tensor) -> Tensor:
    """1 where a row is brighter than half of its batch: an answer that depends on the others."""
    brightness = rows.flatten(1).mean(1)
    return (brightness > brightness.mean()).long()


def repeating(rows: Tensor) -> Tensor:
    return (rows.flatten(1)[:, 0] > 0.5).long()


@pytest.mark.parametrize("method", ["auto", "beam"])
def test_no_noisy_image_is_called_exact(method: str) -> None:
    """Memory and enumeration would freeze one throw of the dice: 64 masks would all be known for sure."""
    with pytest.warns(AnchorsWarning, match="another label when it was asked again"):
        explanation = AnchorImage(flipping(0.2), max_rows=32, **GRID).explain(ONES, method=method, label=1)
    assert explanation.status is Status.NOT_FOUND  # no anchor is better than 0.8
    low, high = explanation.precision_interval
    assert low <= 0.8 <= high
    assert low < high


def test_a_noisy_image_may_still_be_certified() -> None:
    with pytest.warns(AnchorsWarning, match="another label"):
        explanation = AnchorImage(flipping(0.1), max_rows=32, **GRID).explain(ONES, threshold=0.8, label=1)
    assert explanation.status is Status.CERTIFIED
    assert explanation.features == (0,)


def test_an_answer_that_depends_on_the_batch_is_noticed() -> None:
    with pytest.warns(AnchorsWarning, match=r"pass max_rows=1"):
        AnchorImage(compared, max_rows=32, **GRID).explain(ONES)


def test_noticed_once_and_all_of_a_batch_are_explained() -> None:
    explainer = AnchorImage(flipping(0.2), max_rows=32, **GRID)
    with pytest.warns(AnchorsWarning, match="another label") as told:
        found = explainer.explain_batch([ONES] * 5, label=1)
    found += explainer.explain_batch([ONES], label=1)  # any further warning would be an error
    assert len(told) == 1
    assert [one.status for one in found] == [Status.NOT_FOUND] * 6


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_tables(sampling: str) -> None:
    rows = np.random.default_rng(0).normal(size=(2000, 3)) + 0.5
    explainer = AnchorTabular(flipping(0.2), dtype=torch.float32, seed=0, sampling=sampling).fit(rows)
    with pytest.warns(AnchorsWarning, match="another label"):
        explanation = explainer.explain([2.0, 0.0, 0.0], label=1)
    assert not explanation.success
    assert explanation.precision < 0.9


def test_a_model_that_repeats_itself_is_asked_no_more_than_once_for_its_first_rows() -> None:
    sent: list[int] = []

    def model(rows: Tensor) -> Tensor:
        sent.append(len(rows))
        return repeating(rows)

    explainer = AnchorImage(model, max_rows=16, **GRID)
    first = explainer.explain_batch([ONES, 0.9 * ONES], method="exact")
    assert sum(sent) - sum(one.n_rows for one in first) == N_COMPARED
    sent.clear()
    again = explainer.explain(ONES, method="exact")
    assert sum(sent) == again.n_rows == 64
    assert again.status is Status.EXACT


def test_what_is_left_out_is_told_once_and_every_image_counted_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The first image cannot be made ready; the model is found out while the others are explained."""
    images = [torch.full_like(ONES, torch.nan), *[ONES] * 3]
    explainer = AnchorImage(flipping(0.2), max_rows=8, **GRID)
    with pytest.warns(AnchorsWarning) as told:
        found = list(explainer.explain_iter(images, label=1, on_error="skip", progress=True))
    assert len(found) == 3
    assert sorted("left out" in str(one.message) for one in told) == [False, True]
    assert "4/4" in capsys.readouterr().err
