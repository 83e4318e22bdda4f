"""Conditions on the bins of columns, and the bit set of training rows on which each of them holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._locks import Lock
from torch_anchors._shapes import Int
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables import bitsets
from torch_anchors.tables.discretizer import within

CACHE_BYTES = 256 * 2**20
"""Most memory for the bit sets of conditions."""
MAX_SETS = 4096
"""Most conditions whose bit sets are kept; more than any one table's rounds ask for."""
PACK_BYTES = 64 * 2**20
"""Most memory for one temporary while conditions are packed."""

_MAX_BIN = 2**21
_NO_CONDITION = -1


@dataclass(frozen=True, slots=True)
class Conditions:
    """What some anchors demand of the columns: a bin from `low` to `high` in each `column` named.

    An anchor names a column once at most, and where it names fewer than another its line ends in column -1, which
    stands for no condition.
    """

    column: Int[np.ndarray, "anchors positions"]
    low: Int[np.ndarray, "anchors positions"]
    high: Int[np.ndarray, "anchors positions"]

    @classmethod
    def of_anchors(
        cls,
        bins: Int[np.ndarray, "3 instances predicates"],
        instances: Sequence[int] | NDArray[np.int64],
        anchors: Sequence[Anchor],
    ) -> Conditions:
        """What each anchor demands of each column, the columns in ascending order.

        Args:
            bins: column, lowest and highest bin of the `Predicates` of each instance, on the host.
            instances: the instance that each anchor is about.
            anchors: ids of predicates of that instance.
        """
        sizes = [len(anchor) for anchor in anchors]
        anchor = np.repeat(np.arange(len(anchors)), sizes)
        predicate = np.fromiter(chain.from_iterable(anchors), dtype=np.int64, count=len(anchor))
        instance = np.repeat(np.asarray(instances, dtype=np.int64), sizes)
        column, low, high = bins[:, instance, predicate]

        # Two bounds on one column meet in the bins that both allow.
        n_columns = int(column.max(initial=-1)) + 1
        lows = np.zeros((len(anchors), n_columns), dtype=np.int64)
        highs = np.full_like(lows, _MAX_BIN)
        named = np.zeros_like(lows, dtype=bool)
        np.maximum.at(lows, (anchor, column), low)
        np.minimum.at(highs, (anchor, column), high)
        named[anchor, column] = True

        n_named = named.sum(axis=1)
        columns = np.argsort(~named, axis=1, kind="stable")[:, : n_named.max(initial=0)]
        lows, highs = (np.take_along_axis(bins, columns, axis=1) for bins in (lows, highs))
        padding = np.arange(columns.shape[1]) >= n_named[:, None]
        return cls(np.where(padding, -1, columns), lows, highs)

    def and_bins(self, columns: Sequence[int], bins: Int[np.ndarray, "anchors columns"]) -> Conditions:
        """The same, and of each anchor its bin in further columns, which none of them names."""
        of_all = np.broadcast_to(np.asarray(columns, dtype=np.int64), bins.shape)
        added = ((self.column, of_all), (self.low, bins), (self.high, bins))
        return Conditions(*(np.concatenate(parts, axis=1) for parts in added))

    def __getitem__(self, anchors: slice | NDArray[np.int64]) -> Conditions:
        return Conditions(self.column[anchors], self.low[anchors], self.high[anchors])

    def __len__(self) -> int:
        return len(self.column)


class ConditionBits:
    """Bit sets of the rows on which single conditions hold, packed when first asked for and then kept.

    When the memory for them is used up all are forgotten, and those asked for are packed again. Who reads `words`
    holds `lock` from the call of `slots` on, as another thread may have them packed anew.

    Args:
        by_column: bins of the training rows, one line a column.
    """

    def __init__(self, by_column: Int[Tensor, "columns rows"]) -> None:
        n_columns, self._n_rows = by_column.shape
        self._by_column = by_column
        width = bitsets.n_words(self._n_rows)
        self.lock = Lock()
        self.capacity = max(n_columns + 1, min(MAX_SETS, CACHE_BYTES // (4 * width)))
        self.words = torch.empty(self.capacity, width, dtype=torch.int32, device=by_column.device)
        self.words[:1] = bitsets.pack(torch.ones(1, self._n_rows, dtype=torch.bool, device=by_column.device))
        self._slots = {_NO_CONDITION: 0}

    def slots(self, conditions: Conditions) -> Int[np.ndarray, "anchors positions"]:
        """Which line of `words` holds each condition's rows, valid until the next call (of any thread: see `lock`).

        There may be `capacity` - 1 different conditions at most. No condition is line 0, the set of all rows.
        """
        column, low, high = (bins.astype(np.int64) for bins in (conditions.column, conditions.low, conditions.high))
        key = np.where(column < 0, _NO_CONDITION, (column * _MAX_BIN + low) * _MAX_BIN + high)
        distinct, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        absent = [i for i, k in enumerate(distinct.tolist()) if k not in self._slots]
        if len(self._slots) + len(absent) > self.capacity:
            self._slots = {_NO_CONDITION: 0}
            absent = [i for i, k in enumerate(distinct.tolist()) if k != _NO_CONDITION]
        if absent:
            wanted = first[absent]
            self._pack(column.flat[wanted], low.flat[wanted], high.flat[wanted])
            self._slots.update(zip(distinct[absent].tolist(), range(len(self._slots), self.capacity), strict=False))
        lines = np.array([self._slots[k] for k in distinct.tolist()], dtype=np.int64)
        return lines[inverse].reshape(key.shape)

    def _pack(self, column: NDArray[np.int64], low: NDArray[np.int64], high: NDArray[np.int64]) -> None:
        """Write the rows of these conditions into the next free lines."""
        device = self.words.device
        step = max(1, PACK_BYTES // (4 * self._n_rows))
        for start in range(0, len(column), step):
            part = slice(start, start + step)
            columns, lows, highs = torch.as_tensor(np.stack([column[part], low[part], high[part]]), device=device)
            held = within(self._by_column[columns], lows, highs)
            line = len(self._slots) + start
            self.words[line : line + len(held)] = bitsets.pack(held)

    def __reduce__(self) -> tuple[type[ConditionBits], tuple[Tensor]]:
        """A pickle or copy packs its conditions anew: they may be hundreds of megabytes."""
        return ConditionBits, (self._by_column,)
