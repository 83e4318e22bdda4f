"""Hits counted on the device against loops over the rows, and what each kind of request makes of the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.cases import FreshRows, Strip, job_of
from torch_anchors.engine.effects import mask_shares, of_rows
from torch_anchors.engine.job import AnswerRequest, AnyRequest, EffectsRequest, ExamplesRequest, NearestMissRequest
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.replies import (
    Ask,
    AskAnswer,
    AskEffects,
    AskEvery,
    AskExamples,
    AskNearestMiss,
    AskPool,
    count,
    kind_of,
)
from torch_anchors.perturb.masks import pack
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import EnumeratedHits, EnumerateRequest, SampleCounts, SampleRequest

K = 11


def strip(n_backgrounds: int = 1) -> Strip:
    return Strip(K, n_backgrounds)


def not_repeatable() -> Strip:
    """Independent predicates, whose rows are not determined by their codes."""
    sampler = strip()
    sampler.repeatable = False
    return sampler


def not_independent() -> Strip:
    """Rows that are determined by their codes, drawn for one anchor only."""
    sampler = strip()
    sampler.independent = False
    return sampler


def ask_of(request: AnyRequest, job: Any, slots: np.ndarray, codes: Any, n_fresh: int, n_new: int, last: int) -> Ask:
    return kind_of(job, request)(job, request, slots, codes, n_fresh, n_new, last)


def ledger_of(labels: Sequence[int], device: torch.device, skipped: int = 0) -> Ledger:
    """A ledger whose first `skipped` slots have been forgotten."""
    ledger = Ledger(device, capacity=len(labels))
    ledger.base = ledger.n_reserved = ledger.n_written = skipped
    ledger.reserve(len(labels), oldest=skipped)
    ledger.write(torch.tensor(labels, device=device))
    return ledger


def answered(ledger: Ledger, asks: Sequence[Ask]) -> list[Any]:
    assert not any(ask.answered for ask in asks)
    count(ledger, asks).deliver()
    assert all(ask.answered for ask in asks)
    return [ask.reply for ask in asks]


def masks(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random((n, K)) < 0.6


@pytest.mark.parametrize(
    ("request_", "sampler", "expected"),
    [
        (SampleRequest((), 3), strip(), AskPool),
        (SampleRequest((), 3), not_repeatable(), AskPool),
        (SampleRequest((), 3), not_independent(), Ask),
        (SampleRequest((), 3), FreshRows(), Ask),
        (EnumerateRequest(()), strip(), AskEvery),
        (AnswerRequest(), strip(), AskAnswer),
        (AnswerRequest(), FreshRows(), AskAnswer),
        (ExamplesRequest(()), strip(), AskExamples),
        (ExamplesRequest(()), FreshRows(), AskExamples),
        (EffectsRequest(), strip(), AskEffects),
        (EffectsRequest(), not_repeatable(), AskEffects),
        (NearestMissRequest(), strip(), AskNearestMiss),
    ],
)
def test_the_kind_of_a_request_says_what_answers_it(request_: AnyRequest, sampler: Sampler, expected: type) -> None:
    assert kind_of(job_of(sampler), request_) is expected


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
    asks = [
        ask_of(ExamplesRequest(()), job_of(FreshRows(), 2, changes=changes), np.arange(60), None, 0, 0, 59)
        for changes in (False, True)
    ]
    answered(ledger, asks)
    kept, changed = (ask.job.examples for ask in asks)
    assert kept.labels[kept.hits].tolist() == changed.labels[~changed.hits][: kept.hits.sum()].tolist() == [2, 2, 2]
    assert INVALID not in changed.labels[changed.hits]


@pytest.mark.parametrize("label", [None, 1])
def test_a_row_without_a_label_is_no_hit_of_an_instance_without_one(label: int | None, device: torch.device) -> None:
    ledger = ledger_of([INVALID, INVALID, 1, 1], device)
    ask = ask_of(SampleRequest((), 3), job_of(FreshRows(), label), np.arange(1, 4), None, 3, 3, 3)
    assert answered(ledger, [ask]) == [SampleCounts(n=3, n_hits=0 if label is None else 2, n_new=3)]


@pytest.mark.parametrize("sampler", [FreshRows(), not_independent()])
def test_rows_drawn_for_one_anchor_only_have_no_pool(sampler: Any, device: torch.device) -> None:
    ledger = ledger_of([1, 1, 0, 1, 1], device)
    ask = ask_of(SampleRequest((3,), 4), job_of(sampler), np.arange(1, 5), None, 4, 4, 4)
    (reply,) = answered(ledger, [ask])
    assert reply == SampleCounts(n=4, n_hits=3, n_new=4)


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


@pytest.mark.parametrize("n_examples", [0, 2, 50])
@pytest.mark.parametrize("sampler", [strip(), not_repeatable(), not_independent(), FreshRows()])
def test_examples_are_the_first_hits_and_the_first_misses(sampler: Any, n_examples: int, device: torch.device) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(3, 6, 40)
    ledger = ledger_of(labels.tolist(), device)
    job = job_of(sampler, n_examples=n_examples, first_slot=2)
    slots = rng.permutation(40)[:25]
    on_host = isinstance(sampler, Strip)
    codes = torch.from_numpy(pack(masks(rng, 25))) if on_host else torch.rand(25, 3, device=device)
    answered(ledger, [ask_of(ExamplesRequest((1,)), job, slots, codes, 0, 0, 39)])
    hits = [i for i in range(25) if labels[slots[i]] == labels[2]][:n_examples]
    misses = [i for i in range(25) if labels[slots[i]] != labels[2]][:n_examples]
    assert job.label == labels[2]
    assert job.examples.hits.tolist() == [True] * len(hits) + [False] * len(misses)
    assert job.examples.labels.tolist() == labels[slots[hits + misses]].tolist()
    np.testing.assert_array_equal(job.examples.codes, codes.cpu().numpy()[hits + misses])


def test_only_rows_that_the_host_does_not_have_are_copied_to_it(device: torch.device) -> None:
    """Beyond two labels: a position and a label of each example, and of rows drawn on the device their values."""
    codes = torch.rand(9, 3, device=device)
    for sampler, width in [(strip(), 0), (not_repeatable(), 0), (not_independent(), 0), (FreshRows(), 3)]:
        ask = ask_of(ExamplesRequest(()), job_of(sampler), np.arange(9), codes, 0, 0, 8)
        assert ask.n_numbers == 2 + 2 * 3 * (2 + width)


@pytest.mark.parametrize("value", [1 / 3, 2.0**40 + 1, -1e-200, 16_777_217.0])
def test_values_of_a_row_come_back_as_they_are(value: float, device: torch.device) -> None:
    if device.type == "mps":
        pytest.skip("has no float64")
    job = job_of(FreshRows())
    codes = torch.full((2, 3), value, dtype=torch.float64, device=device)
    answered(ledger_of([1, 1, 0], device), [ask_of(ExamplesRequest(()), job, np.array([1, 2]), codes, 0, 0, 2)])
    assert job.examples.codes.tolist() == [[value] * 3] * 2


@pytest.mark.parametrize(("changes", "hides"), [(False, False), (True, True)])
@pytest.mark.parametrize("label", [None, 2])
def test_the_nearest_miss_is_the_first_row_of_another_label_with_the_fewest_changes(
    label: int | None, changes: bool, hides: bool, device: torch.device
) -> None:
    rng = np.random.default_rng(6)
    for n in (1, 7, 40):
        labels = np.append(1, rng.choice([1, 2, 3, INVALID], n, p=[0.7, 0.1, 0.1, 0.1]))
        job = job_of(Strip(K, hides=hides, device=device), label, changes=changes)
        holds = masks(rng, n)
        ask = ask_of(NearestMissRequest(), job, np.arange(1, n + 1), torch.from_numpy(pack(holds)), 0, 0, n)
        answered(ledger_of(labels.tolist(), device), [ask])
        n_hidden = (holds if hides else ~holds).sum(1)
        explained = 1 if label is None else label
        found = [i for i in range(n) if labels[i + 1] not in (explained, INVALID)]
        if not found:
            assert job.nearest_miss is None
            continue
        first = min(found, key=lambda i: (n_hidden[i], i))
        assert job.nearest_miss.code.tolist() == pack(holds)[first].tolist()
        assert job.nearest_miss.label == labels[first + 1]


def test_a_nearest_miss_among_many_rows_is_found_part_by_part(device: torch.device, monkeypatch: Any) -> None:
    rng, n = np.random.default_rng(3), 100
    labels, holds = rng.integers(0, 2, n + 1), masks(rng, n)
    found = []
    for rows_at_once in (1 << 18, 7):
        monkeypatch.setattr(AskNearestMiss, "ROWS_AT_ONCE", rows_at_once)
        job = job_of(strip())
        ask = ask_of(NearestMissRequest(), job, np.arange(1, n + 1), torch.from_numpy(pack(holds)), 0, 0, n)
        answered(ledger_of(labels.tolist(), device), [ask])
        found.append((job.nearest_miss.code.tolist(), job.nearest_miss.label))
    assert found[0] == found[1]


class Compared(FreshRows):
    """Fresh rows that are compared with the instance, which is 1 everywhere."""

    def n_changes(self, codes: torch.Tensor, instance: Any) -> torch.Tensor:
        return (codes != 1.0).sum(1)


def test_a_nearest_miss_that_the_host_does_not_have_comes_back_as_it_is(device: torch.device) -> None:
    rows = torch.rand(6, 3, device=device)
    rows = rows.double() if device.type != "mps" else rows
    rows[3, :2] = 1.0
    job = job_of(Compared())
    ask = ask_of(NearestMissRequest(), job, np.arange(1, 7), rows, 0, 0, 6)
    assert ask.n_numbers == 3 + 3
    answered(ledger_of([1, 0, 0, 1, 1, 1, 1], device), [ask])
    assert job.nearest_miss.code.tolist() == rows[0].tolist()
    job = job_of(Compared())
    ask = ask_of(NearestMissRequest(), job, np.arange(1, 7), rows, 0, 0, 6)
    answered(ledger_of([1, 0, 0, 1, 5, 1, 1], device), [ask])
    assert (job.nearest_miss.code.tolist(), job.nearest_miss.label) == (rows[3].tolist(), 5)


@pytest.mark.parametrize("label", [-1, 0, 9_999_999, INVALID, (1 << 40) + 1])
@pytest.mark.parametrize("sampler", [strip(), FreshRows()])
def test_the_explained_label_comes_back_whatever_it_is(sampler: Any, label: int, device: torch.device) -> None:
    if device.type == "mps" and label > 1 << 24 and label != INVALID:
        pytest.skip("has no float64")
    ledger = ledger_of([label, label, 5], device)
    job = job_of(sampler)
    on_host = isinstance(sampler, Strip)
    codes = torch.zeros(2, 2, dtype=torch.uint8) if on_host else torch.zeros(2, 3, device=device)
    answered(ledger, [ask_of(ExamplesRequest(()), job, np.array([1, 2]), codes, 0, 0, 2)])
    assert job.label == label
    assert job.examples.hits.tolist() == ([False, False] if label == INVALID else [True, False])
    assert job.examples.labels.tolist() == [label, 5]


def effects_ask(job: Any, slots: np.ndarray, keep: np.ndarray) -> Ask:
    return ask_of(EffectsRequest(), job, slots, torch.from_numpy(pack(keep)), 0, 0, int(slots.max()))


def test_effects_are_a_regression_on_the_rows_at_hand(device: torch.device) -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 2, 90)
    labels[5] = INVALID
    ledger = ledger_of(labels.tolist(), device)
    asks, expected = [], []
    for n, label in ((80, None), (3, 1), (30, 1), (1, 0)):
        slots, keep = rng.permutation(90)[:n], masks(rng, n)
        asks.append(effects_ask(job_of(strip(), label), slots, keep))
        hits = (labels[slots] == (labels[0] if label is None else label)).astype(float)
        expected.append(of_rows(keep, hits.sum(), hits @ keep))
    answered(ledger, asks)
    for ask, effects in zip(asks, expected, strict=True):
        assert ask.job.effects.tolist() == effects.tolist()


@pytest.mark.parametrize("p_sample", [0.5, 0.2, 1.0])
@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_effects_of_all_rows_that_there_are_are_exact(
    p_sample: float, n_backgrounds: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P(hit | shown) - P(hit | hidden); with even odds where parts are never shown, for which both have no meaning."""
    monkeypatch.setattr(AskEffects, "ROWS_AT_ONCE", 9)
    sampler = Strip(5, n_backgrounds, p_sample=p_sample)
    (codes,) = sampler.draw([Order(EnumerateRequest(()), np.random.default_rng(0))])
    codes = torch.unique(codes, dim=0)
    labels = np.random.default_rng(7).integers(0, 2, len(codes))
    job = job_of(sampler, label=1)
    answered(
        ledger_of(labels.tolist(), device),
        [ask_of(EffectsRequest(), job, np.arange(len(codes)), codes, 0, 0, len(codes) - 1)],
    )
    keep = sampler.keep(codes).numpy()
    p_keep = 1 - p_sample if p_sample < 1 else 0.5
    shares = mask_shares(keep, p_keep, n_backgrounds)
    expected = [
        shares[keep[:, k]] @ labels[keep[:, k]] / p_keep - shares[~keep[:, k]] @ labels[~keep[:, k]] / (1 - p_keep)
        for k in range(5)
    ]
    assert job.effects.tolist() == pytest.approx(expected, abs=1e-6 if device.type == "mps" else 1e-13)


