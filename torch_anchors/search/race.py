"""Certification of proposed anchors where rows of one anchor say nothing certain about another (tables).

A guess of every proposed anchor's precision, better than chance but no more, comes from outside. With the rows drawn so
far it says by what chance an anchor will be certified, and after how many rows. These have a price in coverage, so that
each anchor has a *reserve*: the coverage beside which, once it is certified, trying this anchor is not worth its rows
any more. The search draws some rows for the anchor of the largest reserve, asks again which anchor that is, and ends
when what is certified is as large. That is best where chances and costs are known and independent (Weitzman, "Optimal
search for the best alternative", Econometrica 1979). So a hopeless anchor is left after a handful of rows, one close to
the threshold when another has become worth more, and a promising one is sampled until it is certified. All rows count
for the test of the anchor they were drawn for, which is valid however the search comes and goes (`Certifier`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors.errors import ArgumentError
from torch_anchors.search.belief import GUESSES, Belief
from torch_anchors.search.bounds import standard_error
from torch_anchors.search.budget import RowBudget
from torch_anchors.search.certify import Certificate, Certifier
from torch_anchors.search.protocol import (
    Anchor,
    Asking,
    Proposals,
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
AFFORDABLE = 2.5
"""This many times `max_rows_candidate` rows cost as much as the anchor is worth that they are drawn for: few more cost
coverage on some tables, and many more bring hardly any."""
MIN_CHANCE = 0.02
"""Anchors of a smaller chance to be certified are not sampled; all get a first look, lest the guesses be wrong, while
nothing is certified."""
LEAST_GAIN = 0.002
"""Expected gain of coverage below which the search ends: so few rows of the table more are worth no calls."""
HOPEFUL = 0.2
"""An anchor of this chance gets at once the rows that may certify it, without a first look."""
LONG = 4
"""An anchor of more conditions than this is shortened at the end; fewer are read with ease."""
LEAST_SHORTENING = 0.3
"""Conditions that an anchor must be expected to lose for the search to spend rows on it at the end."""
LEAST_CHANCE = 0.01
"""Chance to be rid of one condition that is worth rows where each needless one takes a column from other anchors."""
TINY_CHANCE = LEAST_COVERAGE = 1e-6
"""What an anchor counts for that no one believes in, or that no training row satisfies: any is better than none."""


def race_search(space: SearchSpace, config: SearchConfig) -> Search:
    """A search for the proposed anchor of largest coverage that can be certified.

    It ends when no other anchor is expected to add coverage that is worth its rows, at the first certified anchor with
    `stop_on_first`, or when the rows are spent. The result is the certified anchor of largest coverage, without
    conditions that turn out not to be needed if it has more than `LONG`, or if anchors are to be `disjoint`. Where none
    is certified it is the sampled one of highest precision, less a standard error, with its estimate.

    Args:
        space: gives the anchors' coverage, and the `Proposals`. Their guesses decide which anchors are sampled, and so
            how soon and how well the search ends, never what is certified.
        config: of its fields `threshold`, `delta`, `batch_size`, `stop_on_first`, `max_anchor_size`, `max_rows_total`,
            `max_rows_candidate`, `round_rows` and `disjoint` apply.
    """
    if space.proposals is None:
        raise ArgumentError(
            "method must be 'auto', 'beam' or 'exact' here: 'race' needs anchors proposed by a surrogate of the model, "
            "which only rules of tables with sampling='interventional' have."
        )
    return _certify(space.proposals(), space, config)


def _certify(proposals: Proposals, space: SearchSpace, config: SearchConfig) -> Search:
    guesses, empty_precision = dict(proposals.guesses), proposals.empty_precision
    if not proposals.empty_is_exact:
        guesses[()] = empty_precision
    empty = Step((), empty_precision, 1.0, 0)
    if proposals.empty_is_exact and empty_precision >= config.threshold:
        interval = (empty_precision, empty_precision)
        return SearchResult((), empty_precision, interval, 1.0, Status.EMPTY_HOLDS, 0, 0, (empty,))
    limit = config.max_anchor_size
    runs = (anchor for anchor in guesses if anchor or not proposals.empty_is_exact)
    anchors = [anchor for anchor in runs if (limit is None or len(anchor) <= limit) and space.has(anchor)]
    if not anchors:
        return SearchResult((), empty_precision, (0.0, 1.0), 1.0, Status.NOT_FOUND, 0, 0, (empty,))

    budget = RowBudget(MAX_ROWS if config.max_rows_total is None else config.max_rows_total, config.n_spent)
    coverage = np.maximum([space.coverage(anchor) for anchor in anchors], LEAST_COVERAGE)
    race = _Race.of(anchors, coverage, [guesses[a] for a in anchors], LEAST_GAIN, Certifier(config), budget)
    yield from race.run()
    first = () if race.winner is None else race.anchors[race.winner]
    if len(first) > LONG and not config.stop_on_first:
        race = yield from _shortened(race, {first: guesses[first], **proposals.shorter(first)})
    if config.disjoint and race.winner is not None and not config.stop_on_first:
        race = yield from _minimal(race, space)
    if race.winner is None:
        yield from race.look_again()
    return race.result(space, empty)


def _shortened(race: _Race, expected: Mapping[Anchor, float]) -> Asking[_Race]:
    """A race whose winner lost the conditions that it does not need: `expected` are the winner and its shorter ones.

    Each certificate of a shorter one tells more of those that are shorter still, so they run again after it.
    """
    while len(expected) > LONG:  # as many as the winner has conditions
        race = race.with_fewer(expected)
        yield from race.run(until=1)
        if not race.winner:
            break
        expected = {anchor: expected[anchor] for anchor in race.anchors[race.winner :]}
    return race


def _minimal(race: _Race, space: SearchSpace) -> Asking[_Race]:
    """A race whose winner has no condition that it does not need, as far as rows show: each may be the one to go.

    Nothing is known of the winner's parts, and its own rows say little of them: the chances are taken for even that one
    reaches the threshold.
    """
    while race.winner is not None and len(winner := race.anchors[race.winner]) > 1:
        parts = [tuple(p for p in winner if p != dropped) for dropped in winner]
        parts = sorted((part for part in parts if part not in race.rejected), key=lambda part: -space.coverage(part))
        known, even = race.runners[race.winner].smoothed, race.certifier.config.threshold
        race = race.with_fewer({winner: known, **dict.fromkeys(parts, even)}, alike=True)
        yield from race.run(until=1)
        if race.winner == 0:
            break
    return race


@dataclass(slots=True)
class _Race:
    """Some anchors, what each is worth if certified, what is believed of them, and the certificates so far.

    `affordable` rows cost as much as the anchor that they are drawn for is worth; a gain below `least_gain` is none.
    """

    anchors: list[Anchor]
    value: NDArray[np.float64]
    least_gain: float
    affordable: float
    certifier: Certifier
    budget: RowBudget
    belief: Belief
    undecided: NDArray[np.bool_]
    unseen: NDArray[np.bool_]
    runners: dict[int, Certificate] = field(default_factory=dict)
    winner: int | None = None
    earlier: list[Certificate] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        anchors: list[Anchor],
        value: NDArray[np.float64],
        guesses: list[float],
        least_gain: float,
        certifier: Certifier,
        budget: RowBudget,
    ) -> _Race:
        config = certifier.config
        affordable = AFFORDABLE * config.max_rows_candidate
        belief = Belief(guesses, config.threshold, config.delta / 2, config.max_rows_candidate)
        everyone = np.ones(len(anchors), dtype=bool)
        return cls(anchors, value, least_gain, affordable, certifier, budget, belief, everyone, everyone.copy())

    @property
    def rejected(self) -> set[Anchor]:
        """Anchors whose rows spoke against them."""
        return {runner.anchor for runner in (*self.earlier, *self.runners.values()) if runner.hopeless}

    def with_fewer(self, expected: Mapping[Anchor, float], *, alike: bool = False) -> _Race:
        """A race of the winner, the first of `expected`, against itself with ever fewer conditions.

        What its rows say beyond what was expected of it is expected of the others as well. Each is worth more than the
        one before it or, where they are `alike` in size, all are worth the same.
        """
        assert self.winner is not None
        winner = self.runners[self.winner]
        anchors = list(expected)
        guess = np.clip(list(expected.values()), *GUESSES)
        surprise = _log_odds(winner.smoothed) - _log_odds(guess[0])
        guess[1:] = 1 / (1 + np.exp(-_log_odds(guess[1:]) - max(surprise, 0)))
        value = np.arange(float(len(anchors)))
        value = np.minimum(value, 1.0) if alike else value
        least = LEAST_CHANCE if alike else LEAST_SHORTENING
        race = _Race.of(anchors, value, guess.tolist(), least, self.certifier, self.budget)
        race.affordable = math.inf if alike else race.affordable  # a needless one is worth its rows to the others
        race.earlier = [*self.earlier, *(runner for runner in self.runners.values() if runner is not winner)]
        race.runners[0], race.winner, race.undecided[0] = winner, 0, False
        rejected = self.rejected
        race.undecided &= [anchor not in rejected for anchor in anchors]
        race.belief.add(0, winner.n, winner.n_hits)
        return race

    def run(self, until: int | None = None) -> Asking[None]:
        """Asks for rows until nothing is expected to gain what they cost, or an anchor from number `until` on wins."""
        while requests := self.requests():
            replies = yield requests
            self.hear(requests, replies)
            if until is not None and self.winner is not None and self.winner >= until:
                return

    def requests(self) -> tuple[SampleRequest, ...]:
        """Rows for the anchors of largest reserve, as many anchors as `round_rows` pays for; () at the end."""
        config = self.certifier.config
        if self.winner is not None and config.stop_on_first:
            return ()
        chance, rows = self.belief.outlook()
        requests: list[SampleRequest] = []
        asked = 0
        for k in self._in_order(chance, rows):
            if asked >= self.budget.at_most(config.round_rows):
                break
            if k not in self.runners:
                self.runners[k] = self.certifier.submit(self.anchors[k])
                self.unseen[k] = False
            n = self.budget.at_most(asked + self.runners[k].next_n(hopeful=bool(chance[k] >= HOPEFUL))) - asked
            requests.append(SampleRequest(self.anchors[k], n))
            asked += n
        return tuple(requests)

    def hear(self, requests: tuple[SampleRequest, ...], replies: tuple[Reply, ...]) -> None:
        """Take in the rows asked for."""
        for request, reply in zip(requests, replies, strict=True):
            if not isinstance(reply, SampleCounts):
                raise TypeError(f"A SampleRequest must be answered by SampleCounts, got {type(reply).__name__}.")
            k = self.anchors.index(request.anchor)
            self.budget.spend(reply.n)
            self.belief.add(k, reply.n, reply.n_hits)
            runner = self.runners[k]
            runner.add(reply.n, reply.n_hits)
            accepted = runner.accepted
            if accepted and self.value[k] > self._certified_value:
                self.winner = k
            if accepted or runner.hopeless:
                self.undecided[k] = False

    def look_again(self) -> Asking[None]:
        """Draws rows of the anchor that is reported although none was certified: those at hand speak too well of it."""
        n = self.budget.at_most(self.certifier.config.batch_size)
        if n == 0 or not self.runners:
            return
        k = self._best_uncertified()
        self.earlier.append(self.runners[k])
        self.runners = {k: self.certifier.submit(self.anchors[k])}
        requests = (SampleRequest(self.anchors[k], n),)
        self.hear(requests, (yield requests))

    def _best_uncertified(self) -> int:
        return max(self.runners, key=lambda k: (_cautious(self.runners[k]), self.value[k]))

    def result(self, space: SearchSpace, empty: Step) -> SearchResult:
        """The winner; or, where there is none, the sampled anchor of highest precision, less a standard error."""
        if self.winner is not None:
            k = self.winner
            status = Status.CERTIFIED if self.anchors[k] else Status.EMPTY_HOLDS
        elif not self.runners:
            return SearchResult((), empty.precision, (0.0, 1.0), 1.0, Status.ROW_BUDGET, 0, 0, (empty,))
        else:
            status = Status.NOT_FOUND if self.budget.allows(1) else Status.ROW_BUDGET
            k = self._best_uncertified()
        chosen = self.runners[k]
        tried = {runner.anchor: runner for runner in (*self.earlier, *self.runners.values()) if runner.n}
        on_the_way = [runner for anchor, runner in tried.items() if set(anchor) <= set(chosen.anchor)]
        path = [Step(run.anchor, run.precision, space.coverage(run.anchor), run.n) for run in on_the_way]
        return SearchResult(
            anchor=chosen.anchor,
            precision=chosen.precision,
            precision_interval=chosen.interval,
            coverage=space.coverage(chosen.anchor),
            status=status,
            n=chosen.n,
            n_hits=chosen.n_hits,
            path=(empty, *sorted((step for step in path if step.anchor), key=lambda step: len(step.anchor))),
        )

    @property
    def _certified_value(self) -> float:
        return -1.0 if self.winner is None else float(self.value[self.winner])

    def _in_order(self, chance: NDArray[np.float64], rows: NDArray[np.float64]) -> list[int]:
        """The anchors that are worth their rows, those of larger reserve first.

        An anchor of value v that is certified with chance p, for c in rows, is worth trying beside a certified value
        below the reserve r of c = p (v - r).
        """
        chance = np.maximum(chance, TINY_CHANCE)
        reserve = self.value * (1 - rows / (self.affordable * chance))
        if self.winner is None:  # anything is better than nothing
            reserve = np.maximum(reserve, TINY_CHANCE * chance * self.value)
            worthwhile = (chance >= MIN_CHANCE) | self.unseen
        else:
            gain = chance * (self.value - self._certified_value)
            worthwhile = (reserve > self._certified_value) & (gain > self.least_gain)
        order = np.argsort(-reserve, kind="stable")
        return order[(worthwhile & self.undecided)[order]].tolist()


def _cautious(certificate: Certificate) -> float:
    """The precision one standard error below the estimate, with a pseudo hit and a pseudo miss."""
    return certificate.smoothed - standard_error(certificate.n_hits, certificate.n)


def _log_odds(precision: Any) -> Any:
    return np.log(precision / (1 - precision))
