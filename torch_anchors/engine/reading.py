"""What is read from a predictor's output: the label of each row, and its scores where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torch_anchors._shapes import Int, Shaped


class Reading(NamedTuple):
    """Labels (n,) int64, and scores (n, classes) of a predictor that returns more than labels."""

    labels: Int[Tensor, " rows"]
    scores: Shaped[Tensor, "rows classes"] | None = None

    def first(self, n: int) -> Reading:
        """Of the first `n` rows."""
        return Reading(self.labels[:n], None if self.scores is None else self.scores[:n])

    def taken(self, rows: Int[Tensor, " taken"]) -> Reading:
        """Of the rows of these numbers, in their order."""
        return Reading(self.labels[rows], None if self.scores is None else self.scores[rows])


def joined(parts: Sequence[Reading]) -> Reading:
    """Of the rows of all parts, one after the other; a part without scores among others with scores has zeros."""
    labels = torch.cat([part.labels for part in parts])
    scored = next((part.scores for part in parts if part.scores is not None), None)
    if scored is None:
        return Reading(labels)
    zeros = [scored.new_zeros((part.labels.shape[0], scored.shape[1])) for part in parts]
    return Reading(labels, torch.cat([z if p.scores is None else p.scores for p, z in zip(parts, zeros, strict=True)]))
