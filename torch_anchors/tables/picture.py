"""Picture of a table's rule."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch_anchors import plot_style as style
from torch_anchors.errors import ArgumentError
from torch_anchors.plot_style import Axes, Figure
from torch_anchors.search.protocol import Step

LETTERS, LINE = 145, 0.17
"""Letters of notes in a line, and inches from one to the next."""


def plot_rules(
    steps: Sequence[Step],
    conditions: Sequence[str],
    *,
    threshold: float | None = None,
    title: str = "",
    notes: str = "",
    others: Mapping[str, Step] | None = None,
    path: str | Path | None = None,
) -> Figure:
    """A figure of precision and coverage as the conditions of a rule accumulate, from top to bottom.

    Other rules follow below, each in a line of its own and in another colour.

    Args:
        steps: the partial anchors, from the empty one to the whole rule.
        conditions: what each of them adds, in words, such as "no condition" and then "Age > 37".
        threshold: the precision that was asked for, drawn as a line.
        title: the headline.
        notes: what else must be known, in small letters below it.
        others: other rules, in words, with what is known of each as a whole.
        path: where the figure is also saved; the suffix chooses the format (``.png``, ``.pdf``, ``.svg``).

    Raises:
        ArgumentError: there is not one condition for each partial anchor, or there are none at all.
        ImportError: matplotlib is not installed.
    """
    if len(steps) != len(conditions) or not steps:
        raise ArgumentError(
            f"conditions must be one for each of the {len(steps)} partial anchors, and at least one, "
            f"got {len(conditions)}."
        )
    others = others or {}
    names = [textwrap.fill(name, 38) for name in (*conditions, *(f"or: {rule}" for rule in others))]
    steps, n_others = [*steps, *others.values()], len(others)
    lines = [line for name in names for line in name.split("\n")]
    notes = textwrap.fill(notes, LETTERS)
    above = 0.85 + (0.1 + LINE * len(notes.split("\n")) if notes else 0.0)
    height = above + 0.45 + 0.22 * len(lines) + 0.2 * len(names)
    figure = style.new_figure(height)
    left = (style.MARGIN + 0.5 + 0.085 * max(len(line) for line in lines)) / style.WIDTH  # inches a letter
    gap, right = 0.05, 1 - 2 * style.MARGIN / style.WIDTH
    bottom, top = 0.35 / height, 1 - above / height
    width = (right - left - gap) / 2

    precision = style.new_axes(figure, (left, bottom, width, top - bottom))
    coverage = style.new_axes(figure, (left + width + gap, bottom, width, top - bottom), sharey=precision)
    words = "Precision" if threshold is None else f"Precision (line: threshold {threshold:g})"
    hits = [style.HIT] * (len(steps) - n_others) + [style.OTHER] * n_others
    _draw_bars(precision, words, [step.precision for step in steps], hits)
    _draw_bars(coverage, "Coverage", [step.coverage for step in steps], [style.FAINT_INK] * len(steps))
    precision.set_yticks(range(len(names)), names, fontsize=10, color=style.INK)
    precision.invert_yaxis()
    coverage.tick_params(labelleft=False)
    if threshold is not None:
        precision.axvline(threshold, color=style.MISS, linewidth=1, linestyle=(0, (4, 3)))
    margin = style.MARGIN / style.WIDTH
    figure.text(margin, 1 - 0.2 / height, title, **style.headline_looks(title, 13))
    if notes:
        figure.text(margin, 1 - 0.52 / height, notes, fontsize=9, color=style.FAINT_INK, va="top", linespacing=1.25)
    return style.saved(figure, path)


def accumulated(nothing: str, conditions: Sequence[str]) -> list[str]:
    """What each partial anchor adds, in words: "no condition", "Age > 37", "and Sex = Male"."""
    return [nothing, *conditions[:1], *(f"and {condition}" for condition in conditions[1:])]


def _draw_bars(axes: Axes, title: str, values: Sequence[float], colours: Sequence[str]) -> None:
    axes.barh(range(len(values)), values, height=0.5, color=colours, alpha=0.85, edgecolor="none")
    for place, value in enumerate(values):
        x, ink = (0.015, "white") if value > 0.15 else (value + 0.015, style.INK)
        axes.text(x, place, f"{value:.3g}", va="center_baseline", color=ink, fontsize=9)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(values) - 0.4))
    axes.set_title(title, loc="left", fontsize=10, color=style.INK)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8, color=style.FAINT_INK)
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.8)
    axes.set_axisbelow(True)
