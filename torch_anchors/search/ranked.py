"""Certification of proposed anchors where rows of one anchor say nothing certain about another (tables).

A guess of every proposed anchor's precision, better than chance but no more, comes from outside. The search submits
the anchor whose expected gain of coverage is largest, draws some rows for it, and asks again which anchor that is:
so a hopeless anchor is left after a handful of rows, one close to the threshold when another becomes worth more, and
a promising one is sampled until it is certified. All rows count for the test of the anchor they were drawn for, which
is valid however the search comes and goes (`Certifier`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from torch_anchors.search.belief import Belief
from torch_anchors.search.certify import Certificate, Certifier
from torch_anchors.search.protocol import (
    Anchor,
    Reply,
    SampleCounts,
    SampleRequest,
    Search,
    SearchConfig,
    SearchResult,
    SearchSpace,
    Status,
    Step,
)

MAX_ROWS = 4000
"""Rows that a search may spend when `max_rows_total` does not say."""
AFFORDABLE = 3
"""An anchor that will take this many times `max_rows_candidate` rows is worth nothing, one that takes none all of
its coverage."""
MIN_CHANCE = 0.02
"""Anchors that are worth less than this share of their coverage are not sampled; all get a first look, lest the
guesses be wrong, while nothing is certified."""
MIN_GAIN = 0.1
"""Expected gain, as a share of the coverage already certified, below which the search ends."""
LEAST_WORTH = LEAST_COVERAGE = 1e-6
"""What an anchor counts for that no one believes in, or that no training row satisfies: any is better than none."""


def ranked_search(
    space: SearchSpace, config: SearchConfig, guesses: Mapping[Anchor, float], empty_precision: float
) -> Search:
    """A search for the proposed anchor of largest coverage that can be certified.

    It ends when no other anchor is expected to add coverage that is worth its rows, at the first certified anchor with
    `stop_on_first`, or when the rows are spent. The result is the certified anchor of largest coverage. Where
    none is certified it is the sampled one of highest precision, less a standard error, with its estimate.

    Args:
        space: gives the anchors' coverage.
        config: of its fields `threshold`, `delta`, `batch_size`, `stop_on_first`, `max_anchor_size`, `max_rows_total`,
            `max_rows_candidate` and `round_rows` apply.
        guesses: the anchors that may be submitted, and the precision that each is expected to have. Guesses decide
            which anchors are sampled, and so how soon and how well the search ends, never what is certified.
        empty_precision: precision of the empty anchor, the share of training rows with the explained label.
    """
    empty = Step((), empty_precision, 1.0, 0)
    if empty_precision >= config.threshold:
        interval = (empty_precision, empty_precision)
        return SearchResult((), empty_precision, interval, 1.0, Status.EMPTY_HOLDS, 0, 0, (empty,))
    limit = config.max_anchor_size
    anchors = [anchor for anchor in guesses if anchor and (limit is None or len(anchor) <= limit)]
    if not anchors:
        return SearchResult((), empty_precision, (0.0, 1.0), 1.0, Status.NOT_FOUND, 0, 0, (empty,))

    race = _Race.of(anchors, [guesses[anchor] for anchor in anchors], space, config)
    while requests := race.requests():
        replies = yield requests
        race.hear(requests, replies)
    return race.result(empty)


@dataclass(slots=True)
class _Race:
    """The proposed anchors, what is believed of them, and the certificates of those submitted so far."""

    anchors: list[Anchor]
    coverage: NDArray[np.float64]
    config: SearchConfig
    belief: Belief
    certifier: Certifier
    rows_left: int
    undecided: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    runners: dict[int, Certificate] = field(default_factory=dict)
    winner: int | None = None

    @classmethod
    def of(cls, anchors: list[Anchor], guesses: list[float], space: SearchSpace, config: SearchConfig) -> _Race:
        belief = Belief(guesses, config.threshold, config.delta / 2, AFFORDABLE * config.max_rows_candidate)
        coverage = np.array([space.coverage(anchor) for anchor in anchors])
        rows = MAX_ROWS if config.max_rows_total is None else config.max_rows_total
        everyone = np.ones(len(anchors), dtype=bool)
        return cls(anchors, coverage, config, belief, Certifier(config), rows, everyone, everyone.copy())

    def requests(self) -> tuple[SampleRequest, ...]:
        """Rows for the anchors of largest expected gain, as many anchors as `round_rows` pays for; () at the end."""
        if self.winner is not None and self.config.stop_on_first:
            return ()
        gain = self._gains()
        worthwhile = max(0.0, MIN_GAIN * self._certified_coverage)
        requests: list[SampleRequest] = []
        asked = 0
        for k in np.argsort(-gain, kind="stable").tolist():
            if gain[k] <= worthwhile or asked >= min(self.rows_left, self.config.round_rows):
                break
            if k not in self.runners:
                self.runners[k] = self.certifier.submit(self.anchors[k])
                self.unseen[k] = False
            requests.append(SampleRequest(self.anchors[k], min(self.runners[k].next_n(), self.rows_left - asked)))
            asked += requests[-1].n
        return tuple(requests)

    def hear(self, requests: tuple[SampleRequest, ...], replies: tuple[Reply, ...]) -> None:
        """Take in the rows asked for."""
        for request, reply in zip(requests, replies, strict=True):
            if not isinstance(reply, SampleCounts):
                raise TypeError(f"A SampleRequest must be answered by SampleCounts, got {type(reply).__name__}.")
            k = self.anchors.index(request.anchor)
            self.rows_left -= reply.n
            self.belief.add(k, reply.n, reply.n_hits)
            runner = self.runners[k]
            runner.add(reply.n, reply.n_hits)
            accepted = runner.accepted
            if accepted and self.coverage[k] > self._certified_coverage:
                self.winner = k
            if accepted or runner.hopeless:
                self.undecided[k] = False

    def result(self, empty: Step) -> SearchResult:
        """The winner; or, where there is none, the sampled anchor of highest precision, less a standard error."""
        if self.winner is not None:
            status, k = Status.CERTIFIED, self.winner
        else:
            status = Status.ROW_BUDGET if self.rows_left <= 0 else Status.NOT_FOUND
            k = max(self.runners, key=lambda k: (_cautious(self.runners[k]), self.coverage[k]))
        chosen = self.runners[k]
        path = [self._step(j) for j in self.runners if set(self.anchors[j]) <= set(chosen.anchor)]
        return SearchResult(
            anchor=chosen.anchor,
            precision=chosen.precision,
            precision_interval=chosen.interval,
            coverage=float(self.coverage[k]),
            status=status,
            n=chosen.n,
            n_hits=chosen.n_hits,
            path=(empty, *sorted(path, key=lambda step: len(step.anchor))),
        )

    @property
    def _certified_coverage(self) -> float:
        return -1.0 if self.winner is None else float(self.coverage[self.winner])

    def _gains(self) -> NDArray[np.float64]:
        """Coverage that each anchor is expected to add to what is certified; 0 where it is not worth a row."""
        worth = np.maximum(self.belief.worth(), LEAST_WORTH)
        gain = worth * (np.maximum(self.coverage, LEAST_COVERAGE) - max(self._certified_coverage, 0.0))
        worthwhile = worth >= MIN_CHANCE
        if self.winner is None:
            worthwhile |= self.unseen
        return np.where(worthwhile & self.undecided, gain, 0.0)

    def _step(self, k: int) -> Step:
        runner = self.runners[k]
        return Step(runner.anchor, runner.precision, float(self.coverage[k]), runner.n)


def _cautious(certificate: Certificate) -> float:
    """The precision one standard error below the estimate, with a pseudo hit and a pseudo miss."""
    n, precision = certificate.n + 2, (certificate.n_hits + 1) / (certificate.n + 2)
    return precision - math.sqrt(precision * (1 - precision) / n)
