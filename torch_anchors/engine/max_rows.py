"""How many rows go into one forward pass."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from torch_anchors._checks import MOST, is_whole, said
from torch_anchors._locks import Lock
from torch_anchors.errors import ArgumentError, PredictorCallError

logger = logging.getLogger(__name__)

_MEASUREMENTS = 2
"""Batches timed at each size; the faster one counts, since other work on the machine only ever slows one down."""

_GAIN = 1.05
"""A larger size must be this much faster, in rows a second, to be worth its memory and its latency."""

_HOPELESS = 0.8
"""A size whose first batch is slower than the best by this factor is not tried again: rows are not wasted on it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device has no memory left."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


@dataclass(slots=True)
class MaxRows:
    """The rows of a batch: given by the user, or found while working.

    With ``max_rows="auto"`` the first batches of real rows are timed at doubling sizes until larger ones are no
    faster; no row is predicted for the measurement alone. After each larger size the smaller one is timed again,
    because a process may be faster than before: an allocator that has served large blocks serves the next ones sooner.
    Where the host computes the batches itself, what it does between two of them is time as well. That depends little on
    their size, so that a fast model is better asked for many rows at once.
    An out-of-memory error halves the size for good.

    Args:
        max_rows: rows of a full batch, at least 1, or "auto".
        n: the size to begin with, where `start` should not choose one.
        tuning: whether larger sizes are still to be tried.
    """

    max_rows: int | str = "auto"
    n: int = 0
    tuning: bool = False
    limit: int = 1 << 16
    _timings: dict[int, list[float]] = field(default_factory=dict)
    _host_timings: dict[int, list[float]] = field(default_factory=dict)
    _best: int = 0
    _visits: int = 0
    _warming: bool = True
    _warms_each_size: bool = False
    _lock: Lock = field(default_factory=Lock)  # explanations in several threads share what is learned

    def __post_init__(self) -> None:
        self._best = self.n
        if isinstance(self.max_rows, str) and self.max_rows == "auto":
            return
        if not is_whole(self.max_rows) or not 1 <= int(self.max_rows) <= MOST:
            raise ArgumentError(
                f'max_rows must be "auto" or a whole number of at least 1 and at most {MOST:,}, '
                f"got {said(self.max_rows)}."
            )
        self.n = int(self.max_rows)

    def start(self, row_shape: Sequence[int], device: torch.device, static_shapes: bool = False) -> None:
        """Chooses the first size to try, once the shape of a row is known, and makes sure that larger rows fit.

        The first pass of each size is not timed where `static_shapes` says that one is prepared for, by choosing
        kernels or by compiling.
        """
        if self.max_rows != "auto":
            return
        values = math.prod(row_shape)
        # On a CPU convolutions run fastest a few images at a time; anything else gains from hundreds of rows.
        first = 4 if device.type == "cpu" and len(row_shape) == 3 else 64
        most_bytes = 1 << (28 if device.type == "cpu" else 31)
        with self._lock:
            self.limit = max(first, min(self.limit, most_bytes // (4 * values)))
            if self.n:
                self.n, self._best = min(self.n, self.limit), min(self._best, self.limit)
                return
            self._warms_each_size = static_shapes  # the very first pass loads libraries and allocates in any case
            self.n = self._best = first
            self.tuning = True

    def record(self, n_rows: int, seconds: float, host_seconds: float = 0.0) -> None:
        """Takes the time of one batch into account; only full batches of the size under trial count.

        Args:
            n_rows: of the batch.
            seconds: that the model took for it.
            host_seconds: of other work since the batch before, while the model had to wait.
        """
        with self._lock:
            if not self.tuning or n_rows != self.n:
                return
            if self._warming:
                self._warming = False
                return
            self._timings.setdefault(self.n, []).append(seconds)
            self._host_timings.setdefault(self.n, []).append(host_seconds)
            self._visits += 1
            self._advance()

    def _advance(self) -> None:
        """Goes on at this size, goes back to the best one or to a larger one, or settles."""
        if self.n > self._best and self._rate(self.n) < _HOPELESS * self._rate(self._best):
            self._settle()
        elif self._visits < _MEASUREMENTS:
            return
        elif self.n > self._best:
            self._go_to(self._best)
        else:
            self._challenge()

    def _challenge(self) -> None:
        """Decides between the best size and twice that, or has the larger one timed."""
        larger = 2 * self._best
        if larger in self._timings:
            if self._rate(larger) < _GAIN * self._rate(self._best):
                self._settle()
                return
            self._best, larger = larger, 2 * larger
        if larger > self.limit:
            self._settle()
        else:
            self._go_to(larger)
            self._warming = self._warms_each_size

    def _rate(self, size: int) -> float:
        """Rows a second: the model always takes as long for as many rows, but the host has more to do at some times."""
        host = self._host_timings[size]
        return size / (min(self._timings[size]) + sum(host) / len(host))

    def _go_to(self, size: int) -> None:
        self.n, self._visits = size, 0

    def _settle(self) -> None:
        self.n, self.tuning = self._best, False
        logger.info("batches of %d rows (%.0f rows/s)", self.n, self._rate(self.n))

    def survive(self, error: Exception, n_rows: int) -> None:
        """Halves the size after an error that says that `n_rows` did not fit into memory; raises any other.

        Raises:
            PredictorCallError: not even one row fits.
        """
        if not is_out_of_memory(error):
            raise error
        if n_rows == 1:
            raise PredictorCallError(
                "The device has not enough memory for a forward pass of one single row. Use a smaller image, "
                "half precision (autocast=torch.bfloat16) or another device."
            ) from error
        with self._lock:
            self.n, self.tuning = max(n_rows // 2, 1), False
            self.limit = self.n
        logger.warning("out of memory with %d rows; going on with %d", n_rows, self.n)

    def padded(self, n_rows: int) -> int:
        """The size `n_rows` are padded to where shapes should be few: all, a half, a quarter or an eighth of `n`."""
        size = self.n
        for _ in range(3):
            if size % 2 or size // 2 < n_rows:
                break
            size //= 2
        return max(size, n_rows)
