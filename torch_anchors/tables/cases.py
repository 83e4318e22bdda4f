"""Rows of a table made ready, some together: a sampler for all of them, and what is searched for each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice

import numpy as np

from torch_anchors._shapes import Float, Int
from torch_anchors.engine.job import Case
from torch_anchors.search.protocol import Anchor, Proposals, SearchConfig, SearchResult, SearchSpace, Status, Step
from torch_anchors.tables.count.certified_rules import CertifiedRule, certified_rules
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.count.split_table import SplitTable
from torch_anchors.tables.covered import Covered
from torch_anchors.tables.propose.guess import with_counts
from torch_anchors.tables.propose.proposer import Kept, ProposedAnchors, Proposer
from torch_anchors.tables.sampler import RowSampler

MAX_COUNTED = 3
"""Most conditions of a rule that is found by counting, unless `max_anchor_size` says."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowCase(Case):
    """A row; `instance` is its number in its sampler, which several rows share. No rule may name `excluded` columns."""

    sampler: RowSampler
    instance: int
    excluded: tuple[int, ...] = ()


class RowSpaces:
    """What is searched for rows of one sampler, whose labels are known; what they need is worked out for all at once.

    Args:
        training: the training rows and the model's labels of them.
        sampler: of the rows.
        labels: to explain, one for each instance of the sampler.
        config: of the searches.
        proposer: proposes anchors to certify by drawing rows; None where none are wanted.
        split: the training rows in two parts, for rules that are counted; None where none are wanted.
        repeats: whether the model repeats its answers, so that the labels of the training rows say all of them.
        closed: numbers of columns that no rule may name; those that are fixed for one, as they hold in every row.
    """

    def __init__(
        self,
        training: LabelledTraining,
        sampler: RowSampler,
        labels: Int[np.ndarray, " instances"],
        config: SearchConfig,
        proposer: Proposer | None = None,
        split: SplitTable | None = None,
        repeats: bool = True,
        closed: Collection[int] = (),
    ) -> None:
        self._training, self._sampler, self._labels = training, sampler, labels
        self._config, self._repeats = config, repeats
        self._closed = frozenset(closed).union(sampler.fixed)
        self._predicates = sampler.predicates.without(self._closed)
        self._proposer, self._split = proposer, split
        self._classes = training.class_of(labels)
        self._covered = Covered(training, sampler)

    def space(self, i: int) -> SearchSpace:
        """All anchors of row i on columns that are not closed, in which no bound makes another one needless."""
        row = _Row(self, i)
        return SearchSpace(
            self._sampler.n_predicates,
            row.coverage,
            compatible=row.compatible,
            proposals=None if self._proposer is None else row.proposals,
            counted=None if self._split is None else row.counted,
            narrowed=row.narrowed,
        )

    def bins(self, i: int) -> list[tuple[int, int, int]]:
        """Column, lowest and highest bin of each predicate of row i; column -1 where no rule may name it."""
        found = self._sampler.bins(i, tuple(range(self._sampler.n_predicates)))
        return [(-1 if column in self._closed else column, low, high) for column, low, high in found]

    def narrowed(self, i: int, excluded: frozenset[int]) -> SearchSpace:
        """The space of row i without the columns of some predicates, those of a rule that was found.

        Which these are was partly for the rows to say on which rules are tested once they are counted. So the error
        probability is shared out among all that the rule could have been: whatever it was, the rules that are tested
        next are then as if chosen beforehand.
        """
        columns = {column for column, _, _ in self._sampler.bins(i, tuple(excluded))}
        config = self._config
        if self._split is not None:
            config = replace(config, delta=config.delta / self._certified[i].n_alternatives)
        alone, label = self._sampler.alone(i), self._labels[i : i + 1]
        closed = self._closed | columns
        narrowed = RowSpaces(self._training, alone, label, config, self._proposer, self._split, self._repeats, closed)
        return narrowed.space(0)

    # ------------------------------------------------------------------------------------------------- proposing

    def proposals(self, i: int) -> Proposals:
        """Anchors of row i that the surrogate thinks worth certifying, and what is expected of them."""
        guesses, shorter = self._expectations[i], partial(self._shorter, i)
        if self._without_conditions is not None:
            empty = self._expected(i, {(): float(self._without_conditions[i])})
            return Proposals(guesses, empty[()], shorter, empty_is_exact=False)
        share = float(self._training.shares[self._classes[i]])
        return Proposals(guesses, share, shorter, empty_is_exact=self._repeats)

    @cached_property
    def _without_conditions(self) -> Float[np.ndarray, " instances"] | None:
        """The empty anchor's precision as it is guessed, where fixed columns make other rows of the training rows."""
        assert self._proposer is not None
        kept = self._sampler.kept
        return None if kept is None else self._proposer.without_conditions(self._classes, kept)

    @cached_property
    def _proposed(self) -> list[ProposedAnchors]:
        assert self._proposer is not None
        return self._proposer.propose(
            self._predicates,
            self._classes,
            threshold=self._config.threshold,
            max_anchor_size=self._config.max_anchor_size,
            kept=self._sampler.kept,
        )

    @cached_property
    def _counts(self) -> list[Int[np.ndarray, "anchors 2"]]:
        """Of the proposed anchors of each row, on how many training rows they hold, and with the explained label."""
        sizes = [len(own.guesses) for own in self._proposed]
        counts = self._counts_of(
            np.repeat(np.arange(len(sizes)), sizes), [anchor for own in self._proposed for anchor in own.guesses]
        )
        return np.split(counts, np.cumsum(sizes)[:-1])

    @cached_property
    def _expectations(self) -> list[dict[Anchor, float]]:
        """What is expected of the proposed anchors of each row."""
        guesses = [own.guesses for own in self._proposed]
        if self._sampler.fixed:
            return [self._expected(i, own) for i, own in enumerate(guesses)]
        surrogate = np.array([guess for own in guesses for guess in own.values()])
        expected = iter(with_counts(surrogate, np.concatenate(self._counts)).tolist())
        return [dict(zip(own, islice(expected, len(own)), strict=True)) for own in guesses]

    def _counts_of(
        self, instances: Int[np.ndarray, " anchors"], anchors: Sequence[Anchor], *, kept: Kept | None = None
    ) -> Int[np.ndarray, "anchors 2"]:
        """The same of any anchors; where columns are `kept`, of the rows that have the instance's bins there."""
        conditions = self._sampler.conditions(instances, anchors)
        if kept is not None:
            conditions = conditions.and_bins(kept[0], kept[1][instances])
        return self._training.count(conditions, self._classes[instances])

    def _expected(
        self, i: int, guesses: Mapping[Anchor, float], counts: Int[np.ndarray, "anchors 2"] | None = None
    ) -> dict[Anchor, float]:
        """What the surrogate guesses of row i's anchors, and the training rows as far as they are like those drawn."""
        if counts is None or self._sampler.fixed:
            counts = self._counts_of(np.full(len(guesses), i), list(guesses), kept=self._sampler.kept)
        expected = with_counts(np.array(list(guesses.values())), counts)
        return dict(zip(guesses, expected.tolist(), strict=True))

    @cached_property
    def _coverage_of(self) -> list[dict[Anchor, float]]:
        """Coverage of anchors of each row: of the proposed ones, and then of others that were asked for."""
        if self._proposer is None:
            return [{} for _ in self._labels]
        return [
            {(): 1.0, **self._shares(own.guesses, counts)}
            for own, counts in zip(self._proposed, self._counts, strict=True)
        ]

    def _shares(self, anchors: Iterable[Anchor], counts: Int[np.ndarray, "anchors 2"]) -> dict[Anchor, float]:
        """The share of training rows on which each anchor holds."""
        return dict(zip(anchors, (counts[:, 0] / self._training.training.index.n_rows).tolist(), strict=True))

    def coverage(self, i: int, anchor: Anchor) -> float:
        """Coverage of an anchor of row i, which is counted once."""
        known = self._coverage_of[i]
        if anchor not in known:
            known[anchor] = float(self._covered.coverages([i], [anchor])[0])
        return known[anchor]

    def _shorter(self, i: int, anchor: Anchor) -> Mapping[Anchor, float]:
        """Row i's proposed anchor with ever fewer conditions and what is expected of them."""
        fewer = self._proposed[i].shorter(anchor)
        counts = self._counts_of(np.full(len(fewer), i), list(fewer))
        self._coverage_of[i].update(self._shares(fewer, counts))
        return self._expected(i, fewer, counts)

    # -------------------------------------------------------------------------------------------------- counting

    def counted(self, i: int) -> SearchResult:
        """The rule of row i, by counting training rows."""
        return self._rules[i]

    @cached_property
    def _certified(self) -> list[CertifiedRule]:
        config, split = self._config, self._split
        assert split is not None
        return certified_rules(
            split,
            self._predicates,
            self._sampler.instances,
            self._classes,
            threshold=config.threshold,
            delta=config.delta,
            max_size=MAX_COUNTED if config.max_anchor_size is None else config.max_anchor_size,
        )

    @cached_property
    def _rules(self) -> list[SearchResult]:
        rules, threshold = self._certified, self._config.threshold
        paths = self._covered.paths(range(len(rules)), [rule.anchor for rule in rules], self._labels)
        return [
            SearchResult(
                rule.anchor,
                rule.precision,
                rule.interval,
                rule.coverage,
                _status(rule, path[-1], threshold),
                rule.n,
                rule.n_hits,
                path,
            )
            for rule, path in zip(rules, paths, strict=True)
        ]


