"""The nearest miss of each of some rows: a drawn row or, where none of these was a miss, a training row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors.engine.runner import Finished
from torch_anchors.tables.cases import RowCase
from torch_anchors.tables.covered import Covered
from torch_anchors.tables.nearest_row import EncodedMiss


def encoded_misses(
    finished: Sequence[Finished[RowCase]], covered: Covered, shown: Callable[[NDArray[np.int64]], NDArray[Any]]
) -> list[EncodedMiss | None]:
    """The nearest miss of each row; None where all drawn rows and all training rows have the explained label.

    Args:
        finished: what was found for rows of one sampler.
        covered: looks up the training rows.
        shown: labels as users know them.
    """
    drawn = {one.place: one.found.nearest_miss for one in finished}
    found = {place: (miss.code, miss.label) for place, miss in drawn.items() if miss is not None}
    others = [one for one in finished if one.place not in found]
    labels = np.array([one.found.label for one in others], dtype=np.int64)
    counted = covered.nearest_misses([one.case.instance for one in others], labels)
    found |= {one.place: miss for one, miss in zip(others, counted, strict=True) if miss is not None}
    if not found:
        return [None] * len(finished)
    sampler, there = finished[0].case.sampler, [one for one in finished if one.place in found]
    rows = np.stack([found[one.place][0] for one in there]).astype(np.float64)
    on_device = torch.as_tensor(rows, dtype=sampler.training.values.dtype).to(sampler.device)
    changed = sampler.changed(on_device, [one.case.instance for one in there]).cpu().numpy()
    names = shown(np.array([found[one.place][1] for one in there], dtype=np.int64)).tolist()
    made = {
        one.place: EncodedMiss(row, name, tuple(np.flatnonzero(unlike).tolist()))
        for one, row, name, unlike in zip(there, rows, names, changed, strict=True)
    }
    return [made.get(one.place) for one in finished]
