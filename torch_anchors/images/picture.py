"""Picture of an image's anchor."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from torch_anchors import plot_style as style
from torch_anchors._extras import import_extra
from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.images.examples import Example
from torch_anchors.images.pixels import hwc
from torch_anchors.plot_style import Axes, Figure
from torch_anchors.words import LabelNames, label_name

N_EXAMPLES = 6
"""Perturbed copies that a page has room for."""
NUMBER_SIZE = 7.5
"""Points, of the numbers of superpixels."""


def draw_image(
    photograph: Shaped[np.ndarray, "height width *channels"],
    segments: Int[np.ndarray, "height width"],
    anchor: Sequence[int],
    examples: Sequence[Example],
    *,
    nearest: Example | None = None,
    of_all: tuple[int | None, int | None] = (None, None),
    hides: bool = False,
    others: Sequence[Sequence[int]] = (),
    fixed: Sequence[int] = (),
    excluded: Sequence[int] = (),
    box: Sequence[float] | None = None,
    headline: str = "",
    figures: str = "",
    notes: str = "",
    label_names: LabelNames = None,
    is_about_classes: bool = True,
    path: str | Path | None = None,
) -> Figure:
    """A figure of the photograph, its superpixels, the anchor alone, and perturbed copies with their labels.

    Args:
        photograph: what is explained.
        segments: superpixel of each pixel.
        anchor: the superpixels that must stay visible, or hidden if `hides`.
        examples: perturbed copies, of which a few are shown.
        nearest: the perturbed copy of another label with the fewest changes, shown after the others.
        of_all: how many hits and how many misses there were, of which `examples` are a few, where that is known.
        hides: whether the anchor changes the label while it is hidden.
        others: superpixels of further anchors, which have outlines in other colours.
        fixed: superpixels that always stayed visible; they are drawn in full, with an outline in ink.
        excluded: superpixels that no anchor may have; they are hatched.
        box: of the object that is explained: x1, y1, x2, y2 in pixels.
        headline: what was found, in one line.
        figures: how sure that is, in a smaller one.
        notes: what else must be known, in another one.
        label_names: what each label is called, by its number.
        is_about_classes: whether labels are classes, whose names stand in quotation marks.
        path: where the figure is also saved; the suffix chooses the format (``.png``, ``.pdf``, ``.svg``).

    Raises:
        ImportError: matplotlib is not installed.
        ArgumentError: matplotlib cannot write a file of that kind.
    """
    shades = Shades.of(photograph)
    shown = shades(photograph)
    hits, misses = _chosen_examples(examples, N_EXAMPLES - (nearest is not None))
    thumbnails = [*hits, *misses, *([] if nearest is None else [nearest])]
    page = _Page.for_images(shown.shape[0] / shown.shape[1], with_notes=bool(notes), with_examples=bool(thumbnails))

    page.write_headline(headline, figures, notes)
    original = page.panel(0, "Photograph" if box is None else "Photograph and object")
    original.imshow(shown)
    if box is not None:
        _draw_box(original, box)
    superpixels = page.panel(1, "Superpixels")
    every = np.isin(segments, [k for one in (anchor, *others) for k in one])
    draw_superpixels(superpixels, shown, segments, every, np.isin(segments, fixed))
    outlines = [np.isin(segments, one) for one in (anchor, *others)]
    draw_outlines(superpixels, outlines)
    _draw_stripes(superpixels, np.isin(segments, excluded))
    _draw_numbers(superpixels, segments, points_a_pixel=72 * page.PANEL_WIDTH / max(segments.shape))
    title = f"Anchor{'s' if others else ''} {'hidden' if hides else 'alone'}"
    alone = page.panel(2, title)
    _draw_anchor(alone, shown, every, hides)
    if others:
        draw_outlines(alone, outlines)
    kept, changed = "Kept", "Changed"
    of_hits, of_misses = (changed, kept) if hides else (kept, changed)
    titles = {len(hits): _few_of(of_misses, len(misses), of_all[1])} if misses else {}
    titles |= {0: _few_of(of_hits, len(hits), of_all[0])} if hits else {}
    titles |= {} if nearest is None else {len(thumbnails) - 1: "Nearest change" if hides else "Nearest miss"}
    for place, example in enumerate(thumbnails):
        title = titles.get(place, "")
        axes = page.thumbnail(place, title, style.HIT if example.hit else style.MISS)
        axes.imshow(shades(hwc(example.image)))
        name = label_name(example.label, label_names)
        name = textwrap.shorten(name if is_about_classes else name.strip("“”"), 26, placeholder="…")
        size = 8.5 * min(1, 20 / len(name))  # so many letters are as wide as a thumbnail
        axes.set_xlabel(name, loc="left", fontsize=size, color=style.INK, labelpad=3)
    return style.saved(page.figure, path)


def _few_of(kind: str, n: int, of_all: int | None) -> str:
    """ "Kept: 3 of 180", over the first of those that are shown."""
    return kind if of_all is None else f"{kind}: {n} of {of_all:,}"


@dataclass(frozen=True, slots=True)
class Shades:
    """Pixel values as they are shown: RGB in [0, 1], all pictures of a page on the photograph's scale."""

    least: float
    greatest: float

    @classmethod
    def of(cls, photograph: Shaped[np.ndarray, "height width *channels"]) -> Shades:
        least, greatest = float(photograph.min()), float(photograph.max())
        if photograph.dtype == np.uint8 or (least >= 0 and 1 < greatest <= 255):
            return cls(0.0, 255.0)
        if least >= 0 and greatest <= 1:
            return cls(0.0, 1.0)
        return cls(least, greatest if greatest > least else least + 1)

    def __call__(self, pixels: Shaped[np.ndarray, "height width *channels"]) -> Float[np.ndarray, "height width 3"]:
        unit = (pixels.astype(np.float64) - self.least) / (self.greatest - self.least)
        unit = unit[..., None] if unit.ndim == 2 else unit
        return np.broadcast_to(unit.clip(0, 1), (*unit.shape[:2], 3))


