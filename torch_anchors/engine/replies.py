"""Requests with the rows that answer them, and what is made of the numbers that come back from the device.

There is one class for each kind of request. Most want the hits among their rows, which `counting` adds up; those that
are `Listed` want something of each row, which their class picks on the device, for requests of one family together.
Either reads its numbers on the host. What is asked at the end of a search is answered in `last_replies`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Int, Shaped
from torch_anchors.engine.job import (
    AnyRequest,
    Job,
)
from torch_anchors.perturb.protocol import IndependentSampler
from torch_anchors.search.protocol import EnumeratedHits, GroupedRows, Reply, SampleCounts, SampleRequest


class Rows(NamedTuple):
    """What the device knows of some rows: their labels (n,), and which are hits (n,)."""

    labels: Int[Tensor, " rows"]
    hits: Bool[Tensor, " rows"]


class Counts(NamedTuple):
    """What the host hears of a request that is counted.

    Hits among the fresh rows, among all, and among those on which each predicate holds (K,); which predicates hold
    (n, K), and on how many rows each does (K,).
    """

    n_hits: int
    all_hits: int
    child_hits: Int[np.ndarray, " predicates"]
    keep: Bool[np.ndarray, "rows predicates"]
    child_n: Int[np.ndarray, " predicates"]


class Answer(NamedTuple):
    """What the host hears of a request: counts, or the numbers of its rows.

    With the margins (n,) of the first rows where the request wants them and the predictor has scores.
    """

    counts: Counts | None = None
    numbers: Shaped[np.ndarray, " numbers"] = np.zeros(0)
    margins: NDArray[np.float64] | None = None


@dataclass(slots=True, eq=False)
class Ask:
    """A request of a job together with the rows that answer it: fresh rows drawn for one anchor, and their hits.

    `slots` are the rows to look at: first the `n_fresh` drawn for this request, then older ones that also count.
    `codes` describes the same rows, where somebody looks at them. `n_new` of them had to be sent to the model.
    `last_slot` is the last that must be predicted before the answer.
    """

    job: Job
    request: AnyRequest
    slots: NDArray[np.int64]
    codes: Tensor | None
    n_fresh: int
    n_new: int
    last_slot: int
    reply: Reply | None = None
    answered: bool = False

    @property
    def n_margins(self) -> int:
        """Of how many of its rows, from the first, the margins are wanted."""
        return 0

    @property
    def family(self) -> Hashable:
        """What is equal for requests that are looked at together; every other one is a family of its own."""
        return id(self)

    def read(self, answer: Answer) -> None:
        """Takes in the answer."""
        assert answer.counts is not None
        self.reply = SampleCounts(self.n_fresh, answer.counts.n_hits, self.n_new)


class Listed(Ask, ABC):
    """A request that wants something of each of its rows."""

    __slots__ = ()

    @property
    @abstractmethod
    def n_numbers(self) -> int:
        """How many of the numbers that `pick` gives are its own."""

    @abstractmethod
    def pick(self, family: Sequence[Any], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The numbers of all requests of its family, which are of its class, one after the other, on the device."""


class AskPool(Ask):
    """Rows of independent predicates: all that satisfy the anchor count, and tell of its extensions as well.

    Its rows are those that the anchor's pool has not counted yet; where there are none, it has no codes, and its answer
    is what the pool has.
    """

    __slots__ = ()

    @property
    def sampler(self) -> IndependentSampler:
        """What its codes are read by."""
        return cast(IndependentSampler, self.job.case.sampler)

    @property
    def n_margins(self) -> int:
        return self.n_fresh

    @property
    def family(self) -> Hashable:
        if self.codes is None:
            return id(self)
        return type(self.sampler), self.sampler.n_predicates, self.codes.shape[1]

    def read(self, answer: Answer) -> None:
        counts = answer.counts
        assert counts is not None
        pool = self.job.memory.pool(cast(SampleRequest, self.request).anchor)
        if self.codes is not None:
            pool.add(len(counts.keep), counts.all_hits, counts.child_n, counts.child_hits)
        self.reply = SampleCounts(
            n=self.n_fresh,
            n_hits=counts.n_hits,
            n_new=self.n_new,
            pool_n=pool.n,
            pool_hits=pool.n_hits,
            child_n=pool.child_n,
            child_hits=pool.child_hits,
            keep=None if self.codes is None or answer.margins is None else counts.keep[: self.n_fresh],
            margins=answer.margins,
        )


def codes_of(ask: Ask) -> Tensor:
    """What describes the rows of a request."""
    assert ask.codes is not None, "the rows of a pool have codes"
    return ask.codes


class AskGroups(Listed):
    """Rows of groups of predicates: each with what holds in it, whether it is a hit, and its margin."""

    __slots__ = ()

    @property
    def n_numbers(self) -> int:
        return self.n_fresh

    @property
    def n_margins(self) -> int:
        return self.n_fresh

    @property
    def family(self) -> Hashable:
        return AskGroups

    def pick(self, family: Sequence[Any], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """Which rows are hits."""
        return rows.hits

    def read(self, answer: Answer) -> None:
        keep = cast(IndependentSampler, self.job.case.sampler).kept(codes_of(self).numpy())
        self.reply = GroupedRows(keep, answer.numbers, self.n_new, answer.margins)


class AskEvery(Listed):
    """Every row of an anchor, each mask with its own answer."""

    __slots__ = ()

    @property
    def _n_backgrounds(self) -> int:
        return cast(IndependentSampler, self.job.case.sampler).n_backgrounds

    @property
    def n_numbers(self) -> int:
        return self.slots.size // self._n_backgrounds

    @property
    def family(self) -> Hashable:
        return AskEvery, self._n_backgrounds

    def pick(self, family: Sequence[Any], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The hits of each mask; a mean over its backgrounds would be rounded."""
        return rows.hits.view(-1, self._n_backgrounds).sum(dim=1) if self._n_backgrounds > 1 else rows.hits

    def read(self, answer: Answer) -> None:
        self.reply = EnumeratedHits(answer.numbers.astype(np.float64) / self._n_backgrounds, self.n_new)


class AskAnswer(Listed):
    """What the model says of the instance itself."""

    __slots__ = ()

    @property
    def n_numbers(self) -> int:
        return 1

    @property
    def family(self) -> Hashable:
        return AskAnswer

    def pick(self, family: Sequence[Any], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The instance's label."""
        return rows.labels

    def read(self, answer: Answer) -> None:
        self.job.answer = int(answer.numbers[0])
        self.job.label = self.job.answer if self.job.label is None else self.job.label
