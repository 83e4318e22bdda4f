"""The answers to rows, compared with the answer to the instance that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor

from torch_anchors._shapes import Shaped
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.reading import Reading
from torch_anchors.engine.row_queue import Piece
from torch_anchors.targets.target import Comparison


def of_pieces(reading: Reading, pieces: Sequence[Piece], target: Comparison) -> Reading:
    """The rows of some pieces, each compared with its own job's instance, which is the first row of the job.

    What is explained of an instance stays with its job. The device is not waited for.
    """
    assert reading.answers is not None
    sizes = [piece.codes.shape[0] for piece in pieces]
    for piece, end in zip(pieces, accumulate(sizes), strict=True):
        if piece.job.explained is None:
            start = end - piece.codes.shape[0]
            piece.job.explain(target.explained(reading.answers[start : start + 1]).clone())
    lengths = torch.tensor(sizes).to(reading.answers.device, non_blocking=True)
    explained = torch.cat([cast(Tensor, piece.job.explained) for piece in pieces])
    return compared(reading.answers, explained.repeat_interleave(lengths, 0, output_size=sum(sizes)), target)


def compared(answers: Shaped[Tensor, "rows ..."], explained: Shaped[Tensor, "rows ..."], target: Comparison) -> Reading:
    """Label 1 for the rows whose answers are the same, 0 for the others, and `INVALID` where there is no answer.

    The agreement is their score, as one logit would be.
    """
    agreement = target.agreement(answers, explained)
    labels = torch.where(agreement.isnan(), INVALID, (agreement >= 0).to(torch.int64))
    return Reading(labels, agreement[:, None])
