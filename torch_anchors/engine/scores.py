"""What a predictor thinks of the label of a row, where it says so."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Shaped
from torch_anchors.engine.predictor import Predictor

_SUM = 1e-3
"""How far the sum of probabilities may be from 1, in the precision that networks have."""


def probability_of(predictor: Predictor, row: Shaped[Tensor, "one ..."], label: int) -> float | None:
    """The model's probability of a label for one row, in [0, 1]; None where it returns labels only.

    The row is predicted alone, so that the result does not depend on what else is.

    Args:
        predictor: the model. What it returns is taken for probabilities where it is not negative and sums to 1, and
            otherwise for logits, whose softmax (of a single one, the sigmoid) is the probability.
        row: (1, ...), as it is rendered, before ``preprocess``.
        label: number of the class.

    Raises:
        PredictorCallError, PredictorReturnTypeError: as the predictor.
    """
    with predictor.session():
        output = predictor.scores(predictor.forward(predictor.prepare(row)))
    if output.ndim != 2 or len(output) != 1 or output.shape[1] == 0 or output.dtype.is_complex:
        return None
    scores = output[0].detach().cpu().double()
    if len(scores) == 1:  # the logit of label 1
        scores = torch.cat([-scores, scores]).sigmoid()
    elif bool((scores < 0).any()) or abs(float(scores.sum()) - 1) > _SUM:
        scores = scores.softmax(0)
    return float(np.float32(min(1.0, float(scores[label])))) if 0 <= label < len(scores) else None