@dataclass(frozen=True, slots=True)
class _Page:
    """A figure on which pictures are placed in inches from its upper left corner."""

    figure: Figure
    height: float
    panel_top: float
    panel_height: float
    thumbnail_top: float
    thumbnail_height: float

    PANEL_TOP = 1.15
    PANEL_WIDTH = (style.WIDTH - 2 * style.MARGIN - 2 * style.GAP) / 3
    THUMBNAIL_WIDTH = (style.WIDTH - 2 * style.MARGIN - (N_EXAMPLES - 1) * style.GAP) / N_EXAMPLES

    @classmethod
    def for_images(cls, aspect: float, *, with_notes: bool, with_examples: bool) -> _Page:
        """A page for images whose height is `aspect` times their width, below a line of notes if there is one."""
        aspect = min(aspect, 1.6)  # very tall pictures get narrow, rather than the page endless
        panel_height, thumbnail_height = cls.PANEL_WIDTH * aspect, cls.THUMBNAIL_WIDTH * aspect
        panel_top = cls.PANEL_TOP + 0.18 * with_notes
        panel_bottom = panel_top + panel_height
        thumbnail_top = panel_bottom + 0.5
        height = thumbnail_top + thumbnail_height + 0.4 if with_examples else panel_bottom + style.MARGIN
        return cls(style.new_figure(height), height, panel_top, panel_height, thumbnail_top, thumbnail_height)

    def write_headline(self, headline: str, figures: str, notes: str) -> None:
        left = style.MARGIN / style.WIDTH
        self.figure.text(left, 1 - 0.25 / self.height, headline, **style.headline_looks(headline, 15))
        size = 9.5 * min(1, 130 / max(1, len(figures), len(notes)))  # so many letters fill the line
        small = {"fontsize": size, "color": style.FAINT_INK, "va": "top"}
        for top, line in ((0.61, figures), (0.79, notes)):
            if line:
                self.figure.text(left, 1 - top / self.height, line, **small)

    def panel(self, column: int, title: str) -> Axes:
        left = style.MARGIN + column * (self.PANEL_WIDTH + style.GAP)
        return self._axes(left, self.panel_top, self.PANEL_WIDTH, self.panel_height, title, style.INK)

    def thumbnail(self, place: int, title: str, colour: str) -> Axes:
        left = style.MARGIN + place * (self.THUMBNAIL_WIDTH + style.GAP)
        size = self.THUMBNAIL_WIDTH, self.thumbnail_height
        axes = self._axes(left, self.thumbnail_top, *size, title, colour)
        for spine in axes.spines.values():
            spine.set(visible=True, color=colour, linewidth=1.5)
        return axes

    def _axes(self, left: float, top: float, width: float, height: float, title: str, colour: str) -> Axes:
        across, up = style.WIDTH, self.height
        rectangle = (left / across, 1 - (top + height) / up, width / across, height / up)
        axes = style.new_axes(self.figure, rectangle, anchor="NW", xticks=[], yticks=[])
        axes.set_title(title, loc="left", fontsize=10, color=colour, pad=5)
        return axes


