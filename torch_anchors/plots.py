"""Pictures of explanations, as matplotlib figures that belong to nobody's global state.

matplotlib is imported when a picture is drawn. In a notebook, ``%matplotlib inline`` makes a returned figure show.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._extras import import_extra
from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.errors import ArgumentError
from torch_anchors.pixels import hwc
from torch_anchors.search.protocol import Status, Step

Figure = Any  # matplotlib.figure.Figure, which is not imported before it is needed
Axes = Any  # matplotlib.axes.Axes

LabelNames = Sequence[str] | Mapping[int, str] | None
"""What each label is called, by its number; labels without a name are called "class 7"."""

# Colours that colour-blind readers tell apart (Okabe and Ito 2008).
_HIT, _MISS, _ANCHOR = "#0072B2", "#D55E00", "#F0A500"
_INK, _FAINT_INK, _PAPER = "#1A1A1A", "#6B6B6B", 0.94

_WIDTH, _MARGIN, _GAP = 10.0, 0.3, 0.2  # inches
_N_EXAMPLES = 6


def label_name(label: int, label_names: LabelNames = None) -> str:
    """What a label is called, in quotation marks, or "class 7" when it has no name."""
    if isinstance(label_names, Mapping):
        name = label_names.get(label)
    else:
        name = label_names[label] if label_names is not None and label < len(label_names) else None
    return f"class {label}" if name is None else f"“{name}”"


def plot_image(explanation: Any, label_names: LabelNames = None, *, path: str | Path | None = None) -> Figure:
    """A figure of the photograph, its superpixels, the anchor alone, and a few perturbed copies with their labels.

    Args:
        explanation: an `ImageExplanation`.
        label_names: what each label is called, by its number.
        path: where the figure is also saved; the suffix chooses the format (``.png``, ``.pdf``, ``.svg``).

    Raises:
        ImportError: matplotlib is not installed.
        ArgumentError: matplotlib cannot write a file of that kind.
    """
    photograph = hwc(explanation.image)
    shades = _Shades.of(photograph)
    shown = shades(photograph)
    hits, misses = _chosen_examples(explanation.examples)
    page = _Page.for_images(shown.shape[0] / shown.shape[1], with_examples=bool(hits or misses))

    page.write_headline(_headline(explanation, label_names), _figures_in_words(explanation))
    page.panel(0, "Photograph").imshow(shown)
    _draw_superpixels(page.panel(1, "Superpixels"), shown, explanation.segments, explanation.mask)
    _draw_anchor(page.panel(2, "Anchor alone"), shown, explanation.mask)
    kept = label_name(explanation.label, label_names)
    groups = ((hits, f"Perturbed, still {kept}", _HIT), (misses, f"Perturbed, no longer {kept}", _MISS))
    place = 0
    for examples, title, colour in groups:
        for i, example in enumerate(examples):
            axes = page.thumbnail(place, title if i == 0 else "", len(examples), colour)
            axes.imshow(shades(hwc(example.image)))
            name = label_name(example.label, label_names)
            axes.set_xlabel(textwrap.shorten(name, 24, placeholder="…"), fontsize=8, color=colour, labelpad=3)
            place += 1
    return _saved(page.figure, path)


@dataclass(frozen=True, slots=True)
class _Shades:
    """Pixel values as they are shown: RGB in [0, 1], every picture of an explanation on the photograph's scale."""

    least: float
    greatest: float

    @classmethod
    def of(cls, photograph: Shaped[np.ndarray, "height width *channels"]) -> _Shades:
        least, greatest = float(photograph.min()), float(photograph.max())
        if photograph.dtype == np.uint8 or (least >= 0 and 1 < greatest <= 255):
            return cls(0, 255)
        if least >= 0 and greatest <= 1:
            return cls(0, 1)
        return cls(least, greatest)

    def __call__(
        self, pixels: Shaped[np.ndarray, "height width *channels"]
    ) -> Float[np.ndarray, "height width 3"]:
        unit = (pixels.astype(np.float64) - self.least) / (self.greatest - self.least)
        unit = unit[..., None] if unit.ndim == 2 else unit
        return np.broadcast_to(unit.clip(0, 1), (*unit.shape[:2], 3))


