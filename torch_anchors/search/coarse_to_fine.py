"""A search that learns from large parts of an instance before it looks at small ones, where there are `levels` of them.

Rows in which the predicates of a group hold together tell which groups matter. Those that an anchor seems to need are
split, and rows in which their parts hold or do not hold tell which of these matter, until nothing is left to split: as
ReX does (Chockler, Kelly, Kroening and Sun, "Causal Explanations for Image Classifiers", 2024), but that all that does
not matter varies all the while. What is submitted is an anchor of the finest predicates, and it is tested on draws of
it as every anchor is: so the certificate means what it means without levels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from torch_anchors.errors import ArgumentError
from torch_anchors.search.beam import Beam, searched
from torch_anchors.search.certify import Certifier
from torch_anchors.search.guided import MOST_ROWS, Guided
from torch_anchors.search.protocol import Anchor, Asking, GroupedRows, Search, SearchConfig, SearchSpace

ROWS_PER_GROUP = 4
"""Rows of each round for each group that is looked at."""
WIDER = 1.25
"""An anchor that was not accepted is followed by one of so many times its size, at least."""
FINE = 4
"""An accepted anchor is shortened until the step is less than its size through this."""


@dataclass(slots=True)
class _Groups:
    """A partition of the predicates: the group of each (K,), and of each group whether it cannot be split further."""

    levels: NDArray[np.int64]  # (levels + 1, K), the last one each predicate by itself
    depth: NDArray[np.int64]  # (K,): at which level the group of each predicate is

    def of(self) -> NDArray[np.int64]:
        """The group of each predicate (K,), numbered from 0; groups of different levels have different numbers."""
        own = self.levels[self.depth, np.arange(self.depth.size)]
        return np.unique(np.stack([self.depth, own]), axis=1, return_inverse=True)[1].ravel()

    def split(self, members: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Goes a level down in the groups of these predicates (K,) that are no single ones; which ones those are."""
        coarse = members & (self.depth < len(self.levels) - 1)
        self.depth = self.depth + coarse
        return coarse


@dataclass(slots=True)
class CoarseToFine(Guided):
    """The search itself; `has_margins` says whether the predictor has scores, as far as is known."""

    groups: _Groups = field(init=False)
    has_margins: bool = True

    def __post_init__(self) -> None:
        super(CoarseToFine, self).__post_init__()
        n = self.space.n_predicates
        self.groups = _Groups(np.stack([*self.space.levels, np.arange(n)]), np.zeros(n, dtype=np.int64))

    def grow(self) -> Asking[Anchor | None]:
        """An accepted anchor of the parts that matter or, where none is found, one that the other searches find.

        Where even all predicates that an anchor may have do not suffice, no further one is looked for: a beam search
        among so many would take a hundred thousand rows to say the same.
        """
        if self.enumerable((), self.config.enumerate_below):
            return (yield from super(CoarseToFine, self).grow())
        yield from self.resolve()
        found = yield from self.climb(self.by_effects())
        if found is not None or tuple(sorted(self.by_effects())) in self.tried:
            return found
        return (yield from super(CoarseToFine, self).grow() if self.has_margins else Beam.grow(self))

    # ----------------------------------------------------------------------------------------------- learning

    def resolve(self) -> Asking[None]:
        """Draws rows of groups, and splits those that an anchor seems to need, until these are single predicates."""
        looked_at = np.ones(self.space.n_predicates, dtype=bool)
        while looked_at.any() and self.model.n < MOST_ROWS:
            # What is not looked at varies as in every draw of an anchor, each predicate by itself.
            groups = np.where(looked_at, self.groups.of(), self.space.n_predicates + np.arange(looked_at.size))
            n_groups = len(np.unique(groups[looked_at]))
            n = min(max(ROWS_PER_GROUP * n_groups, self.config.round_rows), self.config.batch_size)
            reply = yield from self.draw_groups(np.unique(groups, return_inverse=True)[1].tolist(), n)
            self.learn_groups(reply)
            needed = self.needed()
            looked_at = self.groups.split(needed)

    def learn_groups(self, reply: GroupedRows) -> None:
        """As of every search; where there are no margins, a hit is one of 1 and a miss one of -1."""
        self.has_margins = reply.margins is not None
        margins = np.where(reply.hits, 1.0, -1.0) if reply.margins is None else reply.margins
        if len(margins):
            self.model.add(reply.keep, margins)
            self.model.fit()

    def needed(self) -> NDArray[np.bool_]:
        """The groups of largest effect that together may be certifiable, as their predicates (K,)."""
        groups = self.groups.of()
        allowed = ~np.isin(np.arange(groups.size), list(self.space.excluded))
        size = np.bincount(groups, allowed)
        effect = np.bincount(groups, np.where(allowed, self.model.effects, 0.0)) / np.maximum(size, 1)
        order = np.argsort(-np.where(size > 0, effect, -np.inf), kind="stable")[: int((size > 0).sum())]
        needed = np.zeros(groups.size, dtype=bool)
        for group in order:
            needed |= (groups == group) & allowed
            (guess,) = self.model.precisions([tuple(np.flatnonzero(needed).tolist())])
            if self.is_affordable(guess):
                break
        return needed

    def by_effects(self) -> Anchor:
        """The predicates that an anchor may have, those of largest effect first."""
        return tuple(self.model.order(sorted(self.space.excluded)).tolist())

    # --------------------------------------------------------------------------------------------- certifying

    def climb(self, order: Anchor) -> Asking[Anchor | None]:
        """The first of longer and longer anchors that is accepted, of those that look certifiable.

        Where none does, guesses may be wrong: the next is of twice the size, which costs little beside a beam search.
        """
        size, most = 0, min(self.largest(), len(order))
        while self.model.n and size < most:
            promising = self.promising(order, max(size + 1, round(WIDER * size)))
            size = promising if promising <= most else min(max(2 * size, 1), most)
            anchor = tuple(sorted(order[:size]))
            found = yield from self.try_guess(anchor)
            if found is not None:
                return found
            self.model.fit()
            order = self.by_effects()
        return None

    def promising(self, order: Anchor, least: int) -> int:
        """How many predicates, at least so many, an anchor needs in order to look certifiable."""
        for size in range(least, len(order) + 1):
            (hope,) = self.hopes([tuple(sorted(order[:size]))])
            if self.is_affordable(hope):
                return size
        return len(order) + 1

    def shorten(self, anchor: Anchor) -> Asking[Anchor]:
        """The anchor without those of its predicates that matter least, halving what is between enough and too few."""
        if anchor in self.exact or not self.model.n:
            return (yield from Beam.shorten(self, anchor))
        tried = [len(other) for other in self.tested if set(other) < set(anchor)]
        too_few = max(tried, default=0)
        while len(anchor) - too_few > max(1, len(anchor) // FINE):
            self.model.fit()
            half = tuple(sorted(self.by_effect(anchor)[: (len(anchor) + too_few) // 2]))
            found = yield from self.certify([half]) if half not in self.tested else ()
            anchor, too_few = (anchor, len(half)) if not found else (found, too_few)
        return anchor


def coarse_to_fine_search(space: SearchSpace, config: SearchConfig) -> Search:
    """`guided_search` that learns from groups of predicates first; it promises the same.

    Raises:
        ArgumentError: the space has no levels.
    """
    if not space.levels:
        raise ArgumentError(
            "method must be 'auto', 'guided' or 'beam' here: 'coarse_to_fine' needs superpixels within superpixels. "
            "Make the explainer with segmentation_fn='hierarchy'."
        )
    return searched(CoarseToFine(space, config, Certifier(config)))
