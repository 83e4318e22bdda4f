"""What a predictor thinks of the labels of some rows, where it says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Shaped
from torch_anchors.engine.predictor import Predictor


class Scored(NamedTuple):
    """A row (1, ...), the predictor that is asked about it, and the label."""

    predictor: Predictor
    row: Tensor
    label: int | str


def probabilities_of_each(asked: Sequence[Scored]) -> list[float | None]:
    """As `probabilities_of`; together, where one predictor is asked about rows of one shape."""
    kinds = {(one.row.shape, one.predictor.takes_arrays) for one in asked}
    if len(kinds) != 1:
        return [probabilities_of(predictor, row, [label])[0] for predictor, row, label in asked]
    return probabilities_of(asked[0].predictor, torch.cat([one.row for one in asked]), [one.label for one in asked])


def probabilities_of(
    predictor: Predictor, rows: Shaped[Tensor, "rows ..."], labels: Sequence[int | str]
) -> list[float | None]:
    """The model's probability of a label for each row, in [0, 1]; None where it returns labels only.

    It does not depend on what else is among the rows: a function of tensors, or a module, gets each row alone, as the
    last bits of its result may depend on the batch. A function of arrays, for which a call may be dear, gets all rows
    at once; it computes in double precision, and probabilities are rounded to single precision.

    Args:
        predictor: the model. What it returns is taken for probabilities if its first rows were not negative and summed
            to 1, and otherwise for logits, whose softmax (of a single one, the sigmoid) is the probability.
        rows: as they are rendered, before ``preprocess``.
        labels: number of the class of each row; a class name has no probability, as its predictor has none.

    Raises:
        PredictorCallError, PredictorReturnTypeError: as the predictor.
    """
    groups = [rows] if predictor.takes_arrays else [rows[i : i + 1] for i in range(len(rows))]
    found: list[float | None] = []
    with predictor.session():
        for group in groups:
            scores = predictor.outputs.read(predictor.forward(predictor.prepare(group)), len(group)).scores
            own = labels[len(found) : len(found) + len(group)]
            if scores is None:
                found += [None] * len(group)
            else:
                found += _of_labels(scores.detach().cpu().double(), own, predictor.outputs.are_probabilities)
    return found


def _of_labels(
    scores: Float[Tensor, "rows classes"], labels: Sequence[int | str], are_probabilities: bool
) -> list[float | None]:
    if scores.shape[1] == 1:  # the logit of label 1
        shares = torch.cat([-scores, scores], dim=1).sigmoid()
    else:
        shares = (scores if are_probabilities else scores.softmax(dim=1)).clamp(max=1)
    single = shares.numpy().astype(np.float32)
    known = [
        row[label] if isinstance(label, int) and 0 <= label < len(row) else np.nan
        for row, label in zip(single, labels, strict=True)
    ]
    return [None if np.isnan(share) else float(share) for share in known]
