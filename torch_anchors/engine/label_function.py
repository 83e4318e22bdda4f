"""An explained model as a function that returns labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from torch_anchors._shapes import Shaped
from torch_anchors.engine.labels import labels_of
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.predictor import Predictor

LABELLED_AT_ONCE = 256
"""Rows of a forward pass; half as many where they do not fit into memory, and so on."""


class LabelFunction:
    """The explained model as a function of instances, whatever it returns itself: logits, labels or class names.

    Args:
        predictor: wraps the model.
        rows_of: from instances, as the explainer is given them, to the rows that the predictor reads.

    Attributes:
        model: the model itself, as it was given.
    """

    def __init__(self, predictor: Predictor, rows_of: Callable[[Any], Tensor]) -> None:
        self.model: nn.Module | Callable[[Any], Any] = predictor.model
        self._predictor, self._rows_of = predictor, rows_of

    def __call__(self, instances: Any) -> Shaped[Tensor, " instances"] | Shaped[np.ndarray, " instances"]:
        """The label of each of several instances.

        Args:
            instances: several of what ``explain`` takes one of: a table, a tensor of images (N, C, H, W), an array of
                images (N, H, W, C).

        Returns:
            An array (N,) of whole numbers, or of class names; a tensor (N,) of a tensor, if labels are numbers. The
            label of an instance for which the model returns NaN is the least of all int64.

        Raises:
            ArgumentError: they are no such instances.
            PredictorCallError, PredictorReturnTypeError: the model failed, or returned no labels.
        """
        rows, is_tensor = self._rows_of(instances), isinstance(instances, Tensor)
        predictor = self._predictor.taking(not is_tensor)
        labels = labels_of(predictor, lambda part: part, rows, MaxRows(LABELLED_AT_ONCE))
        if is_tensor and not predictor.class_names:
            return labels
        return predictor.outputs.all_shown(labels.cpu().numpy())
