"""Many searches on one model: their pending rows packed into full batches, their answers sent back.

The loop has no rounds of its own. Rows wait in one queue in the order in which they were asked for; a batch is the
head of that queue, whoever asked; a request is answered after the batch that holds its last row; and a search that
has all its answers goes on at once and queues new rows. Batches stay full as long as enough jobs are under way, and
new jobs are admitted as the queue runs low, so memory does not grow with the number of jobs. On an asynchronous
device one batch is computed while the searches fed by the one before decide.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from torch_anchors.engine.counting import Answers, count, explained_in, labels_explained
from torch_anchors.engine.device_copy import named_on_device
from torch_anchors.engine.forward_pass import ForwardPass
from torch_anchors.engine.job import (
    AnswerRequest,
    AnyRequest,
    Case,
    Found,
    Job,
    LastRequest,
    RowsRequest,
)
from torch_anchors.engine.last_replies import enter_last, enter_rows
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.margins import pick_leads
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.reading import Reading, joined
from torch_anchors.engine.repeats import NotRepeatable
from torch_anchors.engine.replies import Ask
from torch_anchors.engine.request_kinds import kind_of
from torch_anchors.engine.row_queue import Piece, RowQueue
from torch_anchors.errors import AnchorsError
from torch_anchors.perturb.protocol import IndependentSampler, Order
from torch_anchors.search.protocol import EnumerateRequest, GroupedRequest, Request, SampleRequest, Search

SomeCase = TypeVar("SomeCase", bound=Case)

DEPTHS = {"cuda": 2}
"""Batches that are under way at once, by the type of device; one where the host computes them itself."""

Searches = Callable[[Sequence[SomeCase], Sequence[int | None]], Iterable[Search]]
"""Starts the searches of some cases, given the label of each, or None as long as only the device knows it."""


@dataclass(slots=True)
class Load:
    """What was sent to the model so far, and how many rows its batches had room for."""

    n_rows: int = 0
    n_calls: int = 0
    capacity: int = 0

    def add(self, n_rows: int, size: int) -> None:
        """Takes a batch of `n_rows` with room for `size` into account."""
        self.n_rows += n_rows
        self.n_calls += 1
        self.capacity += max(n_rows, size)

    @property
    def fill(self) -> float:
        """Share of the places in batches that held a row."""
        return self.n_rows / self.capacity if self.capacity else 1.0


OneCase = TypeVar("OneCase", bound=Case, covariant=True)


@dataclass(frozen=True, slots=True)
class Finished(Generic[OneCase]):
    """A case, by its place among all cases, and what was found for it."""

    place: int
    case: OneCase
    found: Found

    def renumbered(self, numbers: Sequence[int] | None) -> Finished[OneCase]:
        """The same with the numbers of predicates that users know; see `SearchResult.renumbered`."""
        return replace(self, found=replace(self.found, result=self.found.result.renumbered(numbers)))


@dataclass(frozen=True, slots=True)
class Failed:
    """A case, by its place, on whose rows alone the model fails."""

    place: int
    error: Exception


class Runner(Generic[SomeCase]):
    """Drives cases to their end.

    Args:
        predictor: labels rows.
        max_rows: rows of a batch; found while working if it is "auto".
        searches: starts the searches of cases.
        answers_first: whether `searches` needs the labels of the instances. They are then predicted ahead.
        n_examples: how many hits and how many misses of each anchor to report.
        max_active: most searches under way at once, which bounds memory.
        max_ahead: how many cases may be finished before the oldest one is, which bounds what an ordered consumer
            has to hold back.
    """

    def __init__(
        self,
        predictor: Predictor,
        max_rows: MaxRows,
        searches: Searches[SomeCase],
        *,
        answers_first: bool = False,
        n_examples: int = 10,
        max_active: int = 256,
        max_ahead: int = 256,
    ) -> None:
        self.predictor = predictor
        self.max_rows = max_rows
        self.max_active = max_active
        self.max_ahead = max_ahead
        self.load = Load()
        self._searches = searches
        self._answers_first = answers_first
        self._n_examples = n_examples
        self._relies_on_repeats = predictor.repeats
        self._ledger = Ledger(predictor.device)
        self._queue = RowQueue()
        self._n_admitted = 0
        self._jobs: dict[Job, None] = {}  # all that are not finished, in the order of their numbers
        self._unanswered: list[Job] = []  # whose instance's label is awaited
        self._waiting: deque[tuple[Job, Search]] = deque()  # whose search may begin
        self._active: dict[Job, None] = {}  # whose search is under way
        self._open: list[Ask] = []
        self._flying: deque[Answers] = deque()
        self._n_unanswered = 0  # batches that were sent after the latest of these
        self._depth = DEPTHS.get(predictor.device.type, 1)
        self._forward = ForwardPass(predictor)
        self._host_seconds = 0.0  # of turns since the latest batch
        self._resumed = 0.0  # when the turn began, or its latest batch ended

    def waves(self, groups: Iterable[Sequence[SomeCase]]) -> Iterator[list[Finished[SomeCase] | Failed]]:
        """The cases as soon as they are finished, in any order, those together that finish together.

        Cases of a group are labelled, and their searches started, together. Nothing stays changed between two waves:
        the model is in eval mode only while the runner works. A case on whose rows the model fails, without those of
        others in the batch, is finished with that error.

        Raises:
            NotRepeatable: the model does not repeat its answers, and samplers rely on it. Make new cases whose samplers
                do not.
        """
        coming = iter(groups)
        more = True
        while more or self._jobs:
            more = more and self._admit(coming)
            with self.predictor.session():
                self._resumed = time.perf_counter()
                finished = self._turn()
                while not finished and self._jobs and not (more and self._has_room(self._queue.n_rows)):
                    self._check_repeats()
                    finished = self._turn()
                self._host_seconds += time.perf_counter() - self._resumed
            self._check_repeats()
            if finished:
                yield finished

    def _check_repeats(self) -> None:
        if self._relies_on_repeats and not self.predictor.repeats:
            raise NotRepeatable

    # ------------------------------------------------------------------------------------------------- admission

    def _admit(self, coming: Iterator[Sequence[SomeCase]]) -> bool:
        """Begins searches until two batches are queued for each that may be under way; whether more cases may come."""
        orders: list[tuple[Job, Sequence[AnyRequest]]] = []
        n_expected, more = self._queue.n_rows, True
        while self._has_room(n_expected):
            if self._waiting:
                job, search = self._waiting.popleft()
                self._active[job] = None
                requests = job.begin(search)
                orders.append((job, requests))
                n_expected += sum(_most_rows(job, request) for request in requests)
                continue
            if self._unanswered:
                break
            group = next(coming, None)
            if group is None:
                more = False
                break
            self._take_in(group)
        self._order(orders)
        return more

    def _has_room(self, n_expected: int) -> bool:
        if not self._active:
            return True
        number = self._waiting[0][0].number if self._waiting else self._n_admitted
        ahead = number - next(iter(self._jobs)).number
        return (
            len(self._active) < self.max_active
            and ahead < self.max_ahead
            and n_expected < 2 * self._depth * self.max_rows.n
        )

    def _take_in(self, group: Sequence[SomeCase]) -> None:
        """Makes jobs of cases, and starts their searches or first asks for the labels of their instances."""
        jobs = []
        for case in group:
            self.max_rows.start(case.sampler.row_shape(), self.predictor.device, self.predictor.static_shapes)
            jobs.append(Job(self._n_admitted, case, self._n_examples, self._ledger.n_reserved))
            self._jobs[jobs[-1]] = None
            self._n_admitted += 1
        unknown = [job for job in jobs if job.label is None] if self._answers_first else []
        for job in unknown:
            job.asks = self._first_asks(job)
            self._open += job.asks
        if unknown:
            self._unanswered = jobs
        else:
            self._start_searches(jobs)

    def _start_searches(self, jobs: Sequence[Job]) -> None:
        cases = [cast(SomeCase, job.answered_case()) for job in jobs]
        with torch.inference_mode(False):  # what is learned for these cases may be kept for others
            searches = list(self._searches(cases, [job.label for job in jobs]))
        self._waiting.extend(zip(jobs, searches, strict=True))

    # --------------------------------------------------------------------------------------------------- ordering

    def _order(self, orders: Sequence[tuple[Job, Sequence[AnyRequest]]]) -> None:
        """Draws the rows of new requests, all that one sampler draws at once, and queues those not yet known."""
        by_sampler: dict[int, list[tuple[Job, int, Request]]] = {}
        for job, requests in orders:
            for i, request in enumerate(requests):
                if _most_rows(job, request):
                    by_sampler.setdefault(id(job.case.sampler), []).append((job, i, cast(Request, request)))
        drawn: dict[tuple[Job, int], Tensor] = {}
        for group in by_sampler.values():
            sampler = group[0][0].case.sampler
            codes = sampler.draw([Order(request, job.case.rng, job.case.instance) for job, _, request in group])
            drawn.update({(job, i): rows for (job, i, _), rows in zip(group, codes, strict=True)})
        for job, requests in orders:
            first = [] if job.asks else self._first_asks(job)
            own = [self._enter(job, request, drawn.get((job, i))) for i, request in enumerate(requests)]
            job.asks = [*first, *own]
            self._open += job.asks

    def _first_asks(self, job: Job) -> list[Ask]:
        """What is asked with a job's first requests: the label of the instance, without which it goes no further."""
        self._enter_instance(job)
        return [self._enter(job, AnswerRequest(), None)] if job.label is None else []

    def _enter_instance(self, job: Job) -> None:
        """Gives the job its first slot: the instance itself, whose label is explained or compared with that one."""
        job.first_slot = self._ledger.n_reserved
        codes = job.case.sampler.instance_code(job.case.instance)
        job.memory.split(codes, job.first_slot)
        self._enqueue(job, codes)

    def _enter(self, job: Job, request: AnyRequest, codes: Tensor | None) -> Ask:
        """Registers a request: rows not seen before are queued, and all that count for it are listed."""
        kind = kind_of(job, request)
        if isinstance(request, AnswerRequest):
            slots = np.array([job.first_slot])
            return kind(job, request, slots, None, 0, 0, job.first_slot)
        if isinstance(request, LastRequest):
            return enter_last(job, request)
        if isinstance(request, RowsRequest):
            return enter_rows(job, request)
        slots, n_new, last = np.zeros(0, dtype=np.int64), 0, -1
        if codes is not None:
            slots, unknown = job.memory.split(codes, self._ledger.n_reserved)
            n_new = unknown.shape[0]
            if n_new:
                self._enqueue(job, unknown)
        n_fresh, rows = slots.size, codes if isinstance(request, GroupedRequest) else None
        if isinstance(request, SampleRequest):
            if codes is not None:
                job.memory.add(request.anchor, codes, slots)
            if job.case.sampler.independent:
                slots, rows = job.memory.uncounted(request.anchor)  # the fresh ones first
                last = job.memory.pool(request.anchor).last_slot
        if last < 0 and slots.size:
            last = int(slots.max())
        if job.label is None:  # the rows are compared with the first one
            last = max(last, job.first_slot)
        return kind(job, request, slots, rows, n_fresh, n_new, last)

    def _enqueue(self, job: Job, codes: Tensor) -> None:
        oldest = next(iter(self._jobs)).first_slot  # jobs get their first slots in the order of their admission
        self._ledger.reserve(codes.shape[0], oldest)
        self._queue.push(job, codes)

    # --------------------------------------------------------------------------------------------------- working

    def _turn(self) -> list[Finished[SomeCase] | Failed]:
        """Sends batches until the device is busy, awaits the oldest answers, and lets searches go on."""
        self._answer()
        while self._queue.n_rows and (not self._flying or 0 < self._n_under_way() < self._depth):
            if self._flying and self._queue.n_rows < self.max_rows.n:
                break  # a part of a batch waits for company while the device has work
            self._launch()
            self._answer()
        if self._flying:
            self._flying.popleft().deliver()
        return self._go_on()

    def _n_under_way(self) -> int:
        """Batches of which nobody knows yet that they are done. Answers from memory come with none."""
        return self._n_unanswered + sum(answers.n_batches for answers in self._flying)

    def _answer(self) -> None:
        """Starts the counting of every open request whose rows have all been predicted."""
        written = self._ledger.n_written
        self._open = [ask for ask in self._open if not ask.answered]
        known = [ask for ask in self._open if ask.last_slot < written]
        if known:
            self._open = [ask for ask in self._open if ask.last_slot >= written]
            answers = count(self._ledger, known, self.predictor.outputs.are_probabilities)
            answers.n_batches, self._n_unanswered = self._n_unanswered, 0
            self._flying.append(answers)

    def _launch(self) -> None:
        """Predicts the head of the queue, or less of it next time if that does not fit into memory."""
        size = self.max_rows.n
        pieces = self._queue.take(size)
        n_rows = sum(piece.codes.shape[0] for piece in pieces)
        started = time.perf_counter()
        try:
            reading = self._predicted(pieces)
            if self.max_rows.tuning:
                reading.labels[:1].cpu()  # the time of a batch is known only when it is done; a few times per model
        except Exception as error:
            self.max_rows.survive(error, n_rows)
            self._queue.give_back(pieces)
            self._forward.forget_buffers()
            return
        ended = time.perf_counter()
        waited = self._host_seconds + started - self._resumed if self._depth == 1 else 0.0
        self.max_rows.record(n_rows, ended - started, waited)
        self._host_seconds, self._resumed = 0.0, ended
        self._write(reading, pieces)
        self._n_unanswered += 1
        self.load.add(n_rows, size)
        for piece in pieces:
            piece.job.n_rows += piece.codes.shape[0]
        for job in {piece.job for piece in pieces}:
            job.n_calls += 1

    def _write(self, reading: Reading, pieces: Sequence[Piece]) -> None:
        """Takes down the labels of the next rows and, where there are scores, those that tell their margins."""
        self._ledger.write(reading.labels)
        if reading.scores is None or not any(piece.job.case.sampler.independent for piece in pieces):
            return
        jobs, sizes = [piece.job for piece in pieces], [piece.codes.shape[0] for piece in pieces]
        there = named_on_device(explained_in(self._ledger, jobs, sizes), self.predictor.device)
        targets = labels_explained(self._ledger.labels.index_select(0, there["instances"]), there)
        pick_leads(reading.scores, targets, out=self._ledger.last_leads(len(targets)))

    def _predicted(self, pieces: Sequence[Piece]) -> Reading:
        """What the predictor says of the pieces' rows; rows of a case that failed have no label.

        Where the model fails, it is asked for each piece alone, to find whose fault it is.
        """
        n_rows = sum(piece.codes.shape[0] for piece in pieces)
        if any(piece.job.error is not None for piece in pieces) and len(pieces) > 1:
            return joined([self._predicted([piece]).kept() for piece in pieces])
        if pieces[0].job.error is None:
            try:
                return self._forward.read(pieces, n_rows, self.max_rows.padded(n_rows))
            except AnchorsError as error:
                if len({piece.job for piece in pieces}) > 1:
                    return joined([self._predicted([piece]).kept() for piece in pieces])
                pieces[0].job.error = error
        return Reading(torch.full((n_rows,), INVALID, dtype=torch.int64, device=self.predictor.device))

    def _go_on(self) -> list[Finished[SomeCase] | Failed]:
        """Advances every search that has all its answers; the cases that are finished."""
        finished = [self._finished(job) for job in [job for job in self._jobs if job.error is not None]]
        if self._unanswered and all(job.ready for job in self._unanswered):
            answered, self._unanswered = self._unanswered, []
            self._start_searches(answered)
        orders: list[tuple[Job, Sequence[AnyRequest]]] = []
        for job in [job for job in self._active if job.ready]:
            requests = job.advance()
            if requests:
                orders.append((job, requests))
            else:
                finished.append(self._finished(job))
        self._order(orders)
        return finished

    def _finished(self, job: Job) -> Finished[SomeCase] | Failed:
        """Forgets a job whose case is finished."""
        job.asks = []  # which know the job: what is left of it is freed at once, and not by the garbage collector
        del self._jobs[job]
        self._active.pop(job, None)
        if job in self._unanswered:
            self._unanswered.remove(job)
        if job.error is not None:
            self._open = [ask for ask in self._open if ask.job is not job]
            return Failed(job.number, job.error)
        return Finished(job.number, cast(SomeCase, job.answered_case()), job.found())


def _most_rows(job: Job, request: AnyRequest) -> int:
    """Rows that a request may queue."""
    if isinstance(request, (SampleRequest, GroupedRequest)):
        return request.n
    if isinstance(request, EnumerateRequest):
        sampler = cast(IndependentSampler, job.case.sampler)
        return sampler.n_backgrounds << (sampler.n_predicates - len(request.anchor))
    return 0
