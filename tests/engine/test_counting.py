"""Hits counted on the device, for many requests at once, against loops over the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.engine.asks import K, answered, ask_of, last_ask, ledger_of, masks, strip
from tests.engine.cases import FreshRows, Strip, job_of
from torch_anchors.engine.counting import count
from torch_anchors.engine.job import AnswerRequest
from torch_anchors.engine.last_replies import AskLast
from torch_anchors.engine.margins import margins_of
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.replies import (
    Ask,
    AskAnswer,
    AskEvery,
    AskPool,
)
from torch_anchors.perturb.masks import pack
from torch_anchors.search.protocol import (
    EnumeratedHits,
    EnumerateRequest,
    SampleCounts,
    SampleRequest,
)


@pytest.mark.parametrize("label", [None, 2])
def test_fresh_rows_pool_and_extensions_are_counted(label: int | None, device: torch.device) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60).tolist()
    labels[7] = INVALID
    ledger = ledger_of(labels, device, skipped=13)
    asks, expected = [], []
    for first, n_fresh, n_pool in [(0, 5, 9), (4, 3, 0), (0, 0, 12), (20, 0, 0), (2, 30, 1)]:
        job = job_of(strip(), label, first_slot=13 + first)
        slots, keep = rng.integers(13, 73, n_fresh + n_pool), masks(rng, n_fresh + n_pool)
        asks.append(ask_of(SampleRequest((), n_fresh), job, slots, torch.from_numpy(pack(keep)), n_fresh, 2, 72))
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


@pytest.mark.parametrize("label", [None, 2])
def test_hits_of_a_change_are_rows_of_other_labels_beside_jobs_of_the_other_kind(
    label: int | None, device: torch.device
) -> None:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 3, 60)
    labels[[7, 30]] = INVALID
    ledger, asks, expected = ledger_of(labels.tolist(), device), [], []
    for i in range(6):
        job = job_of(strip(), label, first_slot=i, changes=i % 2 == 1)
        slots, keep = rng.integers(0, 60, 20), masks(rng, 20)
        asks.append(ask_of(SampleRequest((), 12), job, slots, torch.from_numpy(pack(keep)), 12, 12, 59))
        agrees = labels[slots] == (labels[i] if label is None else label)
        expected.append(((agrees != bool(i % 2)) & (labels[slots] != INVALID), keep))
    for reply, (hits, keep) in zip(answered(ledger, asks), expected, strict=True):
        assert (reply.n_hits, reply.pool_hits) == (hits[:12].sum(), hits.sum())
        assert reply.child_hits.tolist() == (keep & hits[:, None]).sum(0).tolist()
    codes = torch.from_numpy(pack(masks(rng, 59)))
    asks = [last_ask(job_of(strip(), 2, changes=changes), np.arange(1, 60), codes) for changes in (False, True)]
    answered(ledger, asks)
    kept, changed = (ask.job.examples for ask in asks)
    assert kept.labels[kept.hits].tolist() == changed.labels[~changed.hits][: kept.hits.sum()].tolist() == [2, 2, 2]
    assert INVALID not in changed.labels[changed.hits]


@pytest.mark.parametrize("changes", [False, True])
def test_a_row_without_a_label_is_no_hit_of_a_label_that_was_given(changes: bool, device: torch.device) -> None:
    ledger = ledger_of([INVALID, INVALID, 1, 1, 2], device)
    ask = ask_of(SampleRequest((), 4), job_of(FreshRows(), 1, changes=changes), np.arange(1, 5), None, 4, 4, 4)
    assert answered(ledger, [ask]) == [SampleCounts(n=4, n_hits=1 if changes else 2, n_new=4)]


def test_requests_of_every_kind_are_answered_together_as_alone(device: torch.device) -> None:
    rng = np.random.default_rng(8)
    ledger = ledger_of(rng.integers(0, 2, 200).tolist(), device)

    def asks() -> list[Ask]:
        rng = np.random.default_rng(9)
        image, table = strip(2), FreshRows()
        found = []
        for i in range(18):
            slots = rng.integers(0, 200, 32)
            codes = torch.from_numpy(np.hstack([pack(masks(rng, 32)), np.zeros((32, 2), dtype=np.uint8)]))
            job = job_of(table if i % 6 == 1 else image, label=[None, 1][i % 2], first_slot=i)
            if i % 6 in (3, 5):
                found.append(last_ask(job, slots, codes))
                continue
            request = [SampleRequest((), 20), SampleRequest((), 32), EnumerateRequest((0,)), None, AnswerRequest()][
                i % 6
            ]
            if i % 6 in (1, 4):
                codes = None
            slots = slots[:1] if isinstance(request, AnswerRequest) else slots
            found.append(ask_of(request, job, slots, codes, 20 if i % 6 == 0 else 32, 3, 199))
        return found

    together, alone = asks(), asks()
    answered(ledger, together)
    for ask in alone:
        answered(ledger, [ask])
    for a, b in zip(together, alone, strict=True):
        assert str(a.reply) == str(b.reply)
        assert str(a.job.examples) == str(b.job.examples)
        assert str(a.job.nearest_miss) == str(b.job.nearest_miss)
        assert a.job.label == b.job.label
        assert str(a.job.effects) == str(b.job.effects)
    assert {type(ask.reply) for ask in together} == {SampleCounts, EnumeratedHits, type(None)}
    assert {type(ask) for ask in together} == {Ask, AskPool, AskEvery, AskAnswer, AskLast}


def test_rows_of_many_jobs_are_counted_together_whatever_their_numbers_of_parts(device: torch.device) -> None:
    """Requests of two kinds of instance take turns; the second request for an anchor adds to what its pool has."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 50)
    ledger = ledger_of(labels.tolist(), device)
    jobs = [job_of(Strip(n_parts), label=1) for n_parts in (5, K, 5, K)]
    asks, seen = (
        [],
        [(np.zeros((0, job.case.sampler.n_predicates), dtype=bool), np.zeros(0, dtype=bool)) for job in jobs],
    )
    expected = []
    for i in [0, 1, 2, 3, 1, 0]:
        n, n_parts = int(rng.integers(0, 20)), jobs[i].case.sampler.n_predicates
        slots, keep = rng.integers(0, 50, n), rng.random((n, n_parts)) < 0.5
        asks.append(ask_of(SampleRequest((2,), n), jobs[i], slots, torch.from_numpy(pack(keep)), n, n, 49))
        seen[i] = (np.concatenate([seen[i][0], keep]), np.append(seen[i][1], labels[slots] == 1))
        expected.append((n, int((labels[slots] == 1).sum()), *seen[i]))
    count(ledger, asks).deliver()
    for ask, (n, n_hits, keep, hits) in zip(asks, expected, strict=True):
        assert (ask.reply.n, ask.reply.n_hits) == (n, n_hits)
        assert (ask.reply.pool_n, ask.reply.pool_hits) == (len(hits), hits.sum())
        assert ask.reply.child_n.tolist() == keep.sum(0).tolist()
        assert ask.reply.child_hits.tolist() == (keep & hits[:, None]).sum(0).tolist()


