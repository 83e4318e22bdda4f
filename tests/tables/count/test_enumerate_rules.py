"""All conjunctions by matrix products against plain loops, whatever makes one conjunction better than another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tests.tables.count.conjunctions import bounds_and_categories, every_conjunction, random_table
from torch_anchors import AnchorTabular
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count import enumerate_rules as rules_module
from torch_anchors.tables.count import extensions
from torch_anchors.tables.count.conjunctions import Conjunctions
from torch_anchors.tables.count.enumerate_rules import COUNTED, enumerate_rules, n_extended
from torch_anchors.tables.count.extensions import Extensions
from torch_anchors.tables.count.poisson import poisson_bounds
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.discretizer import Predicates

Rank = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float64]]


class All:
    """Leaders that are told of everything: whatever is counted may lead to more.

    Args:
        rank: what conjunctions are worth; None where all are extended, and so each is there once.
    """

    def __init__(self, rank: Rank | None = None) -> None:
        self.counts: dict[tuple[int, Anchor], tuple[int, int]] = {}
        self._rank = rank

    def consider(self, level: Conjunctions) -> None:
        for i, members, n, n_hits in zip(level.instance, level.members.tolist(), level.n, level.n_hits, strict=True):
            assert self._rank is not None or (i, tuple(members)) not in self.counts
            self.counts[int(i), tuple(members)] = (int(n), int(n_hits))

    def better(self, instance: NDArray[Any], n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.bool_]:
        return np.ones(n.shape, dtype=bool)

    promising = better

    def rank(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        return np.zeros(n.shape) if self._rank is None else self._rank(n, n_hits)

    def reach(self, n: NDArray[Any], n_hits: NDArray[Any], scale: float) -> NDArray[np.int64]:
        return np.full(n.shape, 10**9)


class Largest:
    """The conjunction of most rows of each instance, among those with a large enough share of hits."""

    def __init__(self, n_instances: int, threshold: float) -> None:
        self.threshold = threshold
        self.anchors: list[Anchor | None] = [None] * n_instances
        self.n = np.zeros(n_instances, dtype=np.int64)
        self.n_hits = np.zeros(n_instances, dtype=np.int64)

    def consider(self, level: Conjunctions) -> None:
        for i, members, n, n_hits in zip(level.instance, level.members.tolist(), level.n, level.n_hits, strict=True):
            if n > self.n[i] and n_hits >= self.threshold * n:
                self.anchors[i], self.n[i], self.n_hits[i] = tuple(members), n, n_hits

    def better(self, instance: NDArray[Any], n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.bool_]:
        return (n > self.n[instance]) & (n_hits >= self.threshold * n)

    def promising(self, instance: NDArray[Any], n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.bool_]:
        more = self.n[instance] + 1
        return (n >= more) & (n_hits >= self.threshold * more)

    def rank(self, n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        return (n_hits - self.threshold * n) / np.sqrt(np.maximum(n, 1))

    def reach(self, n: NDArray[Any], n_hits: NDArray[Any], scale: float) -> NDArray[np.int64]:
        hits, misses = poisson_bounds(n_hits)[1], poisson_bounds(n - n_hits)[0]
        may_be = hits * (1 - self.threshold) >= misses * self.threshold
        return np.where(may_be, np.ceil(poisson_bounds(n)[1] * scale), 0).astype(np.int64)

    def rules(self) -> list[tuple[Anchor | None, int, int]]:
        return list(zip(self.anchors, self.n.tolist(), self.n_hits.tolist(), strict=True))


def largest_rules(
    rows: RowsByLabel, predicates: Predicates, labels: NDArray[np.int64], threshold: float = 0.95, max_size: int = 3
) -> list[tuple[Anchor | None, int, int]]:
    """Anchor, rows and hits of the largest conjunction of each instance; no anchor where none has enough hits."""
    leaders = Largest(len(labels), threshold)
    enumerate_rules(rows, predicates, labels, leaders, max_size)
    return leaders.rules()


def counts_of(
    binned: Tensor, labels: Tensor, predicates: Predicates, i: int, label: int, max_size: int
) -> dict[Anchor, tuple[int, int]]:
    return {a: (n, hits) for a, n, hits in every_conjunction(binned, labels, predicates, i, label, max_size)}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), max_size=st.integers(0, 4), chunk=st.integers(1, 40))
def test_every_conjunction_is_counted_once_unless_it_is_hopeless(seed: int, max_size: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    binned, labels = random_table(60, 4, 3, 3, seed)
    predicates = bounds_and_categories(binned[:3], 3, rng)
    explained = rng.integers(0, 3, 3)
    leaders = All()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Extensions, "n_bases", chunk)
        enumerate_rules(RowsByLabel.of(binned, labels, 3), predicates, explained, leaders, max_size)
    assert leaders.counts == {
        (i, anchor): counts
        for i, label in enumerate(explained.tolist())
        for anchor, counts in counts_of(binned, labels, predicates, i, label, max_size).items()
    }


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_rows=st.integers(1, 400),
    threshold=st.sampled_from([0.6, 0.8, 0.95]),
    max_size=st.integers(0, 4),
    chunk=st.integers(1, 40),
    sampled=st.booleans(),
)
def test_the_largest_rule_is_the_largest_of_all(
    seed: int, n_rows: int, threshold: float, max_size: int, chunk: int, sampled: bool
) -> None:
    rng = np.random.default_rng(seed)
    binned, labels = random_table(n_rows, 4, 3, 3, seed)
    instances = binned[rng.integers(0, n_rows, 4)]
    predicates = bounds_and_categories(instances, 3, rng)
    explained = rng.integers(0, 3, 4)
    rows = RowsByLabel.of(binned, labels, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Extensions, "n_bases", chunk)  # few at a time prune most
        patch.setattr(extensions, "CHUNK_ROWS", 7 * chunk)
        patch.setattr(rules_module, "SAMPLES", (10, 40) if sampled else ())
        rules = largest_rules(rows, predicates, explained, threshold, max_size)
    for i, ((anchor, n, n_hits), label) in enumerate(zip(rules, explained.tolist(), strict=True)):
        every = counts_of(binned, labels, predicates, i, label, max_size)
        enough = [(n, -len(a)) for a, (n, hits) in every.items() if n and hits >= threshold * n]
        assert (anchor is not None) == bool(enough)
        if anchor is not None:
            assert every[anchor] == (n, n_hits)
            assert (n, -len(anchor)) == max(enough)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6))
def test_a_rule_does_not_depend_on_the_batch(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    binned, labels = random_table(200, 4, 3, 2, seed)
    predicates = bounds_and_categories(binned[:n], 3, rng)
    rows = RowsByLabel.of(binned, labels, 2)
    together = largest_rules(rows, predicates, labels[:n].numpy(), 0.8)
    for i in range(n):
        own = Predicates(*(part[i : i + 1] for part in (predicates.column, predicates.low, predicates.high)))
        assert largest_rules(rows, own, labels[i : i + 1].numpy(), 0.8) == [together[i]]


def grown(every: Mapping[Anchor, tuple[int, int]], rank: Rank, widest: int, max_size: int) -> set[Anchor]:
    """What is counted if of each size the `widest` of highest rank are extended, by plain loops."""
    level: list[Anchor] = [()]
    seen = {()}
    for size in range(1, max_size + 1):
        larger = [a for a in every if len(a) == size and any(parent in level for parent in combinations(a, size - 1))]
        seen.update(larger)
        worth = {a: float(rank(*(np.array([k]) for k in every[a]))[0]) for a in larger}
        level = sorted(larger, key=lambda a: (-worth[a], a))[:widest]
    return seen


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), max_size=st.integers(1, 5), widest=st.integers(1, 12), chunk=st.integers(1, 40))
def test_what_grows_out_of_the_best_is_counted(seed: int, max_size: int, widest: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    binned, labels = random_table(60, 4, 3, 3, seed)
    predicates = bounds_and_categories(binned[:3], 3, rng)
    explained = rng.integers(0, 3, 3)

    def rank(n: NDArray[Any], n_hits: NDArray[Any]) -> NDArray[np.float64]:
        return n_hits - 0.5 * n

    leaders = All(rank)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Extensions, "n_bases", chunk)
        patch.setattr(rules_module, "LOOKED_AT_ONCE", 7 * chunk)
        patch.setattr(rules_module, "COUNTED", widest * predicates.column.shape[1])
        patch.setattr(rules_module, "COUNTED_LARGE", widest * predicates.column.shape[1])
        enumerate_rules(RowsByLabel.of(binned, labels, 3), predicates, explained, leaders, max_size)
    for i, label in enumerate(explained.tolist()):
        every = counts_of(binned, labels, predicates, i, label, max_size)
        found = {anchor: counts for (k, anchor), counts in leaders.counts.items() if k == i}
        assert found == {anchor: every[anchor] for anchor in grown(every, rank, widest, max_size)}


def test_all_pairs_and_triples_of_columns_that_are_not_too_many_are_counted() -> None:
    assert n_extended(724, 1) >= 724
    assert n_extended(101, 2) >= 101 * 100 // 2
    assert n_extended(3000, 2) * 3000 <= COUNTED
    assert n_extended(101, 3) < n_extended(101, 2)
    assert n_extended(10**9, 1) == 1
    assert n_extended(0, 1) > 0


def test_a_rule_among_many_columns_of_noise_is_found() -> None:
    """Three conditions of which none says much alone, among 300 columns: there are 10^8 triples."""
    rng = np.random.default_rng(0)
    binned = torch.as_tensor(rng.integers(0, 4, (1500, 300)))
    deciding = (binned[:, 7] <= 1) & (binned[:, 150] >= 2) & (binned[:, 299] <= 2)
    labels = (deciding | (torch.as_tensor(rng.random(1500)) < 0.3)).long()
    chosen = torch.nonzero(deciding)[:2, 0]
    predicates = bounds_and_categories(binned[chosen], 4)
    started = time.process_time()
    rules = largest_rules(RowsByLabel.of(binned, labels, 2), predicates, np.ones(2, dtype=int))
    assert time.process_time() - started < 10
    for i, (anchor, n, n_hits) in enumerate(rules):
        assert anchor is not None
        assert sorted(predicates.column[i, list(anchor)].tolist()) == [7, 150, 299]
        assert n == n_hits == int(deciding.sum())


def test_planted_rule_is_found(device: torch.device) -> None:
    rng = np.random.default_rng(0)
    binned = torch.as_tensor(rng.integers(0, 4, (20_000, 6)))
    labels = ((binned[:, 1] <= 1) & (binned[:, 4] == 2)).long()  # a bound and a category
    predicates = Predicates(
        torch.tensor([[0, 1, 1, 2, 4]]), torch.tensor([[3, 0, 0, 0, 2]]), torch.tensor([[3, 1, 2, 1, 2]])
    )
    rows = RowsByLabel.of(binned.to(device), labels.to(device), 2)
    (rule,) = largest_rules(rows, predicates.to(device), np.array([1]))
    assert rule == ((1, 4), int(labels.sum()), int(labels.sum()))


def test_two_bounds_of_one_column_meet() -> None:
    binned = torch.arange(4).repeat(200)[:, None]
    labels = ((binned[:, 0] == 1) | (binned[:, 0] == 2)).long()
    predicates = Predicates(torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[1, 0, 0]]), torch.tensor([[3, 1, 2]]))
    ((anchor, *_),) = largest_rules(RowsByLabel.of(binned, labels, 2), predicates, np.array([1]), max_size=2)
    assert anchor == (0, 2)


def test_nothing_is_counted_where_the_empty_conjunction_is_best() -> None:
    binned = torch.zeros(100, 1, dtype=torch.int64)
    predicates = Predicates(binned[:1], binned[:1], binned[:1])
    rows = RowsByLabel.of(binned, binned[:, 0], 1)
    counted = Extensions.count
    with pytest.MonkeyPatch.context() as patch:
        sizes = []
        patch.setattr(Extensions, "count", lambda *args: sizes.append(len(args[-1])) or counted(*args))
        assert largest_rules(rows, predicates, np.array([0])) == [((), 100, 100)]
    assert sum(sizes) == 0


def test_negative_size_is_refused() -> None:
    binned = torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(ArgumentError, match="max_size must be 0 or more, got -1"):
        largest_rules(
            RowsByLabel.of(binned, binned[:, 0], 1), Predicates(binned, binned, binned), np.array([0]), max_size=-1
        )


def test_samples_spare_counting_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of many rows: the rule is the same with and without samples, at a fraction of the products."""
    rng = np.random.default_rng(5)
    binned = torch.as_tensor(rng.integers(0, 3, (20_000, 9)))
    labels = ((binned[:, 0] == 1) & (binned[:, 1] > 0) & (binned[:, 2] < 2)).long()
    labels = torch.where(torch.as_tensor(rng.random(20_000) < 0.02), 1 - labels, labels)
    chosen = torch.nonzero(labels == 1)[:3, 0]
    predicates = bounds_and_categories(binned[chosen], 3)
    rows = RowsByLabel.of(binned, labels, 2)
    products = []
    counted = Extensions.count

    def counting(self: Extensions, bases: Tensor) -> Any:
        products.append(self.rows.n_rows * len(bases) * bases.shape[1])
        return counted(self, bases)

    monkeypatch.setattr(Extensions, "count", counting)
    monkeypatch.setattr(Extensions, "n_bases", 16)
    outcomes, costs = [], []
    for samples in ((), (2_000,)):
        monkeypatch.setattr(rules_module, "SAMPLES", samples)
        products.clear()
        outcomes.append(largest_rules(rows, predicates, np.ones(3, dtype=int), 0.9))
        costs.append(sum(products))
    assert outcomes[0] == outcomes[1]
    assert all(anchor is not None for anchor, _, _ in outcomes[0])
    assert costs[1] < 0.6 * costs[0]


def test_rules_of_any_size_are_soon_counted() -> None:
    """Noise, where every rule is promising: the number of rules grows no further than what is extended."""
    rows = np.random.default_rng(0).normal(size=(500, 12))
    made = AnchorTabular(lambda x: (1000 * x).sum(1).long() % 2, seed=0, dtype=torch.float32, sampling="conditional")
    made.fit(rows)
    started = time.process_time()
    alone = [made.explain(row, max_anchor_size=1000) for row in rows[:3]]
    assert time.process_time() - started < 10
    assert max(len(one.features) for one in alone) > 3
    together = made.explain_batch(rows[2::-1], max_anchor_size=1000)
    assert [one.anchor for one in together[::-1]] == [one.anchor for one in alone]
