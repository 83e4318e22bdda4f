"""Requests with the rows that answer them, and the numbers that travel from the device to the host as the answer.

Hits of many requests of many jobs are counted at once on the device; one small vector of numbers comes back. There is
one class for each kind of request: it says which numbers it needs beyond the two sums that all have, writes them on the
device, and reads them on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.engine.job import AnswerRequest, AnyRequest, Examples, ExamplesRequest, Job
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.outputs import INVALID
from torch_anchors.perturb.protocol import IndependentSampler
from torch_anchors.search.protocol import EnumeratedHits, EnumerateRequest, Reply, SampleCounts


class Rows(NamedTuple):
    """What the device knows of the rows of a request: their job's label (1,), their own, and which are hits (n,).

    With their margins (n,) where the predictor has scores.
    """

    target: Int[Tensor, "1"]
    labels: Int[Tensor, " rows"]
    hits: Bool[Tensor, " rows"]
    margins: Float[Tensor, " rows"] | None


@dataclass(slots=True, eq=False)
class Ask:
    """A request of a job together with the rows that answer it: fresh rows drawn for one anchor, and their hits.

    `slots` are the rows to look at: first the `n_fresh` drawn for this request, then older ones that also count.
    `codes` describes the same rows, where somebody looks at them. `n_new` of them had to be sent to the model.
    `last_slot` is the last that must be predicted before the answer. `has_margins` tells whether margins were written.
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
    has_margins: bool = False

    @property
    def n_numbers(self) -> int:
        """How many numbers `write` adds to the two sums."""
        return 0

    def write(self, rows: Rows) -> Shaped[Tensor, " numbers"]:
        """Those numbers, on the device."""
        return rows.labels.new_empty(0)

    def read(self, n_hits: int, all_hits: int, numbers: NDArray[np.floating]) -> None:
        """Takes in the answer: hits among the fresh rows, hits among all rows, and what `write` wrote."""
        self.reply = SampleCounts(self.n_fresh, n_hits, self.n_new)


class AskPool(Ask):
    """Rows of independent predicates: all that satisfy the anchor count, and tell of its extensions as well."""

    __slots__ = ()

    @property
    def _sampler(self) -> IndependentSampler:
        return cast(IndependentSampler, self.job.case.sampler)

    @property
    def n_numbers(self) -> int:
        n_margins = self.n_fresh if self.has_margins else 0
        return self._sampler.n_predicates + n_margins if self.codes is not None else 0

    def write(self, rows: Rows) -> Shaped[Tensor, " numbers"]:
        """For each predicate, the hits among the rows on which it holds, too; and the margins of the fresh rows."""
        if self.codes is None:
            return rows.labels.new_empty(0)
        keep = self._sampler.keep(self.codes.to(rows.labels.device, non_blocking=True))
        child_hits = rows.hits.float() @ keep.float()  # (K,)
        self.has_margins = rows.margins is not None
        return child_hits if rows.margins is None else torch.cat([child_hits, rows.margins[: self.n_fresh]])

    def read(self, n_hits: int, all_hits: int, numbers: NDArray[np.floating]) -> None:
        if self.codes is None:
            self.reply = SampleCounts(self.n_fresh, n_hits, self.n_new)
            return
        self.reply = SampleCounts(
            n=self.n_fresh,
            n_hits=n_hits,
            n_new=self.n_new,
            pool_n=self.slots.size,
            pool_hits=all_hits,
            child_n=self._sampler.n_kept(self.codes),
            child_hits=np.rint(numbers[: self._sampler.n_predicates]).astype(np.int64),
            **self._fresh_margins(numbers[self._sampler.n_predicates :]),
        )

    def _fresh_margins(self, margins: NDArray[np.floating]) -> dict[str, Any]:
        if not self.has_margins or self.codes is None:
            return {}
        return {"keep": self._sampler.keep(self.codes[: self.n_fresh]).numpy(), "margins": margins.astype(np.float64)}