def test_margins_of_fresh_rows_come_back_to_the_requests_that_want_them(device: torch.device) -> None:
    """With other requests between them; rows of an enumeration have margins that nobody asks for."""
    rng = np.random.default_rng(0)
    ledger = ledger_of([0] * 60, device, skipped=13)
    leads = rng.normal(size=(60, 3)).astype(np.float32)
    ledger.last_leads(60).copy_(torch.from_numpy(leads))
    margins = margins_of(leads, False)
    job, every = job_of(strip(), 0, first_slot=13), np.arange(13, 29)
    asks = [ask_of(EnumerateRequest(tuple(range(K - 4))), job, every, None, 16, 2, 72)]
    for n_fresh, n_pool in [(4, 3), (0, 5), (2, 0)]:
        codes = torch.from_numpy(pack(masks(rng, n_fresh + n_pool)))
        slots = rng.integers(13, 73, n_fresh + n_pool)
        asks.append(ask_of(SampleRequest((), n_fresh), job, slots, codes, n_fresh, 2, 72))
    answered(ledger, asks)
    assert [ask.n_margins for ask in asks] == [0, 4, 0, 2]
    assert isinstance(asks[0].reply, EnumeratedHits)
    for ask in (asks[1], asks[3]):
        assert isinstance(ask.reply, SampleCounts)
        assert ask.reply.margins is not None
        assert ask.reply.keep is not None
        np.testing.assert_array_equal(ask.reply.margins, margins[ask.slots[: ask.n_fresh] - 13])
        assert ask.reply.keep.shape == (ask.n_fresh, K)
