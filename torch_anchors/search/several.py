"""Several anchors of one instance that have no predicate in common, certified together.

The searches run one after the other, each on the space without what was found before, and each with an equal share of
delta. What the space of a later search is depends on the results of earlier ones; but whatever it is, the search errs
with at most its share, on rows that it draws itself. So the chance that anything said of any of the anchors is false is
at most delta, the sum of the shares. (Where rules are tested on rows that all searches have in common, the space itself
sees to that when it is narrowed.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch_anchors.search.protocol import Asking, Search, SearchConfig, SearchResult, SearchSpace, Status


def several(
    n_anchors: int, space: SearchSpace, config: SearchConfig, start: Callable[[SearchSpace, SearchConfig], Search]
) -> Search:
    """A search for up to `n_anchors` anchors, of which the first is the result and the others are its `others`.

    It ends early where an anchor is not found, or needs no predicates: nothing is reported that is not certified, but
    for the first result, which says so itself. With one anchor it is the search that `start` begins.

    Args:
        n_anchors: most anchors.
        space: of the first search.
        config: of all searches together: `delta` is shared out among them, and `max_rows_total` bounds their sum.
        start: begins each of them.

    Raises:
        ArgumentError: `start` cannot search this space.
    """
    if n_anchors == 1:
        return start(space, config)
    config = config.share(n_anchors)
    return _one_after_another(n_anchors, space, config, start(space, config), start)


def _one_after_another(
    n_anchors: int,
    space: SearchSpace,
    config: SearchConfig,
    search: Search,
    start: Callable[[SearchSpace, SearchConfig], Search],
) -> Search:
    """The results of `search` and of those that follow it; `config` is that of each."""
    found: list[SearchResult] = []
    n_spent = config.n_spent
    while True:
        result, n_rows = yield from _counted(search)
        n_spent += n_rows
        if found and (not result.success or result.status is Status.EMPTY_HOLDS):
            break
        found.append(result)
        if not result.success or not result.anchor or len(found) == n_anchors:
            break
        space = space.without(result.anchor)
        if config.max_rows_total is not None:
            config = replace(config, n_spent=n_spent)
        search = start(space, config)
    return replace(found[0], others=tuple(found[1:]))


def _counted(search: Search) -> Asking[tuple[SearchResult, int]]:
    """What a search finds, and how many rows were sent to the model for it."""
    n_rows = 0
    try:
        requests = next(search)
        while True:
            replies = yield requests
            n_rows += sum(reply.n_new for reply in replies)
            requests = search.send(replies)
    except StopIteration as stop:
        return stop.value, n_rows
