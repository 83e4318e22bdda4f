"""What all pictures share: colours, margins, and how a figure is made and saved.

Pages are white, whatever style a user has chosen for other figures: their ink is dark.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch_anchors._extras import import_extra
from torch_anchors.errors import ArgumentError

Figure = Any  # matplotlib.figure.Figure, which is not imported before it is needed
Axes = Any  # matplotlib.axes.Axes

# Colours that colour-blind readers tell apart (Okabe and Ito 2008).
HIT, MISS, ANCHOR = "#0072B2", "#D55E00", "#F0A500"
OTHER = "#009E73"
ANCHORS = (ANCHOR, OTHER, "#CC79A7", "#56B4E9", "#D55E00", "#0072B2")
"""Colours of several anchors, the first one's first; more than these begin again."""
INK, FAINT_INK, PAPER = "#1A1A1A", "#6B6B6B", 0.94

WIDTH, MARGIN, GAP = 10.0, 0.3, 0.2  # inches
COLUMN = 3.3
"""Inches of a column of a paper that has two."""


def headline_looks(text: str, size: int) -> dict[str, Any]:
    """How a headline is written: in letters of the size, in points, or smaller ones where it would leave the page."""
    letters = 1080 / size  # that fill the line
    return {"fontsize": size * min(1, letters / max(1, len(text))), "weight": "bold", "color": INK, "va": "top"}


def new_figure(height: float) -> Figure:
    """A white figure of that height in inches, which no global state of matplotlib knows of."""
    return import_extra("matplotlib.figure", "plot").Figure((WIDTH, height), facecolor="white")


def new_axes(figure: Figure, rectangle: tuple[float, float, float, float], **looks: Any) -> Axes:
    """White axes at a place (left, bottom, width, height), in shares of the page, without frame or grid."""
    axes = figure.add_axes(rectangle, facecolor="white", **looks)
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def column_axes(height: float) -> Axes:
    """Axes with a frame at the left and below, on a white figure that is as wide as a column, its height in inches."""
    size = (COLUMN, height)
    figure = import_extra("matplotlib.figure", "plot").Figure(size, facecolor="white", layout="constrained")
    axes = figure.add_subplot(facecolor="white")
    axes.grid(False)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=INK)
    return axes


def picture_axes(aspect: float) -> Axes:
    """Axes that fill a white figure as wide as a column and `aspect` times as high."""
    figure = import_extra("matplotlib.figure", "plot").Figure((COLUMN, COLUMN * aspect), facecolor="white")
    return new_axes(figure, (0.0, 0.0, 1.0, 1.0))


def saved(figure: Figure, path: str | Path | None) -> Figure:
    """The figure itself, also written to `path` when there is one.

    Raises:
        ArgumentError: matplotlib cannot write a file of that kind.
    """
    if path is not None:
        try:
            figure.savefig(path, dpi=150, facecolor=figure.get_facecolor())
        except ValueError as error:  # its message lists the formats that matplotlib can write
            raise ArgumentError(f"The picture cannot be saved as {path}: {error}") from error
    return figure
