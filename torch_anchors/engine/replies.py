"""Requests with the rows that answer them, and the numbers that travel from the device to the host as the answer.

Hits of many requests of many jobs are counted at once on the device; one small vector of numbers comes back. There is
one class for each kind of request: it says which numbers it needs beyond the two sums that all have, writes them on the
device, for requests of one family together, and reads them on the host. What is asked at the end of a search is
answered in `last_replies`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.engine.host_copy import HostCopy
from torch_anchors.engine.job import (
    AnyRequest,
    Job,
)
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.outputs import INVALID
from torch_anchors.perturb.protocol import IndependentSampler
from torch_anchors.search.protocol import EnumeratedHits, GroupedRows, Reply, SampleCounts, SampleRequest


class Asked(NamedTuple):
    """What is asked in some jobs, as the device knows it.

    The explained label of each, whether its hits are the rows with another one, and the label of its first row, the
    instance itself.
    """

    targets: Int[Tensor, " jobs"]
    changes: Bool[Tensor, " jobs"]
    answers: Int[Tensor, " jobs"]

    def part(self, first: int, last: int) -> Asked:
        """Of the jobs from number `first` to before `last`."""
        return Asked(*(of_jobs[first:last] for of_jobs in self))


class Rows(NamedTuple):
    """What the device knows of the rows of a family of requests, one request after the other.

    What is asked in each request's job (asks,), the number of the request that each row is of (n,), the rows' labels
    (n,), and which are hits (n,).
    """

    asked: Asked
    owners: Int[Tensor, " rows"]
    labels: Int[Tensor, " rows"]
    hits: Bool[Tensor, " rows"]


class Counts(NamedTuple):
    """What the host hears of the rows of a request: hits among the fresh ones and among all, and the own numbers.

    With the margins (n,) of the fresh ones where the request wants them and the predictor has scores.
    """

    n_hits: int
    all_hits: int
    numbers: NDArray[np.floating]
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
    def n_numbers(self) -> int:
        """How many numbers `write` adds to the two sums."""
        return 0

    @property
    def n_margins(self) -> int:
        """Of how many of its rows, from the first, the margins are wanted."""
        return 0

    @property
    def family(self) -> Hashable:
        """What is equal for requests whose numbers are written together; every other one is a family of its own."""
        return id(self)

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The numbers of all requests of its family, one after the other, on the device."""
        return rows.labels.new_empty(0)

    def read(self, counts: Counts) -> None:
        """Takes in the answer."""
        self.reply = SampleCounts(self.n_fresh, counts.n_hits, self.n_new)


class AskPool(Ask):
    """Rows of independent predicates: all that satisfy the anchor count, and tell of its extensions as well.

    Its rows are those that the anchor's pool has not counted yet; where there are none, it has no codes, and its answer
    is what the pool has.
    """

    __slots__ = ()

    @property
    def _sampler(self) -> IndependentSampler:
        return cast(IndependentSampler, self.job.case.sampler)

    @property
    def n_numbers(self) -> int:
        return 0 if self.codes is None else self._sampler.n_predicates

    @property
    def n_margins(self) -> int:
        return self.n_fresh

    @property
    def family(self) -> Hashable:
        if self.codes is None:
            return id(self)
        return type(self._sampler), self._sampler.n_predicates, self.codes.shape[1]

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """For each predicate, the hits among the rows on which it holds, too."""
        codes = torch.cat([codes_of(ask) for ask in family]).to(rows.labels.device, non_blocking=True)
        hits = self._sampler.keep(codes).float() * rows.hits[:, None]  # (n, K)
        return hits.new_zeros(len(family), hits.shape[1]).index_add_(0, rows.owners, hits).flatten()

    def read(self, counts: Counts) -> None:
        pool, keep = self.job.memory.pool(cast(SampleRequest, self.request).anchor), None
        if self.codes is not None:
            keep = self._sampler.kept(self.codes.numpy())
            pool.add(keep, counts.all_hits, np.rint(counts.numbers).astype(np.int64))
        self.reply = SampleCounts(
            n=self.n_fresh,
            n_hits=counts.n_hits,
            n_new=self.n_new,
            pool_n=pool.n,
            pool_hits=pool.n_hits,
            child_n=pool.child_n,
            child_hits=pool.child_hits,
            keep=None if keep is None or counts.margins is None else keep[: self.n_fresh],
            margins=counts.margins,
        )


def codes_of(ask: Ask) -> Tensor:
    """What describes the rows of a request."""
    assert ask.codes is not None, "the rows of a pool have codes"
    return ask.codes


class AskGroups(Ask):
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

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """1 for each row that is a hit, else 0."""
        return rows.hits.float()

    def read(self, counts: Counts) -> None:
        keep = cast(IndependentSampler, self.job.case.sampler).kept(codes_of(self).numpy())
        self.reply = GroupedRows(keep, counts.numbers > 0, self.n_new, counts.margins)


