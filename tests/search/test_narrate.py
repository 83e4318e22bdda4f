"""What is told of a search, and that telling changes nothing."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.search.oracles import MaskOracle, drive, planted_table
from torch_anchors.search.beam import beam_search
from torch_anchors.search.exact import exact_search
from torch_anchors.search.narrate import narrated
from torch_anchors.search.protocol import (
    GroupedRequest,
    GroupedRows,
    SampleCounts,
    SampleRequest,
    Search,
    SearchConfig,
    SearchResult,
    Status,
)

TABLE = planted_table(8, (2, 5), 1.0)


def test_a_narrated_search_is_the_same_search():
    lines: list[str] = []
    alone, told = MaskOracle.of_table(TABLE, seed=4), MaskOracle.of_table(TABLE, seed=4)
    plain = drive(beam_search(alone.space(), SearchConfig()), alone)
    heard = drive(narrated(beam_search(told.space(), SearchConfig()), lines.append), told)
    assert heard.result == plain.result
    assert [requests for requests, _ in heard.rounds] == [requests for requests, _ in plain.rounds]
    assert len(lines) == len(plain.rounds) + 1


def test_lines_tell_rounds_rows_and_hits():
    lines: list[str] = []
    oracle = MaskOracle.of_table(TABLE, seed=4)
    run = drive(narrated(beam_search(oracle.space(), SearchConfig()), lines.append), oracle)
    request, reply = run.rounds[0][0][0], run.rounds[0][1][0]
    assert lines[0] == f"round 1, {reply.n_new} new rows so far; (): {reply.n_hits} of {request.n} hits"
    assert re.match(rf"round {len(run.rounds)}, {oracle.n_rows} new rows so far; ", lines[-2])
    assert lines[-1] == f"anchor (2, 5): {run.result.status.value}, precision {run.result.precision:.3f}"


def test_every_so_many_rounds():
    lines: list[str] = []
    oracle = MaskOracle.of_table(TABLE, seed=4)
    run = drive(narrated(beam_search(oracle.space(), SearchConfig()), lines.append, every=3), oracle)
    assert [line.split(",")[0] for line in lines[:-1]] == [f"round {i}" for i in range(3, len(run.rounds) + 1, 3)]


def test_an_enumeration_is_told():
    lines: list[str] = []
    oracle = MaskOracle.of_table(TABLE)
    drive(narrated(exact_search(oracle.space(), SearchConfig()), lines.append), oracle)
    assert lines == ["round 1, 256 new rows so far; (): enumerated", "anchor (2, 5): exact, precision 1.000"]


def test_a_search_that_asks_nothing_is_told_too():
    def answered_already() -> Search:
        return SearchResult((), 1.0, (1.0, 1.0), 1.0, Status.EMPTY_HOLDS, 0, 0)
        yield ()

    lines: list[str] = []
    run = drive(narrated(answered_already(), lines.append), MaskOracle.of_table(np.ones(2)))
    assert run.result.status is Status.EMPTY_HOLDS
    assert lines == ["anchor (): empty anchor holds, precision 1.000"]


def test_rows_of_groups_are_told_by_how_many_groups_there_are():
    lines: list[str] = []

    def asking() -> Search:
        yield (GroupedRequest((0, 0, 1, 1, 2), 4),)
        return SearchResult((), 0.5, (0.0, 1.0), 1.0, Status.NOT_FOUND, 8, 4)

    search = narrated(asking(), lines.append)
    next(search)
    with pytest.raises(StopIteration):
        search.send((GroupedRows(np.ones((4, 5), dtype=bool), np.array([True, False, True, True]), 3),))
    assert lines[0] == "round 1, 3 new rows so far; 3 groups: 3 of 4 hits"


def test_replies_reach_the_search_unchanged():
    heard: list[object] = []

    def asking() -> Search:
        heard.append((yield (SampleRequest((0,), 5), SampleRequest((), 3))))
        return SearchResult((), 0.5, (0.0, 1.0), 1.0, Status.NOT_FOUND, 8, 4)

    search = narrated(asking(), lambda line: None)
    assert next(search) == (SampleRequest((0,), 5), SampleRequest((), 3))
    replies = (SampleCounts(5, 4, 5), SampleCounts(3, 0, 2))
    with pytest.raises(StopIteration) as stop:
        search.send(replies)
    assert stop.value.value.n == 8
    assert heard == [replies]
