"""One explanation under way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors.engine.ledger import Memory
from torch_anchors.perturb.protocol import Sampler
from torch_anchors.search.protocol import Anchor, EnumerateRequest, Reply, Request, Search, SearchResult


@dataclass(frozen=True, slots=True)
class Examples:
    """A few rows of the found anchor: their codes (n, width), labels (n,) and whether they are hits (n,)."""

    codes: NDArray[Any]
    labels: NDArray[np.int64]
    hits: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ExamplesRequest:
    """What the engine itself asks at the end of a search: examples of hits and misses, and the explained label."""

    anchor: Anchor


@dataclass(slots=True, eq=False)
class Job:
    """One explanation: what it searches, how it draws, and what came out.

    Args:
        search: the search, not yet started.
        sampler: draws and renders its rows.
        rng: its own random stream, so that it does not depend on what else is in a batch.
        instance: what the sampler calls the instance.
        label: the label to explain; None for the one that the predictor gives the instance.
        n_examples: how many hits and how many misses to report.
        tag: anything the caller wants to find again on the finished job.
    """

    search: Search
    sampler: Sampler
    rng: np.random.Generator
    instance: Any = None
    label: int | None = None
    n_examples: int = 10
    tag: Any = None

    result: SearchResult | None = None
    explained_label: int = -1
    examples: Examples | None = None
    n_rows: int = 0
    n_calls: int = 0
    seconds: float = 0.0

    memory: Memory = field(init=False)
    first_slot: int = -1
    asks: list[Ask] = field(default_factory=list)
    _started: float = 0.0

    def __post_init__(self) -> None:
        self.memory = Memory(remembers=self.sampler.shares_rows)

    def start(self) -> tuple[Request, ...] | tuple[ExamplesRequest, ...]:
        """The first requests; only for examples if the search knows its result without any row."""
        self._started = time.perf_counter()
        return self._advance(None)

    def advance(self) -> tuple[Request, ...] | tuple[ExamplesRequest, ...]:
        """The requests that follow the replies to all earlier ones; none when everything is known."""
        if self.result is not None:
            return ()
        return self._advance(tuple(ask.reply for ask in self.asks if ask.reply is not None))

    def _advance(self, replies: tuple[Reply, ...] | None) -> Any:
        try:
            requests = next(self.search) if replies is None else self.search.send(replies)
            while not requests:  # a search may find that it has nothing to ask
                requests = self.search.send(())
            return requests
        except StopIteration as stop:
            self.result = stop.value
            return (ExamplesRequest(self.result.anchor),)

    @property
    def found(self) -> tuple[SearchResult, Examples]:
        """The result and the examples of a finished job."""
        if self.result is None or self.examples is None:
            raise RuntimeError("The job is not finished.")
        return self.result, self.examples

    @property
    def ready(self) -> bool:
        """Whether every request has been answered."""
        return all(ask.answered for ask in self.asks)

    def finish(self) -> None:
        """Closes the clock and forgets the rows."""
        self.seconds = time.perf_counter() - self._started
        self.memory = Memory(remembers=self.sampler.shares_rows)
        self.asks = []


@dataclass(slots=True, eq=False)
class Ask:
    """A request of a job together with the rows that answer it.

    `slots` are the rows to look at: first the `n_fresh` drawn for this request, then older ones that also count.
    `codes` describes the same rows. `last_slot` is the last that must be predicted before the answer.
    """

    job: Job
    request: Request | ExamplesRequest
    slots: NDArray[np.int64]
    codes: Tensor | None
    n_fresh: int
    n_new: int
    last_slot: int
    reply: Reply | None = None
    answered: bool = False

    @property
    def enumerates(self) -> bool:
        """Whether every row of the anchor is wanted, each with its own answer."""
        return isinstance(self.request, EnumerateRequest)
