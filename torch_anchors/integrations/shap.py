"""SHAP: explanations as a `shap.Explanation`, for its plots.

The numbers are effects on precision and no Shapley values: what they have in common is their sign, their scale (a
difference of probabilities) and what a plot of them is read for. They do not add up to the model's output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_anchors._checks import said
from torch_anchors._extras import import_extra
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.images.pixels import as_picture, hwc
from torch_anchors.tables.explanation import TabularExplanation
from torch_anchors.words import LabelNames

if TYPE_CHECKING:
    import shap


def to_shap(
    explanations: Explanation | Sequence[Any], *, kind: str = "marginal", label_names: LabelNames = None
) -> shap.Explanation:
    """Explanations of images of one size, or of rows of one table, as SHAP has them.

    Of images, ``values`` are (N, H, W, C), a pixel's number shared evenly among its channels, as SHAP's plots add these
    up; ``data`` are the pictures on a scale that ``imshow`` knows; ``instance_names`` are the labels. They are for
    `shap.image_plot`. Of rows, ``values`` are (N, columns), ``data`` the numbers and category codes, and
    ``display_data`` the values in words. They are for `shap.plots.bar`, `beeswarm`, `scatter` and the like.
    There are no ``base_values``: the numbers do not add up to anything, and plots of sums (`waterfall`, `force`) fail.

    Args:
        explanations: one, or several of one kind.
        kind: "marginal", "order" or "member", as of `torch_anchors.ImageExplanation.attribution`.
        label_names: the name of each class, for ``instance_names``.

    Raises:
        ImportError: SHAP is not installed.
        ArgumentError: no explanation, explanations of several kinds, sizes or tables, or none of images or rows.

    Example:
        >>> found = to_shap(explainer.explain_batch(images))  # doctest: +SKIP
        >>> shap.image_plot(found, labels=found.instance_names)  # doctest: +SKIP
        >>> shap.plots.beeswarm(to_shap(explainer.explain_batch(rows)))  # doctest: +SKIP
    """
    made = import_extra("shap", "shap").Explanation
    several: list[Any] = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    for kind_of_explanation, arguments_of in ((ImageExplanation, _of_images), (TabularExplanation, _of_rows)):
        if several and all(isinstance(one, kind_of_explanation) for one in several):
            return made(**arguments_of(several, kind, label_names))
    kinds = ", ".join(sorted({type(one).__name__ for one in several})) or said(explanations)
    raise ArgumentError(f"explanations must be of images, or of rows of one table, at least one, got {kinds}.")


def _of_images(explanations: Sequence[ImageExplanation], kind: str, label_names: LabelNames) -> dict[str, Any]:
    """What is images' own of the arguments of a `shap.Explanation`."""
    pictures = [np.atleast_3d(as_picture(hwc(one.image))) for one in explanations]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        raise ArgumentError(f"explanations must be of images of one size, got {', '.join(map(str, sorted(sizes)))}.")
    data = np.stack(pictures)
    values = np.stack([one.attribution(kind) for one in explanations])[..., None] / data.shape[3]
    return {
        "values": np.repeat(values, data.shape[3], axis=3),
        "data": data,
        "instance_names": [one.called(label_names) for one in explanations],
    }


def _of_rows(explanations: Sequence[TabularExplanation], kind: str, label_names: LabelNames) -> dict[str, Any]:
    """What is rows' own of the arguments of a `shap.Explanation`."""
    schema = explanations[0].rule.schema
    if any(one.rule.schema.names != schema.names for one in explanations):
        raise ArgumentError("explanations must be of rows of one table, got several with other columns.")
    rows = np.stack([one.instance for one in explanations])
    shown = np.empty(rows.shape, dtype=object)
    for i, column in enumerate(schema.columns):
        shown[:, i] = ["missing" if math.isnan(number) else column.shown(number) for number in rows[:, i].tolist()]
    return {
        "values": np.stack([one.attribution(kind) for one in explanations]).astype(np.float64),
        "data": rows,
        "display_data": shown,
        "feature_names": list(schema.names),
        "instance_names": [one.called(label_names) for one in explanations],
    }
