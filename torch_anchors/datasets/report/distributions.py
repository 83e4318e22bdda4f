"""Distributions of a run's numbers, as pictures in SVG whose colours follow the page's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._extras import import_extra
from torch_anchors.datasets.fields import FAILED
from torch_anchors.datasets.report.results import RIGHT, WRONG

if TYPE_CHECKING:
    import pandas as pd

_SIZE = (3.7, 2.3)  # inches
_BINS = 25
_LARGEST = 12
"""Anchors with more predicates share one bar."""

_INK, _BARS, _OTHER, _LINE = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {_INK: "--faint", _BARS: "--hit", _OTHER: "--miss", _LINE: "--anchor"}
"""Colours that matplotlib writes, and the page's own that take their places."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One picture.

    Args:
        title: what is shown.
        words: the same in numbers, for those who do not see it.
        svg: the picture, which stands in a page as it is.
    """

    title: str
    words: str
    svg: str


def distributions(results: pd.DataFrame, threshold: float | None) -> list[Distribution]:
    """Pictures of all numbers that the results have.

    Args:
        results: of the run; see `results_of`.
        threshold: on the precision, which is marked; None for no mark.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return list(_drawn(results, threshold))


def _drawn(results: pd.DataFrame, threshold: float | None) -> Iterator[Distribution]:
    explained = results[results["status"] != FAILED]
    found = explained[explained["found"]]
    if len(explained):
        yield _histogram("Precision of the best anchors", _known(explained["precision"]), mark=threshold)
    if len(found):
        yield _sizes("Predicates of the anchors found", _known(found["size"]))
        yield _histogram("Coverage of the anchors found", _known(found["coverage"]))
        if len(shares := _known(found["share"])):
            yield _histogram("Share of the picture that they show", shares)
    if len(_known(explained["score"])):
        yield _scores(explained)
    if len(rows := _known(explained["n_rows"])):
        yield _logarithmic("Model rows for an explanation", rows)


def _known(values: pd.Series) -> NDArray[np.float64]:
    return values.dropna().to_numpy(dtype=np.float64)


def _histogram(title: str, values: NDArray[np.float64], *, mark: float | None = None) -> Distribution:
    """Of values in [0, 1]."""
    figure, axes = _axes()
    axes.hist(values, bins=_BINS, range=(0, 1), color=_BARS)
    if mark is not None:
        axes.axvline(mark, color=_LINE, linewidth=2)
        side = {"ha": "right", "x": mark - 0.02} if mark > 0.5 else {"ha": "left", "x": mark + 0.02}
        looks = {"va": "top", "color": _INK, "fontsize": 8, "transform": axes.get_xaxis_transform()}
        axes.text(y=0.97, s=f"threshold {mark:g}", **looks, **side)
    axes.set_xlim(0, 1)
    return Distribution(title, _in_words(values), _svg(figure))


def _sizes(title: str, values: NDArray[np.float64]) -> Distribution:
    figure, axes = _axes()
    sizes, counts = np.unique(values.clip(max=_LARGEST), return_counts=True)
    axes.bar(sizes, counts, width=0.8, color=_BARS)
    ticks = np.arange(max(4, int(sizes.max())) + 1)
    axes.set_xticks(ticks, [f"{_LARGEST}+" if tick == _LARGEST else str(tick) for tick in ticks])
    return Distribution(title, _in_words(values), _svg(figure))


def _scores(explained: pd.DataFrame) -> Distribution:
    """Scores; where true labels are known those of right and of wrong answers, one above the other."""
    figure, axes = _axes()
    looks: dict[str, Any] = {"bins": _BINS, "range": (0, 1), "stacked": True}
    right = explained["right"]
    groups = {"right": right == RIGHT, "wrong": right == WRONG, "true label unknown": ~right.isin([RIGHT, WRONG])}
    drawn = {name: scores for name, of in groups.items() if len(scores := _known(explained["score"][of]))}
    colours = {"right": _BARS, "wrong": _OTHER, "true label unknown": _INK}
    axes.hist(list(drawn.values()), color=[colours[name] for name in drawn], label=list(drawn), **looks)
    axes.set_xlim(0, 1)
    if len(drawn) > 1 or "wrong" in drawn:
        above = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 3, "borderpad": 0}
        axes.legend(frameon=False, labelcolor=_INK, fontsize=8, **above)
    return Distribution("Score of the explained class", _in_words(_known(explained["score"])), _svg(figure))


def _logarithmic(title: str, values: NDArray[np.float64]) -> Distribution:
    figure, axes = _axes()
    magnitudes = np.log10(values.clip(min=1))
    low, high = np.floor(magnitudes.min()), np.floor(magnitudes.max()) + 1
    axes.hist(10**magnitudes, bins=np.logspace(low, high, _BINS + 1), color=_BARS)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter(lambda *_: "")
    return Distribution(title, _in_words(values), _svg(figure))


def _in_words(values: NDArray[np.float64]) -> str:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return f"median {middle:.3g}; 80 % are from {low:.3g} to {high:.3g} (n = {len(values):,})"


def _axes() -> tuple[Any, Any]:
    figure = import_extra("matplotlib.figure", "evaluate").Figure(_SIZE, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.tick_params(which="both", colors=_INK, labelsize=8)
    axes.set_ylabel("inputs", color=_INK, fontsize=8)
    axes.yaxis.get_major_locator().set_params(integer=True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_INK)
    return figure, axes


def _svg(figure: Any) -> str:
    """The element, without what belongs to a file, and with the page's colours."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text
