"""From the name of a method to the search: the one place where a strategy is chosen."""

from __future__ import annotations

from collections.abc import Callable, Generator

from torch_anchors._checks import one_of
from torch_anchors.errors import ArgumentError
from torch_anchors.search.beam import beam_search
from torch_anchors.search.coarse_to_fine import coarse_to_fine_search
from torch_anchors.search.exact import exact_search
from torch_anchors.search.interactions import guided_search
from torch_anchors.search.protocol import Reply, Request, Search, SearchConfig, SearchResult, SearchSpace
from torch_anchors.search.race import race_search

FEW_ROWS = 128
"""``method="auto"`` enumerates when there are at most this many distinct rows: sampling would take about as many."""

MOST_ROWS = 1 << 22
"""``method="exact"`` refuses to enumerate more rows than this; nobody waits for them."""

SearchFunction = Callable[[SearchSpace, SearchConfig], Search]
"""Starts a search of a space. It raises an ArgumentError where the space cannot be searched in this way."""


def choose(method: str, space: SearchSpace, config: SearchConfig) -> Search:
    """The search of `space` by the method of that name.

    "auto" counts where precision is a count, races proposed anchors where there are any, enumerates where that costs
    about as many rows as sampling, goes from coarse to fine where there are levels, and otherwise takes the beam
    search, guided by margins where there are any.

    Raises:
        ArgumentError: there is no such method, or it cannot search this space.
    """
    return SEARCHES[checked_method(method)](space, config)


def checked_method(method: str) -> str:
    """The name of a method, if there is one of that name.

    Raises:
        ArgumentError: there is none; the message lists those there are.
    """
    return one_of("method", method, SEARCHES)


def register(method: str, search: SearchFunction) -> None:
    """Makes a search known under a name, which ``explain(method=...)`` then takes."""
    SEARCHES[method] = search


def _auto(space: SearchSpace, config: SearchConfig) -> Search:
    if space.counted is not None:
        return _known(space.counted)
    if space.proposals is not None:
        return race_search(space, config)
    n_rows = space.n_rows(())
    if n_rows is not None and n_rows <= min(FEW_ROWS, _most_rows(config)):
        return exact_search(space, config)
    return coarse_to_fine_search(space, config) if space.levels else guided_search(space, config)


def _exact(space: SearchSpace, config: SearchConfig) -> Search:
    if space.counted is not None:
        return _known(space.counted)
    n_rows, budget = space.n_rows(()), _most_rows(config)
    if n_rows is None:
        raise ArgumentError(
            "method must be 'auto', 'race' or 'beam' here: 'exact' needs rows that can all be counted. For a table "
            "make the explainer with sampling='conditional', which counts training rows."
        )
    if n_rows > budget:
        name = "max_rows_total" if config.max_rows_total is not None else "the limit of method='exact'"
        raise ArgumentError(
            f"method must be 'beam' or 'auto' here: 'exact' needs {n_rows:,} rows, more than {name} ({budget:,}). Use "
            "fewer superpixels or background images, fix columns of a row, or sample."
        )
    return exact_search(space, config)


def _known(counted: Callable[[], SearchResult]) -> Generator[tuple[Request, ...], tuple[Reply, ...], SearchResult]:
    """A search that asks nothing, because its result can be counted."""
    yield from ()
    return counted()


def _most_rows(config: SearchConfig) -> int:
    return MOST_ROWS if config.max_rows_total is None else config.max_rows_total


SEARCHES: dict[str, SearchFunction] = {
    "auto": _auto,
    "beam": beam_search,
    "guided": guided_search,
    "coarse_to_fine": coarse_to_fine_search,
    "exact": _exact,
    "race": race_search,
}
"""All methods by their names."""
