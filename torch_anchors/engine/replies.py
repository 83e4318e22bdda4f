"""Requests with the rows that answer them, and what travels from the device to the host as the answer.

The labels of the rows of many requests of many jobs, and their margins where there are any, come back as one small
vector of numbers; the host counts the hits. There is one class for each kind of request: it says which numbers it needs
beyond these, writes them on the device, and reads all of its own on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.engine.job import AnswerRequest, AnyRequest, Examples, ExamplesRequest, Job
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.outputs import INVALID
from torch_anchors.perturb.protocol import IndependentSampler
from torch_anchors.search.protocol import EnumeratedHits, EnumerateRequest, Reply, SampleCounts, SampleRequest


class Rows(NamedTuple):
    """What the host has heard of the rows of a request: their job's label, their own (n,), and which are hits (n,).

    With their margins (n,) where the predictor has scores.
    """

    target: int
    labels: NDArray[np.int64]
    hits: NDArray[np.bool_]
    margins: NDArray[np.float64] | None


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
        """How many numbers `write` adds to the labels and margins of the rows."""
        return 0

    def write(self, target: Int[Tensor, "1"], labels: Int[Tensor, " rows"]) -> Shaped[Tensor, " numbers"]:
        """Those numbers, on the device, from the explained label and those of the rows."""
        return labels.new_empty(0)

    def read(self, rows: Rows, numbers: NDArray[np.floating]) -> None:
        """Takes in the answer: what is known of the rows, and what `write` wrote."""
        self.reply = SampleCounts(self.n_fresh, int(rows.hits[: self.n_fresh].sum()), self.n_new)


class AskPool(Ask):
    """Rows of independent predicates: all that satisfy the anchor count, and tell of its extensions as well.

    Its rows are those that the anchor's pool has not counted yet.
    """

    __slots__ = ()

    def read(self, rows: Rows, numbers: NDArray[np.floating]) -> None:
        assert self.codes is not None
        n, pool = self.n_fresh, self.job.memory.pool(cast(SampleRequest, self.request).anchor)
        keep = cast(IndependentSampler, self.job.case.sampler).kept(self.codes.numpy())
        pool.add(keep, rows.hits)
        self.reply = SampleCounts(
            n=n,
            n_hits=int(rows.hits[:n].sum()),
            n_new=self.n_new,
            pool_n=pool.n,
            pool_hits=pool.n_hits,
            child_n=pool.child_n,
            child_hits=pool.child_hits,
            keep=None if rows.margins is None else keep[:n],
            margins=None if rows.margins is None else rows.margins[:n],
        )


class AskEvery(Ask):
    """Every row of an anchor, each mask with its own answer."""

    __slots__ = ()

    def read(self, rows: Rows, numbers: NDArray[np.floating]) -> None:
        hits = rows.hits.reshape(-1, cast(IndependentSampler, self.job.case.sampler).n_backgrounds)
        self.reply = EnumeratedHits(hits.sum(axis=1) / hits.shape[1], self.n_new)


class AskAnswer(Ask):
    """What the model says of the instance itself."""

    __slots__ = ()

    def read(self, rows: Rows, numbers: NDArray[np.floating]) -> None:
        self.job.label = rows.target


class AskExamples(Ask):
    """A few hits and misses of the found anchor, and the explained label.

    Rows that are drawn on the device come back with the answer. Which they are is decided there: a stable sort brings
    hits to the front in their order.
    """

    __slots__ = ()

    @property
    def _n(self) -> int:
        """Most examples of one kind."""
        return min(self.job.n_examples, self.slots.size)

    @property
    def _row_width(self) -> int:
        """Numbers of a row that has to be copied from the device; rows with codes on the host need not be."""
        on_host = self.codes is None or self.job.case.sampler.repeatable or self.job.case.sampler.independent
        return 0 if on_host or self.codes is None else self.codes.shape[1]

    @property
    def n_numbers(self) -> int:
        return 2 * self._n * self._row_width

    def write(self, target: Int[Tensor, "1"], labels: Int[Tensor, " rows"]) -> Shaped[Tensor, " numbers"]:
        """The first few rows that are hits, then the first few misses."""
        assert self.codes is not None
        hits = (labels == target) & (labels != INVALID)
        hits_first = torch.sort(~hits, stable=True).indices[: self._n]
        misses_first = torch.sort(hits, stable=True).indices[: self._n]
        return self.codes[torch.cat([hits_first, misses_first])].flatten()

    def read(self, rows: Rows, numbers: NDArray[np.floating]) -> None:
        n, width = self._n, self._row_width
        hits, misses = np.flatnonzero(rows.hits)[:n], np.flatnonzero(~rows.hits)[:n]
        positions = np.concatenate([hits, misses])
        codes: NDArray[np.generic] = np.zeros((positions.size, 0))
        if width:
            copied = numbers.reshape(2, n, width)
            codes = np.concatenate([copied[0, : hits.size], copied[1, : misses.size]])
        elif self.codes is not None:
            codes = self.codes.numpy()[positions]
        self.job.label = rows.target
        self.job.examples = Examples(codes, rows.labels[positions], rows.hits[positions])


def kind_of(job: Job, request: AnyRequest) -> type[Ask]:
    """The class of a request: what answers it."""
    if isinstance(request, AnswerRequest):
        return AskAnswer
    if isinstance(request, ExamplesRequest):
        return AskExamples
    if isinstance(request, EnumerateRequest):
        return AskEvery
    return AskPool if job.case.sampler.independent else Ask


def count(ledger: Ledger, asks: Sequence[Ask]) -> Answers:
    """What answers `asks`, on its way from the device, which is not waited for: first the explained label of each ask.

    Then the labels and the margins of all rows, ask by ask, and what some asks write besides.
    """
    device = ledger.labels.device
    ends = np.cumsum([ask.slots.size for ask in asks])
    targets = targets_of(ledger, [ask.job for ask in asks])
    slots = _to(np.concatenate([ask.slots for ask in asks]), device)
    labels, margins = ledger.read(slots), ledger.read_margins(slots)
    numbers = [targets, labels] if margins is None else [targets, labels, margins]
    for i, ask in enumerate(asks):
        if ask.n_numbers:
            numbers.append(ask.write(targets[i : i + 1], labels[ends[i] - ask.slots.size : ends[i]]))
    return Answers(torch.cat([_exact(part) for part in numbers]), asks, margins is not None)


def _exact(numbers: Shaped[Tensor, " numbers"]) -> Float[Tensor, " numbers"]:
    """The numbers as float64, which keeps labels and the values of table rows as they are; Apple's GPUs have none."""
    return numbers.float() if numbers.device.type == "mps" else numbers.double()


