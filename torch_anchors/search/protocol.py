"""What a search and the engine say to each other, and the settings and outcomes of a search.

A search is a generator. It yields a tuple of requests, is sent one reply for each of them, in order, and returns a
`SearchResult`. It knows predicates only by their number, and never sees a model, a tensor or an instance.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from torch_anchors._checks import MOST, between, flag, whole

BY_SAMPLING = ("beam", "guided")
"""Methods that draw rows of anchors which they form themselves, where others would count or take proposals."""

SUFFICIENT, NECESSARY = QUESTIONS = ("sufficient", "necessary")
"""What an anchor does: it keeps the label while its parts are shown, or changes it while they are hidden."""

Anchor = tuple[int, ...]
"""Ids of the predicates that must hold, sorted and without repetition; ``()`` is the empty anchor."""


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Draw `n` fresh rows from D(. | anchor), predict them and count the hits."""

    anchor: Anchor
    n: int


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """Reply to a `SampleRequest`: `n_hits` of the `n` fresh rows have the explained label.

    Where the predicates are independent (images), a row drawn for one anchor is an exact draw for every larger anchor
    that it happens to satisfy. There, the reply also counts the *pool*: all rows that the job has drawn so far for
    this anchor or a smaller one, the fresh ones included, and that satisfy it. `pool_n` and `pool_hits` are about the
    anchor itself; `child_n[k]` and `child_hits[k]` (length K) about the anchor and predicate k. A request for
    ``n=0`` rows reads the pool and costs nothing. For tables, where rows of one anchor say nothing about another,
    there is no pool and the arrays are None.

    `n_new` rows had to be sent to the model; the others were known.

    Where the predictor also has scores, `margins` (n,) are those of the fresh rows: by how much the explained class's
    logit exceeds the largest other one. `keep` (n, K) says which predicates hold in them.
    """

    n: int
    n_hits: int
    n_new: int = 0
    pool_n: int = 0
    pool_hits: int = 0
    child_n: NDArray[np.int64] | None = None
    child_hits: NDArray[np.int64] | None = None
    keep: NDArray[np.bool_] | None = None
    margins: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class EnumerateRequest:
    """Predict every distinct row that satisfies `anchor`, once."""

    anchor: Anchor


@dataclass(frozen=True, slots=True)
class EnumeratedHits:
    """Reply to an `EnumerateRequest`: `hits[m]` is the share of hits among the rows of mask m.

    Bit i of m says whether the i-th predicate that is not in the anchor holds. The share is 0 or 1 where a mask
    determines its row, and a mean over the background images where there are several.
    """

    hits: NDArray[np.float64]
    n_new: int = 0


@dataclass(frozen=True, slots=True)
class GroupedRequest:
    """Draw `n` rows in which the predicates of a group hold together, or none of them does, and predict them.

    Of independent predicates only. `groups[k]` is the group of predicate k; each group holds with the chance that a
    predicate outside an anchor has, independently of the others. These rows are no draws of any anchor, and no pool has
    them: a search learns from them where to look, and never what a precision is.
    """

    groups: tuple[int, ...]
    n: int


@dataclass(frozen=True, slots=True)
class GroupedRows:
    """Reply to a `GroupedRequest`: which predicates hold in each row (n, K), and which rows are hits (n,).

    With the `margins` (n,) of the rows where the predictor has scores; see `SampleCounts`.
    """

    keep: NDArray[np.bool_]
    hits: NDArray[np.bool_]
    n_new: int = 0
    margins: NDArray[np.float64] | None = None


Request = SampleRequest | EnumerateRequest | GroupedRequest
Reply = SampleCounts | EnumeratedHits | GroupedRows


class Status(str, Enum):
    """How a search ended. Every outcome is a value, and says what to do next."""

    CERTIFIED = "certified"
    EXACT = "exact"
    EMPTY_HOLDS = "empty anchor holds"
    COUNTED = "counted on the training rows only"
    NOT_FOUND = "no anchor reached the threshold"
    ROW_BUDGET = "row budget spent"

    @property
    def success(self) -> bool:
        """Whether the anchor's precision reaches the threshold with the promised confidence."""
        return self in (Status.CERTIFIED, Status.EXACT, Status.EMPTY_HOLDS)


