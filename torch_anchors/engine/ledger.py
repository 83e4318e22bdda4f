"""The label of every row, and the scores that tell its margin where the predictor has some."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.engine.margins import N_LEADS


class Ledger:
    """Labels by *slot*, on the device, and leads where the predictor has scores (see `margins`).

    Every row that is to be predicted gets the next slot, and rows are predicted in that order, so that a batch writes
    one contiguous piece and the host knows which slots are filled without ever looking at one. Slots before the
    oldest job's first are forgotten, so memory follows the jobs under way and not those finished.

    Attributes:
        labels: of each *place* (places,) int64. The place of a slot is how far it is from the first that is kept.
        leads: (places, 3), once there are any.
    """

    def __init__(self, device: torch.device, capacity: int = 4096) -> None:
        self.labels: Tensor = torch.full((capacity,), -1, dtype=torch.int64, device=device)
        self.leads: Tensor | None = None
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
        if self.leads is not None:
            self.leads = _moved(self.leads[kept], capacity, 0)
        self.base = oldest

    def write(self, labels: Int[Tensor, " rows"]) -> None:
        """Labels of the next rows in slot order."""
        start = self.n_written - self.base
        self.labels[start : start + labels.shape[0]] = labels
        self.n_written += labels.shape[0]

    def last_leads(self, n: int) -> Float[Tensor, "n 3"]:
        """Where to write the leads of the last `n` rows whose labels were written."""
        if self.leads is None:
            self.leads = torch.zeros(self.labels.shape[0], N_LEADS, dtype=torch.float32, device=self.labels.device)
        end = self.n_written - self.base
        return self.leads[end - n : end]

    def places(self, slots: NDArray[np.int64]) -> Int[np.ndarray, " rows"]:
        """Where slots that have been written are on the device."""
        return slots - self.base


def _moved(kept: Tensor, capacity: int, empty: int) -> Tensor:
    """Room for `capacity` rows that begins with those kept."""
    moved = torch.full((capacity, *kept.shape[1:]), empty, dtype=kept.dtype, device=kept.device)
    moved[: kept.shape[0]] = kept
    return moved
