"""Hits counted on the device against loops over the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_anchors.engine.counting import Answers, count
from torch_anchors.engine.job import Ask, ExamplesRequest, Job
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.predictor import INVALID
from torch_anchors.perturb.image import AnchorImageSampler
from torch_anchors.perturb.masks import pack
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import EnumeratedHits, EnumerateRequest, SampleCounts, SampleRequest

K = 11


class TableRows:
    """A sampler of rows that are drawn anew each time, such as a table's."""

    shares_rows = False
    n_backgrounds = 1
    dtype = torch.float32

    def n_predicates(self, instance: Any) -> int:
        return K

    def draw(self, orders: Sequence[Order]) -> list[Tensor]:
        return [torch.zeros(order.request.n, 3) for order in orders]

    def instance_code(self, instance: Any) -> Tensor:
        return torch.zeros(1, 3)

    def row_shape(self) -> tuple[int, ...]:
        return (3,)

    def empty(self, n: int) -> Tensor:
        return torch.empty(n, 3)

    def render(self, codes: Tensor, out: Tensor | None = None) -> Tensor:
        return codes if out is None else out.copy_(codes)


def image_sampler(n_backgrounds: int = 1) -> AnchorImageSampler:
    fill = torch.arange(n_backgrounds, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 1, K)
    return AnchorImageSampler(
        None, np.arange(K)[None], True, np.ones((1, K), dtype=np.float32), fill=lambda image, segments: fill
    )


def job_of(sampler: Any, label: int | None = None, first_slot: int = 0, n_examples: int = 3) -> Job:
    job = Job((step for step in ()), sampler, np.random.default_rng(0), label=label, n_examples=n_examples)
    job.first_slot = first_slot
    return job


def ledger_of(labels: Sequence[int], device: torch.device, skipped: int = 0) -> Ledger:
    """A ledger whose first `skipped` slots have been forgotten."""
    ledger = Ledger(device, capacity=len(labels))
    ledger.base = ledger.n_reserved = ledger.n_written = skipped
    ledger.reserve(len(labels), oldest=skipped)
    ledger.write(torch.tensor(labels, device=device))
    return ledger


def answered(ledger: Ledger, asks: Sequence[Ask]) -> list[Any]:
    Answers(count(ledger, asks), asks).deliver()
    assert all(ask.answered for ask in asks)
    return [ask.reply for ask in asks]


def masks(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random((n, K)) < 0.6


@pytest.mark.parametrize("label", [None, 2])
def test_fresh_rows_pool_and_extensions_are_counted(label: int | None, device: torch.device) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60).tolist()
    labels[7] = INVALID
    ledger = ledger_of(labels, device, skipped=13)
    asks, expected = [], []
    for first, n_fresh, n_pool in [(0, 5, 9), (4, 3, 0), (0, 0, 12), (20, 0, 0), (2, 30, 1)]:
        job = job_of(image_sampler(), label, first_slot=13 + first)
        slots, keep = rng.integers(13, 73, n_fresh + n_pool), masks(rng, n_fresh + n_pool)
        asks.append(Ask(job, SampleRequest((), n_fresh), slots, torch.from_numpy(pack(keep)), n_fresh, 2, 72))
        target = labels[first] if label is None else label
        hits = np.array([labels[slot - 13] == target for slot in slots], dtype=bool)
        expected.append((hits, keep))
    for ask, reply, (hits, keep) in zip(asks, answered(ledger, asks), expected, strict=True):
        assert isinstance(reply, SampleCounts)
        assert (reply.n, reply.n_hits, reply.n_new) == (ask.n_fresh, hits[: ask.n_fresh].sum(), 2)
        assert (reply.pool_n, reply.pool_hits) == (len(hits), hits.sum())
        assert reply.child_n.tolist() == keep.sum(0).tolist()
        assert reply.child_hits.tolist() == [int((keep[:, k] & hits).sum()) for k in range(K)]
        assert reply.child_hits.dtype == reply.child_n.dtype == np.int64


def test_rows_of_a_table_have_no_pool(device: torch.device) -> None:
    ledger = ledger_of([1, 1, 0, 1, 1], device)
    ask = Ask(job_of(TableRows()), SampleRequest((3,), 4), np.arange(1, 5), None, 4, 4, 4)
    (reply,) = answered(ledger, [ask])
    assert reply == SampleCounts(n=4, n_hits=3, n_new=4)


