"""Conjunctions of instances' predicates, with their counts on training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Conjunctions:
    """Conjunctions of equal size: whose they are, their predicates' ids, ascending, and their counts."""

    instance: NDArray[np.int64]
    members: NDArray[np.int64]  # (conjunctions, size)
    n: NDArray[np.int64]
    n_hits: NDArray[np.int64]

    def __getitem__(self, chosen: NDArray[np.generic]) -> Conjunctions:
        return Conjunctions(self.instance[chosen], self.members[chosen], self.n[chosen], self.n_hits[chosen])

    def __len__(self) -> int:
        return len(self.n)

    @staticmethod
    def none(size: int) -> Conjunctions:
        zero = np.zeros(0, dtype=np.int64)
        return Conjunctions(zero, np.zeros((0, size), dtype=np.int64), zero, zero)

    @staticmethod
    def concatenate(parts: Sequence[Conjunctions]) -> Conjunctions:
        columns = ([getattr(part, f.name) for part in parts] for f in fields(Conjunctions))
        return Conjunctions(*map(np.concatenate, columns))

    def highest(self, rank: NDArray[Any], n: int) -> Conjunctions:
        """For each instance the `n` of highest rank, each once; of equals the first by their members.

        They come back ordered by instance and rank.
        """
        near = np.flatnonzero(rank >= self._nth(rank, n * self.members.shape[1]))  # each is there so often at most
        instance, members, rank = self.instance[near], self.members[near], rank[near]
        order = np.lexsort((*members.T[::-1], -rank, instance))
        instance, members = instance[order], members[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (instance[1:] != instance[:-1]) | (members[1:] != members[:-1]).any(axis=1)
        order, instance = order[new], instance[new]
        place = np.arange(len(order)) - np.searchsorted(instance, instance)
        return self[near[order[place < n]]]

    def _nth(self, rank: NDArray[Any], n: int) -> NDArray[Any]:
        """For each conjunction the n-th highest rank among those of its instance; the lowest where there are fewer."""
        order = np.argsort(self.instance, kind="stable")
        starts = np.flatnonzero(np.diff(self.instance[order], prepend=-1))
        lowest = np.empty(len(rank))
        for own in np.split(order, starts[1:]):
            k = max(len(own) - n, 0)
            lowest[own] = np.partition(rank[own], k)[k] if len(own) else 0.0
        return lowest
