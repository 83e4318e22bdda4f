"""A few sets of rows that together cover many, chosen one after another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Int
from torch_anchors.tables import bitsets


def chosen_greedily(
    sets: Int[Tensor, "sets words"], hits: Int[Tensor, "sets words"], k: int, least: float = 0.0
) -> list[int]:
    """Numbers of at most `k` sets, in the order in which they were chosen.

    The next is always the one that adds the most hits to what is covered, of those with which the share of hits among
    all rows that are covered is at least `least`; the first of several that add as many. It ends early when none adds a
    hit.

    Without misses the number of rows covered is monotone and submodular, so that no other `k` sets cover more than
    1 / (1 - 1/e) = 1.58 times as many (Nemhauser, Wolsey and Fisher, Mathematical Programming 14, 1978).

    Args:
        sets: bit sets of rows, see `torch_anchors.tables.bitsets`.
        hits: those rows of each that speak for it. What a row is for the first set that covers it, it stays.
        k: at least 1.
        least: in [0, 1].
    """
    chosen: list[int] = []
    n_covered = n_hit = 0
    free = torch.full_like(sets[0], -1)
    while len(chosen) < k:
        n_rows, n_hits = (bitsets.sizes(own & free).numpy() for own in (sets, hits))
        share = (n_hit + n_hits) / np.maximum(n_covered + n_rows, 1)
        gains = np.where(share >= least, n_hits, 0)
        best = int(gains.argmax())
        if not gains[best]:
            break
        chosen.append(best)
        n_covered, n_hit = n_covered + n_rows[best], n_hit + n_hits[best]
        free &= ~sets[best]
    return chosen
