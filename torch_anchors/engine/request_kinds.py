"""From a request to the class that answers it: the one place where that is chosen."""

from __future__ import annotations

from torch_anchors.engine.job import (
    AnswerRequest,
    AnyRequest,
    Job,
    LastRequest,
    RowsRequest,
)
from torch_anchors.engine.last_replies import AskLast, AskRows
from torch_anchors.engine.replies import Ask, AskAnswer, AskEvery, AskGroups, AskPool
from torch_anchors.search.protocol import EnumerateRequest, GroupedRequest


def kind_of(job: Job, request: AnyRequest) -> type[Ask]:
    """The class of a request: what answers it."""
    if isinstance(request, AnswerRequest):
        return AskAnswer
    if isinstance(request, LastRequest):
        return AskLast
    if isinstance(request, RowsRequest):
        return AskRows
    if isinstance(request, EnumerateRequest):
        return AskEvery
    if isinstance(request, GroupedRequest):
        return AskGroups
    return AskPool if job.case.sampler.independent else Ask
