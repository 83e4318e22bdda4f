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
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.engine.counting import Answers, count
from torch_anchors.engine.job import Ask, ExamplesRequest, Job
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.predictor import Predictor, is_out_of_memory
from torch_anchors.errors import PredictorCallError
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import Request, SampleRequest

logger = logging.getLogger(__name__)


Requests = Sequence[Request | ExamplesRequest]


@dataclass(slots=True)
class Piece:
    """Consecutive rows of the queue that belong to one job."""

    job: Job
    codes: Tensor


@dataclass(slots=True)
class Load:
    """What was sent to the model so far, and how many rows its batches had room for."""

    n_rows: int = 0
    n_calls: int = 0
    capacity: int = 0

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
        self, predictor: Predictor, batch_size: BatchSize, max_active: int = 256, max_ahead: int = 1024
    ) -> None:
        self.predictor = predictor
        self.batch_size = batch_size
        self.max_active = max_active
        self.max_ahead = max_ahead
        self.load = Load()
        self._ledger = Ledger(predictor.device)
        self._queue: deque[Piece] = deque()
        self._n_queued = 0
        self._n_admitted = 0
        self._active: dict[Job, int] = {}  # in order of admission, with the number of each
        self._open: list[Ask] = []
        self._flying: deque[Answers] = deque()
        self._depth = 2 if predictor.device.type == "cuda" else 1
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def run(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """The jobs, each as soon as it is finished, in any order.

        Nothing stays changed between two of them: the model is in eval mode only while the runner works. An error
        of the model ends the iteration; jobs finished before it have been yielded.
        """
        waiting = iter(jobs)
        more = True
        while more or self._active:
            more = more and self._admit(waiting)
            with self.predictor.session():
                finished = self._turn()
            yield from finished

    # ------------------------------------------------------------------------------------------------- admission

    def _admit(self, waiting: Iterator[Job]) -> bool:
        """Starts jobs until two batches are queued; whether more may come."""
        orders: list[tuple[Job, Requests]] = []
        n_expected = self._n_queued
        while self._has_room(n_expected):
            job = next(waiting, None)
            if job is None:
                self._order(orders)
                return False
            self.batch_size.start(job.sampler.row_shape(), self.predictor.device)
            self._active[job] = self._n_admitted
            self._n_admitted += 1
            orders.append((job, job.start()))
            n_expected += sum(getattr(request, "n", 1) for request in orders[-1][1])
        self._order(orders)
        return True

    def _has_room(self, n_expected: int) -> bool:
        if not self._active:
            return True
        ahead = self._n_admitted - next(iter(self._active.values()))
        return (
            len(self._active) < self.max_active
            and ahead < self.max_ahead
            and n_expected < 2 * self.batch_size.n
        )

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
            codes = group[0][0].sampler.draw(
                [Order(request, job.rng, job.instance) for job, _, request in group]
            )
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
        oldest = min((active.first_slot for active in self._active if active.first_slot >= 0), default=0)
        self._ledger.reserve(codes.shape[0], oldest)
        self._queue.append(Piece(job, codes))
        self._n_queued += codes.shape[0]

    # --------------------------------------------------------------------------------------------------- working

    def _turn(self) -> list[Job]:
        """Sends batches until the device is busy, awaits the oldest answers, and lets searches go on."""
        self._answer()
        while self._queue and len(self._flying) < self._depth:
            if self._flying and self._n_queued < self.batch_size.n:
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
        """Predicts the head of the queue."""
        pieces = self._take(self.batch_size.n)
        n_rows = sum(piece.codes.shape[0] for piece in pieces)
        started = time.perf_counter()
        try:
            labels = self._labels(pieces, n_rows)
            if self.batch_size.tuning:
                labels[:1].cpu()  # the time of a batch is known only when it is done; a few times per model
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._give_back(pieces, n_rows, error)
            return
        self.batch_size.record(n_rows, time.perf_counter() - started)
        self._ledger.write(labels)
        self.load.n_calls += 1
        self.load.n_rows += n_rows
        self.load.capacity += max(n_rows, self.batch_size.n)
        for piece in pieces:
            piece.job.n_rows += piece.codes.shape[0]
        for job in {piece.job for piece in pieces}:
            job.n_calls += 1

    def _take(self, n: int) -> list[Piece]:
        """The first `n` rows of the queue, or all of them."""
        pieces: list[Piece] = []
        while self._queue and n > 0:
            piece = self._queue.popleft()
            if piece.codes.shape[0] > n:
                self._queue.appendleft(Piece(piece.job, piece.codes[n:]))
                piece = Piece(piece.job, piece.codes[:n])
            pieces.append(piece)
            n -= piece.codes.shape[0]
            self._n_queued -= piece.codes.shape[0]
        return pieces

    def _give_back(self, pieces: list[Piece], n_rows: int, error: Exception) -> None:
        """Puts rows that did not fit into memory back to the head of the queue, to go in smaller batches."""
        if n_rows == 1:
            raise PredictorCallError(
                "The device has not enough memory for a forward pass of one single row. Use a smaller image, "
                "a half-precision model (autocast=torch.bfloat16) or another device."
            ) from error
        self._queue.extendleft(reversed(pieces))
        self._n_queued += n_rows
        self._buffers.clear()
        self.batch_size.shrink(n_rows)

    def _labels(self, pieces: list[Piece], n_rows: int) -> Tensor:
        """Labels of the pieces' rows, in order, from one forward pass (one per shape if shapes differ)."""
        kinds = [(piece.job.sampler.row_shape(), piece.job.sampler.dtype) for piece in pieces]
        if len(set(kinds)) == 1:
            return self.predictor(self._render(pieces, n_rows))[:n_rows]
        position = 0
        places: dict[object, list[Tensor]] = {}
        members: dict[object, list[Piece]] = {}
        for kind, piece in zip(kinds, pieces, strict=True):
            end = position + piece.codes.shape[0]
            places.setdefault(kind, []).append(torch.arange(position, end, device=self.predictor.device))
            members.setdefault(kind, []).append(piece)
            position = end
        labels = torch.empty(n_rows, dtype=torch.int64, device=self.predictor.device)
        prepared: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for kind, group in members.items():
            where = torch.cat(places[kind])
            rows = self.predictor.prepare(self._render(group, where.shape[0], pad=False))
            prepared.setdefault(rows.shape[1:], []).append((where, rows))
        for same in prepared.values():
            rows = torch.cat([rows for _, rows in same])
            labels[torch.cat([where for where, _ in same])] = self.predictor.labels(
                self.predictor.forward(rows), rows.shape[0]
            )
        return labels

    def _render(self, pieces: list[Piece], n_rows: int, pad: bool = True) -> Tensor:
        """Rows of the pieces, all of one shape, in a buffer that is used again for the next batch.

        Where shapes should be few the batch is padded; what is left there from earlier rows is as good as any.
        """
        sampler = pieces[0].job.sampler
        size = self.batch_size.padded(n_rows) if pad and self.predictor.static_shapes else n_rows
        key = (sampler.row_shape(), sampler.dtype)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.shape[0] < size:
            self._buffers[key] = buffer = sampler.empty(max(size, self.batch_size.n))
        position = 0
        for run_sampler, codes in _runs(pieces):
            end = position + codes.shape[0]
            run_sampler.render(codes, out=buffer[position:end])
            position = end
        return buffer[:size]

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


def _runs(pieces: list[Piece]) -> Iterator[tuple[Sampler, Tensor]]:
    """The codes of consecutive pieces of one sampler together."""
    for _, run in groupby(pieces, key=lambda piece: id(piece.job.sampler)):
        same = list(run)
        yield (
            same[0].job.sampler,
            same[0].codes if len(same) == 1 else torch.cat([piece.codes for piece in same]),
        )