class AskEvery(Ask):
    """Every row of an anchor, each mask with its own answer."""

    __slots__ = ()

    @property
    def _n_backgrounds(self) -> int:
        return cast(IndependentSampler, self.job.case.sampler).n_backgrounds

    @property
    def n_numbers(self) -> int:
        return self.slots.size // self._n_backgrounds

    def write(self, rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The hits of each mask; a mean over its backgrounds would be as rough as float32."""
        return rows.hits.float().view(-1, self._n_backgrounds).sum(dim=1)

    def read(self, n_hits: int, all_hits: int, numbers: NDArray[np.floating]) -> None:
        self.reply = EnumeratedHits(numbers.astype(np.float64) / self._n_backgrounds, self.n_new)


class AskAnswer(Ask):
    """What the model says of the instance itself."""

    __slots__ = ()

    @property
    def n_numbers(self) -> int:
        return 1

    def write(self, rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The explained label."""
        return rows.target

    def read(self, n_hits: int, all_hits: int, numbers: NDArray[np.floating]) -> None:
        self.job.label = int(numbers[0])


class AskExamples(Ask):
    """A few hits and misses of the found anchor, and the explained label.

    Which rows these are is decided on the device: a stable sort brings hits to the front in their order. Rows that are
    drawn on the device come back with them.
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
        return 1 + 2 * self._n * (2 + self._row_width)

    def write(self, rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The explained label; then positions and labels of the first few hits, of the first few misses; then rows."""
        hits_first = torch.sort(~rows.hits, stable=True).indices[: self._n]
        misses_first = torch.sort(rows.hits, stable=True).indices[: self._n]
        positions = torch.cat([hits_first, misses_first])
        parts = [rows.target, positions, rows.labels[positions]]
        if self._row_width and self.codes is not None:
            parts.append(self.codes[positions].flatten())
        return torch.cat([_exact(part) for part in parts])

    def read(self, n_hits: int, all_hits: int, numbers: NDArray[np.floating]) -> None:
        n, n_rows = self._n, self.slots.size
        label, positions, labels, rows = np.split(numbers, [1, 1 + 2 * n, 1 + 4 * n])
        real = np.concatenate([np.arange(n) < all_hits, np.arange(n) < n_rows - all_hits])  # beyond: the other kind
        codes: NDArray[np.generic] = np.zeros((2 * n, 0))
        if self._row_width:
            codes = rows.reshape(2 * n, self._row_width)
        elif self.codes is not None:
            codes = self.codes.numpy()[positions.astype(np.int64)]
        self.job.label = int(label[0])
        self.job.examples = Examples(codes[real], labels.astype(np.int64)[real], (np.arange(2 * n) < n)[real])


def kind_of(job: Job, request: AnyRequest) -> type[Ask]:
    """The class of a request: what answers it."""
    if isinstance(request, AnswerRequest):
        return AskAnswer
    if isinstance(request, ExamplesRequest):
        return AskExamples
    if isinstance(request, EnumerateRequest):
        return AskEvery
    return AskPool if job.case.sampler.independent else Ask


def count(ledger: Ledger, asks: Sequence[Ask]) -> Float[Tensor, " numbers"]:
    """All numbers that answer `asks`, on the device, without waiting for it.

    `Answers` reads the vector back.
    """
    device = ledger.labels.device
    lengths = np.array([ask.slots.size for ask in asks], dtype=np.int64)
    ends = lengths.cumsum()
    starts = ends - lengths
    fresh_ends = starts + np.array([ask.n_fresh for ask in asks], dtype=np.int64)
    targets = targets_of(ledger, [ask.job for ask in asks])
    slots = _to(np.concatenate([ask.slots for ask in asks]), device)
    labels, margins = ledger.read(slots), ledger.read_margins(slots)
    wanted = targets.repeat_interleave(_to(lengths, device), output_size=int(ends[-1]))
    hits = (labels == wanted) & (labels != INVALID)

    running = torch.nn.functional.pad(hits.long().cumsum(0), (1, 0))  # running[i]: hits among the first i rows
    bounds = running[_to(np.stack([starts, fresh_ends, ends]), device)]  # (3, asks)
    numbers = [bounds[1] - bounds[0], bounds[2] - bounds[0]]
    for i, ask in enumerate(asks):
        if ask.n_numbers:
            own = slice(int(starts[i]), int(ends[i]))
            of_own = None if margins is None else margins[own]
            numbers.append(ask.write(Rows(targets[i : i + 1], labels[own], hits[own], of_own)))
    return torch.cat([_exact(part) for part in numbers])


def _exact(numbers: Shaped[Tensor, " numbers"]) -> Float[Tensor, " numbers"]:
    """The numbers as float64, which keeps labels and the values of table rows as they are; Apple's GPUs have none."""
    return numbers.float() if numbers.device.type == "mps" else numbers.double()


def targets_of(ledger: Ledger, jobs: Sequence[Job]) -> Int[Tensor, " jobs"]:
    """The explained label of each job: known, or the label of the job's first row, the instance."""
    device = ledger.labels.device
    known = np.array([INVALID if job.label is None else job.label for job in jobs], dtype=np.int64)
    # A job with a known label may have no row for the instance; any slot will do where the value is not used.
    slots = [job.first_slot if job.label is None else ledger.base for job in jobs]
    return torch.where(
        _to(np.array([job.label is not None for job in jobs]), device),
        _to(known, device),
        ledger.read(_to(np.array(slots, dtype=np.int64), device)),
    )


def _to(array: NDArray, device: torch.device) -> Tensor:
    """A small host array on the device."""
    return torch.from_numpy(array).to(device, non_blocking=True)


class Answers:
    """The numbers of `count`, on their way to the host, and what they mean.

    The copy is started at once and awaited in `deliver` only, so that the device can go on meanwhile.
    """

    def __init__(self, numbers: Float[Tensor, " numbers"], asks: Sequence[Ask]) -> None:
        self.asks = asks
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
        n_asks = len(self.asks)
        n_hits, all_hits, rest = np.split(self._numbers.numpy(), [n_asks, 2 * n_asks])
        for ask, fresh, whole in zip(self.asks, n_hits.tolist(), all_hits.tolist(), strict=True):
            own, rest = rest[: ask.n_numbers], rest[ask.n_numbers :]
            ask.read(int(fresh), int(whole), own)
            ask.answered = True
