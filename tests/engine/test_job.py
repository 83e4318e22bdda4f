"""The state of one case: what its search asks, is told and returns."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.cases import FreshRows, Strip, case_of, job_of, scripted
from torch_anchors.engine.job import (
    AnyRequest,
    Case,
    Examples,
    Job,
    LastRequest,
    Miss,
    RowsRequest,
)
from torch_anchors.engine.last_replies import Shown, Unseen
from torch_anchors.engine.request_kinds import kind_of
from torch_anchors.search.protocol import (
    Reply,
    SampleCounts,
    SampleRequest,
    Search,
    SearchResult,
    Status,
)

EXAMPLES = Examples(np.zeros((1, 2), dtype=np.uint8), np.array([3]), np.array([True]))


def ask(job: Job, requests: Sequence[AnyRequest]) -> None:
    """Registers requests as the engine does, without any rows."""
    no_rows = np.zeros(0, dtype=np.int64)
    job.asks = [kind_of(job, request)(job, request, no_rows, None, 0, 0, -1) for request in requests]


def reply_to(job: Job, replies: Sequence[Reply]) -> None:
    for waiting, reply in zip(job.asks, replies, strict=True):
        waiting.reply, waiting.answered = reply, True


def test_a_case_cannot_be_changed_but_a_wing_may_make_another_of_it() -> None:
    case = case_of(scripted([], []), label=None, number=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.label = 3  # type: ignore[misc]
    labelled = dataclasses.replace(case, label=3)
    assert (labelled.label, labelled.number, labelled.rng) == (3, 4, case.rng)
    assert labelled.search is case.search
    assert case.label is None


def test_a_case_names_its_parts() -> None:
    with pytest.raises(TypeError, match="positional"):
        Case(Strip(), np.random.default_rng(0))  # type: ignore[misc]
    case = Case(sampler=Strip(), rng=np.random.default_rng(0))
    assert case.instance is None
    assert case.label is None


def test_cases_and_jobs_are_told_apart_by_what_they_are_and_not_by_what_they_hold() -> None:
    sampler, rng = Strip(), np.random.default_rng(0)
    assert Case(sampler=sampler, rng=rng) != Case(sampler=sampler, rng=rng)
    assert len({job_of(sampler), job_of(sampler)}) == 2


@pytest.mark.parametrize("label", [None, 0, 7])
def test_a_job_begins_with_the_label_of_its_case_and_without_rows(label: int | None) -> None:
    job = job_of(Strip(), label, first_slot=12)
    assert job.label == label
    assert job.first_slot == 12
    assert job.memory.every(())[0].size == 0
    assert (job.n_rows, job.n_calls, job.asks) == (0, 0, [])
    assert (job.result, job.examples, job.error) == (None, None, None)


def test_a_search_is_led_from_its_first_requests_to_its_result() -> None:
    heard: list[Reply] = []
    rounds = [(SampleRequest((), 5), SampleRequest((1,), 2)), (SampleRequest((2,), 3),)]
    job = job_of()
    requests = job.begin(scripted(rounds, heard, anchor=(2,)))
    assert requests == rounds[0]
    ask(job, requests)
    reply_to(job, [SampleCounts(5, 1), SampleCounts(2, 2)])
    requests = job.advance()
    assert requests == rounds[1]
    assert heard == [SampleCounts(5, 1), SampleCounts(2, 2)]
    assert job.result is None
    ask(job, requests)
    reply_to(job, [SampleCounts(3, 0)])
    assert job.advance() == (LastRequest((2,)),)
    assert heard[2:] == [SampleCounts(3, 0)]
    assert job.result is not None
    assert job.result.anchor == (2,)
    assert job.advance() == ()


def test_rounds_in_which_nothing_is_asked_are_passed_over() -> None:
    told: list[Any] = []

    def search() -> Search:
        told.append((yield ()))
        told.append((yield ()))
        told.append((yield (SampleRequest((), 1),)))
        told.append((yield ()))
        return SearchResult((3,), 1.0, (1.0, 1.0), 1.0, Status.CERTIFIED, 0, 0)

    job = job_of()
    requests = job.begin(search())
    assert requests == (SampleRequest((), 1),)
    assert told == [(), ()]
    ask(job, requests)
    reply_to(job, [SampleCounts(1, 1)])
    assert job.advance() == (LastRequest((3,)),)
    assert told == [(), (), (SampleCounts(1, 1),), ()]


def test_a_search_that_knows_its_result_asks_for_nothing_but_what_is_shown_of_it() -> None:
    job = job_of()
    last = (LastRequest((0, 4)),)
    assert job.begin(scripted([], [], anchor=(0, 4))) == last
    assert job.advance() == ()


def test_rows_that_only_the_device_has_are_asked_for_at_the_very_end() -> None:
    job = job_of(FreshRows())
    assert job.begin(scripted([], [], anchor=(0,))) == (LastRequest((0,)),)
    job.unseen = Unseen(Shown(*np.zeros((3, 0), dtype=np.int64), False, 0, 0), torch.zeros(0, 3))
    assert job.advance() == (RowsRequest(),)
    job.unseen = None
    assert job.advance() == ()


def test_an_error_of_the_search_is_passed_on() -> None:
    def search() -> Search:
        yield (SampleRequest((), 1),)
        raise ZeroDivisionError

    job = job_of()
    ask(job, job.begin(search()))
    reply_to(job, [SampleCounts(1, 1)])
    with pytest.raises(ZeroDivisionError):
        job.advance()
    assert job.result is None


def test_a_job_is_ready_when_its_last_request_has_been_answered() -> None:
    job = job_of()
    assert job.ready
    ask(job, job.begin(scripted([(SampleRequest((), 5), SampleRequest((1,), 2))], [])))
    assert not job.ready
    job.asks[1].answered = True
    assert not job.ready
    job.asks[0].answered = True
    assert job.ready


def test_what_is_found_is_what_the_search_returned_and_the_engine_counted() -> None:
    started = time.perf_counter()
    job = job_of(label=3)
    job.begin(scripted([], [], anchor=(1,)))
    job.answer, job.examples, job.n_rows, job.n_calls = 5, EXAMPLES, 40, 6
    time.sleep(0.01)
    found = job.found()
    assert found.result is job.result
    assert found.result.anchor == (1,)
    assert (found.label, found.answer, found.n_rows, found.n_calls) == (3, 5, 40, 6)
    assert found.examples is EXAMPLES
    assert 0.01 <= found.seconds <= time.perf_counter() - started


@pytest.mark.parametrize("missing", ["result", "label", "answer", "examples"])
def test_nothing_is_found_before_everything_is_known(missing: str) -> None:
    job = job_of(label=3)
    job.begin(scripted([], []))
    job.answer, job.examples = 3, EXAMPLES
    setattr(job, missing, None)
    with pytest.raises(AssertionError):
        job.found()


@pytest.mark.parametrize("n", [0, 1])
def test_examples_may_be_followed_by_a_miss(n: int) -> None:
    examples = Examples(EXAMPLES.codes[:n], EXAMPLES.labels[:n], EXAMPLES.hits[:n])
    assert examples.followed_by(None, hit=True) is examples
    more = examples.followed_by(Miss(np.array([7, 8], dtype=np.uint8), 5), hit=False)
    assert more.codes.tolist() == [[0, 0]] * n + [[7, 8]]
    assert more.codes.dtype == np.uint8
    assert (more.labels.tolist(), more.hits.tolist()) == ([3] * n + [5], [True] * n + [False])
    nothing = Examples(np.zeros((0, 0)), EXAMPLES.labels[:0], EXAMPLES.hits[:0])
    assert nothing.followed_by(Miss(np.array([7, 8], dtype=np.uint8), 5), hit=True).codes.tolist() == [[7, 8]]
