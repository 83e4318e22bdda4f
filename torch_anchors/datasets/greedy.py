"""A few sets of rows that together cover many, chosen one after another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.tables import bitsets


def chosen_greedily(
    sets: Int[Tensor, "sets words"],
    hits: Int[Tensor, "sets words"],
    least: Float[np.ndarray, " sets"],
    k: int,
) -> list[int]:
    """Numbers of at most `k` sets, in the order in which they were chosen.

    The next is always the one that adds the most hits to what is covered, of those whose share of hits among all rows
    that they add is at least `least`; the first of several that add as many. It ends early when none adds a hit.

    Without misses the number of rows covered is monotone and submodular, so that no other `k` sets cover more than
    1 / (1 - 1/e) = 1.58 times as many (Nemhauser, Wolsey and Fisher, Mathematical Programming 14, 1978).

    Args:
        sets: bit sets of rows, see `torch_anchors.tables.bitsets`.
        hits: those rows of each that speak for it.
        least: in [0, 1], for each set.
        k: at least 1.
    """
    chosen: list[int] = []
    free = torch.full_like(sets[0], -1)
    while len(chosen) < k:
        n_rows, n_hits = (bitsets.popcount(own & free).sum(1).numpy() for own in (sets, hits))
        gains = np.where(n_hits / np.maximum(n_rows, 1) >= least, n_hits, 0)
        best = int(gains.argmax())
        if not gains[best]:
            break
        chosen.append(best)
        free &= ~sets[best]
    return chosen
