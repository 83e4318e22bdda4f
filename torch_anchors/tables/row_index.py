"""Which training rows satisfy conditions on their bins, and the random choice of one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Int
from torch_anchors.tables import bitsets
from torch_anchors.tables.conditions import ConditionBits, Conditions

CHUNK_BYTES = 64 * 2**20
"""Most memory for the bit sets of the anchors that are looked up at a time."""
CACHED_BYTES = 2**19
"""The same on a CPU where each set is only counted: what stays in a processor's cache is several times as fast."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """For each anchor, the longest prefix of its conditions that holds on any row, and the rows where it holds.

    `words` is a bit set of rows, never empty. `length` counts the conditions in the prefix, and the padding at the
    end of an anchor's line as well: it is the number of positions where the whole anchor holds on some row.
    """

    words: Int[Tensor, "anchors words"]
    length: Int[Tensor, " anchors"]


@dataclass(frozen=True, slots=True)
class RowIndex:
    """Finds the rows of a binned table that satisfy conditions, and draws from them; make one with `RowIndex.build`.

    The rows of one condition are a stretch of the rows sorted by bin. The rows of several conditions together are
    an intersection of bit sets: 32 rows for each operation, so no anchor's rows need be remembered.

    Args:
        by_column: bins of the training rows, one line a column.
        sorted_rows: for each column, the row numbers in the order of their bins.
        starts: for each column and bin, the number of rows in lower bins; on the host.
        bits: rows of single conditions.
    """

    by_column: Int[Tensor, "columns rows"]
    sorted_rows: Int[Tensor, "columns rows"]
    starts: Int[np.ndarray, "columns bins"]
    bits: ConditionBits

    @classmethod
    def build(cls, binned: Int[Tensor, "rows columns"]) -> RowIndex:
        """The index of a binned table on the CPU, and there; `to` gives it on another device."""
        by_column = binned.T.contiguous()
        sorted_rows = torch.stack([codes.argsort(stable=True).to(torch.int32) for codes in by_column.unbind()])
        return cls(by_column, sorted_rows, _count_below(by_column), ConditionBits(by_column))

    def to(self, device: torch.device | str) -> RowIndex:
        """The same index on `device`."""
        by_column = self.by_column.to(device)
        return RowIndex(by_column, self.sorted_rows.to(device), self.starts, ConditionBits(by_column))

    @property
    def binned(self) -> Int[Tensor, "rows columns"]:
        """Bins of the training rows; one column after the other in memory."""
        return self.by_column.T

    @property
    def n_rows(self) -> int:
        return self.by_column.shape[1]

    def n_anchors_at_once(self, n_positions: int) -> int:
        """How many anchors of up to `n_positions` conditions `prefixes` may be given in one call."""
        by_memory = CHUNK_BYTES // (4 * bitsets.n_words(self.n_rows) * (n_positions + 1))
        return max(1, min(by_memory, (self.bits.capacity - 1) // max(1, n_positions)))

    def prefixes(self, conditions: Conditions) -> Prefixes:
        """The longest prefix of each anchor's conditions that holds on any row, and the rows where it holds."""
        with self.bits.lock:
            sets = self.bits.words
            slots = torch.as_tensor(self.bits.slots(conditions), device=sets.device)
            n_anchors, n_positions = slots.shape
            narrowed = sets.new_empty(n_positions + 1, n_anchors, sets.shape[1])
            narrowed[0] = sets[0]
            for i, slot in enumerate(slots.unbind(1)):
                torch.bitwise_and(narrowed[i], sets.index_select(0, slot), out=narrowed[i + 1])
        # Rows are only ever lost on the way, so the prefixes that hold on any row come first.
        length = bitsets.nonempty(narrowed[1:]).sum(0)
        return Prefixes(narrowed[length, torch.arange(n_anchors, device=sets.device)], length)

    def count(self, conditions: Conditions) -> Int[Tensor, " anchors"]:
        """Number of rows on which all conditions of each anchor hold, on the index's device."""
        counts = [torch.zeros(0, dtype=torch.int64, device=self.by_column.device)]
        counts += [bitsets.popcount(words).sum(1) for _, words in self.holding(conditions)]
        return torch.cat(counts)

    def holding(self, conditions: Conditions) -> Iterator[tuple[slice, Int[Tensor, "anchors words"]]]:
        """Which anchors, and the bit sets of the rows on which all conditions of each of them hold; some at a time."""
        n_positions, sets = conditions.column.shape[1], self.bits.words
        known = max(1, (self.bits.capacity - 1) // max(1, n_positions))  # anchors whose conditions are kept for sure
        most_bytes = CACHED_BYTES if sets.device.type == "cpu" else CHUNK_BYTES
        step = min(known, max(1, most_bytes // (4 * sets.shape[1])))
        for first in range(0, len(conditions), step):
            own = slice(first, first + step)
            yield own, self._intersections(conditions[own])

    def _intersections(self, conditions: Conditions) -> Int[Tensor, "anchors words"]:
        """The rows on which all conditions of each anchor hold."""
        with self.bits.lock:
            sets = self.bits.words
            slots = torch.as_tensor(self.bits.slots(conditions), device=sets.device)
            words = sets[:1].repeat(len(slots), 1)
            for slot in slots.unbind(1):
                words &= sets.index_select(0, slot)
            return words

    def spans(
        self, conditions: Conditions
    ) -> tuple[Int[np.ndarray, "anchors positions"], Int[np.ndarray, "anchors positions"]]:
        """Start and length of the stretch of rows, sorted by bin, where each condition holds by itself.

        Both are 0 where no row satisfies the condition, or there is none.
        """
        last_bin = self.starts.shape[1] - 2
        start = self.starts[conditions.column, np.minimum(conditions.low, last_bin)]
        length = self.starts[conditions.column, np.minimum(conditions.high, last_bin) + 1] - start
        length = np.where(conditions.column < 0, 0, length)
        return np.where(length == 0, 0, start), length

    def choose_in_spans(
        self,
        column: Int[Tensor, "draws positions"],
        start: Int[Tensor, "draws positions"],
        length: Int[Tensor, "draws positions"],
        entropy: Int[Tensor, "draws positions"],
    ) -> Int[Tensor, "draws positions"]:
        """A uniformly random row where one condition holds, by its span; any row where the span is empty."""
        place = start + entropy % length.clamp(min=1)
        cell = column.clamp(min=0) * self.n_rows + place
        return self.sorted_rows.flatten().index_select(0, cell.flatten()).view(cell.shape).long()


def _count_below(by_column: Int[Tensor, "columns rows"]) -> NDArray[np.int64]:
    """Number of rows with a lower bin than each bin of each column, up to one past a bin where no row is."""
    n_rows, top = by_column.shape[1], int(by_column.max())
    counts = np.full((len(by_column), top + 3), n_rows, dtype=np.int64)
    counts[:, 0] = 0
    for line, codes in zip(counts, by_column.numpy(), strict=True):
        line[1:-1] = np.bincount(codes, minlength=top + 1).cumsum()
    return counts
