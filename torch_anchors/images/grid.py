"""Picture of many images' anchors, side by side."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from torch_anchors import plot_style as style
from torch_anchors.images.picture import draw_anchor_in
from torch_anchors.images.pixels import hwc
from torch_anchors.plot_style import Figure
from torch_anchors.words import at_least

if TYPE_CHECKING:
    from torch_anchors.images.explanation import ImageExplanation

WORDS = 0.42
"""Inches above each image, for what stands there."""
TALLEST = 1.6
"""Height of the room for an image, in widths; a taller one gets narrower."""


def draw_grid(explanations: Sequence[ImageExplanation], *, columns: int = 4, path: str | Path | None = None) -> Figure:
    """A figure of all images, each with its anchor outlined, its label and how sure that is.

    Args:
        explanations: at least one.
        columns: how many stand side by side.
        path: where the figure is also saved; the suffix chooses the format.

    Raises:
        ImportError: matplotlib is not installed.
        ArgumentError: matplotlib cannot write a file of that kind.
    """
    n_rows = math.ceil(len(explanations) / columns)
    width = (style.WIDTH - 2 * style.MARGIN - (columns - 1) * style.GAP) / columns
    height = width * min(TALLEST, max(_aspect(one) for one in explanations))
    page = 2 * style.MARGIN + n_rows * (WORDS + height) + (n_rows - 1) * style.GAP
    figure = style.new_figure(page)
    for number, one in enumerate(explanations):
        row, column = divmod(number, columns)
        left, top = style.MARGIN + column * (width + style.GAP), style.MARGIN + row * (WORDS + height + style.GAP)
        _draw(figure, one, (left, top, width, height), page)
    return style.saved(figure, path)


def _draw(figure: Figure, explanation: ImageExplanation, place: tuple[float, float, float, float], page: float) -> None:
    """One image at a place (left, top, width, height), in inches from the upper left corner of the page."""
    left, top, width, height = place
    letters = max(8, int(width * 12))  # of these sizes that fill the width
    title = textwrap.shorten(explanation.called(), letters, placeholder="…")
    for down, line, looks in (
        (0.0, title, {"fontsize": 10, "weight": "bold", "color": style.INK}),
        (0.2, textwrap.shorten(_figures(explanation), letters + 6, placeholder="…"), {"color": style.FAINT_INK}),
    ):
        figure.text(left / style.WIDTH, 1 - (top + down) / page, line, **{"fontsize": 8, "va": "top", **looks})
    box = (left / style.WIDTH, 1 - (top + WORDS + height) / page, width / style.WIDTH, height / page)
    axes = style.new_axes(figure, box, anchor="NW", xticks=[], yticks=[])
    anchors = [one.features for one in explanation.anchors if one.success]
    draw_anchor_in(axes, hwc(explanation.image), explanation.segments, anchors, explanation.fixed)


def _figures(explanation: ImageExplanation) -> str:
    """How sure it is, in a line."""
    low, high = explanation.precision_interval
    if not explanation.success:
        return "no anchor found"
    sure = f"precision {low:.3f}" if low == high else f"precision ≥ {at_least(low)}"
    return f"{sure}, covers {100 * explanation.coverage:.3g} %"


def _aspect(explanation: ImageExplanation) -> float:
    height, width = np.shape(explanation.label_map)
    return float(height / width)