@dataclass(frozen=True, slots=True)
class _Page:
    """A figure on which things are placed in inches from the upper left corner."""

    figure: Figure
    height: float
    panel_top: float
    panel_height: float
    thumbnail_top: float
    thumbnail_height: float

    @classmethod
    def for_images(cls, aspect: float, *, with_examples: bool) -> _Page:
        """A page for images whose height is `aspect` times their width."""
        aspect = min(aspect, 1.6)  # very tall pictures get narrow, rather than the page endless
        panel_top = 1.25
        panel_height = cls.panel_width() * aspect
        thumbnail_top = panel_top + panel_height + 0.55
        thumbnail_height = cls.thumbnail_width() * aspect
        height = (
            thumbnail_top + thumbnail_height + 0.35 if with_examples else panel_top + panel_height + _MARGIN
        )
        figure = import_extra("matplotlib.figure", "plot").Figure((_WIDTH, height), facecolor="white")
        return cls(figure, height, panel_top, panel_height, thumbnail_top, thumbnail_height)

    @staticmethod
    def panel_width() -> float:
        return (_WIDTH - 2 * _MARGIN - 2 * _GAP) / 3

    @staticmethod
    def thumbnail_width() -> float:
        return (_WIDTH - 2 * _MARGIN - (_N_EXAMPLES - 1) * _GAP) / _N_EXAMPLES

    def write_headline(self, headline: str, figures: str) -> None:
        left = _MARGIN / _WIDTH
        self.figure.text(
            left, 1 - 0.25 / self.height, headline, fontsize=15, weight="bold", color=_INK, va="top"
        )
        self.figure.text(left, 1 - 0.62 / self.height, figures, fontsize=9.5, color=_FAINT_INK, va="top")

    def panel(self, column: int, title: str) -> Axes:
        left = _MARGIN + column * (self.panel_width() + _GAP)
        axes = self._axes(left, self.panel_top, self.panel_width(), self.panel_height)
        axes.set_title(title, loc="left", fontsize=10, color=_INK, pad=5)
        return axes

    def thumbnail(self, place: int, title: str, n_under_title: int, colour: str) -> Axes:
        width = self.thumbnail_width()
        left = _MARGIN + place * (width + _GAP)
        axes = self._axes(left, self.thumbnail_top, width, self.thumbnail_height)
        for spine in axes.spines.values():
            spine.set(visible=True, color=colour, linewidth=1.5)
        room = int(n_under_title * (width + _GAP) * 14.5)  # characters of this size that fit above the group
        axes.set_title(
            textwrap.shorten(title, room, placeholder="…"), loc="left", fontsize=9, color=colour, pad=5
        )
        return axes

    def _axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = self.height - top - height
        rectangle = (left / _WIDTH, bottom / self.height, width / _WIDTH, height / self.height)
        axes = self.figure.add_axes(rectangle, anchor="NW")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes


