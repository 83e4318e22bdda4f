"""What a search knows of its anchors: rows drawn, certificates, and precisions counted over all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from torch_anchors._shapes import Int
from torch_anchors.search.budget import BudgetSpent, RowBudget
from torch_anchors.search.certify import Certificate, Certifier
from torch_anchors.search.exact import TOLERANCE, superset_precisions
from torch_anchors.search.protocol import (
    Anchor,
    Asking,
    EnumeratedHits,
    EnumerateRequest,
    GroupedRequest,
    GroupedRows,
    Reply,
    Request,
    SampleCounts,
    SampleRequest,
    SearchConfig,
    SearchSpace,
)
from torch_anchors.search.tally_table import TallyTable

_AS_GOOD_AS_EXACT = 1_000_000  # rows that an enumerated anchor is said to have where it is compared with others


@dataclass(slots=True)
class Tallies:
    """What one search has learned of its anchors, and the means to learn more: generators that ask for rows.

    `tallies` rank anchors, `tested` holds the certificates of those submitted, and `exact` the precision of those whose
    rows were all enumerated.
    """

    space: SearchSpace
    config: SearchConfig
    certifier: Certifier
    tallies: TallyTable = field(default_factory=TallyTable)
    exact: dict[Anchor, float] = field(default_factory=dict)
    tested: dict[Anchor, Certificate] = field(default_factory=dict)
    budget: RowBudget = field(init=False)

    def __post_init__(self) -> None:
        self.budget = RowBudget(self.config.max_rows_total, self.config.n_spent)

    # ------------------------------------------------------------------------------------------------- asking

    def ask(self, requests: Sequence[Request]) -> Asking[tuple[Reply, ...]]:
        """Replies to `requests`, kept within the row budget; every new row counted."""
        if not requests:
            return ()
        replies: tuple[Reply, ...] = yield tuple(self._within_budget(requests))
        self.budget.spend(sum(reply.n_new for reply in replies))
        return replies

    def count(self, requests: Sequence[SampleRequest]) -> Asking[tuple[SampleCounts, ...]]:
        """Replies to requests for rows."""
        return cast("tuple[SampleCounts, ...]", (yield from self.ask(requests)))

    def draw_groups(self, groups: Sequence[int], n: int) -> Asking[GroupedRows]:
        """Rows in which the predicates of each group hold together."""
        (reply,) = yield from self.ask([GroupedRequest(tuple(groups), n)])
        return cast(GroupedRows, reply)

    def enumerate(self, anchors: Sequence[Anchor]) -> Asking[tuple[EnumeratedHits, ...]]:
        """The hits of every row of each of `anchors`."""
        return cast("tuple[EnumeratedHits, ...]", (yield from self.ask([EnumerateRequest(a) for a in anchors])))

    def _within_budget(self, requests: Sequence[Request]) -> list[Request]:
        """The requests, for fewer rows where the budget asks for it; raises `BudgetSpent` where it allows none."""
        allowed: list[Request] = []
        cost = 0
        for request in requests:
            if isinstance(request, EnumerateRequest):
                n = self.space.n_rows(request.anchor) or 0
            else:
                n = self.budget.at_most(request.n + cost) - cost
                if n < request.n and n <= 0:
                    raise BudgetSpent
                request = request if n == request.n else replace(request, n=n)
            cost += n
            if not self.budget.allows(cost):
                raise BudgetSpent
            allowed.append(request)
        return allowed

    def sample(self, anchors: Sequence[Anchor], n: int | Sequence[int]) -> Asking[None]:
        """Draws rows of each of `anchors` and brings their tallies, and those of their extensions, up to date."""
        counts = [n] * len(anchors) if isinstance(n, int) else n
        replies = yield from self.count([SampleRequest(a, m) for a, m in zip(anchors, counts, strict=True)])
        for anchor, reply in zip(anchors, replies, strict=True):
            self.learn(anchor, reply)

    def learn(self, anchor: Anchor, reply: SampleCounts) -> None:
        """Takes a reply into the tallies. The pool of independent predicates is cumulative, other rows add up."""
        if not self.space.independent:
            self.tallies.add(anchor, reply.n, reply.n_hits)
            return
        self.tallies.learn_pool(anchor, reply.pool_n, reply.pool_hits)
        if reply.child_n is not None and reply.child_hits is not None:
            self.tallies.learn_extensions(anchor, reply.child_n, reply.child_hits)

    # ---------------------------------------------------------------------------------------------- accepting

    def certify(self, candidates: Sequence[Anchor]) -> Asking[Anchor | None]:
        """The best of `candidates` that is accepted, or None; each gets fresh rows until it is decided."""
        accepted: list[Anchor] = []
        undecided: list[Certificate] = []
        for anchor in candidates:
            if self.enumerable(anchor, self.config.enumerate_below):
                accepted += yield from self.enumerate_alone(anchor)
            else:
                undecided.append(self.certifier.submit(anchor))
                self.tested[anchor] = undecided[-1]
        while undecided and not accepted:
            replies = yield from self.count([SampleRequest(c.anchor, self.n_fresh(c)) for c in undecided])
            for certificate, reply in zip(undecided, replies, strict=True):
                certificate.add(reply.n, reply.n_hits)
                self.learn(certificate.anchor, reply)
            accepted += [c.anchor for c in undecided if c.accepted]
            close = [c for c in undecided if not c.accepted and not c.rejected and c.undecidable]
            for certificate in () if accepted else close:
                if self.is_worth_enumerating(certificate):
                    accepted += yield from self.enumerate_alone(certificate.anchor)
            undecided = [c for c in undecided if not c.accepted and not c.hopeless]
        return max(accepted, key=self.rank) if accepted else None

    def n_fresh(self, certificate: Certificate) -> int:
        """Rows to ask for next for a certificate that is undecided."""
        return certificate.next_n()

    def is_worth_enumerating(self, certificate: Certificate) -> bool:
        """Whether to predict all rows of an anchor that is too close to the threshold to be decided by a sample."""
        return self.enumerable(certificate.anchor, self.config.max_rows_candidate)

    def rank(self, anchor: Anchor) -> tuple[float, float]:
        """Largest coverage first, then highest precision."""
        return self.space.coverage(anchor), self.precision(anchor)

    def precision(self, anchor: Anchor) -> float:
        """The best estimate there is of the anchor's precision."""
        if anchor in self.exact:
            return self.exact[anchor]
        if anchor in self.tested and self.tested[anchor].n:
            return self.tested[anchor].precision
        return self.tallies[anchor].precision if anchor in self.tallies else 0.0

    def enumerable(self, anchor: Anchor, limit: int) -> bool:
        """Whether the distinct rows of `anchor` are at most `limit`, and within the budget."""
        n_rows = self.space.n_rows(anchor)
        return n_rows is not None and n_rows <= limit and self.budget.allows(n_rows)

    def enumerate_alone(self, anchor: Anchor) -> Asking[list[Anchor]]:
        """``[anchor]`` if all its rows, predicted once, show that it reaches the threshold, else ``[]``."""
        (reply,) = yield from self.enumerate([anchor])
        self.exact[anchor] = float(superset_precisions(reply.hits, self.space.p_keep)[0])
        return [anchor] if self.exact[anchor] >= self.config.threshold - TOLERANCE else []

    def n_drawn(self, anchor: Anchor) -> int:
        """Rows known of an anchor."""
        return self.tallies.n_drawn(anchor)

    def counts(self, anchors: Sequence[Anchor]) -> tuple[Int[np.ndarray, " anchors"], Int[np.ndarray, " anchors"]]:
        """Hits and rows of each anchor; of an enumerated one such that it compares with others almost exactly."""
        hits, n = self.tallies.counts(anchors)
        for i, anchor in enumerate(anchors) if self.exact else ():
            if anchor in self.exact:
                hits[i], n[i] = round(_AS_GOOD_AS_EXACT * self.exact[anchor]), _AS_GOOD_AS_EXACT
        return hits, n
