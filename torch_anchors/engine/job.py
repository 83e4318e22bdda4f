"""One explanation on its way through the engine: the case that comes in, what is found, and the state between."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors.engine.host_copy import HostCopy
from torch_anchors.engine.memory import Memory
from torch_anchors.engine.outputs import INVALID
from torch_anchors.perturb.protocol import Sampler
from torch_anchors.search.protocol import Anchor, Reply, Request, Search, SearchResult, no_search

if TYPE_CHECKING:
    from torch_anchors.engine.last_replies import Unseen
    from torch_anchors.engine.replies import Ask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """An instance made ready to be explained. A wing's own cases add what their explanations show.

    Args:
        sampler: draws and renders its rows.
        rng: its own random stream, so that it does not depend on what else is in a batch.
        instance: what the sampler calls the instance.
        label: the label to explain; None for the one that the predictor gives the instance.
        changes: whether a row is a hit when its label differs from the explained one, not when it is the same.
        as_array: whether a function that may be given either is given this instance's rows as arrays, not tensors.
        explained: where the target compares, what is explained of the model's answer to the instance, (1, ...) on the
            host. The engine fills it in.
    """

    sampler: Sampler
    rng: np.random.Generator
    instance: Any = None
    label: int | None = None
    changes: bool = False
    as_array: bool = False
    explained: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Examples:
    """A few rows of the found anchor: their codes (n, width), labels (n,) and whether they are hits (n,).

    `of_hits` and `of_misses` are how many of either kind were predicted, from which these few were taken.
    """

    codes: NDArray[Any]
    labels: NDArray[np.int64]
    hits: NDArray[np.bool_]
    of_hits: int = 0
    of_misses: int = 0

    def followed_by(self, miss: Miss | None, *, hit: bool) -> Examples:
        """The same rows and then one more, if there is one; `hit` says whether that is one."""
        if miss is None:
            return self
        codes = np.concatenate([self.codes, miss.code[None]]) if len(self.labels) else miss.code[None]
        labels, hits = np.append(self.labels, miss.label), np.append(self.hits, hit)
        return replace(self, codes=codes, labels=labels, hits=hits)


@dataclass(frozen=True, slots=True)
class Miss:
    """A row with another label than the explained one: its code (width,) and that label."""

    code: NDArray[Any]
    label: int


@dataclass(frozen=True, slots=True)
class Found:
    """What the engine found for one case.

    Attributes:
        result: what the search returned.
        label: the label that was explained; `INVALID` where the predictor returned NaN for the instance itself.
        answer: what the model answers for the instance itself; it is the label unless another one was given.
        examples: a few rows on which the anchor holds, hits first.
        n_rows: rows of this case that were sent to the model, the instance itself included.
        n_calls: forward passes in which they were; rows of other cases may have shared them.
        seconds: from the admission of the case to the end of its search.
        effects: how much each predicate adds to the chance of a hit (K,), by all rows that were predicted; None where
            rows of one anchor say nothing about other predicates, or there were no rows. See `engine.effects`.
        nearest_miss: of all rows of the case with another label than the explained one, that with the fewest changes
            to the instance, and of several the first; None where there is none, or the sampler does not compare.
    """

    result: SearchResult
    label: int
    answer: int
    examples: Examples
    n_rows: int
    n_calls: int
    seconds: float
    effects: NDArray[np.float64] | None = None
    nearest_miss: Miss | None = None


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """The engine's own question at the beginning, where a search cannot begin without it: the instance's label."""


@dataclass(frozen=True, slots=True)
class LastRequest:
    """The engine's own question at the end of a search: all that is told of what it found, beside the anchor itself."""

    anchor: Anchor


@dataclass(frozen=True, slots=True)
class RowsRequest:
    """The engine's own question after that, where rows are on the device: the few that are shown."""


AnyRequest = Request | AnswerRequest | LastRequest | RowsRequest


@dataclass(slots=True, eq=False)
class Job:
    """The live state of one case; nobody but the engine sees it.

    Args:
        number: the case's place among all that were admitted.
        case: what is explained.
        n_examples: how many hits and how many misses to report.
        first_slot: of the job's rows in the ledger, that of the instance itself; an earlier one before it has any.

    Attributes:
        label: the label to explain; None as long as only the device knows it.
        answer: the label of the instance itself, likewise.
        explained: where the target compares, what is explained of the answer to the instance, (1, ...) on the device;
            it is also on its way to the host.
        memory: the rows drawn so far.
        asks: requests that are not all answered yet.
        unseen: rows that are to be shown, whose codes only the device has.
        error: of the model on this job's rows alone.
    """

    number: int
    case: Case
    n_examples: int
    first_slot: int
    label: int | None = field(init=False)
    answer: int | None = None
    explained: Tensor | None = None
    _explained_on_host: HostCopy | None = None
    memory: Memory = field(init=False)
    search: Search | None = None
    asks: list[Ask] = field(default_factory=list)
    result: SearchResult | None = None
    unseen: Unseen | None = None
    examples: Examples | None = None
    effects: NDArray[np.float64] | None = None
    nearest_miss: Miss | None = None
    error: Exception | None = None
    n_rows: int = 0
    n_calls: int = 0
    started: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.label = self.case.label
        self.memory = Memory(self.case.sampler)

    @property
    def ready(self) -> bool:
        """Whether every request has been answered."""
        return all(ask.answered for ask in self.asks)

    def begin(self, search: Search) -> tuple[AnyRequest, ...]:
        """The first requests of its search; the engine's own last ones if it knows its result without any row.

        An instance that has no label is not searched.
        """
        self.search = no_search() if self.label == INVALID else search
        return self._advance(None)

    def advance(self) -> tuple[AnyRequest, ...]:
        """The requests that follow the replies to all earlier ones; none when everything is known."""
        if self.result is not None:
            return () if self.unseen is None else (RowsRequest(),)
        assert self.search is not None
        if self.label == INVALID:
            self.search.close()
            return self.begin(self.search)
        return self._advance(tuple(ask.reply for ask in self.asks if ask.reply is not None))

    def _advance(self, replies: tuple[Reply, ...] | None) -> tuple[AnyRequest, ...]:
        assert self.search is not None
        try:
            requests = next(self.search) if replies is None else self.search.send(replies)
            while not requests:  # a search may find that it has nothing to ask
                requests = self.search.send(())
            return requests
        except StopIteration as stop:
            self.result = stop.value
            return (LastRequest(stop.value.anchor),)

    def answered_case(self) -> Case:
        """The case, with what is explained of the answer to it, where that is more than a label."""
        if self._explained_on_host is None:
            return self.case
        return replace(self.case, explained=self._explained_on_host.wait())

    def explain(self, explained: Tensor) -> None:
        """Takes down what is explained of the answer to the instance."""
        self.explained, self._explained_on_host = explained, HostCopy(explained)

    def found(self) -> Found:
        """What came out of a finished job."""
        assert self.result is not None
        assert self.label is not None
        assert self.answer is not None
        assert self.examples is not None
        seconds = time.perf_counter() - self.started
        return Found(
            self.result,
            self.label,
            self.answer,
            self.examples,
            self.n_rows,
            self.n_calls,
            seconds,
            effects=self.effects,
            nearest_miss=self.nearest_miss,
        )