class AskEvery(Ask):
    """Every row of an anchor, each mask with its own answer."""

    __slots__ = ()

    @property
    def _n_backgrounds(self) -> int:
        return cast(IndependentSampler, self.job.case.sampler).n_backgrounds

    @property
    def n_numbers(self) -> int:
        return self.slots.size // self._n_backgrounds

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The hits of each mask; a mean over its backgrounds would be as rough as float32."""
        return rows.hits.float().view(-1, self._n_backgrounds).sum(dim=1)

    def read(self, counts: Counts) -> None:
        self.reply = EnumeratedHits(counts.numbers.astype(np.float64) / self._n_backgrounds, self.n_new)


class AskAnswer(Ask):
    """What the model says of the instance itself."""

    __slots__ = ()

    @property
    def n_numbers(self) -> int:
        return 1

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The instance's label."""
        return rows.asked.answers

    def read(self, counts: Counts) -> None:
        self.job.answer = int(counts.numbers[0])
        self.job.label = self.job.answer if self.job.label is None else self.job.label


def count(ledger: Ledger, asks: Sequence[Ask]) -> Answers:
    """All numbers that answer `asks`, on their way from the device, which is not waited for.

    These are the hits among the fresh rows and among the others, ask by ask; the margins that are wanted, where there
    are any; and what each family writes.
    """
    device = ledger.labels.device
    families: dict[Hashable, list[Ask]] = {}
    for ask in asks:
        families.setdefault(ask.family, []).append(ask)
    asks = [ask for family in families.values() for ask in family]
    lengths = np.array([(ask.n_fresh, ask.slots.size - ask.n_fresh) for ask in asks])
    parts = np.repeat(np.arange(lengths.size), lengths.ravel())  # two for each ask: its fresh rows, and the others
    of_rows = to_device(np.array([np.concatenate([ask.slots for ask in asks]), parts, parts // 2]), device)
    slots, parts, owners = of_rows
    labels = ledger.read(slots)
    wanted = [ask.slots[: ask.n_margins] for ask in asks if ask.n_margins]
    margins = ledger.read_margins(to_device(np.concatenate(wanted), device)) if wanted else None
    asked = asked_of(ledger, [ask.job for ask in asks])
    agrees = labels == asked.targets.index_select(0, owners)
    hits = (agrees != asked.changes.index_select(0, owners)) & (labels != INVALID)
    sums = torch.zeros(lengths.size, device=device).index_add_(0, parts, hits.float())  # exact up to 2^24
    numbers = [sums] if margins is None else [sums, margins]
    first = start = 0
    for family in families.values():
        last, end = first + len(family), start + sum(ask.slots.size for ask in family)
        if family[0].n_numbers:
            rows = Rows(asked.part(first, last), owners[start:end] - first, labels[start:end], hits[start:end])
            numbers.append(family[0].write(family, rows))
        first, start = last, end
    return Answers(torch.cat([exact(part) for part in numbers]), asks, has_margins=margins is not None)


def exact(numbers: Shaped[Tensor, " numbers"]) -> Float[Tensor, " numbers"]:
    """The numbers as float64, which keeps labels and the values of table rows as they are; Apple's GPUs have none."""
    return numbers.float() if numbers.device.type == "mps" else numbers.double()


def asked_of(ledger: Ledger, jobs: Sequence[Job]) -> Asked:
    """What is asked in each job; its label is known, or it is that of the instance."""
    known = [(0, 0) if job.label is None else (1, job.label) for job in jobs]
    of_jobs = [(*label, job.first_slot, job.case.changes) for label, job in zip(known, jobs, strict=True)]
    is_known, labels, slots, changes = to_device(np.array(of_jobs, dtype=np.int64).T, ledger.labels.device)
    answers = ledger.read(slots)
    return Asked(torch.where(is_known > 0, labels, answers), changes > 0, answers)


def to_device(array: NDArray, device: torch.device) -> Tensor:
    """A small host array on the device."""
    return torch.from_numpy(array).to(device, non_blocking=True)


class Answers:
    """The numbers that answer some asks, on their way to the host, and what they mean; see `count`.

    The copy is started at once and awaited in `deliver` only, so that the device can go on meanwhile.

    Attributes:
        n_batches: batches that were sent since the answers before, and so are done when these can be read.
    """

    n_batches: int = 0

    def __init__(self, numbers: Float[Tensor, " numbers"], asks: Sequence[Ask], has_margins: bool = False) -> None:
        self.asks = asks
        self._has_margins = has_margins
        self._numbers = HostCopy(numbers)

    def deliver(self) -> None:
        """Gives every request its reply."""
        n_asks, margins = len(self.asks), None
        numbers = self._numbers.wait().numpy()
        sums, rest = numbers[: 2 * n_asks].astype(np.int64).reshape(n_asks, 2), numbers[2 * n_asks :]
        if self._has_margins:
            n_margins = sum(ask.n_margins for ask in self.asks)
            margins, rest = rest[:n_margins].astype(np.float64, copy=False), rest[n_margins:]
        for ask, (n_hits, n_others) in zip(self.asks, sums.tolist(), strict=True):
            own, rest = rest[: ask.n_numbers], rest[ask.n_numbers :]
            of_rows = None
            if margins is not None and ask.n_margins:
                of_rows, margins = margins[: ask.n_margins], margins[ask.n_margins :]
            ask.read(Counts(n_hits, n_hits + n_others, own, of_rows))
            ask.answered = True
