"""Search led by margins where predicates act together: the rows go to the anchor of the best prospects.

A Gaussian process of the margin (`margin_process`) says by what chance each anchor would be certified, and after how
many rows. A predicate has a price in rows, so that an anchor costs what its predicates do, and its rows through its
chance. The cheapest one is tested until a row speaks against it, all are asked again, and the search ends when no
shorter anchor is cheaper than the one that is accepted. That is best where chances and costs are known and independent
(Weitzman, "Optimal search for the best alternative", Econometrica 1979). Before anything rather passes than not, rows
are drawn of the anchors that would be best in most of the functions drawn (Thompson, Biometrika 1933). What is accepted
is decided by labels of fresh rows, as in the beam search. A test that was left is gone on with where it stood: when to
draw its next rows may depend on anything known by then, as the bound holds at all times, and rows that were drawn to
learn from never count for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from torch_anchors.search.beam import Beam, searched
from torch_anchors.search.bounds import log_wealth_of
from torch_anchors.search.certify import ACCEPTANCE_SHARE, Certifier
from torch_anchors.search.exact import TOLERANCE, sizes_of
from torch_anchors.search.guided import CLEAR, Guided
from torch_anchors.search.margin_process import MarginProcess
from torch_anchors.search.prospects import MIXTURE, Prospects, Trials
from torch_anchors.search.protocol import Anchor, Asking, SampleRequest, Search, SearchConfig, SearchSpace

MOST_PREDICATES = 12
"""Of so many predicates all masks are looked at; where there are more, effects are taken to add up."""
DEAR_ROUNDS = 32
"""Rows of a round up to which each of them costs more than a look at all masks does; see `SearchConfig.round_rows`."""
PRICE = 3
"""Rows that a predicate is worth, in `max_rows_candidate`."""
LIKELY = 0.5
"""Until an anchor passes by this chance, rows are drawn to learn from."""
POSSIBLE = 0.05
"""Share of the drawn functions of which a shorter anchor passes that is worth more rows to learn from."""
FEWEST_ROWS = 64
"""Rows without which no anchor is taken for the shortest."""
ENOUGH = 48
"""Rows that are drawn to learn from, one after the other, before the cheapest anchor is tested or none is."""
MOST_FITTED = 512
"""Masks that the process is fitted to, the first ones drawn: it takes their number to the third power."""
GROWTH = 1 / 32
"""Share by which the masks that the process is fitted to must have become more until it is fitted again."""
ARMS = 4
"""Anchors of which rows are drawn at once to learn from."""
OF_EACH_SIZE = 8
"""Anchors of each size that are looked at, those of the highest expected precision."""
FAILURES = 8
"""Anchors that may fail until the process is not believed any more."""


@dataclass(slots=True)
class Interactions(Guided):
    """The search itself.

    `drawn` are precisions of all anchors by the process as it was fitted last, to `n_fitted` masks, and `failed` the
    anchors whose tests ended without acceptance.
    """

    process: MarginProcess = field(init=False)
    drawn: NDArray[np.float32] = field(init=False)
    n_fitted: int = 0
    failed: set[Anchor] = field(default_factory=set)
    is_joint: bool = False

    def __post_init__(self) -> None:
        super(Interactions, self).__post_init__()
        self.process = MarginProcess(self.space.n_predicates, self.space.p_keep)

    def guided(self) -> Asking[Anchor | None]:
        """As of the search by effects where these explain nearly everything."""
        if not self.needs_process() or self.enumerable((), self.config.enumerate_below):
            return (yield from super(Interactions, self).guided())
        return (yield from self.cheaper(None))

    def shorten(self, anchor: Anchor) -> Asking[Anchor]:
        """The shortest anchor that is worth its rows; by labels where the process was wrong too often."""
        if not self.needs_process():
            return (yield from super(Interactions, self).shorten(anchor))
        while anchor and (shorter := (yield from self.cheaper(anchor))) is not None:
            anchor = shorter
        return anchor if self.is_believed() else (yield from Beam.shorten(self, anchor))

    def needs_process(self) -> bool:
        """Whether effects that add up leave something of the margins to be explained; so once, so for good."""
        if self.model.n and not self.is_joint and self.config.threshold < 1:
            self.model.fit()
            self.is_joint = self.model.explained < CLEAR
        return self.is_joint

    def is_believed(self) -> bool:
        """Whether few anchors failed that were taken to pass."""
        return sum(anchor in self.tested for anchor in self.failed) < FAILURES

    def cheaper(self, best: Anchor | None) -> Asking[Anchor | None]:
        """An accepted anchor that is shorter than `best`, or the first one; None where none is worth its rows."""
        longest = min(self.largest() if best is None else len(best) - 1, self.space.n_predicates)
        n_learned = 0
        while self.is_believed() and longest:
            draws = self.precisions()
            if not (anchors := self.candidates(draws, longest)):
                return None
            outlook = _Outlook(anchors, draws[[_code(anchor) for anchor in anchors]], self.trials(anchors))
            anchor, cost, chance = outlook.cheapest(self.price)
            if best is None:
                is_worth_it, is_worth_learning = chance >= LIKELY or n_learned >= ENOUGH, True
            else:
                is_worth_it = cost < self.price * len(best)
                is_worth_learning = self.model.n < FEWEST_ROWS or (n_learned < ENOUGH and outlook.passing > POSSIBLE)
                is_worth_learning |= not n_learned and best in self.exact  # that it is accepted says nothing of margins
            if is_worth_it:
                found = yield from self.test(anchor)
                if found is not None and len(found) <= longest:
                    return found
            elif is_worth_learning:
                arms = outlook.arms() if best is None or outlook.passing else self.parts(best)
                yield from self.sample(arms, -(-self.config.round_rows // len(arms)))
            else:
                return None
            n_learned = 0 if is_worth_it and best is None else n_learned + self.config.round_rows
        return None

    def parts(self, anchor: Anchor) -> list[Anchor]:
        """The anchor without each of its predicates, as far as that may still be accepted."""
        parts = [tuple(k for k in anchor if k != drop) for drop in anchor]
        return [part for part in parts if part not in self.failed and part not in self.exact] or [()]

    @property
    def price(self) -> float:
        """Rows that a predicate is worth."""
        return PRICE * float(self.config.max_rows_candidate)

    def precisions(self) -> NDArray[np.float32]:
        """Draws of the precision of every anchor (2^K, draws), below 0 where it may not be returned."""
        n_masks = 1 << self.space.n_predicates
        keep, margins = self.model.masks(MOST_FITTED)
        if len(keep) > self.n_fitted * (1 + GROWTH):
            self.process.fit(keep, margins)
            self.drawn, self.n_fitted = self.process.precisions(), len(keep)
        draws = self.drawn.copy()
        low = [anchor for anchor, precision in self.exact.items() if precision < self.config.threshold - TOLERANCE]
        draws[[_code(anchor) for anchor in (*low, *self.failed)]] = -1
        if self.space.excluded:
            draws[np.arange(n_masks) & _code(self.space.excluded) != 0] = -1
        return draws

    def candidates(self, draws: NDArray[np.float32], longest: int) -> list[Anchor]:
        """The anchors of each size that are expected to be the most precise."""
        mean, found = draws.mean(axis=1), []
        for codes in _codes_by_size(self.space.n_predicates)[1 : longest + 1]:
            n = min(OF_EACH_SIZE, len(codes))
            best = codes[np.argpartition(-mean[codes], n - 1)[:n]]
            found += best[mean[best] >= 0].tolist()
        return [tuple(k for k in range(self.space.n_predicates) if code >> k & 1) for code in found]

    def trials(self, anchors: Sequence[Anchor]) -> Trials:
        """The tests of some anchors, as far as they have come."""
        config, j = self.config, len(self.certifier.certificates) + 1
        unknown = -math.log(ACCEPTANCE_SHARE * config.delta / (j * (j + 1))) + MIXTURE
        needed, left = np.full((len(anchors), 1), unknown), np.full((len(anchors), 1), float(config.max_rows_candidate))
        for i, anchor in enumerate(anchors):
            if (certificate := self.tested.get(anchor)) is not None:
                wealth = log_wealth_of(certificate.n_hits, certificate.n - certificate.n_hits, config.threshold)
                needed[i], left[i] = max(-math.log(certificate.alpha) - wealth, 0.1), left[i] - certificate.n
        n_rows = [self.space.n_rows(anchor) for anchor in anchors]
        distinct = np.array([[math.inf if n is None else float(n)] for n in n_rows]).reshape(-1, 1)
        return Trials(config.threshold, needed, left, distinct, config.max_rows_candidate)

    def test(self, anchor: Anchor) -> Asking[Anchor | None]:
        """The anchor, or one that contains it, if it is accepted before a row speaks against it."""
        self.order.setdefault(anchor, self.by_effect(anchor))
        if self.enumerable(anchor, self.config.enumerate_below):
            found = yield from self.finish_by_enumeration([anchor])
            self.failed.update(() if found == anchor else (anchor,))
            return found
        if anchor not in self.tested:
            self.tested[anchor] = self.certifier.submit(anchor)
        certificate, are_hits = self.tested[anchor], True
        while are_hits and not certificate.accepted:
            (reply,) = yield from self.count([SampleRequest(anchor, self.n_fresh(certificate))])
            certificate.add(reply.n, reply.n_hits)
            self.learn(anchor, reply)
            are_hits = reply.n_hits == reply.n
        if certificate.accepted:
            return anchor
        if not certificate.rejected and certificate.undecidable and self.is_worth_enumerating(certificate):
            return anchor if (yield from self.enumerate_alone(anchor)) else None
        self.failed.update((anchor,) if certificate.hopeless else ())
        return None


@dataclass(frozen=True, slots=True)
class _Outlook:
    """What is expected of some anchors: draws of their precisions (anchors, draws), and their tests."""

    anchors: list[Anchor]
    draws: NDArray[np.float32]
    trials: Trials

    def cheapest(self, price: float) -> tuple[Anchor, float, float]:
        """The anchor that costs least where a predicate has this price, its cost, and its chance to pass."""
        prospects = Prospects.of(self.draws, self.trials)
        with np.errstate(divide="ignore"):
            costs = price * np.array([len(anchor) for anchor in self.anchors]) + prospects.rows / prospects.chance
        cheapest = int(costs.argmin())
        return self.anchors[cheapest], float(costs[cheapest]), float(prospects.chance[cheapest])

    @property
    def passing(self) -> float:
        """Share of the draws in which an anchor passes its test."""
        return float(self.trials.pass_at(self.draws.astype(np.float64)).any(axis=0).mean())

    def arms(self) -> list[Anchor]:
        """The anchors that are best in most of the draws: the shortest that pass, or the most precise."""
        passes = self.trials.pass_at(self.draws.astype(np.float64))
        sizes = np.array([[len(anchor)] for anchor in self.anchors])
        worth = self.draws + np.where(passes, 1 + sizes.max() - sizes, 0)
        best, counts = np.unique(worth.argmax(axis=0), return_counts=True)
        return [self.anchors[i] for i in best[np.argsort(-counts, kind="stable")[:ARMS]]]


def _code(predicates: Anchor | frozenset[int]) -> int:
    """Bit k says that predicate k is one of these."""
    return sum(1 << k for k in predicates)


@lru_cache(maxsize=MOST_PREDICATES)
def _codes_by_size(n_predicates: int) -> list[NDArray[np.intp]]:
    """The codes of the anchors of each size, from 0 to K."""
    sizes = sizes_of(n_predicates)
    return [np.flatnonzero(sizes == size) for size in range(n_predicates + 1)]


def guided_search(space: SearchSpace, config: SearchConfig) -> Search:
    """`beam_search` that follows margins where the predictor has scores; it promises the same."""
    n_masks = 1 << space.n_predicates
    # Where a mask has several rows, as with several backgrounds, or of a model that does not repeat itself, what was
    # seen of one does not say what comes next of it.
    is_one_row = space.independent and space.n_rows(()) == n_masks
    is_worth_it = space.n_predicates <= MOST_PREDICATES and config.round_rows <= DEAR_ROUNDS
    kind = Interactions if is_one_row and is_worth_it else Guided
    return (yield from searched(kind(space, config, Certifier(config))))
