"""What all pictures share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from torch_anchors import plot_style as style
from torch_anchors.errors import ArgumentError


def test_a_new_figure_is_white_and_as_wide_as_all_of_them() -> None:
    figure = style.new_figure(3.5)
    assert isinstance(figure, Figure)
    assert tuple(figure.get_size_inches()) == (style.WIDTH, 3.5)
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert not pyplot.get_fignums()


def test_a_headline_gets_smaller_where_it_would_leave_the_page() -> None:
    assert style.headline_looks("short", 15)["fontsize"] == 15
    assert style.headline_looks("", 15)["fontsize"] == 15
    line = "x" * (1080 // 15)
    assert style.headline_looks(line, 15)["fontsize"] == 15
    assert style.headline_looks(2 * line, 15)["fontsize"] == 7.5
    assert style.headline_looks("x", 15)["color"] == style.INK


def test_a_figure_is_saved_in_the_format_of_its_suffix(tmp_path: Path) -> None:
    figure = style.new_figure(2.0)
    assert style.saved(figure, None) is figure
    assert not list(tmp_path.iterdir())
    assert style.saved(figure, tmp_path / "page.png") is figure
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.size == (1500, 300)
    style.saved(figure, str(tmp_path / "page.svg"))
    assert "<svg" in (tmp_path / "page.svg").read_text()


def test_an_unknown_format_is_an_argument_error_that_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"cannot be saved as .*page\.xyz: .*xyz.*png") as caught:
        style.saved(style.new_figure(2.0), tmp_path / "page.xyz")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_folder_that_is_not_there_is_pythons_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        style.saved(style.new_figure(2.0), tmp_path / "nowhere" / "page.png")


def test_the_colours_of_hits_misses_and_anchors_differ() -> None:
    assert len({style.HIT, style.MISS, style.ANCHOR, style.INK, style.FAINT_INK}) == 5


def test_matplotlib_is_needed_for_a_figure_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert style.headline_looks("fine", 9)["fontsize"] == 9
    with pytest.raises(ImportError, match=r'package matplotlib.*pip install "torch-anchors\[plot\]"'):
        style.new_figure(2.0)


def test_a_page_is_white_whatever_the_users_style(tmp_path: Path) -> None:
    with pyplot.style.context(["dark_background", {"savefig.facecolor": "black", "axes.grid": True}]):
        figure = style.new_figure(2.0)
        axes = style.new_axes(figure, (0.1, 0.1, 0.8, 0.8))
        style.saved(figure, tmp_path / "page.png")
        assert style.column_axes(2.0).get_facecolor() == (1, 1, 1, 1)
    assert not any(spine.get_visible() for spine in axes.spines.values())
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.convert("L").getpixel((700, 150)) == picture.convert("L").getpixel((5, 5)) == 255


def test_the_axes_of_a_picture_fill_a_column() -> None:
    axes = style.picture_axes(0.5)
    assert tuple(axes.figure.get_size_inches()) == (style.COLUMN, style.COLUMN / 2)
    assert axes.get_position().bounds == (0, 0, 1, 1)
