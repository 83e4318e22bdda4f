"""Rows of a job that tell of one anchor, and how many of them are hits."""

from __future__ import annotations

import numpy as np

from torch_anchors._shapes import Int


class Pool:
    """All rows so far that are draws of one anchor, counted as their labels become known.

    Attributes:
        n_blocks: how many of the job's blocks of rows were looked at for rows of the anchor.
        last_slot: the last of the rows that were found in them.
        n: rows counted.
        n_hits: hits among them.
        child_n: rows on which a further predicate holds as well, for each predicate (K,).
        child_hits: hits among these (K,).
    """

    def __init__(self, n_predicates: int) -> None:
        self.n_blocks = 0
        self.last_slot = -1
        self.n = self.n_hits = 0
        self.child_n: Int[np.ndarray, " predicates"] = np.zeros(n_predicates, dtype=np.int64)
        self.child_hits: Int[np.ndarray, " predicates"] = np.zeros(n_predicates, dtype=np.int64)

    def add(
        self,
        n: int,
        n_hits: int,
        child_n: Int[np.ndarray, " predicates"],
        child_hits: Int[np.ndarray, " predicates"],
    ) -> None:
        """Counts further rows, as the attributes say; counts that were handed out stay as they are."""
        self.n += n
        self.n_hits += n_hits
        self.child_n = self.child_n + child_n
        self.child_hits = self.child_hits + child_hits
