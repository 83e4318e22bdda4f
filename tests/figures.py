"""What is drawn and written on a figure."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg


def words(figure: Any) -> list[str]:
    """All that is written on the figure, in no order."""
    return [text.get_text() for text in texts(figure)]


def texts(figure: Any) -> list[Any]:
    owned = [*figure.texts]
    for axes in figure.axes:
        owned += [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        owned += [label for label in [*axes.get_xticklabels(), *axes.get_yticklabels()] if label.get_visible()]
    return [text for text in owned if text.get_text()]


def shown(axes: Any) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def check_legible(figure: Any) -> None:
    """Every text is on the page, and none covers another."""
    FigureCanvasAgg(figure).draw()
    page = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for text, box in boxes:
        inside = page.x0 <= box.x0 <= box.x1 <= page.x1 and page.y0 <= box.y0 <= box.y1 <= page.y1
        assert inside, f"{text!r} leaves the page"
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} covers {other!r}"
