"""Stand-ins for the engine: they answer a search's requests from a known truth, in NumPy, and count what they gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from torch_anchors.search.protocol import (
    Anchor,
    EnumeratedHits,
    EnumerateRequest,
    GroupedRequest,
    GroupedRows,
    Reply,
    Request,
    SampleCounts,
    SampleRequest,
    Search,
    SearchResult,
    SearchSpace,
)

DATA = Path(__file__).parents[1] / "data"


def truth_table(name: str) -> NDArray[np.bool_]:
    """Whether each of the 2^13 masks of a photograph ("coffee", "camera") keeps a real network's label."""
    with np.load(DATA / f"truth_{name}.npz") as stored:
        return stored["labels"] == stored["y0"]


def coin_table(n_predicates: int, precision: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A hit for each mask with chance `precision`, whatever it shows; the unperturbed instance is a hit."""
    hits = rng.random(1 << n_predicates) < precision
    hits[-1] = True
    return hits


def planted_table(n_predicates: int, anchor: Anchor, precision: float, seed: int = 0) -> NDArray[np.bool_]:
    """Hits with chance `precision` where `anchor` is shown and with chance 0.3 elsewhere."""
    masks = np.arange(1 << n_predicates)
    code = sum(1 << k for k in anchor)
    chance = np.where(masks & code == code, precision, 0.3)
    hits = np.random.default_rng(seed).random(masks.size) < chance
    hits[-1] = True
    return hits


def brute_force_precision(hits: NDArray, anchor: Anchor, p_keep: float = 0.5) -> float:
    """Precision of one anchor, mask by mask as it is defined."""
    n_predicates = len(hits).bit_length() - 1
    free = [k for k in range(n_predicates) if k not in anchor]
    total = 0.0
    for mask, hit in enumerate(hits):
        if all(mask >> k & 1 for k in anchor):
            n_kept = sum(mask >> k & 1 for k in free)
            total += float(hit) * p_keep**n_kept * (1 - p_keep) ** (len(free) - n_kept)
    return total


class Oracle(Protocol):
    """What `drive` needs."""

    def answer(self, request: Request) -> Reply: ...


@dataclass
class MaskOracle:
    """Independent predicates, as for images: remembers every row, pools rows over nested anchors.

    `hit(keep, background)` maps masks (n, K) and the background numbers (n,) of rows to hits (n,).
    """

    n_predicates: int
    hit: Callable[[NDArray[np.bool_], NDArray[np.int64]], NDArray[np.bool_]]
    seed: int = 0
    p_keep: float = 0.5
    n_backgrounds: int = 1
    margin: Callable[[NDArray[np.bool_]], NDArray] | None = None
    levels: tuple[NDArray[np.int64], ...] = ()
    rows: set[bytes] = field(default_factory=set)
    blocks: list[tuple[Anchor, NDArray[np.bool_], NDArray[np.bool_]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    @classmethod
    def of_table(cls, hits: NDArray, seed: int = 0, p_keep: float = 0.5) -> MaskOracle:
        """The oracle of hits (2^K,), or (2^K, backgrounds); bit k of an index is predicate k."""
        table = hits.reshape(len(hits), -1).astype(bool)
        n_predicates = len(hits).bit_length() - 1
        powers = 1 << np.arange(n_predicates)
        return cls(n_predicates, lambda keep, b: table[keep @ powers, b], seed, p_keep, table.shape[1])

    @property
    def n_rows(self) -> int:
        """Distinct rows predicted so far."""
        return len(self.rows)

    def space(self) -> SearchSpace:
        return SearchSpace(
            self.n_predicates,
            coverage=lambda anchor: self.p_keep ** len(anchor),
            n_rows=lambda anchor: self.n_backgrounds << (self.n_predicates - len(anchor)),
            independent=True,
            p_keep=self.p_keep,
            levels=self.levels,
        )

    def answer(self, request: Request) -> Reply:
        if isinstance(request, EnumerateRequest):
            return self._enumerate(request.anchor)
        if isinstance(request, GroupedRequest):
            return self._grouped(request)
        keep = self.rng.random((request.n, self.n_predicates)) < self.p_keep
        keep[:, list(request.anchor)] = True
        hits, n_new = self._predict(keep, self.rng.integers(self.n_backgrounds, size=request.n))
        self.blocks.append((request.anchor, keep, hits))
        pooled = [(k, h) for anchor, k, h in self.blocks if set(anchor) <= set(request.anchor)]
        pool_keep, pool_hits = (np.concatenate(part) for part in zip(*pooled, strict=True))
        held = pool_keep[:, list(request.anchor)].all(axis=1)
        pool_keep, pool_hits = pool_keep[held], pool_hits[held]
        return SampleCounts(
            request.n,
            int(hits.sum()),
            n_new,
            len(pool_hits),
            int(pool_hits.sum()),
            pool_keep.sum(axis=0),
            pool_keep[pool_hits].sum(axis=0),
            *((None, None) if self.margin is None else (keep, self.margin(keep))),
        )

    def _grouped(self, request: GroupedRequest) -> GroupedRows:
        groups = np.array(request.groups)
        keep = (self.rng.random((request.n, groups.max() + 1)) < self.p_keep)[:, groups]
        hits, n_new = self._predict(keep, self.rng.integers(self.n_backgrounds, size=request.n))
        return GroupedRows(keep, hits, n_new, None if self.margin is None else self.margin(keep))

    def _enumerate(self, anchor: Anchor) -> EnumeratedHits:
        free = [k for k in range(self.n_predicates) if k not in anchor]
        keep = np.zeros((1 << len(free), self.n_predicates), dtype=bool)
        keep[:, list(anchor)] = True
        keep[:, free] = np.arange(1 << len(free))[:, None] >> np.arange(len(free)) & 1 == 1
        background = np.tile(np.arange(self.n_backgrounds), len(keep))
        hits, n_new = self._predict(keep.repeat(self.n_backgrounds, axis=0), background)
        return EnumeratedHits(hits.reshape(-1, self.n_backgrounds).mean(axis=1), n_new)

    def _predict(self, keep: NDArray[np.bool_], background: NDArray) -> tuple[NDArray[np.bool_], int]:
        known = len(self.rows)
        packed = np.hstack([np.packbits(keep, axis=1), background.astype(np.uint16)[:, None].view(np.uint8)])
        self.rows.update(row.tobytes() for row in packed)
        return self.hit(keep, background), len(self.rows) - known


@dataclass
class ArmsOracle:
    """Every anchor is an arm of its own, as for tables: no row is repeated or says anything of another anchor."""

    n_predicates: int
    precision: Callable[[Anchor], float]
    seed: int = 0
    n_rows: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def space(self, compatible: Callable[[Anchor, int], bool] = lambda anchor, predicate: True) -> SearchSpace:
        return SearchSpace(self.n_predicates, coverage=lambda anchor: 0.6 ** len(anchor), compatible=compatible)

    def answer(self, request: Request) -> SampleCounts:
        if isinstance(request, EnumerateRequest):
            raise TypeError(f"The rows of {request.anchor} cannot be enumerated.")
        self.n_rows += request.n
        n_hits = int(self.rng.binomial(request.n, self.precision(request.anchor)))
        return SampleCounts(request.n, n_hits, request.n)


@dataclass
class Run:
    """A search that came to its end, and everything that it asked for and heard."""

    result: SearchResult
    rounds: list[tuple[tuple[Request, ...], tuple[Reply, ...]]]

    @property
    def samples(self) -> list[SampleRequest]:
        """All sample requests, in order."""
        return [r for requests, _ in self.rounds for r in requests if isinstance(r, SampleRequest)]

    @property
    def n_new(self) -> int:
        """Rows sent to the model."""
        return sum(reply.n_new for _, replies in self.rounds for reply in replies)


def drive(search: Search, oracle: Oracle, most_rounds: int = 5000) -> Run:
    """Runs a search to its end; a search that goes on for more than `most_rounds` rounds is an error."""
    rounds: list[tuple[tuple[Request, ...], tuple[Reply, ...]]] = []
    replies: Sequence[Reply] | None = None
    while len(rounds) < most_rounds:
        try:
            requests = next(search) if replies is None else search.send(tuple(replies))
        except StopIteration as stop:
            return Run(stop.value, rounds)
        replies = tuple(oracle.answer(request) for request in requests)
        rounds.append((requests, replies))
    raise AssertionError(f"The search is still going on after {most_rounds} rounds.")
