"""Which training rows satisfy conditions on their bins, and the random choice of one of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int
from torch_anchors.engine.device_copy import on_device
from torch_anchors.tables import bitsets
from torch_anchors.tables.conditions import ConditionBits, Conditions

ENTROPY = 2**53
"""Random whole numbers are below this. Their remainders choose rows, which is the same choice on every device."""
CHUNK_BYTES = 64 * 2**20
"""Most memory for the bit sets of the anchors that are looked up at a time."""
CACHED_BYTES = 2**19
"""The same on a CPU where each set is only counted: what stays in a processor's cache is several times as fast."""


@dataclass(frozen=True, slots=True)
class Prefixes:
    """For each anchor, the longest prefix of its conditions that holds on any row, and the rows where it holds.

    `words` is a bit set of rows, never empty. `holds` says of each position whether the conditions up to it hold on any
    row together; the padding at the end of an anchor's line counts as the whole anchor. It is None where all anchors
    are known to hold as a whole, which only a CPU tells without being waited for.
    """

    words: Int[Tensor, "anchors words"]
    holds: Bool[Tensor, "positions anchors"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Training rows that were chosen for draws of anchors.

    `joint` is a random row for each draw on which the anchor holds or, where there is no such row, the longest prefix
    of its conditions that holds on any. `source` is the row for each position: the joint one as far as that prefix
    goes, then a random row on which the position's condition holds by itself, and any row where there is none.
    """

    joint: Int[Tensor, " draws"]
    source: Int[Tensor, "draws positions"]


@dataclass(frozen=True, slots=True)
class RowIndex:
    """Finds the rows of a binned table that satisfy conditions, and draws from them; make one with `RowIndex.build`.

    The rows of one condition are a stretch of the rows sorted by bin. The rows of several conditions together are
    an intersection of bit sets: 32 rows for each operation, so no anchor's rows need be remembered.

    Args:
        by_column: bins of the training rows, one line a column.
        sorted_rows: for each column, the row numbers in the order of their bins; on the host.
        starts: for each column and bin, the number of rows in lower bins; on the host.
        bits: rows of single conditions.
    """

    by_column: Int[Tensor, "columns rows"]
    sorted_rows: Int[np.ndarray, "columns rows"]
    starts: Int[np.ndarray, "columns bins"]
    bits: ConditionBits

    @classmethod
    def build(cls, binned: Int[Tensor, "rows columns"]) -> RowIndex:
        """The index of a binned table on the CPU, and there; `to` gives it on another device."""
        by_column = binned.T.contiguous()
        sorted_rows = torch.stack([codes.argsort(stable=True).to(torch.int32) for codes in by_column.unbind()])
        return cls(by_column, sorted_rows.numpy(), _count_below(by_column), ConditionBits(by_column))

    def to(self, device: torch.device | str) -> RowIndex:
        """The same index on `device`."""
        by_column = self.by_column.to(device)
        return RowIndex(by_column, self.sorted_rows, self.starts, ConditionBits(by_column))

    @property
    def binned(self) -> Int[Tensor, "rows columns"]:
        """Bins of the training rows; one column after the other in memory."""
        return self.by_column.T

    @property
    def n_rows(self) -> int:
        return self.by_column.shape[1]

    def n_anchors_at_once(self, n_positions: int) -> int:
        """How many anchors of up to `n_positions` conditions `prefixes` may be given in one call."""
        n_bytes = 4 * bitsets.n_words(self.n_rows) * (n_positions + bitsets.n_before(n_positions))
        by_memory = CHUNK_BYTES // n_bytes
        if self.by_column.device.type != "cpu":  # which also looks at single bits
            by_memory = min(bitsets.n_sets_at_once(self.n_rows), by_memory)
        return max(1, min(by_memory, (self.bits.capacity - 1) // max(1, n_positions)))

    def prefixes(self, conditions: Conditions) -> Prefixes:
        """The longest prefix of each anchor's conditions that holds on any row, and the rows where it holds."""
        return self._prefixes(conditions, ())[0]

    def choose(
        self,
        conditions: Conditions,
        owner: Int[np.ndarray, " draws"],
        uniform: Float[np.ndarray, " draws"],
        of_positions: Float[np.ndarray, "draws positions"],
        others: Sequence[NDArray[Any]] = (),
    ) -> tuple[Chosen, list[Tensor]]:
        """Rows for draws of some anchors, on the index's device, which is not waited for.

        Args:
            conditions: of the anchors, as many as `n_anchors_at_once` allows.
            owner: the anchor that each draw is of, in ascending order.
            uniform: a random number in [0, 1) for each draw.
            of_positions: and one for each of its positions.
            others: arrays that are to go to the device with all that this needs, by one copy.
        """
        device = self.by_column.device
        if device.type == "cpu":
            chosen = self._choose_on_host(conditions, owner, whole(uniform), of_positions)
            return chosen, on_device(others, device)
        table = bitsets.draw_table(owner, whole(uniform), len(conditions))
        arrays = [*table, owner, self._alone(conditions, owner, of_positions), *others]
        prefixes, (numbers, places, bits, of_draws, alone, *sent) = self._prefixes(conditions, arrays)
        joint = bitsets.choose_by_table(prefixes.words, numbers, places, bits)
        in_prefix = prefixes.holds.index_select(1, of_draws).T
        return Chosen(joint, torch.where(in_prefix, joint[:, None], alone)), sent

    def _choose_on_host(
        self,
        conditions: Conditions,
        owner: Int[np.ndarray, " draws"],
        entropy: Int[np.ndarray, " draws"],
        of_positions: Float[np.ndarray, "draws positions"],
    ) -> Chosen:
        """As `choose`. Nearly all anchors hold as a whole; prefixes are looked up for the others alone."""
        words = self._intersections(conditions)
        broken = np.flatnonzero(~bitsets.nonempty(words).numpy())
        if not broken.size:
            joint = bitsets.choose(words, owner, entropy)
            return Chosen(joint, joint[:, None].expand(-1, conditions.column.shape[1]))
        prefixes = self.prefixes(conditions[broken])
        words[torch.from_numpy(broken)] = prefixes.words
        joint = bitsets.choose(words, owner, entropy)
        draws = np.flatnonzero(np.isin(owner, broken))
        of_draws = owner[draws]
        in_prefix = prefixes.holds.numpy().T[np.searchsorted(broken, of_draws)]
        source = np.repeat(joint.numpy()[:, None], conditions.column.shape[1], axis=1)
        source[draws] = np.where(in_prefix, source[draws], self._alone(conditions, of_draws, of_positions[draws]))
        return Chosen(joint, torch.from_numpy(source))

    def _prefixes(self, conditions: Conditions, others: Sequence[NDArray[Any]]) -> tuple[Prefixes, list[Tensor]]:
        """As `prefixes`, and the other arrays as they came to the device together with what this needs."""
        narrowed, sent = self._narrowed(conditions, others)
        # Rows are only ever lost on the way, so the prefixes that hold on any row come first.
        holds = bitsets.nonempty(narrowed[1:])
        longest = holds.sum(0)[None, :, None].expand(1, -1, narrowed.shape[2])
        return Prefixes(narrowed.gather(0, longest)[0], holds), sent

    def narrowed(self, conditions: Conditions) -> Iterator[tuple[slice, Int[Tensor, "positions_and_1 anchors words"]]]:
        """Which anchors, and the rows where none, the first, the first two ... of their conditions hold together."""
        step = self.n_anchors_at_once(conditions.column.shape[1])
        for first in range(0, len(conditions), step):
            own = slice(first, first + step)
            yield own, self._narrowed(conditions[own], ())[0]

    def _narrowed(
        self, conditions: Conditions, others: Sequence[NDArray[Any]]
    ) -> tuple[Int[Tensor, "positions_and_1 anchors words"], list[Tensor]]:
        """As `narrowed`, of all anchors, and the other arrays as they came to the device together with these."""
        n = conditions.column.shape[1]
        slots = np.zeros((bitsets.n_before(n) + n, len(conditions)), dtype=np.int64)  # line 0 of the sets has all rows
        with self.bits.lock:
            slots[len(slots) - n :] = self.bits.slots(conditions).T
            lines, *sent = on_device([slots, *others], self.by_column.device)
            words = self.bits.words.index_select(0, lines.flatten()).view(*lines.shape, -1)
        return bitsets.accumulated(words, n), sent

    def count(self, conditions: Conditions) -> Int[Tensor, " anchors"]:
        """Number of rows on which all conditions of each anchor hold, on the index's device."""
        counts = [torch.zeros(0, dtype=torch.int64, device=self.by_column.device)]
        counts += [bitsets.sizes(words) for _, words in self.holding(conditions)]
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
            first, *rest = slots.unbind(1) if slots.shape[1] else [slots.new_zeros(len(slots))]
            words = sets.index_select(0, first)
            for slot in rest:
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

    def _alone(
        self, conditions: Conditions, owner: Int[np.ndarray, " draws"], uniform: Float[np.ndarray, "draws positions"]
    ) -> Int[np.ndarray, "draws positions"]:
        """For each draw and position a random row where that condition holds by itself; any row where there is none."""
        start, length = self.spans(conditions)
        place = start[owner] + whole(uniform) % np.maximum(length, 1)[owner]
        return self.sorted_rows[np.maximum(conditions.column, 0)[owner], place].astype(np.int64)


def whole(uniform: Float[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Random whole numbers below `ENTROPY` from random numbers in [0, 1)."""
    return (uniform * ENTROPY).astype(np.int64)


def _count_below(by_column: Int[Tensor, "columns rows"]) -> NDArray[np.int64]:
    """Number of rows with a lower bin than each bin of each column, up to one past a bin where no row is."""
    n_rows, top = by_column.shape[1], int(by_column.max())
    counts = np.full((len(by_column), top + 3), n_rows, dtype=np.int64)
    counts[:, 0] = 0
    for line, codes in zip(counts, by_column.numpy(), strict=True):
        line[1:-1] = np.bincount(codes, minlength=top + 1).cumsum()
    return counts
