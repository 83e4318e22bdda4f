"""What the values of scores tell: whether they can be logits or probabilities, of which the largest is the label."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Shaped

LOOKED_AT = 64
"""Rows whose values are looked at; a device need not be waited for later."""
FEW = 4
"""Rows from which nothing is concluded are fewer: one or two logits may be in [0, 1] by chance."""
ROUNDING = 0.02
"""How far from 1 the sum of a row of probabilities may be: those in half precision are rounded."""

ONE_LABEL = "lambda x: model(x).argmax(1)"
"""A predictor that says one label."""
ONE_QUESTION = "target=Bit(j)"
"""A target that asks whether label j holds."""


class ScoreValues:
    """What the values of a predictor's first scores have in common, and what is doubtful about them.

    Attributes:
        n: rows looked at.
    """

    def __init__(self) -> None:
        self.n = 0
        self._n_columns = 0
        self._negative = self._above_one = self._positive = False
        self._sum_to_one = self._zero_or_one = self._one_hot = True

    def add(self, scores: Shaped[Tensor, "rows columns"]) -> None:
        """Takes the values of some rows into account; those without a label say nothing."""
        values = scores.detach()[: LOOKED_AT - self.n].to("cpu", torch.float64)
        self.n += len(values)
        values = values[~values.isnan().any(dim=1)]
        self._n_columns = scores.shape[1]
        if not len(values):
            return
        sums = values.sum(dim=1)
        self._negative |= bool((values < 0).any())
        self._above_one |= bool((values > 1).any())
        self._positive |= bool((values > 0).any())
        self._zero_or_one &= bool(((values == 0) | (values == 1)).all())
        self._one_hot &= bool((sums == 1).all())
        self._sum_to_one &= bool(((sums - 1).abs() <= ROUNDING).all())

    @property
    def enough(self) -> bool:
        """Whether no more need be looked at."""
        return self.n >= LOOKED_AT

    @property
    def are_probabilities(self) -> bool:
        """Whether all rows that were looked at, one at least, are probabilities of classes that exclude each other."""
        return self._n_columns > 1 and self._positive and not self._negative and self._sum_to_one

    @property
    def doubt(self) -> str:
        """What they may be instead of scores of which the largest decides; nothing if that seems right."""
        if self.n < FEW or self._negative or not self._positive:
            return ""
        if self._n_columns == 1:
            if not self._above_one:
                return (
                    "The predictor returns one column with values in [0, 1]. It is read as a logit, so the label is 1 "
                    "wherever it is positive. If it is a probability, pass target=Bit(0)."
                )
            return (
                "The predictor returns one column of values that are never negative, as a regression does. It is read "
                "as a logit, so the label is 1 wherever it is positive. If it is no logit, say what counts as the same "
                "answer: target=Within(tolerance) or target=Between(low, high)."
            )
        if self._above_one:
            return ""
        if self._zero_or_one:
            if self._one_hot:
                return ""
            return (
                "The predictor returns rows of 0s and 1s with more or fewer than a single 1, as a multi-label model "
                f"does. The first 1 is read as the label. Pass {ONE_QUESTION} to explain label j."
            )
        if self._sum_to_one:
            return ""
        return (
            "The predictor returns values in [0, 1] that do not sum to 1 in a row, as the sigmoids of a multi-label "
            f"model do. The largest is read as the label. If several labels may hold at once, pass {ONE_QUESTION} to "
            f"explain label j; if they are scores of one label each, wrap the predictor as in {ONE_LABEL}."
        )
