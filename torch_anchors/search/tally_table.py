"""Rows and hits of all anchors that one search has looked at, as arrays: many are read and counted at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from torch_anchors._shapes import Int
from torch_anchors.search.bounds import standard_error
from torch_anchors.search.protocol import Anchor


@dataclass(frozen=True, slots=True)
class Tally:
    """Exact draws of one anchor seen so far: what ranks it, but never certifies it."""

    n: int = 0
    n_hits: int = 0

    @property
    def precision(self) -> float:
        """Share of hits; 0 before the first row."""
        return self.n_hits / self.n if self.n else 0.0

    @property
    def optimistic(self) -> float:
        """One standard error above the estimate, smoothed by a pseudo hit and a pseudo miss."""
        return self.precision + standard_error(self.n_hits, self.n)


class TallyTable(Mapping[Anchor, Tally]):
    """The tally of each anchor, in the order in which the anchors came."""

    def __init__(self) -> None:
        self._places: dict[Anchor, int] = {}
        self._extensions: dict[Anchor, Int[np.ndarray, " predicates"]] = {}
        self._latest: tuple[Sequence[Anchor], Int[np.ndarray, " anchors"]] = ((), np.zeros(0, dtype=np.intp))
        # The last value is that of an anchor without a place, for which -1 stands: it stays 0.
        self._n: Int[np.ndarray, " places"] = np.zeros(64, dtype=np.int64)
        self._n_hits: Int[np.ndarray, " places"] = np.zeros(64, dtype=np.int64)

    def __getitem__(self, anchor: Anchor) -> Tally:
        place = self._places[anchor]
        return Tally(int(self._n[place]), int(self._n_hits[place]))

    def __setitem__(self, anchor: Anchor, tally: Tally) -> None:
        place = self._places.setdefault(anchor, len(self._places))
        self._make_room()
        self._n[place], self._n_hits[place] = tally.n, tally.n_hits

    def __iter__(self) -> Iterator[Anchor]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def n_drawn(self, anchor: Anchor) -> int:
        """Rows of an anchor."""
        return int(self._n[self._places.get(anchor, -1)])

    def counts(self, anchors: Sequence[Anchor]) -> tuple[Int[np.ndarray, " anchors"], Int[np.ndarray, " anchors"]]:
        """Hits and rows of each anchor; 0 of one that was never looked at."""
        places = self._places_of(anchors)
        return self._n_hits[places], self._n[places]

    def _places_of(self, anchors: Sequence[Anchor]) -> Int[np.ndarray, " anchors"]:
        """The place of each anchor, -1 where it has none; remembered of a list that is asked about again and again."""
        latest, places = self._latest
        if anchors is not latest:
            places = np.array([self._places.get(anchor, -1) for anchor in anchors], dtype=np.intp)
            if (places >= 0).all():  # and so for good
                self._latest = anchors, places
        return places

    def add(self, anchor: Anchor, n: int, n_hits: int) -> None:
        """Counts further rows of an anchor."""
        before = self.get(anchor, Tally())
        self[anchor] = Tally(before.n + n, before.n_hits + n_hits)

    def learn_pool(self, anchor: Anchor, n: int, n_hits: int) -> None:
        """Takes in what is now known of all draws of an anchor, where they were not more already."""
        if n >= self.n_drawn(anchor):
            self[anchor] = Tally(n, n_hits)

    def learn_extensions(
        self, anchor: Anchor, n: Int[np.ndarray, " predicates"], n_hits: Int[np.ndarray, " predicates"]
    ) -> None:
        """As `learn_pool`, of the anchor with each further predicate.

        Several parents may inform about one of these with overlapping rows: the larger count is kept, none is added.
        """
        places = self._extensions.get(anchor)
        if places is None:
            extensions = extended(anchor, n.size)
            places_of = self._places
            places = np.array([places_of.setdefault(one, len(places_of)) for one in extensions], dtype=np.intp)
            self._extensions[anchor] = places
            self._make_room()
        larger = np.flatnonzero(n >= self._n[places])
        places = places[larger]
        self._n[places], self._n_hits[places] = n[larger], n_hits[larger]

    def _make_room(self) -> None:
        while len(self._places) >= self._n.size:
            self._n, self._n_hits = (np.concatenate([part, np.zeros_like(part)]) for part in (self._n, self._n_hits))


@lru_cache(maxsize=256)
def extended(anchor: Anchor, n_predicates: int) -> tuple[Anchor, ...]:
    """The anchor with each predicate, itself for those that it has; remembered, as searches begin alike."""
    found: list[Anchor] = []
    for place, (before, after) in enumerate(pairwise((-1, *anchor, n_predicates))):
        head, tail = anchor[:place], anchor[place:]
        found += [(*head, k, *tail) for k in range(before + 1, after)]
        found += [anchor] * (after < n_predicates)
    return tuple(found)
