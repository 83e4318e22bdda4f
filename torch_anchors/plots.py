"""Pictures of explanations, as matplotlib figures that belong to nobody's global state.

matplotlib is imported when a picture is drawn. In a notebook, ``%matplotlib inline`` makes figures show.
"""

from __future__ import annotations

from pathlib import Path

from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.plot_style import Figure
from torch_anchors.tables.picture import plot_rules
from torch_anchors.words import LabelNames, label_name

__all__ = ["LabelNames", "label_name", "plot_image", "plot_rules"]


def plot_image(
    explanation: ImageExplanation, label_names: LabelNames = None, *, path: str | Path | None = None
) -> Figure:
    """Short for ``explanation.plot(label_names, path=path)``; see `ImageExplanation.plot`."""
    return explanation.plot(label_names, path=path)
