"""Cases that bring their searches along, and the small samplers and models that tests of the engine run them on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torch_anchors.engine.job import Case, Job
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.runner import Finished, Runner
from torch_anchors.perturb.mask_sampler import MaskSampler
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import Anchor, Reply, Request, Search, SearchResult, Status

K = 9
"""Parts of a strip, unless a test says otherwise."""


# ------------------------------------------------------------------------------------------------------- samplers


class Strip(MaskSampler):
    """A picture of one pixel per part, 1 where it is shown and 0 or -1, -2, ... where it is not.

    The model reads the mask and the background off the row. `height` lines are alike.
    """

    def __init__(self, n_parts: int = K, n_backgrounds: int = 1, height: int = 1, **settings: Any) -> None:
        super().__init__(n_parts, n_backgrounds=n_backgrounds, **settings)
        self.height = height

    def row_shape(self) -> tuple[int, ...]:
        return (1, self.height, self.n_predicates)

    def render(self, codes: Tensor, out: Tensor | None = None) -> Tensor:
        codes = codes.to(self.device)
        background = self.background(codes) if self.n_backgrounds > 1 else torch.zeros(len(codes), device=self.device)
        pixels = torch.where(self.keep(codes), 1, -background.long()[:, None])
        rows = pixels[:, None, None].expand(-1, 1, self.height, -1).to(self.dtype)
        return rows.contiguous() if out is None else out.copy_(rows)


class FreshRows:
    """Rows as those of a table: drawn anew each time, they say nothing of any other anchor. A row is its own code.

    A column of the anchor has the instance's value, 1; the others are drawn from [0, 1).
    """

    independent = False
    repeatable = False
    dtype = torch.float64

    def __init__(self, n_columns: int = 3, device: torch.device | str = "cpu") -> None:
        self.n_columns, self.device = n_columns, device

    def draw(self, orders: Sequence[Order]) -> list[Tensor]:
        drawn = []
        for order in orders:
            rows = order.rng.random((order.request.n, self.n_columns))
            rows[:, list(order.request.anchor)] = 1.0
            drawn.append(torch.from_numpy(rows).to(self.device))
        return drawn

    def instance_code(self, instance: Any) -> Tensor:
        return torch.ones(1, self.n_columns, dtype=self.dtype, device=self.device)

    def row_shape(self) -> tuple[int, ...]:
        return (self.n_columns,)

    def empty(self, n: int) -> Tensor:
        return torch.empty(n, self.n_columns, dtype=self.dtype, device=self.device)

    def render(self, codes: Tensor, out: Tensor | None = None) -> Tensor:
        return codes if out is None else out.copy_(codes)


# --------------------------------------------------------------------------------------------------------- models


def parity(rows: Tensor) -> Tensor:
    """A label that depends on every pixel of the row, in an arithmetic without rounding."""
    weights = torch.arange(1, rows.shape[1:].numel() + 1, device=rows.device)
    return (rows.flatten(1).long() * weights).sum(1) % 3


class Recorder:
    """A model that keeps what it was sent."""

    def __init__(self, model: Callable[[Tensor], Tensor] = parity) -> None:
        self.model = model
        self.rows: list[tuple[float, ...]] = []
        self.sizes: list[int] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.sizes.append(rows.shape[0])
        self.rows += map(tuple, rows.flatten(1).tolist())
        return self.model(rows)


class Smaller:
    """A model whose device takes at most `most` rows."""

    def __init__(self, most: int, error: Callable[[], Exception], model: Callable[[Tensor], Tensor] = parity) -> None:
        self.most, self.error, self.model, self.n_failures = most, error, model, 0

    def __call__(self, rows: Tensor) -> Tensor:
        if rows.shape[0] > self.most:
            self.n_failures += 1
            raise self.error()
        return self.model(rows)


# ---------------------------------------------------------------------------------------------------------- cases


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchCase(Case):
    """A case that brings its search along, and a number by which a test finds it again."""

    search: Search
    number: int = 0


def scripted(rounds: Sequence[tuple[Request, ...]], replies: list[Reply], anchor: Anchor = ()) -> Search:
    """A search that asks what it was told to ask and writes the replies down."""
    for requests in rounds:
        replies += yield requests
    return SearchResult(anchor, 1.0, (0.0, 1.0), 1.0, Status.CERTIFIED, 0, 0)


def case_of(search: Search, sampler: Sampler | None = None, *, number: int = 0, **settings: Any) -> SearchCase:
    """A case of a search; its random stream is that of its number."""
    sampler = Strip() if sampler is None else sampler
    return SearchCase(sampler=sampler, rng=np.random.default_rng(number), search=search, number=number, **settings)


def job_of(
    sampler: Sampler | None = None,
    label: int | None = None,
    first_slot: int = 0,
    n_examples: int = 3,
    number: int = 0,
    **settings: Any,
) -> Job:
    """The state of a case that has nothing to search."""
    case = case_of(scripted([], []), sampler, number=number, label=label, **settings)
    return Job(number, case, n_examples, first_slot)


def brought(cases: Sequence[SearchCase], labels: Sequence[int | None]) -> list[Search]:
    """The searches that the cases bring along."""
    return [case.search for case in cases]


def runner_of(
    model: Callable[[Tensor], Tensor] | Predictor, max_rows: int | str = 64, **settings: Any
) -> Runner[SearchCase]:
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    settings.setdefault("searches", brought)
    return Runner(predictor, MaxRows(max_rows), **settings)


def running(runner: Runner[SearchCase], cases: Iterable[SearchCase]) -> Iterator[Finished[SearchCase]]:
    """The cases, each made ready by itself, one after the other as they are finished; none of them may fail."""
    for wave in runner.waves([case] for case in cases):
        for finished in wave:
            assert isinstance(finished, Finished), finished
            yield finished


def run(runner: Runner[SearchCase], cases: Iterable[SearchCase]) -> list[Finished[SearchCase]]:
    """All of the cases, in the order in which they are finished."""
    return list(running(runner, cases))
