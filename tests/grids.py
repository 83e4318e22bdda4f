"""Explainers of models that look at a grid of squares, so that the right anchor is known."""

from __future__ import annotations

from typing import Any

from torch_anchors import AnchorImage


def grid_explainer(model: Any, n: int, **settings: Any) -> AnchorImage:
    """An explainer whose superpixels are a grid of n x n squares; hidden ones are 0."""
    return AnchorImage(
        model,
        segmentation_fn="grid",
        segmentation_kwargs={"rows": n, "cols": n},
        **{"fill": 0.0, "seed": 0, **settings},
    )