@pytest.mark.parametrize("label", [-1, 7, INVALID])
def test_the_label_of_an_instance_is_the_answer_to_its_own_request(label: int, device: torch.device) -> None:
    ledger = ledger_of([4, label], device, skipped=10)
    job = job_of(FreshRows(), first_slot=11)
    assert job.label is None
    assert answered(ledger, [ask_of(AnswerRequest(), job, np.array([11]), None, 0, 0, 11)]) == [None]
    assert job.label == label


@pytest.mark.parametrize("label", [None, 4])
def test_no_known_row_is_no_example(label: int | None, device: torch.device) -> None:
    job = job_of(FreshRows(), label)
    asks = [ask_of(ExamplesRequest((2,)), job, np.zeros(0, dtype=np.int64), None, 0, 0, -1)]
    answered(ledger_of([4], device), asks)
    assert job.label == 4
    assert job.examples.labels.size == job.examples.hits.size == len(job.examples.codes) == 0


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
            request = [
                SampleRequest((), 20),
                SampleRequest((), 32),
                EnumerateRequest((0,)),
                ExamplesRequest(()),
                AnswerRequest(),
                EffectsRequest(),
            ][i % 6]
            if i % 6 in (1, 4):
                codes = None
            found.append(ask_of(request, job, slots, codes, 20 if i % 6 == 0 else 32, 3, 199))
        return found

    together, alone = asks(), asks()
    answered(ledger, together)
    for ask in alone:
        answered(ledger, [ask])
    for a, b in zip(together, alone, strict=True):
        assert str(a.reply) == str(b.reply)
        assert str(a.job.examples) == str(b.job.examples)
        assert a.job.label == b.job.label
        assert str(a.job.effects) == str(b.job.effects)
    assert {type(ask.reply) for ask in together} == {SampleCounts, EnumeratedHits, type(None)}
    assert {type(ask) for ask in together} == {Ask, AskPool, AskEvery, AskExamples, AskAnswer, AskEffects}


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
    margins = rng.normal(size=60).astype(np.float32)
    ledger.write_margins(torch.from_numpy(margins).to(device))
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
