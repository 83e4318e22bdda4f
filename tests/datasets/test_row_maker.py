"""Rows of inputs that were read; what is remembered from one call to the next. `test_run.py` has whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from tests.datasets.inputs import brightness, of_images, pixels
from torch_anchors.datasets.evaluate import question_of
from torch_anchors.datasets.items import Items
from torch_anchors.datasets.reading import read_ahead
from torch_anchors.datasets.row_maker import AT_FIRST, RowMaker
from torch_anchors.errors import PredictorCallError

GREY = np.full((16, 16, 3), 7, dtype=np.uint8)


def hates_grey(rows: Tensor) -> Tensor:
    if (rows[:, :, 8:] == 7).all((1, 2, 3)).any():
        raise ValueError("grey")
    return brightness(rows)


def maker_of(rows: list[dict[str, Any]], transform: Any = None) -> RowMaker:
    explainer = of_images(hates_grey)
    return RowMaker(explainer, question_of(explainer, {}), transform, None, {"seed": 0, "settings": "{}"}, rows.append)


def work(maker: RowMaker, images: Sequence[Any]) -> int:
    source = Items([(image, "true") for image in images])
    return sum(1 for _ in maker.work(read_ahead(source, source.entries(), maker.singled)))


def test_each_input_is_a_row_with_what_is_the_same_in_all() -> None:
    rows: list[dict[str, Any]] = []
    assert work(maker_of(rows), [pixels(0), "no image", GREY, pixels(1)]) == 4
    assert {row["id"]: row["status"] == "failed" for row in rows} == {"0": False, "1": True, "2": True, "3": False}
    assert {(row["seed"], row["settings"], row["true_label"]) for row in rows} == {(0, "{}", "true")}
    assert "The predictor raised ValueError: grey" in next(row["reason"] for row in rows if row["id"] == "2")


def test_instances_are_transformed() -> None:
    rows: list[dict[str, Any]] = []
    work(maker_of(rows, lambda image: 255 - image), [pixels(0)])
    assert rows[0]["features"] == list(of_images().explain(255 - pixels(0)).features)


def test_failures_in_a_row_are_counted_from_call_to_call() -> None:
    """Inputs may come in small batches: the first five bad ones in a row are too many, later ones are not."""
    rows: list[dict[str, Any]] = []
    maker = maker_of(rows)
    for _ in range(AT_FIRST - 1):
        work(maker, [GREY])
    assert [row["status"] for row in rows] == ["failed"] * (AT_FIRST - 1)
    with pytest.raises(PredictorCallError, match=f"on each of the first {AT_FIRST} images"):
        work(maker, [GREY])
    rows.clear()
    maker = maker_of(rows)
    for image in [pixels(0), *[GREY] * AT_FIRST]:
        work(maker, [image])
    assert len(rows) == AT_FIRST + 1
