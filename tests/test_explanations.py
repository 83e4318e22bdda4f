"""Many explanations as a list: what a notebook shows of them, and their picture."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.anchor_series import AnchorSeries
from tests.figures import check_legible, words
from tests.grids import grid_explainer
from torch_anchors import AnchorTabular, Explanations
from torch_anchors.errors import ArgumentError

NAMES = ("dark <b>", "bright")


def of_images(n: int = 5) -> Explanations:
    def scores(rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([0.5 - rows[:, 0, 0, 0], rows[:, 0, 0, 0] - 0.5], dim=1)

    images = [torch.full((1, 8, 8 + 4 * (i % 2)), float(i % 3 > 0)) for i in range(n)]
    return grid_explainer(scores, 2, class_names=NAMES).explain_batch(images)


def of_rows(n: int = 3) -> Explanations:
    rows = np.random.default_rng(0).normal(size=(500, 2))
    explainer = AnchorTabular(lambda x: (x[:, 0] > 0).astype(int), ["a", "b"], seed=0, class_names=NAMES).fit(rows)
    return explainer.explain_batch(rows[:n])


def test_it_is_a_list_of_what_each_alone_would_be() -> None:
    found = of_images()
    assert isinstance(found, list)
    assert found[0] is next(iter(found))
    assert isinstance(found[1:3], Explanations)
    assert len(found[1:3]) == 2
    assert len(pickle.loads(pickle.dumps(found))) == 5


def test_images_are_drawn_side_by_side_with_their_names(tmp_path: Path) -> None:
    figure = of_images().plot(columns=3, path=tmp_path / "all.png")
    assert len(figure.axes) == 5
    assert words(figure).count("“bright”") == 3
    assert any(text.startswith("precision 1.000, covers 50 %") for text in words(figure))
    left = [round(axes.get_position().x0, 3) for axes in figure.axes]
    assert left[0] == left[3] < left[1] == left[4] < left[2]
    assert (tmp_path / "all.png").stat().st_size > 1000
    check_legible(figure)


def test_rules_are_drawn_one_below_the_other() -> None:
    found = of_rows()
    shown = words(found.plot())
    for one in found:
        assert any(one.anchor[0] in text for text in shown)
    assert "3 rules, and what the training rows say of them" in shown


def test_what_cannot_be_drawn_together_is_an_error() -> None:
    with pytest.raises(ArgumentError, match=r"explanations must be some, all of one kind.*got none"):
        Explanations().plot()
    with pytest.raises(ArgumentError, match="got ImageExplanation, TabularExplanation"):
        Explanations([*of_images(1), *of_rows(1)]).plot()
    with pytest.raises(ArgumentError, match="columns must be a whole number of at least 1"):
        of_images(1).plot(columns=0)
    series = AnchorSeries(lambda rows: (rows[:, 0] > 0).long(), n_segments=2).explain_batch([torch.ones(4)])
    with pytest.raises(ArgumentError, match="SeriesExplanation cannot be drawn together"):
        series.plot()


def test_a_notebook_shows_a_line_for_each_and_no_markup_of_names() -> None:
    html = of_images()._repr_html_()
    assert html.count("<tr>") == 6
    assert "dark &lt;b&gt;" in html
    assert "superpixel 0" in html
    assert all("It took" not in text for text in (html, of_images(1)[0]._repr_html_()))  # seconds change with each run
    many = Explanations(of_rows(1) * 150)._repr_html_()
    assert many.count("<tr>") == 101
    assert "and 50 more" in many