def _chosen_examples(examples: Sequence[Example], n: int) -> tuple[list[Example], list[Example]]:
    """Up to `n` hits and misses together: half each, or more of one where the other has few."""
    hits = [example for example in examples if example.hit]
    misses = [example for example in examples if not example.hit]
    n_misses = min(len(misses), max(n // 2, n - len(hits)))
    return hits[: n - n_misses], misses[:n_misses]


def draw_anchor_in(
    axes: Axes,
    photograph: Shaped[np.ndarray, "height width *channels"],
    segments: Int[np.ndarray, "height width"],
    anchors: Sequence[Sequence[int]],
    fixed: Sequence[int] = (),
) -> None:
    """The photograph with its superpixels, all but the anchors faded, and each anchor outlined in its own colour."""
    every = np.isin(segments, [k for one in anchors for k in one])
    draw_superpixels(axes, Shades.of(photograph)(photograph), segments, every, np.isin(segments, fixed))
    draw_outlines(axes, [np.isin(segments, one) for one in anchors])


def draw_superpixels(
    axes: Axes,
    shown: Float[np.ndarray, "height width 3"],
    segments: Int[np.ndarray, "height width"],
    mask: Bool[np.ndarray, "height width"],
    fixed: Bool[np.ndarray, "height width"],
) -> None:
    faded = style.PAPER + (shown - style.PAPER) * 0.45
    axes.imshow(np.where((mask | fixed)[..., None], shown, faded))
    _draw_borders(axes, segments, color="#4D4D4D", linewidth=0.6)
    if fixed.any():
        _draw_borders(axes, np.pad(fixed, 1), offset=-1, color=style.INK, linewidth=1.8)


def draw_outlines(axes: Axes, masks: Sequence[Bool[np.ndarray, "height width"]]) -> None:
    """Each mask's outline in a colour of its own."""
    for mask, colour in zip(masks, cycle(style.ANCHORS), strict=False):
        outline = np.pad(mask, 1)  # the margin closes the outline along the edges of the image
        _draw_borders(axes, outline, offset=-1, color=style.INK, linewidth=4.0)
        _draw_borders(axes, outline, offset=-1, color=colour, linewidth=2.4)


def _draw_stripes(axes: Axes, excluded: Bool[np.ndarray, "height width"]) -> None:
    """Stripes over what no anchor may have."""
    height, width = excluded.shape
    stripes = np.add.outer(np.arange(height), np.arange(width)) * 24 // max(height, width) % 2 == 0
    veil = np.zeros((height, width, 4))
    veil[excluded & stripes] = (0.3, 0.3, 0.3, 0.45)
    if excluded.any():
        axes.imshow(veil)


def _draw_numbers(axes: Axes, segments: Int[np.ndarray, "height width"], *, points_a_pixel: float) -> None:
    """The number of each superpixel that has room for it, in its roomiest place, as sentences and options name it."""
    halo = import_extra("matplotlib.patheffects", "plot").withStroke(linewidth=1.6, foreground="white")
    for superpixel in range(int(segments.max()) + 1):
        room = distance_transform_edt(np.pad(segments == superpixel, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(room.argmax(), room.shape)
        if room.max() * points_a_pixel >= NUMBER_SIZE:
            looks = {"fontsize": NUMBER_SIZE, "color": style.INK, "path_effects": [halo]}
            axes.text(x, y, str(superpixel), ha="center", va="center_baseline", **looks)


def _draw_box(axes: Axes, box: Sequence[float]) -> None:
    """The outline of a box, light on dark, to be seen on any picture."""
    x1, y1, x2, y2 = (edge - 0.5 for edge in box)  # the middle of the first pixel is at 0
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
    for colour, width in ((style.INK, 4.0), (style.ANCHOR, 2.2)):
        axes.plot(*zip(*corners, strict=True), color=colour, linewidth=width, clip_on=False, scalex=False, scaley=False)


def _draw_borders(axes: Axes, labels: NDArray[Any], *, offset: int = 0, **looks: Any) -> None:
    """Lines along the edges of the pixels where the label changes; sharp at every size."""
    y, x = np.nonzero(labels[:, 1:] != labels[:, :-1])
    upright = np.stack([x + 0.5, y - 0.5, x + 0.5, y + 0.5], axis=1)
    y, x = np.nonzero(labels[1:] != labels[:-1])
    level = np.stack([x - 0.5, y + 0.5, x + 0.5, y + 0.5], axis=1)
    lines = np.concatenate([upright, level]).reshape(-1, 2, 2) + offset  # (lines, 2 ends, x and y)
    collections = import_extra("matplotlib.collections", "plot")
    axes.add_collection(collections.LineCollection(lines, capstyle="projecting", **looks))


def _draw_anchor(
    axes: Axes, shown: Float[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"], hides: bool
) -> None:
    axes.imshow(np.where((mask ^ hides)[..., None], shown, style.PAPER))
    if not mask.any():
        words = f"empty: no superpixel\nneeds to {'be hidden' if hides else 'stay visible'}"
        middle = {"ha": "center", "va": "center", "transform": axes.transAxes}
        size = 10 * min(1, 2.8 * mask.shape[1] / mask.shape[0])  # which fits into a narrow picture
        axes.text(0.5, 0.5, words, color=style.FAINT_INK, fontsize=size, **middle)
