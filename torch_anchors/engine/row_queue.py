"""Rows that wait for the model, first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor

from torch_anchors.engine.job import Job


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one job: their codes (n, width)."""

    job: Job
    codes: Tensor


class RowQueue:
    """A queue of rows. Only their codes wait; rows are rendered when a batch is made of them."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self.n_rows = 0

    def push(self, job: Job, codes: Tensor) -> None:
        """Rows of a job, behind all others."""
        self._pieces.append(Piece(job, codes))
        self.n_rows += codes.shape[0]

    def take(self, n: int) -> list[Piece]:
        """The first `n` rows, or all there are."""
        taken: list[Piece] = []
        while self._pieces and n > 0:
            piece = self._pieces.popleft()
            if piece.codes.shape[0] > n:
                self._pieces.appendleft(Piece(piece.job, piece.codes[n:]))
                piece = Piece(piece.job, piece.codes[:n])
            taken.append(piece)
            n -= piece.codes.shape[0]
            self.n_rows -= piece.codes.shape[0]
        return taken

    def give_back(self, pieces: Iterable[Piece]) -> None:
        """Rows that were taken and not predicted, before all others again."""
        for piece in reversed(list(pieces)):
            self._pieces.appendleft(piece)
            self.n_rows += piece.codes.shape[0]
