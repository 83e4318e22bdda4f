"""The pictures under one name, and that they belong to nobody's global state."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot

from tests.figures import shown, words
from tests.images.explained import explanation_of_quarters, photograph
from torch_anchors import plots, tables
from torch_anchors.plots import plot_image, plot_rules
from torch_anchors.search.protocol import Step

EXPLANATION = explanation_of_quarters(photograph())


def test_the_explanation_plots_itself(tmp_path: Path) -> None:
    names = [f"class {k}" for k in range(9)]
    ours, its = plot_image(EXPLANATION, names, path=tmp_path / "anchor.png"), EXPLANATION.plot(label_names=names)
    assert words(ours) == words(its)
    assert "“class 2”" in words(ours)
    for one, other in zip(ours.axes, its.axes, strict=True):
        np.testing.assert_array_equal(shown(one), shown(other))
    assert (tmp_path / "anchor.png").stat().st_size > 5000


def test_rules_are_plotted_as_their_wing_does() -> None:
    assert plot_rules is tables.picture.plot_rules
    assert "no condition" in words(plot_rules((Step((), 0.6, 1.0, 100),), ("no condition",)))


def test_figures_belong_to_nobody() -> None:
    plot_image(EXPLANATION)
    plot_rules((Step((), 0.6, 1.0, 100),), ("no condition",))
    assert not pyplot.get_fignums()


def test_what_there_is() -> None:
    assert set(plots.__all__) == {"LabelNames", "label_name", "plot_image", "plot_rules"}
    for name in plots.__all__:
        assert getattr(plots, name) is not None


def test_pictures_need_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (lambda: plot_image(EXPLANATION), lambda: plot_rules((Step((), 0.6, 1.0, 100),), ("no condition",))):
        with pytest.raises(ImportError, match=r'pip install "torch-anchors\[plot\]"'):
            draw()
