"""The label of every row, and its margin where the predictor has scores."""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int


class Ledger:
    """Labels by *slot*, on the device, and margins where the predictor has scores (see `margins`).

    Every row that is to be predicted gets the next slot, and rows are predicted in that order, so that a batch writes
    one contiguous piece and the host knows which slots are filled without ever looking at one. Slots before the
    oldest job's first are forgotten, so memory follows the jobs under way and not those finished.
    """

    def __init__(self, device: torch.device, capacity: int = 4096) -> None:
        self.labels: Tensor = torch.full((capacity,), -1, dtype=torch.int64, device=device)
        self.margins: Tensor | None = None  # (capacity,), once there are any
        self.base = 0  # slot of labels[0]
        self.n_reserved = 0
        self.n_written = 0

    def reserve(self, n: int, oldest: int) -> int:
        """First of `n` new consecutive slots; slots before `oldest` may be forgotten."""
        first = self.n_reserved
        self.n_reserved += n
        if self.n_reserved - self.base > self.labels.shape[0]:
            self._move(min(oldest, self.n_written))
        return first

    def _move(self, oldest: int) -> None:
        capacity = self.labels.shape[0]
        while capacity < 2 * (self.n_reserved - oldest):
            capacity *= 2
        kept = slice(oldest - self.base, self.n_written - self.base)
        self.labels = _moved(self.labels[kept], capacity, -1)
        if self.margins is not None:
            self.margins = _moved(self.margins[kept], capacity, 0)
        self.base = oldest

    def write(self, labels: Int[Tensor, " rows"]) -> None:
        """Labels of the next rows in slot order."""
        start = self.n_written - self.base
        self.labels[start : start + labels.shape[0]] = labels
        self.n_written += labels.shape[0]

    def write_margins(self, margins: Float[Tensor, " rows"]) -> None:
        """Margins of the rows whose labels were written last."""
        if self.margins is None:
            self.margins = torch.zeros(self.labels.shape[0], dtype=torch.float32, device=self.labels.device)
        end = self.n_written - self.base
        self.margins[end - margins.shape[0] : end] = margins

    def read(self, slots: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """Labels of slots that have been written."""
        return self.labels.index_select(0, slots - self.base)

    def read_margins(self, slots: Int[Tensor, " rows"]) -> Float[Tensor, " rows"] | None:
        """Margins of slots that have been written; None where there are none."""
        return None if self.margins is None else self.margins.index_select(0, slots - self.base)


def _moved(kept: Tensor, capacity: int, empty: int) -> Tensor:
    """Room for `capacity` values that begins with those kept."""
    moved = torch.full((capacity,), empty, dtype=kept.dtype, device=kept.device)
    moved[: kept.shape[0]] = kept
    return moved