class _Row:
    """What a `SearchSpace` asks about one row; a small object, as there are thousands of rows."""

    __slots__ = ("_bins", "_i", "_spaces")

    def __init__(self, spaces: RowSpaces, i: int) -> None:
        self._spaces, self._i = spaces, i
        self._bins: list[tuple[int, int, int]] | None = None

    def coverage(self, anchor: Anchor) -> float:
        return self._spaces.coverage(self._i, anchor)

    def compatible(self, anchor: Anchor, predicate: int) -> bool:
        """Whether an anchor that has the predicate as well says more."""
        if self._bins is None:
            self._bins = self._spaces.bins(self._i)
        bins = self._bins
        column, low, high = bins[predicate]
        return column >= 0 and not any(
            bins[p][0] == column and (bins[p][1] == low or bins[p][2] == high) for p in anchor
        )

    def proposals(self) -> Proposals:
        return self._spaces.proposals(self._i)

    def counted(self) -> SearchResult:
        return self._spaces.counted(self._i)

    def narrowed(self, excluded: frozenset[int]) -> SearchSpace:
        return self._spaces.narrowed(self._i, excluded)


def _status(rule: CertifiedRule, on_training: Step, threshold: float) -> Status:
    """How the search for a rule ended, from its test and from what the training rows say of it."""
    if rule.certified:
        return Status.CERTIFIED if rule.anchor else Status.EMPTY_HOLDS
    return Status.COUNTED if on_training.precision >= threshold else Status.NOT_FOUND
