"""Beam search that asks margins which anchors are worth certifying, where the predictor has scores.

A regression of the margins (`margin_model`) guesses the precision of every anchor from the rows at hand, and the rows
of an anchor correct the guess about it. The shortest anchor that looks certifiable is submitted, again and again; what
is accepted is decided by labels of fresh rows, as in the beam search. Rows to learn from are drawn where both answers
occur. Where margins explain little, or the guesses were wrong several times, the search goes on as the beam search that
it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from torch_anchors.search.beam import FIRST_LOOK, Beam
from torch_anchors.search.bounds import kl_bernoulli
from torch_anchors.search.certify import ACCEPTANCE_SHARE, Certificate
from torch_anchors.search.margin_model import MarginModel
from torch_anchors.search.protocol import Anchor, Asking, SampleCounts

GUESS_ROWS = 8
"""Rows that the guess of an anchor's precision is worth, against rows of its own."""
LEAST_EXPLAINED = 0.3
"""Share of the variance of margins that effects must explain for their guesses to be followed."""
OPTIMISM = 1.5
"""Standard errors above its estimate at which an anchor may be certifiable: a shorter one is worth a try."""
CLEAR = 0.9
"""Share of the variance of margins from which on effects are taken to explain everything."""
LONG = 8
"""An anchor of more predicates than this is halved, and halved again, to find how many of them it needs."""
ATTEMPTS = 3
"""Anchors of one size that are submitted before the next size is tried."""
ROWS_PER_EFFECT = 6
"""Rows without which the effect of one more predicate of an anchor is not believed, while more rows are to be had."""
MOST_PER_PREDICATE, MOST_ROWS = 8, 1000
"""Rows from which effects are learned before any guess is tried: at most so many for each predicate, and in all."""
LOOK_ROWS = 4
"""Rows after which an anchor that is looked at may be given up."""
SIZES_AT_ONCE = 16
"""Sizes whose guesses are computed together."""