@pytest.mark.parametrize("n_backgrounds", [1, 4])
def test_enumerated_rows_are_answered_one_by_one_as_a_mean_over_backgrounds(
    n_backgrounds: int, device: torch.device
) -> None:
    labels = np.random.default_rng(1).integers(0, 2, 1 + 32 * n_backgrounds)
    ledger = ledger_of(labels.tolist(), device)
    job = job_of(image_sampler(n_backgrounds))
    slots = np.arange(1, 1 + 32 * n_backgrounds)
    (reply,) = answered(
        ledger, [Ask(job, EnumerateRequest((0, 1, 2, 3, 4, 5)), slots, None, slots.size, 9, int(slots[-1]))]
    )
    assert isinstance(reply, EnumeratedHits)
    assert reply.n_new == 9
    assert reply.hits.dtype == np.float64
    np.testing.assert_allclose(reply.hits, (labels[1:] == labels[0]).reshape(32, n_backgrounds).mean(1), rtol=1e-6)


def test_a_mean_over_backgrounds_is_as_exact_as_the_count_of_hits(device: torch.device) -> None:
    """A third in float32 is off by 1e-8; precisions of an exact search are promised to 1e-12."""
    ledger = ledger_of([1, 1, 0, 0], device)
    job = job_of(image_sampler(3))
    (reply,) = answered(ledger, [Ask(job, EnumerateRequest(tuple(range(K))), np.arange(1, 4), None, 3, 3, 3)])
    assert reply.hits.tolist() == [1 / 3]


@pytest.mark.parametrize("n_examples", [0, 2, 50])
@pytest.mark.parametrize("sampler", [image_sampler(), TableRows()])
def test_examples_are_the_first_hits_and_the_first_misses(sampler: Any, n_examples: int, device: torch.device) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(3, 6, 40)
    ledger = ledger_of(labels.tolist(), device)
    job = job_of(sampler, n_examples=n_examples, first_slot=2)
    slots = rng.permutation(40)[:25]
    codes = torch.from_numpy(pack(masks(rng, 25))) if sampler.shares_rows else torch.rand(25, 3, device=device)
    answered(ledger, [Ask(job, ExamplesRequest((1,)), slots, codes, 0, 0, 39)])
    hits = [i for i in range(25) if labels[slots[i]] == labels[2]][:n_examples]
    misses = [i for i in range(25) if labels[slots[i]] != labels[2]][:n_examples]
    assert job.explained_label == labels[2]
    assert job.examples.hits.tolist() == [True] * len(hits) + [False] * len(misses)
    assert job.examples.labels.tolist() == labels[slots[hits + misses]].tolist()
    np.testing.assert_array_equal(job.examples.codes, codes.cpu().numpy()[hits + misses])


@pytest.mark.parametrize("label", [-1, 0, 9_999_999, INVALID])
def test_the_explained_label_comes_back_whatever_it_is(label: int, device: torch.device) -> None:
    ledger = ledger_of([label, label, 5], device)
    job = job_of(image_sampler())
    ask = Ask(job, ExamplesRequest(()), np.array([1, 2]), torch.zeros(2, 2, dtype=torch.uint8), 0, 0, 2)
    answered(ledger, [ask])
    assert job.explained_label == label
    assert job.examples.hits.tolist() == ([False, False] if label == INVALID else [True, False])


def test_no_known_row_is_no_example(device: torch.device) -> None:
    job = job_of(TableRows(), label=4)
    answered(ledger_of([0], device), [Ask(job, ExamplesRequest((2,)), np.zeros(0, dtype=np.int64), None, 0, 0, -1)])
    assert job.explained_label == 4
    assert job.examples.labels.size == job.examples.hits.size == len(job.examples.codes) == 0


def test_requests_of_every_kind_are_answered_together_as_alone(device: torch.device) -> None:
    rng = np.random.default_rng(8)
    ledger = ledger_of(rng.integers(0, 2, 200).tolist(), device)

    def asks() -> list[Ask]:
        rng = np.random.default_rng(9)
        image, table = image_sampler(2), TableRows()
        found = []
        for i in range(12):
            slots = rng.integers(0, 200, 32)
            codes = torch.from_numpy(pack(masks(rng, 32)))
            job = job_of(table if i % 4 == 1 else image, label=[None, 1][i % 2], first_slot=i)
            request = [SampleRequest((), 20), SampleRequest((), 32), EnumerateRequest((0,)), ExamplesRequest(())][i % 4]
            if i % 4 == 1:
                codes = None
            found.append(Ask(job, request, slots, codes, 20 if i % 4 == 0 else 32, 3, 199))
        return found

    together, alone = asks(), asks()
    answered(ledger, together)
    for ask in alone:
        answered(ledger, [ask])
    for a, b in zip(together, alone, strict=True):
        assert str(a.reply) == str(b.reply)
        assert str(a.job.examples) == str(b.job.examples)
    assert {type(ask.reply) for ask in together} == {SampleCounts, EnumeratedHits, type(None)}
