"""Pictures of precision against the size of an anchor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.figures import check_legible, words
from tests.images.explained import explanation_of
from torch_anchors import plot_style as style
from torch_anchors.path_picture import draw_path
from torch_anchors.search.protocol import Step

STEPS = (Step((), 0.5, 1.0, 100), Step((2,), 0.8, 0.5, 60), Step((2, 5, 7), 0.98, 0.125, 80))


def drawn(steps: tuple[Step, ...] = STEPS, **changes: object) -> Figure:
    return draw_path(steps, **{"interval": (0.95, 0.99), "threshold": 0.95, "part": "superpixel", **changes})


def test_shows_both_figures_of_each_partial_anchor() -> None:
    (axes,) = drawn().axes
    lines = {line.get_label(): line for line in axes.lines}
    for name, values in (("precision", [0.5, 0.8, 0.98]), ("coverage", [1.0, 0.5, 0.125])):
        np.testing.assert_allclose(lines[name].get_xydata(), np.column_stack([[0, 1, 3], values]))
    assert lines["threshold 0.95"].get_ydata()[0] == 0.95
    (bar,) = axes.containers[0][2]
    np.testing.assert_allclose(bar.get_segments()[0], [[3, 0.95], [3, 0.99]])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_is_as_wide_as_a_column_and_nothing_leaves_it(n: int) -> None:
    figure = drawn(STEPS[:n])
    assert figure.get_size_inches()[0] == style.COLUMN
    check_legible(figure)
    (axes,) = figure.axes
    legend = axes.get_legend().get_window_extent()
    assert figure.bbox.x0 <= legend.x0
    assert legend.x1 <= figure.bbox.x1
    assert "superpixels in the anchor" in words(figure)


def test_an_interval_that_the_estimate_is_outside_of_is_no_error() -> None:
    FigureCanvasAgg(drawn(interval=(0.1, 0.6))).draw()


def test_ink_is_dark_on_white_whatever_the_users_style() -> None:
    with pyplot.style.context("dark_background"):
        figure = drawn()
        (axes,) = figure.axes
    assert figure.get_facecolor() == axes.get_facecolor() == (1, 1, 1, 1)
    written = [axes.xaxis.label, *axes.get_xticklabels(), *axes.get_yticklabels(), *axes.get_legend().get_texts()]
    assert {text.get_color() for text in written} == {style.INK}


def test_draws_into_a_users_figure_in_its_colours(tmp_path: Path) -> None:
    with pyplot.style.context("dark_background"):
        figure = Figure((7, 2))
        left, right = figure.subplots(1, 2)
        explanation = explanation_of()
        assert explanation.plot_path(ax=left) is figure
        assert explanation.plot_anchor(ax=right, path=tmp_path / "two.png") is figure
    assert left.xaxis.label.get_color() == "white"
    assert len(right.images) == 1
    assert (tmp_path / "two.png").stat().st_size > 1000


def test_an_explanation_draws_its_own_path() -> None:
    explanation = explanation_of()
    (axes,) = explanation.plot_path().axes
    assert [len(line.get_xdata()) for line in axes.lines if line.get_label() == "precision"] == [3]
    assert axes.get_xlabel() == "superpixels in the anchor"
    assert not pyplot.get_fignums()
