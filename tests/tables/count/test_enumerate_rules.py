"""All conjunctions by matrix products against plain loops, whatever makes one conjunction better than another."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import poisson
from torch import Tensor

from tests.tables.count.conjunctions import bounds_and_categories, every_conjunction, random_table
from torch_anchors import AnchorTabular
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count import enumerate_rules as rules_module
from torch_anchors.tables.count import rows_by_label
from torch_anchors.tables.count.enumerate_rules import Conjunctions, enumerate_rules, poisson_bounds
from torch_anchors.tables.count.rows_by_label import RowsByLabel
from torch_anchors.tables.discretizer import Predicates


class All:
    """Leaders that are told of everything: whatever is counted may lead to more."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, Anchor], tuple[int, int]] = {}

    def consider(self, level: Conjunctions) -> None:
        for i, members, n, n_hits in zip(level.instance, level.members.tolist(), level.n, level.n_hits, strict=True):
            assert (i, tuple(members)) not in self.counts  # each once
            self.counts[int(i), tuple(members)] = (int(n), int(n_hits))

    def promising(self, level: Conjunctions) -> NDArray[np.bool_]:
        return np.ones(len(level), dtype=bool)

    def reach(self, sampled: Conjunctions, scale: float) -> NDArray[np.int64]:
        return np.full(len(sampled), 10**9)


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

    def promising(self, level: Conjunctions) -> NDArray[np.bool_]:
        more = self.n[level.instance] + 1
        return (level.n >= more) & (level.n_hits >= self.threshold * more)

    def reach(self, sampled: Conjunctions, scale: float) -> NDArray[np.int64]:
        hits, misses = poisson_bounds(sampled.n_hits)[1], poisson_bounds(sampled.n - sampled.n_hits)[0]
        may_be = hits * (1 - self.threshold) >= misses * self.threshold
        return np.where(may_be, np.ceil(poisson_bounds(sampled.n)[1] * scale), 0).astype(np.int64)

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
        patch.setattr(RowsByLabel, "n_bases", chunk)
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
        patch.setattr(RowsByLabel, "n_bases", chunk)  # few at a time prune most
        patch.setattr(rows_by_label, "CHUNK_ROWS", 7 * chunk)
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
    counted = RowsByLabel.count_extensions
    with pytest.MonkeyPatch.context() as patch:
        sizes = []
        patch.setattr(RowsByLabel, "count_extensions", lambda *args: sizes.append(len(args[-1])) or counted(*args))
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
    counted = RowsByLabel.count_extensions

    def counting(self: RowsByLabel, column: Tensor, low: Tensor, high: Tensor, bases: Tensor) -> Any:
        products.append(self.n_rows * len(bases) * bases.shape[1])
        return counted(self, column, low, high, bases)

    monkeypatch.setattr(RowsByLabel, "count_extensions", counting)
    monkeypatch.setattr(RowsByLabel, "n_bases", 16)
    outcomes, costs = [], []
    for samples in ((), (2_000,)):
        monkeypatch.setattr(rules_module, "SAMPLES", samples)
        products.clear()
        outcomes.append(largest_rules(rows, predicates, np.ones(3, dtype=int), 0.9))
        costs.append(sum(products))
    assert outcomes[0] == outcomes[1]
    assert all(anchor is not None for anchor, _, _ in outcomes[0])
    assert costs[1] < 0.6 * costs[0]


@pytest.mark.parametrize("n", [0, 1, 5, 100, 10_000])
def test_a_mean_is_beyond_its_bounds_by_a_great_accident_only(n: int) -> None:
    low, high = (float(end[0]) for end in poisson_bounds(np.array([n])))
    assert low <= n < high
    assert poisson.cdf(n, high) < 1e-8  # so few where so many are expected
    assert n < 100 or poisson.sf(n - 1, low) < 1e-7
    for mean in (low, high):
        assert abs(n - mean) == pytest.approx(6 * mean**0.5, abs=1e-9)


def test_parts_of_conjunctions() -> None:
    level = Conjunctions(
        np.array([0, 0, 1]), np.array([[1, 2], [1, 3], [0, 4]]), np.array([9, 8, 7]), np.array([3, 2, 1])
    )
    part = level[np.array([True, False, True])]
    assert (len(level), len(part), len(Conjunctions.none(2))) == (3, 2, 0)
    assert (part.instance.tolist(), part.members.tolist()) == ([0, 1], [[1, 2], [0, 4]])
    assert (part.n.tolist(), part.n_hits.tolist()) == ([9, 7], [3, 1])
    both = Conjunctions.concatenate([part, Conjunctions.none(2), level])
    assert both.members.tolist() == [[1, 2], [0, 4], *level.members.tolist()]
    assert both.n.tolist() == [9, 7, 9, 8, 7]


def test_rules_of_any_size_are_soon_counted() -> None:
    """Noise, where every rule is promising: the number of rules grows no further than what is extended."""
    rows = np.random.default_rng(0).normal(size=(500, 12))
    made = AnchorTabular(lambda x: (1000 * x).sum(1).long() % 2, seed=0, dtype=torch.float32, sampling="conditional")
    made.fit(rows)
    started = time.perf_counter()
    alone = [made.explain(row, max_anchor_size=1000) for row in rows[:3]]
    assert time.perf_counter() - started < 10
    assert max(len(one.features) for one in alone) > 3
    together = made.explain_batch(rows[2::-1], max_anchor_size=1000)
    assert [one.anchor for one in together[::-1]] == [one.anchor for one in alone]
