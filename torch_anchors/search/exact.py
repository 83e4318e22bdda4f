"""The anchor of largest coverage, without statistical error, by predicting every row once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from torch_anchors.search.protocol import (
    Anchor,
    EnumeratedHits,
    EnumerateRequest,
    Search,
    SearchConfig,
    SearchResult,
    SearchSpace,
    Status,
    Step,
)

TOLERANCE = 1e-12
"""Rounding allowed to a sum of up to millions of weights; a precision this little below the threshold reaches it."""


def superset_precisions(hits: NDArray[np.float64], p_keep: float = 0.5) -> NDArray[np.float64]:
    """Precision of each of the 2^K anchors from the hit share of each of the 2^K masks, in K 2^(K-1) additions.

    Bit k of an index is predicate k. An anchor's precision is the mean of the masks that contain it, each predicate
    outside the anchor being kept with probability `p_keep`: fold one predicate after the other.
    """
    precisions = hits.astype(np.float64, copy=True)
    n_predicates = precisions.size.bit_length() - 1
    for k in range(n_predicates):
        pairs = precisions.reshape(-1, 2, 1 << k)
        pairs[:, 0] = (1 - p_keep) * pairs[:, 0] + p_keep * pairs[:, 1]
    return precisions


def sizes_of(n_predicates: int) -> NDArray[np.int64]:
    """Number of set bits of 0 .. 2^n - 1."""
    sizes = np.zeros(1, dtype=np.int64)
    for _ in range(n_predicates):
        sizes = np.concatenate([sizes, sizes + 1])
    return sizes


def best_superset(
    hits: NDArray[np.float64], base: Anchor, space: SearchSpace, config: SearchConfig
) -> tuple[Anchor, float]:
    """The best anchor that contains `base`, and its exact precision, given the hits of every mask that does.

    Of those without excluded predicates the best is: reaches the threshold; then fewest predicates; then highest
    precision. If none within `max_anchor_size` reaches the threshold, the one of highest precision.
    """
    free = np.setdiff1d(np.arange(space.n_predicates), base)
    precisions = superset_precisions(hits, space.p_keep)
    sizes = sizes_of(free.size) + len(base)
    allowed = sizes <= (config.max_anchor_size or space.n_predicates)
    excluded = np.flatnonzero(np.isin(free, list(space.excluded)))
    allowed &= (np.arange(sizes.size) & (1 << excluded).sum()) == 0
    valid = allowed & (precisions >= config.threshold - TOLERANCE)
    if valid.any():
        candidates = np.flatnonzero(valid & (sizes == sizes[valid].min()))
    else:
        candidates = np.flatnonzero(allowed)
    best = candidates[precisions[candidates].argmax()]
    added = free[(best >> np.arange(free.size)) & 1 == 1]
    return tuple(sorted((*base, *added.tolist()))), float(precisions[best])


def greedy_path(anchor: Anchor, precisions: NDArray[np.float64], space: SearchSpace) -> tuple[Step, ...]:
    """The empty anchor, then the anchor's predicates one by one, each time the one that raises precision most."""

    def step(members: Anchor) -> Step:
        members = tuple(sorted(members))
        return Step(members, float(precisions[sum(1 << k for k in members)]), space.coverage(members), 0)

    path = [step(())]
    while len(path[-1].anchor) < len(anchor):
        here = path[-1].anchor
        path.append(max((step((*here, k)) for k in anchor if k not in here), key=lambda found: found.precision))
    return tuple(path)


def exact_search(space: SearchSpace, config: SearchConfig) -> Search:
    """Search that enumerates all 2^K masks and returns the optimum; `SearchResult.precision` is exact."""
    (reply,) = yield (EnumerateRequest(()),)
    if not isinstance(reply, EnumeratedHits):
        raise TypeError(f"An EnumerateRequest must be answered by EnumeratedHits, got {type(reply).__name__}.")
    anchor, precision = best_superset(reply.hits, (), space, config)
    path = greedy_path(anchor, superset_precisions(reply.hits, space.p_keep), space)
    return exact_result(anchor, precision, space, config, path)


def exact_result(
    anchor: Anchor, precision: float, space: SearchSpace, config: SearchConfig, path: tuple[Step, ...]
) -> SearchResult:
    """Result of an anchor whose precision was counted over all its rows."""
    if precision < config.threshold - TOLERANCE:
        status = Status.NOT_FOUND
    else:
        status = Status.EXACT if anchor else Status.EMPTY_HOLDS
    return SearchResult(anchor, precision, (precision, precision), space.coverage(anchor), status, 0, 0, path)