def _chosen_examples(examples: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """As many hits and misses as a page has room for: half each, or more of one where the other has few."""
    hits = [example for example in examples if example.hit]
    misses = [example for example in examples if not example.hit]
    half = _N_EXAMPLES // 2
    n_misses = min(len(misses), max(half, _N_EXAMPLES - len(hits)))
    return hits[: _N_EXAMPLES - n_misses], misses[:n_misses]


def _headline(explanation: Any, label_names: LabelNames) -> str:
    label = label_name(explanation.label, label_names)
    n_kept, n_superpixels = len(explanation.features), int(explanation.segments.max()) + 1
    if explanation.status is Status.EMPTY_HOLDS or (explanation.success and n_kept == 0):
        return f"{label}, whatever is hidden"
    if explanation.success:
        return f"{label}, as long as {n_kept} of {n_superpixels} superpixels {_stay(n_kept)} visible"
    if explanation.status is Status.ROW_BUDGET:
        return f"{label}: the row budget was spent before an anchor was certified"
    return f"{label}: no anchor reached the threshold of {explanation.threshold:g}"


def _stay(n: int) -> str:
    return "stays" if n == 1 else "stay"


def _figures_in_words(explanation: Any) -> str:
    low, high = explanation.precision_interval
    if low == high:
        precision = f"Precision {explanation.precision:.3f}, exact"
    else:
        confidence = f"{100 * (1 - explanation.delta):g} %"
        precision = (
            f"Precision {explanation.precision:.3f} (with {confidence} confidence {low:.3f} to {high:.3f})"
        )
    rows = f"{explanation.n_rows} perturbed pictures in {explanation.seconds:.1f} s"
    return f"{explanation.status.value.capitalize()}.  {precision};  coverage {explanation.coverage:.3g};  {rows}"


def _draw_superpixels(
    axes: Axes,
    shown: Float[np.ndarray, "height width 3"],
    segments: Int[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
) -> None:
    axes.imshow(np.where(mask[..., None], shown, _PAPER + (shown - _PAPER) * 0.45))
    _draw_borders(axes, segments, color="#4D4D4D", linewidth=0.6)
    _draw_borders(axes, np.pad(mask, 1), offset=-1, color=_INK, linewidth=3.6)
    _draw_borders(axes, np.pad(mask, 1), offset=-1, color=_ANCHOR, linewidth=2.0)


def _draw_borders(axes: Axes, labels: NDArray[Any], *, offset: int = 0, **style: Any) -> None:
    """Lines along the edges of the pixels where the label changes; sharp at every size."""
    collections = import_extra("matplotlib.collections", "plot")
    y, x = np.nonzero(labels[:, 1:] != labels[:, :-1])
    upright = np.stack([np.stack([x + 0.5, y - 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    y, x = np.nonzero(labels[1:] != labels[:-1])
    level = np.stack([np.stack([x - 0.5, y + 0.5], 1), np.stack([x + 0.5, y + 0.5], 1)], 1)
    lines = np.concatenate([upright, level]) + offset  # (lines, 2 ends, 2 coordinates)
    axes.add_collection(
        collections.LineCollection(lines, capstyle="projecting", clip_on=offset == 0, **style)
    )


def _draw_anchor(
    axes: Axes, shown: Float[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> None:
    axes.imshow(np.where(mask[..., None], shown, _PAPER))
    if not mask.any():
        words = "empty: no superpixel\nneeds to stay visible"
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=_FAINT_INK)


def plot_rules(
    path: Sequence[Step],
    conditions: Sequence[str],
    *,
    threshold: float | None = None,
    title: str = "",
    file: str | Path | None = None,
) -> Figure:
    """A figure of how precision and coverage change as the conditions of a rule accumulate, from top to bottom.

    Args:
        path: the partial anchors from the empty one to the whole rule.
        conditions: what each of them adds, in words, such as "no condition" and then "Age > 37".
        threshold: the precision that was asked for, drawn as a line.
        title: the headline.
        file: where the figure is also saved; the suffix chooses the format.

    Raises:
        ArgumentError: there is not one condition for each partial anchor, or none at all.
        ImportError: matplotlib is not installed.
    """
    if len(path) != len(conditions) or not path:
        raise ArgumentError(
            f"conditions must be one for each of the {len(path)} partial anchors, and at least one, "
            f"got {len(conditions)}."
        )
    names = [textwrap.fill(name, 38) for name in conditions]
    n_lines = sum(name.count("\n") + 1 for name in names)
    height = 1.3 + 0.22 * n_lines + 0.2 * len(names)
    figure = import_extra("matplotlib.figure", "plot").Figure((_WIDTH, height), facecolor="white")
    width_of_names = min(4.2, 0.5 + 0.085 * max(len(line) for name in names for line in name.split("\n")))
    left, right, gap = (_MARGIN + width_of_names) / _WIDTH, 1 - 2 * _MARGIN / _WIDTH, 0.05
    bottom, top = 0.35 / height, 1 - 0.85 / height
    width = (right - left - gap) / 2
    precision = figure.add_axes((left, bottom, width, top - bottom))
    coverage = figure.add_axes((left + width + gap, bottom, width, top - bottom), sharey=precision)
    _draw_steps(precision, "Precision", [step.precision for step in path], _HIT)
    _draw_steps(coverage, "Coverage", [step.coverage for step in path], _FAINT_INK)
    precision.set_yticks(range(len(names)), names, fontsize=10, color=_INK)
    precision.invert_yaxis()
    coverage.tick_params(labelleft=False)
    if threshold is not None:
        precision.axvline(threshold, color=_MISS, linewidth=1, linestyle=(0, (4, 3)))
        precision.text(
            threshold, len(names) - 0.42, f"threshold {threshold:g} ", color=_MISS, ha="right", fontsize=8
        )
    figure.text(_MARGIN / _WIDTH, 1 - 0.2 / height, title, fontsize=13, weight="bold", color=_INK, va="top")
    return _saved(figure, file)


def _draw_steps(axes: Axes, title: str, values: Sequence[float], colour: str) -> None:
    places = np.arange(len(values))
    axes.barh(places, values, height=0.5, color=colour, alpha=0.85)
    for place, value in zip(places, values, strict=True):
        inside = value > 0.25
        x, side, ink = (value - 0.015, "right", "white") if inside else (value + 0.015, "left", _INK)
        axes.text(x, place, f"{value:.3g}", ha=side, va="center", color=ink, fontsize=9)
    axes.set(xlim=(0, 1), ylim=(-0.6, len(values) - 0.4))
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"], fontsize=8, color=_FAINT_INK)
    axes.tick_params(length=0)
    axes.grid(axis="x", color="#E3E3E3", linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _saved(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        try:
            figure.savefig(path, dpi=150)
        except ValueError as error:  # matplotlib's message lists the formats that it can write
            raise ArgumentError(f"The picture cannot be saved as {path}: {error}") from error
    return figure
