"""Hits counted on the device: labels of many requests of many jobs in, one small vector of numbers out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int
from torch_anchors.engine.job import Ask, Examples, ExamplesRequest
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.predictor import INVALID
from torch_anchors.perturb.masks import counts as mask_counts
from torch_anchors.perturb.masks import unpack
from torch_anchors.search.protocol import EnumeratedHits, SampleCounts


def count(ledger: Ledger, asks: Sequence[Ask]) -> Float[Tensor, " numbers"]:
    """All numbers that answer `asks`, on the device, without waiting for it.

    Numbers below 2^24 are exact in float32, which every device has. `Answers` reads the vector back.
    """
    device = ledger.labels.device
    lengths = np.array([ask.slots.size for ask in asks], dtype=np.int64)
    ends = lengths.cumsum()
    starts = ends - lengths
    fresh_ends = starts + np.array([ask.n_fresh for ask in asks], dtype=np.int64)
    targets = _targets(ledger, asks)
    labels = ledger.read(_to(np.concatenate([ask.slots for ask in asks]), device))
    wanted = targets.repeat_interleave(_to(lengths, device), output_size=int(ends[-1]))
    hits = (labels == wanted) & (labels != INVALID)

    running = torch.nn.functional.pad(hits.long().cumsum(0), (1, 0))  # running[i]: hits among the first i rows
    bounds = running[_to(np.stack([starts, fresh_ends, ends]), device)]  # (3, asks)
    numbers = [(bounds[1] - bounds[0]).float(), (bounds[2] - bounds[0]).float()]
    for i, ask in enumerate(asks):
        if _has_own_numbers(ask):
            rows = slice(int(starts[i]), int(ends[i]))
            numbers.append(_own_numbers(ask, targets[i : i + 1], labels[rows], hits[rows]))
    # float64 keeps the values of table rows as they are; Apple's GPUs have none.
    return torch.cat([part if device.type == "mps" else part.double() for part in numbers])


def _targets(ledger: Ledger, asks: Sequence[Ask]) -> Int[Tensor, " asks"]:
    """The explained label of each request's job: given, or the label of the job's first row, the instance."""
    device = ledger.labels.device
    given = np.array([INVALID if ask.job.label is None else ask.job.label for ask in asks], dtype=np.int64)
    # A job with a given label has no row for the instance; any slot will do where the value is not used.
    slots = [ask.job.first_slot if ask.job.label is None else ledger.base for ask in asks]
    return torch.where(
        _to(np.array([ask.job.label is not None for ask in asks]), device),
        _to(given, device),
        ledger.read(_to(np.array(slots, dtype=np.int64), device)),
    )


def _has_own_numbers(ask: Ask) -> bool:
    """Whether the two sums are not all that answers a request."""
    return ask.job.sampler.shares_rows or ask.enumerates or isinstance(ask.request, ExamplesRequest)


def _own_numbers(
    ask: Ask, target: Int[Tensor, "1"], labels: Int[Tensor, " rows"], hits: Bool[Tensor, " rows"]
) -> Float[Tensor, " numbers"]:
    """The numbers that only one kind of request has, beyond its two sums."""
    sampler = ask.job.sampler
    if isinstance(ask.request, ExamplesRequest):
        return _example_numbers(ask, target, labels, hits)
    if ask.enumerates:
        return hits.float().view(-1, sampler.n_backgrounds).sum(dim=1)  # a mean would be as rough as float32
    if ask.codes is None:
        return labels.new_empty(0, dtype=torch.float32)
    keep = unpack(ask.codes.to(labels.device, non_blocking=True), sampler.n_predicates(ask.job.instance))
    return hits.float() @ keep.float()  # (K,): hits among the rows that also keep predicate k


def _example_numbers(
    ask: Ask, target: Int[Tensor, "1"], labels: Int[Tensor, " rows"], hits: Bool[Tensor, " rows"]
) -> Float[Tensor, " numbers"]:
    """The explained label; then positions and labels of the first few hits, of the first few misses; then rows.

    Which rows these are is decided on the device: a stable sort brings hits to the front in their order.
    """
    n = min(ask.job.n_examples, hits.shape[0])
    hits_first = torch.sort(~hits, stable=True).indices[:n]
    misses_first = torch.sort(hits, stable=True).indices[:n]
    positions = torch.cat([hits_first, misses_first])
    parts = [target, positions, labels[positions]]
    if not ask.job.sampler.shares_rows and ask.codes is not None:
        parts.append(ask.codes[positions].flatten())
    return torch.cat([part.to(parts[-1].dtype if parts[-1].is_floating_point() else torch.float32) for part in parts])


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
        numbers = self._numbers.numpy()
        n_asks = len(self.asks)
        fresh, pooled = numbers[:n_asks], numbers[n_asks : 2 * n_asks]
        rest = numbers[2 * n_asks :]
        for ask, n_hits, pool_hits in zip(self.asks, fresh.tolist(), pooled.tolist(), strict=True):
            rest = rest[_answer(ask, int(n_hits), int(pool_hits), rest) :]
            ask.answered = True


def _answer(ask: Ask, n_hits: int, pool_hits: int, rest: NDArray[np.floating]) -> int:
    """Replies to one request from its sums and the head of `rest`; how many numbers it took from there."""
    sampler = ask.job.sampler
    if isinstance(ask.request, ExamplesRequest):
        return _read_examples(ask, pool_hits, rest)
    if ask.enumerates:
        n_masks = ask.slots.size // sampler.n_backgrounds
        ask.reply = EnumeratedHits(rest[:n_masks].astype(np.float64) / sampler.n_backgrounds, ask.n_new)
        return n_masks
    if not sampler.shares_rows or ask.codes is None:
        ask.reply = SampleCounts(ask.n_fresh, n_hits, ask.n_new)
        return 0
    k = sampler.n_predicates(ask.job.instance)
    ask.reply = SampleCounts(
        n=ask.n_fresh,
        n_hits=n_hits,
        n_new=ask.n_new,
        pool_n=ask.slots.size,
        pool_hits=pool_hits,
        child_n=mask_counts(ask.codes.numpy(), k),
        child_hits=np.rint(rest[:k]).astype(np.int64),
    )
    return k


def _read_examples(ask: Ask, n_hits: int, rest: NDArray[np.floating]) -> int:
    """Sets the job's label and examples from what `_example_numbers` wrote."""
    job, n_rows = ask.job, ask.slots.size
    n = min(job.n_examples, n_rows)
    job.explained_label = int(rest[0])
    positions, labels = rest[1 : 1 + 2 * n].astype(np.int64), rest[1 + 2 * n : 1 + 4 * n].astype(np.int64)
    is_hit = np.arange(2 * n) < n
    real = np.concatenate([np.arange(n) < n_hits, np.arange(n) < n_rows - n_hits])  # beyond: the other kind
    used = 1 + 4 * n
    if ask.codes is None:
        codes: NDArray[np.generic] = np.zeros((2 * n, 0))
    elif job.sampler.shares_rows:
        codes = ask.codes.numpy()[positions]
    else:
        width = ask.codes.shape[1]
        codes = rest[used : used + 2 * n * width].reshape(2 * n, width)
        used += 2 * n * width
    job.examples = Examples(codes[real], labels[real], is_hit[real])
    return used