@dataclass(slots=True)
class Guided(Beam):
    """The search itself. `tried` are the guesses tried; `attempts` counts those of each size that were not accepted."""

    model: MarginModel = field(init=False)
    tried: set[Anchor] = field(default_factory=set)
    attempts: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super(Guided, self).__post_init__()
        self.model = MarginModel(self.space.n_predicates, self.space.p_keep)

    def learn(self, anchor: Anchor, reply: SampleCounts) -> None:
        """As of every search, with the margins."""
        super(Guided, self).learn(anchor, reply)
        if reply.keep is not None and reply.margins is not None and reply.n:
            self.model.add(reply.keep, reply.margins, anchor)

    def first_look(self) -> Asking[None]:
        """As many rows as one round has; those that labels alone need follow where there are no margins."""
        n = min(max(FIRST_LOOK, self.config.round_rows), self.first_n())
        yield from self.sample([()], n)
        if not self.model.n and n < self.first_n():
            yield from self.sample([()], self.first_n() - n)

    def grow(self) -> Asking[Anchor | None]:
        """An accepted anchor that margins point to or, where they do not, one that the beam search finds."""
        found = yield from self.guided()
        return found if found is not None else (yield from super(Guided, self).grow())

    def guided(self) -> Asking[Anchor | None]:
        """The shortest anchor that looks certifiable, once one is accepted; None where margins do not help."""
        if self.enumerable((), self.config.enumerate_below):
            return None  # all rows are few: no guess is needed
        most = min(max(MOST_PER_PREDICATE * self.space.n_predicates, self.config.batch_size), MOST_ROWS)
        while self.model.n:
            self.model.fit()
            believed = min(self.model.n // ROWS_PER_EFFECT, self.largest())
            anchor = next(self.worthwhile(believed if self.model.n < most else self.largest()), None)
            if anchor is None:
                if self.model.n >= most:
                    return None
                n = min(max(self.model.n // 2, self.config.round_rows), self.config.batch_size)
                yield from self.sample([self.even(believed)], n)
                continue
            found = yield from self.try_guess(anchor)
            if found is not None:
                return found
        return None

    def even(self, largest: int) -> Anchor:
        """Of the guesses up to this size the longest that fails at least as often as it holds.

        Where the empty anchor hardly ever holds, its rows are all alike. Those of this one show what is still missing.
        """
        guesses = self.guesses(range(largest + 1))
        fails = np.flatnonzero(self.model.precisions(guesses) <= 0.5)
        return guesses[fails[-1]] if fails.size else ()

    def guesses(self, sizes: Sequence[int]) -> list[Anchor]:
        """The guesses of these sizes, as far as there are so many predicates: those of largest effect."""
        order = self.model.order(sorted(self.space.excluded))
        return [tuple(sorted(order[:size].tolist())) for size in sizes if size <= len(order)]

    def worthwhile(self, largest: int) -> Iterator[Anchor]:
        """Anchors of at most `largest` predicates that look certifiable, the shortest first."""
        if self.model.explained < LEAST_EXPLAINED:
            return
        for start in range(1, largest + 1, SIZES_AT_ONCE):
            anchors = self.guesses(range(start, min(start + SIZES_AT_ONCE, largest + 1)))
            for anchor, hope in zip(anchors, self.hopes(anchors), strict=True):
                if self.is_open(anchor) and self.is_affordable(hope):
                    yield anchor

    def is_open(self, anchor: Anchor) -> bool:
        """Whether nothing has been decided about an anchor, and few of its size were tried."""
        decided = anchor in self.tried or anchor in self.tested or anchor in self.exact
        return not decided and self.attempts[len(anchor)] < ATTEMPTS

    def hopes(self, anchors: Sequence[Anchor]) -> list[float]:
        """The precision that each anchor may have: the guess, corrected by its own rows, and optimism."""
        hits, n = self.model.counts(anchors)
        mean = (GUESS_ROWS * self.model.precisions(anchors) + hits) / (GUESS_ROWS + n)
        hopes: list[float] = (mean + OPTIMISM * np.sqrt(mean * (1 - mean) / (GUESS_ROWS + n))).tolist()
        return hopes

    def is_affordable(self, precision: float) -> bool:
        """Whether an anchor of this precision is expected to be accepted within `max_rows_candidate` rows."""
        config = self.config
        if precision <= config.threshold:
            return False
        j = len(self.certifier.certificates) + 1
        wanted = -math.log(ACCEPTANCE_SHARE * config.delta / (j * (j + 1)))
        return config.max_rows_candidate * float(kl_bernoulli(min(precision, 1.0), config.threshold)) >= wanted

    def try_guess(self, anchor: Anchor) -> Asking[Anchor | None]:
        """The anchor, or one that contains it, if it is accepted."""
        self.tried.add(anchor)
        self.order.setdefault(anchor, self.by_effect(anchor))
        if self.enumerable(anchor, self.config.enumerate_below):
            found = yield from self.finish_by_enumeration([anchor])
        else:
            found = yield from self.certify([anchor])
        if found is None:
            self.attempts[len(anchor)] += 1
        return found

    def n_fresh(self, certificate: Certificate) -> int:
        """As of every search, but in small steps where there are other guesses: a wrong one shows early."""
        wanted = super(Guided, self).n_fresh(certificate)
        return min(wanted, 2 * self.config.round_rows) if self.model.n else wanted

    def is_worth_enumerating(self, certificate: Certificate) -> bool:
        """As of every search, but not where there are other guesses and this one rather fails."""
        likely = not self.model.n or certificate.precision >= self.config.threshold
        return likely and super(Guided, self).is_worth_enumerating(certificate)

    def by_effect(self, anchor: Anchor) -> Anchor:
        """The predicates of an anchor, those of largest effect first."""
        return tuple(sorted(anchor, key=lambda k: -self.model.effects[k]))

    def shorten(self, anchor: Anchor) -> Asking[Anchor]:
        """As of the beam search, but that margins are asked first which shorter anchors are worth a test.

        Where effects do not explain nearly everything, an anchor that stays long was no good guess. It is shortened by
        labels as well, and so is one whose rows were all tried, as its parts have few more.
        """
        if self.model.n and self.model.explained >= LEAST_EXPLAINED:
            anchor = yield from self.shorten_by_margins(anchor)
            if anchor not in self.exact and self.model.explained >= CLEAR:
                return anchor
        return (yield from super(Guided, self).shorten(anchor))

    def look_at(self, anchors: Sequence[Anchor]) -> Asking[None]:
        """As of the beam search, but that an anchor whose first rows speak against it gets no more of them."""
        if not self.model.n:
            yield from super(Guided, self).look_at(anchors)
            return
        step = max(self.config.round_rows // max(len(anchors), 1), LOOK_ROWS)
        yield from self.sample(anchors, 0)
        while open_ones := [anchor for anchor in anchors if self.is_unclear(anchor)]:
            yield from self.sample(open_ones, [min(step, FIRST_LOOK - self.n_drawn(one)) for one in open_ones])

    def is_unclear(self, anchor: Anchor) -> bool:
        """Whether an anchor has too few rows to be judged, and none that speak against it."""
        n = self.n_drawn(anchor)
        return n < FIRST_LOOK and (not n or self.tallies[anchor].optimistic >= self.config.threshold)

    def shorten_by_margins(self, anchor: Anchor) -> Asking[Anchor]:
        """The anchor without predicates that margins, and then labels of fresh rows, say it does not need."""
        too_short = 0
        while anchor:
            self.model.fit()
            found = yield from self.first_accepted(self.shorter(anchor), len(anchor))
            if found is None and len(anchor) > LONG and len(anchor) - too_short > 1:
                strongest = self.by_effect(anchor)[: (too_short + len(anchor)) // 2]
                found = yield from self.first_accepted([tuple(sorted(strongest))], len(anchor))
                too_short = too_short if found is not None else len(strongest)
            elif found is None:
                return anchor
            anchor = anchor if found is None else found
        return anchor

    def first_accepted(self, anchors: Sequence[Anchor], size: int) -> Asking[Anchor | None]:
        """The first anchor of fewer than `size` predicates that comes of trying some."""
        for anchor in anchors:
            found = yield from self.try_guess(anchor)
            if found is not None and len(found) < size:
                return found
        return None

    def shorter(self, anchor: Anchor) -> list[Anchor]:
        """Anchors of fewer predicates that may be certifiable: the best guesses, and parts of this anchor."""
        parts = [tuple(k for k in anchor if k != drop) for drop in anchor]
        parts = [part for part in parts if self.is_open(part)]
        hopes = dict(zip(parts, self.hopes(parts), strict=True))
        parts = sorted((part for part in parts if self.is_affordable(hopes[part])), key=lambda part: -hopes[part])
        return [*dict.fromkeys([*self.worthwhile(len(anchor) - 1), *parts[:ATTEMPTS]])]
