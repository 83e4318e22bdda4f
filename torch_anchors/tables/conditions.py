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

        # Two bounds on one column, which are neighbours, meet in the bins that both allow.
        is_first = np.ones(len(anchor), dtype=bool)
        is_first[1:] = (anchor[1:] != anchor[:-1]) | (column[1:] != column[:-1])
        first = np.flatnonzero(is_first)
        n_named = np.bincount(anchor[first], minlength=len(anchors))
        shape = len(anchors), int(n_named.max(initial=0))
        columns, lows, highs = np.full(shape, -1), np.zeros(shape, dtype=np.int64), np.full(shape, _MAX_BIN)
        if len(first):
            named = np.arange(shape[1]) < n_named[:, None]
            columns[named] = column[first]
            lows[named], highs[named] = np.maximum.reduceat(low, first), np.minimum.reduceat(high, first)
        return cls(columns, lows, highs)

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
        bins = np.stack([conditions.column, conditions.low, conditions.high], dtype=np.int64)
        column, low, high = bins
        key = np.where(column < 0, _NO_CONDITION, (column * _MAX_BIN + low) * _MAX_BIN + high)
        keys = key.ravel().tolist()
        if not self._slots.keys() >= set(keys):
            distinct, first = np.unique(key, return_index=True)
            self._add(distinct.tolist(), bins.reshape(3, -1)[:, first])
        return np.array([self._slots[k] for k in keys], dtype=np.int64).reshape(key.shape)

    def _add(self, keys: list[int], bins: Int[np.ndarray, "3 conditions"]) -> None:
        """Packs those of some different conditions that are not known; all are forgotten if there is no room."""
        absent = [i for i, key in enumerate(keys) if key not in self._slots]
        if len(self._slots) + len(absent) > self.capacity:
            self._slots = {_NO_CONDITION: 0}
            absent = [i for i, key in enumerate(keys) if key != _NO_CONDITION]
        self._pack(*bins[:, absent])
        self._slots.update(zip([keys[i] for i in absent], range(len(self._slots), self.capacity), strict=False))

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
