"""Beam search for a short anchor whose precision is certified.

Ribeiro, Singh and Guestrin, "Anchors: High-Precision Model-Agnostic Explanations" (AAAI 2018), grow anchors predicate
by predicate and keep, at each size, the best few (their algorithm 2, with KL-LUCB for the choice). This search keeps
that shape and changes what made it costly or wrong: an anchor is accepted on fresh rows only (`certify`), where
predicates are independent one row informs about all extensions at once, an anchor with few distinct rows is
enumerated, and predicates that turn out not to be needed are dropped at the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from torch_anchors.search.bounds import log_wealth_below, lower_bound, lower_bound_of, standard_errors, upper_bound
from torch_anchors.search.budget import BudgetSpent
from torch_anchors.search.certify import UNTESTED_SHARE, Certifier
from torch_anchors.search.exact import TOLERANCE, best_superset, exact_result
from torch_anchors.search.protocol import (
    Anchor,
    Asking,
    SampleRequest,
    Search,
    SearchConfig,
    SearchResult,
    SearchSpace,
    Status,
    Step,
)
from torch_anchors.search.tallies import Tallies
from torch_anchors.search.tally_table import Tally, extended

FIRST_LOOK = 12
"""Rows of a candidate before it may be judged. A random 12 of 12 hits has chance 0.002 at a precision of 0.6."""

SELECTION_CAP = 4
"""Selection stops, as good as it is, at this many times `min_samples_start` rows of one anchor."""


@dataclass(slots=True)
class Beam(Tallies):
    """The search itself. `order` tells in which order the predicates of an anchor were added."""

    order: dict[Anchor, Anchor] = field(default_factory=dict)

    def find(self) -> Asking[Anchor | None]:
        """An accepted anchor, or None when the search space is exhausted."""
        yield from self.first_look()
        found = yield from self.try_ready([()], at_last=False)
        return found if found is not None else (yield from self.grow())

    def largest(self) -> int:
        """Most predicates that an anchor may have."""
        return min(self.config.max_anchor_size or self.space.n_predicates, self.space.n_predicates)

    def grow(self) -> Asking[Anchor | None]:
        """An accepted anchor, grown from the empty one predicate by predicate."""
        found: Anchor | None = None
        parents: list[Anchor] = [()]
        size, largest = 0, self.largest()
        while found is None and size < largest and parents:
            if all(self.enumerable(parent, self.config.enumerate_below) for parent in parents):
                return (yield from self.finish_by_enumeration(parents))
            found, parents = yield from self.level(parents)
            size += 1
        return found

    def first_look(self) -> Asking[None]:
        """The first rows of the empty anchor."""
        yield from self.sample([()], self.first_n())

    def first_n(self) -> int:
        """Rows of the empty anchor that show about `FIRST_LOOK` rows of each predicate."""
        p_keep = max(self.space.p_keep, 1 / self.config.batch_size)  # 0 where nothing beside the anchor is shown
        wanted = math.ceil(FIRST_LOOK / p_keep) if self.space.independent else FIRST_LOOK
        return min(max(wanted, self.config.round_rows), self.config.batch_size)

    def children(self, parents: Sequence[Anchor]) -> list[Anchor]:
        """All extensions of `parents` by one predicate, each once."""
        found: dict[Anchor, None] = {}
        for parent in parents:
            order, extensions = self.order.get(parent, parent), extended(parent, self.space.n_predicates)
            for k in self.space.allowed(parent):
                found[extensions[k]] = None
                self.order.setdefault(extensions[k], (*order, k))
        return list(found)

    def level(self, parents: Sequence[Anchor]) -> Asking[tuple[Anchor | None, list[Anchor]]]:
        """An accepted extension of `parents`, or None, and the `beam_size` best extensions.

        Samples until every arm had `min_samples_start` rows and the best are told from the others.
        """
        config, children = self.config, self.children(parents)
        arms = self.arms(parents, children)
        if self.space.independent:
            # Extensions of a parent that has rows enough from smaller anchors have not been counted yet.
            yield from self.sample([arm for arm in arms if self.n_drawn(arm) >= config.min_samples_start], 0)
        while True:
            short = [arm for arm in arms if self.n_drawn(arm) < config.min_samples_start]
            found = yield from self.try_ready(children, at_last=not short)
            if found is not None:
                return found, []
            if short:
                yield from self.sample(short, min(max(config.round_rows, FIRST_LOOK), config.batch_size))
                continue
            kept, contenders = self.select(children)
            cap = SELECTION_CAP * config.min_samples_start
            open_arms = [arm for arm in self.informants(contenders, parents) if self.n_drawn(arm) < cap]
            if not open_arms:
                return None, kept
            yield from self.sample(open_arms, config.batch_size)

    def arms(self, parents: Sequence[Anchor], children: Sequence[Anchor]) -> Sequence[Anchor]:
        """What to draw rows of in order to learn about `children`: their parents if these share rows."""
        return parents if self.space.independent else children

    def try_ready(self, candidates: Sequence[Anchor], *, at_last: bool) -> Asking[Anchor | None]:
        """Submits the promising candidates, best first, until one is accepted."""
        while ready := self.ready(candidates, at_last):
            together = max(1, self.config.round_rows // self.config.batch_size)
            found = yield from self.certify(ready[:together])
            if found is not None:
                return found
        return None

    def ready(self, candidates: Sequence[Anchor], at_last: bool) -> list[Anchor]:
        """Candidates worth a test: estimates that reach the threshold or, at last, that may.

        Those of largest coverage come first (images have one coverage for each size), then those of most precision.
        """
        threshold = self.config.threshold
        hits, n = self.tallies.counts(candidates)
        estimates = hits / np.maximum(n, 1)
        if at_last:
            estimates = estimates + standard_errors(hits, n)
        ready = []
        for i in np.flatnonzero((n >= FIRST_LOOK) & (estimates >= threshold)).tolist():
            anchor = candidates[i]
            if anchor in self.tested or anchor in self.exact:
                continue
            if threshold >= 1 and not self.enumerable(anchor, self.config.max_rows_candidate):
                continue  # no finite sample shows that a precision is exactly 1
            ready.append(anchor)
        return sorted(ready, key=self.test_order)

    def test_order(self, anchor: Anchor) -> tuple[float, float, int, Anchor]:
        """What is sorted by to test the best first."""
        tally = self.tallies[anchor]
        return -self.space.coverage(anchor), -tally.precision, -tally.n, anchor

    def select(self, children: Sequence[Anchor]) -> tuple[list[Anchor], list[Anchor]]:
        """The `beam_size` best of `children`, and the two to sample next; none when the best are told apart.

        The kept are within `tau` of the best with probability 1 - delta. Kalyanakrishnan et al., "PAC Subset
        Selection in Stochastic Multi-armed Bandits" (ICML 2012): sample the weakest kept and the strongest dropped
        candidate until their bounds are `tau` apart. Any bounds that hold at all times make that stop valid; ours
        are the mixture bounds at level delta / (2 candidates).
        """
        if len(children) <= self.config.beam_size:
            return list(children), []
        hits, n = self.counts(children)
        ranking = np.argsort(-(hits + 1) / (n + 2), kind="stable")
        kept, dropped = np.split(ranking, [self.config.beam_size])
        goal = math.log(2 * len(children) / self.config.delta)
        alpha = math.exp(-goal)
        low = [lower_bound_of(*counts, alpha) for counts in zip(hits[kept].tolist(), n[kept].tolist(), strict=True)]
        near = min(low) + self.config.tau
        if near >= 1:
            return [children[i] for i in kept], []
        # An upper bound is below `near` where "precision >= near" is rejected: one test each instead of a root.
        against = log_wealth_below(hits[dropped], n[dropped] - hits[dropped], near)
        contenders = [children[kept[np.argmin(low)]], children[dropped[against.argmin()]]]
        return [children[i] for i in kept], [] if against.min() >= goal else contenders

    def informants(self, candidates: Sequence[Anchor], parents: Sequence[Anchor]) -> list[Anchor]:
        """The arms whose rows tell about `candidates`."""
        if not self.space.independent:
            return [c for c in candidates if c not in self.exact]
        return [p for p in parents if any(set(p) < set(c) for c in candidates)]

    def finish_by_enumeration(self, parents: Sequence[Anchor]) -> Asking[Anchor | None]:
        """The exact best of all anchors that contain one of `parents`, or None if none reaches the threshold."""
        replies = yield from self.enumerate(parents)
        found: list[Anchor] = []
        for parent, reply in zip(parents, replies, strict=True):
            anchor, self.exact[anchor] = best_superset(reply.hits, parent, self.space, self.config)
            added = tuple(k for k in anchor if k not in parent)
            self.order.setdefault(anchor, (*self.order.get(parent, parent), *added))
            if self.exact[anchor] >= self.config.threshold - TOLERANCE:
                found.append(anchor)
        return max(found, key=self.rank) if found else None

    def shorten(self, anchor: Anchor) -> Asking[Anchor]:
        """The accepted anchor without the predicates that it does not need, each shorter one accepted in turn."""
        while anchor:
            shorter = [tuple(k for k in anchor if k != drop) for drop in anchor]
            shorter = [a for a in shorter if a not in self.tested and a not in self.exact]
            yield from self.look_at([a for a in shorter if a])
            order = self.order.get(anchor, anchor)
            # An estimate from many rows, as the empty anchor mostly has, needs no allowance for chance.
            well_known = min(map(self.n_drawn, shorter), default=0) >= self.config.min_samples_start
            found = yield from self.try_ready(shorter, at_last=len(anchor) > 1 or not well_known)
            if found is None:
                return anchor
            self.order.setdefault(found, tuple(k for k in order if k in found))
            anchor = found
        return anchor

    def look_at(self, anchors: Sequence[Anchor]) -> Asking[None]:
        """Reads the pools of `anchors`, and draws what they lack of a first look."""
        while True:
            missing = [max(FIRST_LOOK - self.n_drawn(anchor), 0) for anchor in anchors]
            yield from self.sample(anchors, [min(n, self.config.batch_size) for n in missing])
            if max(missing, default=0) <= self.config.batch_size:
                return

    # ---------------------------------------------------------------------------------------------- reporting

    def fallback(self) -> Anchor:
        """The anchor to show when none was accepted: the one with the highest lower bound on its precision."""
        largest = self.config.max_anchor_size or self.space.n_predicates
        known = {**self.tallies, **self.exact}
        anchors = [anchor for anchor in known if len(anchor) <= largest and self.space.has(anchor)]
        hits, n = self.counts(anchors)
        return anchors[int(np.argmax(lower_bound(hits, n, self.config.delta)))]

    def last_resort(self, status: Status) -> Asking[tuple[Anchor, Status]]:
        """The anchor to show when none was accepted, and how the search then ended.

        Rows are drawn for it, as those that it was chosen by speak too well of it; they may even certify it.
        """
        if not self.tallies and not self.exact:
            self.tallies[()] = Tally()  # not one row was allowed
        anchor = self.fallback()
        n = self.budget.at_most(self.config.batch_size)
        if n == 0 or anchor in self.exact:
            return anchor, status
        certificate = self.certifier.submit(anchor)
        (reply,) = yield from self.count([SampleRequest(anchor, n)])
        certificate.add(reply.n, reply.n_hits)
        self.tested[anchor] = certificate
        if certificate.accepted:
            status = Status.CERTIFIED if anchor else Status.EMPTY_HOLDS
        return anchor, status

    def path(self, anchor: Anchor) -> Asking[tuple[Step, ...]]:
        """The partial anchors from the empty one to `anchor`, with the estimates at hand."""
        order = self.order.get(anchor, anchor)
        prefixes = [tuple(sorted(order[:size])) for size in range(len(order))]
        if self.space.independent:
            replies = yield from self.count([SampleRequest(prefix, 0) for prefix in prefixes])
            for prefix, reply in zip(prefixes, replies, strict=True):
                self.tallies.learn_pool(prefix, reply.pool_n, reply.pool_hits)
            if anchor not in self.tested:  # what is known of it may come from the last of them
                for prefix, reply in zip(prefixes[-1:], replies[-1:], strict=True):
                    self.learn(prefix, reply)
        else:
            prefixes = [prefix for prefix in prefixes if prefix in self.tallies]
        partial = [Step(p, self.precision(p), self.space.coverage(p), self.n_drawn(p)) for p in prefixes]
        n = self.tested[anchor].n if anchor in self.tested else self.n_drawn(anchor)
        last = Step(anchor, self.precision(anchor), self.space.coverage(anchor), 0 if anchor in self.exact else n)
        return (*partial, last)

    def result(self, anchor: Anchor, status: Status, path: tuple[Step, ...]) -> SearchResult:
        """The result of an anchor, accepted or not."""
        if anchor in self.exact:
            found = exact_result(anchor, self.exact[anchor], self.space, self.config, path)
            return found if found.success else replace(found, status=status)
        certificate = self.tested.get(anchor)
        if certificate is not None and certificate.n:
            n, n_hits, interval = certificate.n, certificate.n_hits, certificate.interval
        else:
            tally, alpha = self.tallies[anchor], self.untested_alpha(anchor)
            n, n_hits = tally.n, tally.n_hits
            interval = float(lower_bound(n_hits, n, alpha)), float(upper_bound(n_hits, n, alpha))
        coverage = self.space.coverage(anchor)
        return SearchResult(anchor, self.precision(anchor), interval, coverage, status, n, n_hits, path)

    def untested_alpha(self, anchor: Anchor) -> float:
        """Level of each bound of an anchor that was chosen for its tally and has no rows of its own.

        The bounds must hold for all the anchors there are, not only for those that were looked at, as what was looked
        at depends on the rows. So the level is shared among all sizes s, by 1 / ((s + 1) (s + 2)), then among the
        anchors of a size and the s + 1 pools, its own and its parents', that the tally may have been read from.
        """
        size, n_predicates = len(anchor), self.space.n_predicates
        n_anchors = math.comb(n_predicates, size)
        nats = math.log(2 * (size + 1) ** 2 * (size + 2)) + math.log(n_anchors)
        return UNTESTED_SHARE * self.config.delta * math.exp(-min(nats, 600.0))


def beam_search(space: SearchSpace, config: SearchConfig) -> Search:
    """Search for an anchor of few predicates that is certified to reach ``config.threshold``.

    The chance that it returns CERTIFIED (or EMPTY_HOLDS) for an anchor below the threshold is at most
    ``config.delta``. If it finds none it returns the anchor of highest lower bound as NOT_FOUND or, when
    ``max_rows_total`` ended it, as ROW_BUDGET.
    """
    return (yield from searched(Beam(space, config, Certifier(config))))


def searched(beam: Beam) -> Search:
    """What a search of this kind finds: an accepted anchor, shortened, or the best of those that were not."""
    config = beam.config
    found, status = None, Status.NOT_FOUND
    try:
        found = yield from beam.find()
        if found is not None and not config.stop_on_first:
            found = yield from beam.shorten(found)
    except BudgetSpent:
        accepted = [c.anchor for c in beam.certifier.certificates if c.accepted]
        accepted += [a for a, p in beam.exact.items() if p >= config.threshold - TOLERANCE]
        found, status = max(accepted, key=beam.rank, default=None), Status.ROW_BUDGET
    if found is None:
        found, status = yield from beam.last_resort(status)
    else:
        status = Status.CERTIFIED if found else Status.EMPTY_HOLDS
    path = yield from beam.path(found)
    return beam.result(found, status, path)
