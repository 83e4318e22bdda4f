"""Beam search that asks margins which anchors are worth certifying, where the predictor has scores.

A regression of the margins (`margin_model`) guesses the precision of every anchor from the rows at hand, and the rows
of an anchor correct the guess about it. The shortest anchor that looks certifiable is submitted, again and again; what
is accepted is decided by labels of fresh rows, as in the beam search. Where margins explain little, or the guesses
were wrong several times, the search goes on as the beam search that it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch_anchors.search.beam import FIRST_LOOK, Beam, searched
from torch_anchors.search.bounds import kl_bernoulli
from torch_anchors.search.certify import ACCEPTANCE_SHARE, Certifier
from torch_anchors.search.margin_model import MarginModel
from torch_anchors.search.protocol import Anchor, Asking, SampleCounts, Search, SearchConfig, SearchSpace

GUESS_ROWS = 8
"""Rows that the guess of an anchor's precision is worth, against rows of its own."""
LEAST_EXPLAINED = 0.3
"""Share of the variance of margins that effects must explain for their guesses to be followed."""
OPTIMISM = 1.5
"""Standard errors above its estimate at which an anchor may be certifiable: a shorter one is worth a try."""
CLEAR = 0.9
"""Share of the variance of margins from which on effects are taken to explain everything."""
FEW = 4
"""Predicates of an anchor that is shortened by margins alone."""
LONG = 8
"""An anchor of more predicates than this is halved, and halved again, to find how many of them it needs."""
ATTEMPTS = 3
"""Anchors of one size that are submitted before the next size is tried."""
ROWS_PER_EFFECT = 6
"""Rows without which the effect of one more predicate of an anchor is not believed, while more rows are to be had."""
MOST_PER_PREDICATE, MOST_ROWS = 8, 1000
"""Rows of the empty anchor from which effects are learned: at most so many for each predicate, and in all."""


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
            self.model.add(reply.keep, reply.margins)

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
            known = self.model.n // ROWS_PER_EFFECT if self.model.n < most else self.largest()
            anchor = next(self.worthwhile(min(known, self.largest())), None)
            if anchor is None:
                if self.model.n >= most:
                    return None
                n = min(max(self.model.n // 2, self.config.round_rows), self.config.batch_size)
                yield from self.sample([()], n)
                continue
            found = yield from self.try_guess(anchor)
            if found is not None:
                return found
        return None

    def worthwhile(self, largest: int) -> Iterator[Anchor]:
        """Anchors of at most `largest` predicates that look certifiable, the shortest first."""
        if self.model.explained < LEAST_EXPLAINED:
            return
        order, guesses = self.model.ranked(sorted(self.space.excluded))
        for size in range(1, min(largest, len(order)) + 1):
            anchor = tuple(sorted(order[:size].tolist()))
            if self.is_open(anchor) and self.is_affordable(self.hoped_for(anchor, guesses[size])):
                yield anchor

    def is_open(self, anchor: Anchor) -> bool:
        """Whether nothing has been decided about an anchor, and few of its size were tried."""
        decided = anchor in self.tried or anchor in self.tested or anchor in self.exact
        return not decided and self.attempts[len(anchor)] < ATTEMPTS

    def hoped_for(self, anchor: Anchor, guess: float) -> float:
        """The precision that an anchor may have: the guess, corrected by the anchor's own rows, and optimism."""
        (hits,), (n,) = (of.tolist() for of in self.counts([anchor]))
        mean = (GUESS_ROWS * guess + hits) / (GUESS_ROWS + n)
        return mean + OPTIMISM * math.sqrt(mean * (1 - mean) / (GUESS_ROWS + n))

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
            if anchor not in self.exact and (len(anchor) <= FEW or self.model.explained >= CLEAR):
                return anchor
        return (yield from super(Guided, self).shorten(anchor))

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
        guessed = {part: self.hoped_for(part, self.model.precision(part)) for part in parts if self.is_open(part)}
        parts = sorted((part for part in guessed if self.is_affordable(guessed[part])), key=lambda part: -guessed[part])
        return [*dict.fromkeys([*self.worthwhile(len(anchor) - 1), *parts[:ATTEMPTS]])]


def guided_search(space: SearchSpace, config: SearchConfig) -> Search:
    """`beam_search` that follows margins where the predictor has scores; it promises the same."""
    return (yield from searched(Guided(space, config, Certifier(config))))
