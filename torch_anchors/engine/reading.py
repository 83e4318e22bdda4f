"""What is read from a predictor's output: the label of each row, and what tells how clear it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_anchors._shapes import Int, Shaped


class Reading(NamedTuple):
    """What is known of some rows.

    Their labels (n,) int64; the scores (n, classes) of a predictor that returns more than labels, or the one of label 1
    (n, 1); and the answers (n, ...) of a target that compares, as long as they have not been compared: the labels mean
    nothing before.
    """

    labels: Int[Tensor, " rows"]
    scores: Shaped[Tensor, "rows classes"] | None = None
    answers: Shaped[Tensor, "rows ..."] | None = None

    def first(self, n: int) -> Reading:
        """Of the first `n` rows."""
        return self._each(lambda part: part[:n])

    def taken(self, rows: Int[Tensor, " taken"]) -> Reading:
        """Of the rows of these numbers, in their order."""
        return self._each(lambda part: part[rows])

    def kept(self) -> Reading:
        """The same in memory of its own: a model may write its next answer where it wrote this one.

        CUDA graphs do so. What is made of an answer before the model is asked again needs no copy.
        """
        return self._each(torch.clone)

    def _each(self, of: Callable[[Tensor], Tensor]) -> Reading:
        scores, answers = (None if part is None else of(part) for part in self[1:])
        return Reading(of(self.labels), scores, answers)


def joined(parts: Sequence[Reading]) -> Reading:
    """Of the rows of all parts, one after the other; a part that lacks what others have has zeros for it."""
    sizes = [len(part.labels) for part in parts]
    return Reading(*(_joined(kind, sizes) for kind in zip(*parts, strict=True)))


def _joined(parts: Sequence[Tensor | None], sizes: Sequence[int]) -> Any:
    """One kind of tensor of all parts; None where no part has it."""
    known = next((part for part in parts if part is not None), None)
    if known is None:
        return None
    zeros = [known.new_zeros((n, *known.shape[1:])) for n in sizes]
    return torch.cat([zero if part is None else part for part, zero in zip(parts, zeros, strict=True)])
