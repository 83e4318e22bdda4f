"""Many searches on one model: their pending rows packed into full batches, their answers sent back.

The loop has no rounds of its own. Rows wait in one queue in the order in which they were asked for; a batch is the
head of that queue, whoever asked; a request is answered after the batch that holds its last row; and a search that
has all its answers goes on at once and queues new rows. Batches stay full as long as enough jobs are under way, and
new jobs are admitted as the queue runs low, so memory does not grow with the number of jobs. On an asynchronous
device one batch is computed while the searches fed by the one before decide.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors.engine.batch import BatchPredictor
from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.engine.counting import Answers, count
from torch_anchors.engine.job import Ask, ExamplesRequest, Job
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.predictor import Predictor, is_out_of_memory
from torch_anchors.engine.row_queue import RowQueue
from torch_anchors.errors import PredictorCallError
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import Request, SampleRequest

logger = logging.getLogger(__name__)


Requests = Sequence[Request | ExamplesRequest]


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


class Runner:
    """Drives jobs to their end.

    Args:
        predictor: labels rows.
        batch_size: rows of a batch; found while working if it is "auto".
        max_active: most jobs under way at once, which bounds memory.
        max_ahead: how many jobs may be finished before the oldest one is, which bounds what an ordered consumer
            has to hold back.
    """

    def __init__(
        self, predictor: Predictor, batch_size: BatchSize, max_active: int = 256, max_ahead: int = 256
    ) -> None:
        self.predictor = predictor
        self.batch_size = batch_size
        self.max_active = max_active
        self.max_ahead = max_ahead
        self.load = Load()
        self._ledger = Ledger(predictor.device)
        self._queue = RowQueue()
        self._n_admitted = 0
        self._active: dict[Job, int] = {}  # in order of admission, with the number of each
        self._open: list[Ask] = []
        self._flying: deque[Answers] = deque()
        self._depth = 2 if predictor.device.type == "cuda" else 1
        self._batches = BatchPredictor(predictor)

    def run(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs, each as soon as it is finished, in any order; see `waves`."""
        for wave in self.waves(jobs):
            yield from wave

    def waves(self, jobs: Iterable[Job]) -> Iterator[list[Job]]:
        """The jobs as soon as they are finished, in any order, those together that finish together.

        Nothing stays changed between two of them: the model is in eval mode only while the runner works. An error
        of the model ends the iteration; jobs finished before it have been yielded.
        """
        waiting = iter(jobs)
        more = True
        while more or self._active:
            more = more and self._admit(waiting)
            with self.predictor.session():
                finished = self._turn()
            if finished:
                yield finished

    # ------------------------------------------------------------------------------------------------- admission

    def _admit(self, waiting: Iterator[Job]) -> bool:
        """Starts jobs until two batches are queued; whether more may come."""
        orders: list[tuple[Job, Requests]] = []
        n_expected = self._queue.n_rows
        while self._has_room(n_expected):
            job = next(waiting, None)
            if job is None:
                self._order(orders)
                return False
            self.batch_size.start(job.sampler.row_shape(), self.predictor.device, self.predictor.static_shapes)
            self._active[job] = self._n_admitted
            self._n_admitted += 1
            requests = job.start()
            orders.append((job, requests))
            n_expected += sum(_most_rows(job, request) for request in requests)
        self._order(orders)
        return True

    def _has_room(self, n_expected: int) -> bool:
        if not self._active:
            return True
        ahead = self._n_admitted - next(iter(self._active.values()))
        return len(self._active) < self.max_active and ahead < self.max_ahead and n_expected < 2 * self.batch_size.n

    # --------------------------------------------------------------------------------------------------- ordering

    def _order(self, orders: Sequence[tuple[Job, Requests]]) -> None:
        """Draws the rows of new requests, all requests of one sampler at once, and queues those not yet known."""
        by_sampler: dict[int, list[tuple[Job, int, Request]]] = {}
        for job, requests in orders:
            for i, request in enumerate(requests):
                if not isinstance(request, ExamplesRequest):
                    by_sampler.setdefault(id(job.sampler), []).append((job, i, request))
        drawn: dict[tuple[Job, int], Tensor] = {}
        for group in by_sampler.values():
            codes = group[0][0].sampler.draw([Order(request, job.rng, job.instance) for job, _, request in group])
            drawn.update({(job, i): rows for (job, i, _), rows in zip(group, codes, strict=True)})
        for job, requests in orders:
            if job.first_slot < 0:
                self._enter_instance(job)
            job.asks = [self._enter(job, request, drawn.get((job, i))) for i, request in enumerate(requests)]
            self._open += job.asks

    def _enter_instance(self, job: Job) -> None:
        """Gives the job its first slot: the instance itself, whose label is explained unless one was given."""
        job.first_slot = self._ledger.n_reserved
        if job.label is None:
            codes = job.sampler.instance_code(job.instance)
            if job.memory.remembers:
                job.memory.split(codes, job.first_slot)
            self._enqueue(job, codes)

    def _enter(self, job: Job, request: Request | ExamplesRequest, codes: Tensor | None) -> Ask:
        """Registers a request: rows not seen before are queued, and all that count for it are listed."""
        n_predicates = job.sampler.n_predicates(job.instance)
        if codes is None:
            slots, rows = job.memory.known(request.anchor, n_predicates)
            if rows is not None and slots.size > 1 and slots[0] == job.first_slot:
                slots, rows = slots[1:], rows[1:]  # the instance itself is no example
            return Ask(job, request, slots, rows, 0, 0, self._last(job, slots))
        slots, unknown = job.memory.split(codes, self._ledger.n_reserved)
        if unknown.shape[0]:
            self._enqueue(job, unknown)
        n_fresh, rows = slots.size, None
        if isinstance(request, SampleRequest):
            older = job.memory.pool(request.anchor, n_predicates)
            job.memory.add(request.anchor, codes, slots)
            if older is not None:
                # Codes may carry a background's number after the mask; the pool is about masks.
                packed = codes[:, : older[1].shape[1]]
                slots, rows = np.concatenate([slots, older[0]]), torch.cat([packed, older[1]])
        return Ask(job, request, slots, rows, n_fresh, unknown.shape[0], self._last(job, slots))

    def _last(self, job: Job, slots: NDArray[np.int64]) -> int:
        """The last slot that must be written before rows `slots` can be compared with the explained label."""
        return max(int(slots.max(initial=-1)), -1 if job.label is not None else job.first_slot)

    def _enqueue(self, job: Job, codes: Tensor) -> None:
        oldest = next(iter(self._active)).first_slot  # jobs get their first slots in the order of their admission
        self._ledger.reserve(codes.shape[0], oldest)
        self._queue.push(job, codes)

    # --------------------------------------------------------------------------------------------------- working

    def _turn(self) -> list[Job]:
        """Sends batches until the device is busy, awaits the oldest answers, and lets searches go on."""
        self._answer()
        while self._queue.n_rows and len(self._flying) < self._depth:
            if self._flying and self._queue.n_rows < self.batch_size.n:
                break  # a part of a batch waits for company while the device has work
            self._launch()
            self._answer()
        if self._flying:
            self._flying.popleft().deliver()
        return self._go_on()

    def _answer(self) -> None:
        """Starts the counting of every open request whose rows have all been predicted."""
        written = self._ledger.n_written
        known = [ask for ask in self._open if ask.last_slot < written]
        if known:
            self._open = [ask for ask in self._open if ask.last_slot >= written]
            self._flying.append(Answers(count(self._ledger, known), known))

    def _launch(self) -> None:
        """Predicts the head of the queue, or less of it next time if that does not fit into memory."""
        size = self.batch_size.n
        pieces = self._queue.take(size)
        n_rows = sum(piece.codes.shape[0] for piece in pieces)
        started = time.perf_counter()
        try:
            labels = self._batches.labels(pieces, n_rows, self.batch_size.padded(n_rows))
            if self.batch_size.tuning:
                labels[:1].cpu()  # the time of a batch is known only when it is done; a few times per model
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if n_rows == 1:
                raise PredictorCallError(
                    "The device has not enough memory for a forward pass of one single row. Use a smaller image, "
                    "half precision (autocast=torch.bfloat16) or another device."
                ) from error
            self._queue.give_back(pieces)
            self._batches.forget_buffers()
            self.batch_size.shrink(n_rows)
            return
        self.batch_size.record(n_rows, time.perf_counter() - started)
        self._ledger.write(labels)
        self.load.add(n_rows, size)
        for piece in pieces:
            piece.job.n_rows += piece.codes.shape[0]
        for job in {piece.job for piece in pieces}:
            job.n_calls += 1

    def _go_on(self) -> list[Job]:
        """Advances every search that has all its answers; the jobs that are finished."""
        orders: list[tuple[Job, Requests]] = []
        finished: list[Job] = []
        for job in [job for job in self._active if job.ready]:
            requests = job.advance()
            if requests:
                orders.append((job, requests))
            else:
                job.finish()
                del self._active[job]
                finished.append(job)
        self._order(orders)
        return finished


def _most_rows(job: Job, request: Request | ExamplesRequest) -> int:
    """Rows that a request may queue."""
    if isinstance(request, ExamplesRequest):
        return 0
    if isinstance(request, SampleRequest):
        return request.n
    return job.sampler.n_backgrounds << (job.sampler.n_predicates(job.instance) - len(request.anchor))
