"""What each kind of request makes of the numbers that come back from the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.asks import K, answered, ask_of, ledger_of, masks, not_independent, strip
from tests.engine.cases import FreshRows, job_of
from torch_anchors.engine.job import AnswerRequest
from torch_anchors.engine.margins import margins_of
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.replies import (
    AskGroups,
    AskPool,
)
from torch_anchors.perturb.masks import pack
from torch_anchors.search.protocol import (
    EnumeratedHits,
    EnumerateRequest,
    GroupedRequest,
    GroupedRows,
    SampleCounts,
    SampleRequest,
)


@pytest.mark.parametrize("sampler", [FreshRows(), not_independent()])
def test_rows_drawn_for_one_anchor_only_have_no_pool(sampler: Any, device: torch.device) -> None:
    ledger = ledger_of([1, 1, 0, 1, 1], device)
    ask = ask_of(SampleRequest((3,), 4), job_of(sampler), np.arange(1, 5), None, 4, 4, 4)
    (reply,) = answered(ledger, [ask])
    assert reply == SampleCounts(n=4, n_hits=3, n_new=4)


@pytest.mark.parametrize("label", [None, 2])
def test_rows_of_groups_are_answered_one_by_one_beside_other_requests(label: int | None, device: torch.device) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 60)
    labels[9] = INVALID
    ledger = ledger_of(labels.tolist(), device)
    leads = rng.normal(size=(60, 3)).astype(np.float32)
    ledger.last_leads(60).copy_(torch.from_numpy(leads))
    asks, expected = [], []
    for first, n in [(0, 7), (3, 1), (5, 20)]:
        slots, keep = rng.integers(0, 60, n), masks(rng, n)
        request = GroupedRequest((0,) * K, n) if n != 1 else SampleRequest((), n)
        job = job_of(strip(), label, first_slot=first)
        asks.append(ask_of(request, job, slots, torch.from_numpy(pack(keep)), n, 2, 59))
        hits = labels[slots] == (labels[first] if label is None else label)
        expected.append((hits & (labels[slots] != INVALID), keep, margins_of(leads[slots], False)))
    assert [type(ask) for ask in asks] == [AskGroups, AskPool, AskGroups]
    for reply, (hits, keep, margins) in zip(answered(ledger, asks), expected, strict=True):
        assert reply.n_new == 2
        assert np.array_equal(reply.keep, keep)
        np.testing.assert_allclose(reply.margins, margins, rtol=1e-6)
        if isinstance(reply, GroupedRows):
            assert np.array_equal(reply.hits, hits)
        else:
            assert reply.n_hits == hits.sum()


@pytest.mark.parametrize("n_backgrounds", [1, 4])
def test_enumerated_rows_are_answered_one_by_one_as_a_mean_over_backgrounds(
    n_backgrounds: int, device: torch.device
) -> None:
    labels = np.random.default_rng(1).integers(0, 2, 1 + 32 * n_backgrounds)
    ledger = ledger_of(labels.tolist(), device)
    job = job_of(strip(n_backgrounds))
    slots = np.arange(1, 1 + 32 * n_backgrounds)
    (reply,) = answered(
        ledger, [ask_of(EnumerateRequest((0, 1, 2, 3, 4, 5)), job, slots, None, slots.size, 9, int(slots[-1]))]
    )
    assert isinstance(reply, EnumeratedHits)
    assert reply.n_new == 9
    assert reply.hits.dtype == np.float64
    np.testing.assert_allclose(reply.hits, (labels[1:] == labels[0]).reshape(32, n_backgrounds).mean(1), rtol=1e-6)


def test_a_mean_over_backgrounds_is_as_exact_as_the_count_of_hits(device: torch.device) -> None:
    """A third in float32 is off by 1e-8; precisions of an exact search are promised to 1e-12."""
    ledger = ledger_of([1, 1, 0, 0], device)
    job = job_of(strip(3))
    (reply,) = answered(ledger, [ask_of(EnumerateRequest(tuple(range(K))), job, np.arange(1, 4), None, 3, 3, 3)])
    assert reply.hits.tolist() == [1 / 3]


@pytest.mark.parametrize("label", [-1, 7, INVALID])
def test_the_label_of_an_instance_is_the_answer_to_its_own_request(label: int, device: torch.device) -> None:
    ledger = ledger_of([4, label], device, skipped=10)
    job = job_of(FreshRows(), first_slot=11)
    assert job.label is None
    assert answered(ledger, [ask_of(AnswerRequest(), job, np.array([11]), None, 0, 0, 11)]) == [None]
    assert job.label == label
