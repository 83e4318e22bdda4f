"""A search that tells what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch_anchors.search.protocol import (
    EnumerateRequest,
    GroupedRequest,
    GroupedRows,
    Reply,
    Request,
    SampleCounts,
    SampleRequest,
    Search,
    SearchResult,
    numbered,
)


def narrated(
    search: Search, tell: Callable[[str], None], every: int = 1, numbers: Sequence[int] | None = None
) -> Search:
    """`search`, with a line about each `every`-th exchange and one about its result handed to `tell`.

    Predicates are called by their `numbers`; see `SearchSpace`.
    """
    n_rounds, n_rows = 0, 0
    try:
        requests = next(search)
        while True:
            replies = yield requests
            n_rounds += 1
            n_rows += sum(reply.n_new for reply in replies)
            if n_rounds % every == 0:
                said = [_said(*exchange, numbers) for exchange in zip(requests, replies, strict=True)]
                tell(f"round {n_rounds}, {n_rows} new rows so far; {'; '.join(said)}")
            requests = search.send(replies)
    except StopIteration as stop:
        result: SearchResult = stop.value
        for found in (result, *result.others):
            anchor = numbered(found.anchor, numbers)
            tell(f"anchor {anchor}: {found.status.value}, precision {found.precision:.3f}")
        return result


def _said(request: Request, reply: Reply, numbers: Sequence[int] | None) -> str:
    """What was asked, and what came of it."""
    if isinstance(request, GroupedRequest) and isinstance(reply, GroupedRows):
        return f"{len(set(request.groups))} groups: {reply.hits.sum()} of {len(reply.hits)} hits"
    if isinstance(request, SampleRequest) and isinstance(reply, SampleCounts):
        return f"{numbered(request.anchor, numbers)}: {reply.n_hits} of {reply.n} hits"
    assert isinstance(request, EnumerateRequest), "every request has a reply of its kind"
    return f"{numbered(request.anchor, numbers)}: enumerated"
