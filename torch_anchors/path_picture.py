"""Picture of how precision and coverage change with the size of an anchor, as wide as a column of a paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from torch_anchors import plot_style as style
from torch_anchors.plot_style import Axes, Figure
from torch_anchors.search.protocol import Step

HEIGHT = 2.3
"""Inches."""
MOST_TICKS = 10


def draw_path(
    steps: Sequence[Step],
    *,
    interval: tuple[float, float],
    threshold: float,
    part: str,
    ax: Axes | None = None,
    path: str | Path | None = None,
) -> Figure:
    """A figure of the partial anchors from the empty one to the whole: the precision and coverage of each.

    Args:
        steps: the partial anchors, at least one.
        interval: of the last one's precision, drawn as a bar.
        threshold: that was asked for, drawn as a line.
        part: what an anchor is made of, such as "superpixel".
        ax: axes of the user's to draw into; None for a new figure.
        path: where the figure is also saved; the suffix chooses the format.

    Raises:
        ImportError: matplotlib is not installed.
        ArgumentError: matplotlib cannot write a file of that kind.
    """
    axes = style.column_axes(HEIGHT) if ax is None else ax
    sizes = [len(step.anchor) for step in steps]
    last = steps[-1].precision
    below, above = max(0.0, last - interval[0]), max(0.0, interval[1] - last)
    axes.axhline(threshold, color=style.MISS, linewidth=1, linestyle=(0, (4, 3)), label=f"threshold {threshold:g}")
    looks = {"linewidth": 1.5, "markersize": 4, "clip_on": False}
    axes.plot(sizes, [step.precision for step in steps], "o-", color=style.HIT, label="precision", **looks)
    axes.plot(sizes, [step.coverage for step in steps], "s:", color=style.FAINT_INK, label="coverage", **looks)
    bars = axes.errorbar(sizes[-1], last, [[below], [above]], color=style.HIT, capsize=3, linewidth=1)
    for bar in bars[1]:
        bar.set_clip_on(False)  # which would be cut at a precision of 1
    axes.set(xlim=(-0.3, max(sizes[-1], 1) + 0.3), ylim=(0, 1))
    axes.set_xticks(range(0, sizes[-1] + 1, max(1, math.ceil(sizes[-1] / MOST_TICKS))))
    axes.set_xlabel(f"{part}s in the anchor", fontsize=8)
    axes.tick_params(labelsize=8)
    place = {"frameon": False, "loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    spacing = {"ncols": 3, "columnspacing": 1.2, "handlelength": 1.6, "handletextpad": 0.5}
    legend = axes.legend(fontsize=7.5, **place, **spacing)
    if ax is None:  # in a user's figure, words have the colours of that
        axes.xaxis.label.set_color(style.INK)
        axes.tick_params(colors=style.INK)
        for text in legend.get_texts():
            text.set_color(style.INK)
    return style.saved(axes.figure, path)
