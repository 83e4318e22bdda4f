"""Conditions on binned tables as plain NumPy masks, which the tests of bit sets compare with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors.tables import bitsets
from torch_anchors.tables.conditions import Conditions


def random_table(
    seed: int, n_rows: int = 100, n_columns: int = 4, n_bins: int = 4
) -> tuple[np.random.Generator, NDArray[np.int16]]:
    """A binned table, and the random stream that it came from."""
    rng = np.random.default_rng(seed)
    return rng, rng.integers(0, n_bins, (n_rows, n_columns)).astype(np.int16)


def random_conditions(rng: np.random.Generator, n_anchors: int, n_columns: int, n_bins: int) -> Conditions:
    """Some columns of each line, ascending, then padding."""
    column = np.full((n_anchors, n_columns), -1)
    for line in column:
        chosen = np.sort(rng.choice(n_columns, rng.integers(0, n_columns + 1), replace=False))
        line[: len(chosen)] = chosen
    low = rng.integers(0, n_bins, column.shape)
    return Conditions(column, low, np.minimum(low + rng.integers(0, 2, column.shape), n_bins))


def holds(binned: NDArray[np.int16], c: Conditions, anchor: int, position: int) -> NDArray[np.bool_]:
    """On which rows one condition holds; on all where the position is only padding."""
    if c.column[anchor, position] < 0:
        return np.ones(len(binned), dtype=bool)
    bins = binned[:, c.column[anchor, position]]
    return (bins >= c.low[anchor, position]) & (bins <= c.high[anchor, position])


def rows_in(words: Tensor, n_rows: int) -> list[int]:
    """The row numbers in one packed set, bit by bit."""
    width = bitsets.n_words(n_rows)
    return [r for r in range(n_rows) if (int(words[r % width]) >> (r // width)) & 1]
