"""A labelled table in two parts: rows to choose rules on, and rows to test them on, which had no part in the choice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.tables import bitsets
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.count.rows_by_label import RowsByLabel

SELECTION_SHARE = 0.4
"""Share of the rows that rules are selected on. On large tables 0.2 to 0.4 certify as much, on small ones 0.4 most."""


class SplitTable:
    """A labelled table's rows, parted at random: some to select rules on, the others to test them on.

    The parting must not depend on labels, not even to give both parts the same share of each class: the hits of a
    rule among the test rows would no longer be binomial.

    Args:
        table: the labelled rows.
        rng: parts the rows.
        share: of the rows for selection.
    """

    def __init__(self, table: LabelledTraining, rng: np.random.Generator, share: float = SELECTION_SHARE) -> None:
        self._table, self._index, device = table, table.training.index, table.classes.device
        order = torch.as_tensor(rng.permutation(self._index.n_rows), device=device)
        n = max(round(share * len(order)), 1)
        selection, test = order[:n], order[n:]
        self.selection = RowsByLabel.of(self._index.binned[selection], table.classes[selection], table.n_classes)
        self.test_ratio = len(test) / n
        is_test = torch.zeros(len(order), dtype=torch.bool, device=device).index_fill_(0, test, True)
        self._test = bitsets.pack(is_test[None])
        of_class = table.classes == torch.arange(table.n_classes, device=device)[:, None]
        self._test_of_class = bitsets.pack(of_class & is_test)
        self._keys, place = _row_keys(table.training.values[test]).sort()
        self._class_of_key = table.classes[test][place]

    def count(self, conditions: Conditions, classes: NDArray[np.int64]) -> Int[np.ndarray, "anchors 3"]:
        """Rows on which each anchor holds: of the whole table, of the test rows, and of these with its class."""
        device = self._test.device
        counts = [torch.zeros(0, 3, dtype=torch.int64, device=device)]
        for part, words in self._index.holding(conditions):
            own = self._test_of_class[torch.as_tensor(classes[part], device=device)]
            sets = words, words & self._test, words & own
            counts.append(torch.stack([bitsets.sizes(each) for each in sets], dim=1))
        return torch.cat(counts).cpu().numpy()

    def twins(self, instances: Float[np.ndarray, "instances columns"]) -> Int[np.ndarray, " instances"]:
        """The class of a test row that is equal to the instance; -1 where there is none."""
        values = self._table.training.values
        if not len(self._keys):
            return np.full(len(instances), -1)
        keys = _row_keys(torch.as_tensor(instances, dtype=values.dtype, device=values.device))
        place = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        return torch.where(self._keys[place] == keys, self._class_of_key[place], -1).cpu().numpy()

    @property
    def n_rows(self) -> int:
        """Of the whole table."""
        return self._index.n_rows


def _row_keys(values: Float[Tensor, "rows columns"]) -> Int[Tensor, " rows"]:
    """A number for each row, the same for equal rows and, but for accidents of 1 in 2^64, for no others.

    Whole-number arithmetic, so that a row's key does not depend on the rows beside it. An accident would only leave a
    row out of a test.
    """
    whole = {4: torch.int32, 8: torch.int64}[values.element_size()]
    keys = torch.zeros(len(values), dtype=torch.int64, device=values.device)
    for column in (values + 0.0).unbind(1):  # minus zero is zero
        keys = (keys ^ column.contiguous().view(whole).long()) * 0x9E3779B97F4A7C1 + 1
        keys = keys ^ (keys >> 29)
    return keys