def targets_of(ledger: Ledger, jobs: Sequence[Job]) -> Int[Tensor, " jobs"]:
    """The explained label of each job: known, or the label of the job's first row, the instance."""
    # A job with a known label may have no row for the instance; any slot will do where the value is not used.
    of_jobs = [(0, job.first_slot, 0) if job.label is None else (1, ledger.base, job.label) for job in jobs]
    is_known, slots, labels = _to(np.array(of_jobs, dtype=np.int64).T, ledger.labels.device)
    return torch.where(is_known > 0, labels, ledger.read(slots))


def _to(array: NDArray, device: torch.device) -> Tensor:
    """A small host array on the device."""
    return torch.from_numpy(array).to(device, non_blocking=True)


class Answers:
    """The numbers that answer some asks, on their way to the host, and what they mean; see `count`.

    The copy is started at once and awaited in `deliver` only, so that the device can go on meanwhile.
    """

    def __init__(self, numbers: Float[Tensor, " numbers"], asks: Sequence[Ask], has_margins: bool = False) -> None:
        self.asks = asks
        self._has_margins = has_margins
        self._event: torch.cuda.Event | None = None
        if numbers.device.type == "cuda":
            self._numbers = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=True)
            self._numbers.copy_(numbers, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._numbers = numbers.cpu()

    def deliver(self) -> None:
        """Gives every request its reply."""
        if self._event is not None:
            self._event.synchronize()
        lengths = [ask.slots.size for ask in self.asks]
        n_asks, n_rows = len(self.asks), sum(lengths)
        numbers = self._numbers.numpy()
        targets, labels = np.split(numbers[: n_asks + n_rows].astype(np.int64), [n_asks])
        hits = (labels == np.repeat(targets, lengths)) & (labels != INVALID)
        rest = numbers[n_asks + n_rows :]
        margins = None
        if self._has_margins:
            margins, rest = rest[:n_rows].astype(np.float64, copy=False), rest[n_rows:]
        end = 0
        for ask, length, target in zip(self.asks, lengths, targets.tolist(), strict=True):
            start, end = end, end + length
            of_own = None if margins is None else margins[start:end]
            ask.read(Rows(target, labels[start:end], hits[start:end], of_own), rest[: ask.n_numbers])
            rest = rest[ask.n_numbers :]
            ask.answered = True