@dataclass(frozen=True, slots=True)
class Proposals:
    """Anchors that a cheap guess of the model thinks worth certifying, before any row is drawn.

    `guesses` are the proposed anchors and the precision that each is expected to have. `empty_precision` is the
    precision of the empty anchor; unless `empty_is_exact`, it is but another guess. `shorter(anchor)` gives a proposed
    anchor without one condition, without two, and so on to a single condition, with the precision that each is expected
    to have.
    """

    guesses: Mapping[Anchor, float]
    empty_precision: float
    shorter: Callable[[Anchor], Mapping[Anchor, float]] = lambda anchor: {}
    empty_is_exact: bool = True


def go_together(anchor: Anchor, predicate: int) -> bool:
    """Any predicate may be added to any anchor."""
    return True


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The anchors that a search may form, and what is known of them beforehand.

    `n_predicates` is K. `coverage(anchor)` is P(anchor holds). `n_rows(anchor)` is the number of distinct rows that
    satisfy the anchor, or None when it is not finite or a row cannot be repeated. `compatible(anchor, predicate)`
    tells whether the predicate may be added (two bounds on one feature may contradict each other or say the same).
    `independent` says that a row drawn for an anchor is also a draw of every larger anchor that it satisfies; `p_keep`
    is then the chance that a predicate outside the anchor holds in a row, for the weights of enumerated masks.

    `levels` are coarser views of independent predicates, the coarsest first: the group of each predicate (K,), and
    groups of a level are parts of those of the level before.

    `excluded` are predicates that vary like all others, and that no anchor may have. `numbers[k]` is what users call
    predicate k, in ascending order, where that is not k; a search has no use for it.

    What only some spaces have: `proposals()` gives anchors to begin with, and `counted()` the result itself where it
    can be counted without drawing a row. `narrowed(excluded)` is then the space without some predicates, of which it
    has proposals and counts of its own.
    """

    n_predicates: int
    coverage: Callable[[Anchor], float]
    n_rows: Callable[[Anchor], int | None] = lambda anchor: None
    compatible: Callable[[Anchor, int], bool] = go_together
    independent: bool = False
    p_keep: float = 0.5
    levels: tuple[NDArray[np.int64], ...] = ()
    proposals: Callable[[], Proposals] | None = None
    counted: Callable[[], SearchResult] | None = None
    excluded: frozenset[int] = frozenset()
    numbers: Sequence[int] | None = None
    narrowed: Callable[[frozenset[int]], SearchSpace] | None = None

    def without(self, predicates: Iterable[int]) -> SearchSpace:
        """The anchors that have none of these predicates, which vary as before; nor what `narrowed` leaves out."""
        excluded = self.excluded.union(predicates)
        return replace(self, excluded=excluded) if self.narrowed is None else self.narrowed(excluded)

    def allowed(self, anchor: Anchor) -> list[int]:
        """The predicates that may be added to an anchor, in ascending order."""
        taken = self.excluded.union(anchor)
        free = [k for k in range(self.n_predicates) if k not in taken]
        return free if self.compatible is go_together else [k for k in free if self.compatible(anchor, k)]

    def has(self, anchor: Anchor) -> bool:
        """Whether none of the anchor's predicates is excluded."""
        return self.excluded.isdisjoint(anchor)


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Settings of a search; the explainers' ``explain`` takes them under the same names.

    Args:
        threshold: the anchor's precision must be at least this, in (0, 1].
        delta: 1 - delta is the confidence of that promise and of each selection, in (0, 1).
        tau: how far, in precision, a selected candidate may be from the best one, in (0, 1).
        batch_size: most rows that one request asks for.
        beam_size: how many candidates are extended at each size.
        stop_on_first: return the first anchor that is certified, without trying to shorten it.
        max_anchor_size: most predicates in the anchor; None for no bound.
        min_samples_start: rows drawn for each selected anchor before its extensions may be given up.
        max_rows_total: most rows sent to the model for the whole explanation; None for no bound.
        n_spent: rows that were sent before the search began: the instance's own, if its label was asked for.
        max_rows_candidate: most rows spent on certifying one candidate.
        enumerate_below: enumerate a candidate's rows, rather than sample them, when they are at most this many.
        round_rows: rows that a round may ask for without costing noticeably more; hundreds on a GPU.
        disjoint: whether other anchors will have none of this one's predicates, so that it should have no needless one.
    """

    threshold: float = 0.95
    delta: float = 0.1
    tau: float = 0.15
    batch_size: int = 100
    beam_size: int = 1
    stop_on_first: bool = False
    max_anchor_size: int | None = None
    min_samples_start: int = 100
    max_rows_total: int | None = None
    n_spent: int = 0
    max_rows_candidate: int = 1000
    enumerate_below: int = 64
    round_rows: int = 16
    disjoint: bool = False

    def share(self, n_anchors: int) -> SearchConfig:
        """The settings of one of several searches for disjoint anchors, each of which gets an equal share of delta."""
        return self if n_anchors == 1 else replace(self, delta=self.delta / n_anchors, disjoint=True)

    def __post_init__(self) -> None:
        between("threshold", self.threshold, "a precision", closed="most")
        between("delta", self.delta, "a probability")
        between("tau", self.tau, "a difference of precisions")
        for name in ("batch_size", "beam_size", "min_samples_start", "max_rows_candidate", "round_rows"):
            whole(name, getattr(self, name), least=1, most=MOST)
        for name in ("max_anchor_size", "max_rows_total"):
            whole(name, getattr(self, name), least=1, or_none=True)
        for name in ("n_spent", "enumerate_below"):
            whole(name, getattr(self, name))
        for name in ("stop_on_first", "disjoint"):
            flag(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class Step:
    """One partial anchor on the way to the result, with what was known of it."""

    anchor: Anchor
    precision: float
    coverage: float
    n: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    `precision` is the share of hits among the `n` rows drawn after the anchor was chosen (an exact value when
    `status` is EXACT or `n` is 0), and `precision_interval` holds the true precision with probability 1 - delta
    however long the search was. Of an anchor that was never submitted (only where `success` is False), `precision` and
    `n` are about the rows that it was chosen by, and the estimate is on the high side; the interval allows for that.
    `path` lists the partial anchors from the empty one to the result. `others` are further anchors, where several were
    asked for, that have no predicate in common with this one or with each other; see `torch_anchors.search.several`.
    """

    anchor: Anchor
    precision: float
    precision_interval: tuple[float, float]
    coverage: float
    status: Status
    n: int
    n_hits: int
    path: tuple[Step, ...] = field(default=())
    others: tuple[SearchResult, ...] = ()

    @property
    def success(self) -> bool:
        """Whether the anchor's precision reaches the threshold with the promised confidence."""
        return self.status.success

    def renumbered(self, numbers: Sequence[int] | None) -> SearchResult:
        """The same with the numbers that users know: `numbers[k]` for predicate k; None where they are the same."""
        if numbers is None:
            return self
        path = tuple(replace(step, anchor=numbered(step.anchor, numbers)) for step in self.path)
        others = tuple(other.renumbered(numbers) for other in self.others)
        return replace(self, anchor=numbered(self.anchor, numbers), path=path, others=others)


def numbered(anchor: Anchor, numbers: Sequence[int] | None) -> Anchor:
    """The anchor with the numbers that users know; see `SearchSpace`."""
    return anchor if numbers is None else tuple(int(numbers[k]) for k in anchor)


Search = Generator[tuple[Request, ...], tuple[Reply, ...], SearchResult]
"""A search under way: ``requests = next(search)``, then ``requests = search.send(replies)`` until StopIteration."""

Found = TypeVar("Found")
Asking = Generator[tuple[Request, ...], tuple[Reply, ...], Found]
"""A part of a search: asks for rows, and returns what it found."""


def no_search() -> Search:
    """For an instance that has no label to explain: it asks nothing, and finds nothing."""
    yield from ()
    return SearchResult((), 0.0, (0.0, 1.0), 1.0, Status.NOT_FOUND, 0, 0)
