"""The class that answers each kind of request."""

from __future__ import annotations

import pytest

from tests.engine.asks import not_independent, not_repeatable, strip
from tests.engine.cases import FreshRows, job_of
from torch_anchors.engine.job import AnswerRequest, AnyRequest, LastRequest, RowsRequest
from torch_anchors.engine.last_replies import AskLast, AskRows
from torch_anchors.engine.replies import (
    Ask,
    AskAnswer,
    AskEvery,
    AskPool,
)
from torch_anchors.engine.request_kinds import kind_of
from torch_anchors.perturb.protocol import Sampler
from torch_anchors.search.protocol import EnumerateRequest, SampleRequest


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
        (LastRequest(()), strip(), AskLast),
        (LastRequest(()), FreshRows(), AskLast),
        (RowsRequest(), FreshRows(), AskRows),
    ],
)
def test_the_kind_of_a_request_says_what_answers_it(request_: AnyRequest, sampler: Sampler, expected: type) -> None:
    assert kind_of(job_of(sampler), request_) is expected
