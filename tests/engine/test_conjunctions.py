"""The best rule by matrix products against loops over all conjunctions, and how it holds on other rows."""

from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.engine import conjunctions, labelled_rows
from torch_anchors.engine.conjunctions import best_rules
from torch_anchors.engine.labelled_rows import LabelledRows
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb.discretizer import Predicates


def random_table(n_rows, n_columns, n_bins, n_labels, seed):
    rng = np.random.default_rng(seed)
    binned = rng.integers(0, n_bins, (n_rows, n_columns))
    labels = np.where(rng.random(n_rows) < 0.8, binned[:, 0] + binned[:, 1], rng.integers(0, 9, n_rows)) % n_labels
    return torch.as_tensor(binned), torch.as_tensor(labels)


def bounds_and_categories(rows, n_bins, rng=None):
    """Predicates of instances: column 0 a category, the others bounds at every cut; with `rng` some are padding."""
    lines = []
    for row in rows.tolist():
        line = [(0, row[0], row[0])]
        for column, code in enumerate(row[1:], start=1):
            line += [(column, 0, c) if code <= c else (column, c + 1, n_bins - 1) for c in range(n_bins - 1)]
        lines.append([p if rng is None or rng.random() < 0.9 else (-1, 0, 0) for p in line])
    return Predicates(*torch.tensor(lines).unbind(-1))


def naive_conjunctions(binned, labels, predicates, i, label, max_size):
    """Anchor, rows and hits of every conjunction of instance i that has no redundant bound."""
    column, low, high = (part[i].tolist() for part in (predicates.column, predicates.low, predicates.high))
    ids = [k for k, c in enumerate(column) if c >= 0]

    def redundant(a, b):
        return column[a] == column[b] and (low[a] == low[b] or high[a] == high[b])

    for size in range(max_size + 1):
        for anchor in combinations(ids, size):
            if any(redundant(a, b) for a, b in combinations(anchor, 2)):
                continue
            held = np.ones(len(binned), dtype=bool)
            for k in anchor:
                held &= (binned[:, column[k]] >= low[k]) & (binned[:, column[k]] <= high[k])
            yield anchor, int(held.sum()), int((held & (labels == label)).sum())


def naive_holds(n, n_hits, threshold, delta):
    z = max(NormalDist().inv_cdf(1 - delta), 0)
    return n > 0 and n_hits - 0.5 - threshold * n >= z * (threshold * (1 - threshold) * n) ** 0.5


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_rows=st.integers(1, 400),
    threshold=st.sampled_from([0.6, 0.8, 0.95]),
    max_size=st.integers(0, 4),
    chunk=st.integers(1, 40),
    sampled=st.booleans(),
)
def test_best_rule_is_the_best_of_all(seed, n_rows, threshold, max_size, chunk, sampled):
    rng = np.random.default_rng(seed)
    binned, labels = random_table(n_rows, 4, 3, 3, seed)
    instances = binned[rng.integers(0, n_rows, 4)]
    predicates = bounds_and_categories(instances, 3, rng)
    explained = rng.integers(0, 3, 4)
    rows = LabelledRows.of(binned, labels, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LabelledRows, "n_bases", chunk)  # few at a time prune most
        patch.setattr(labelled_rows, "CHUNK_ROWS", 7 * chunk)
        patch.setattr(conjunctions, "SAMPLES", (10, 40) if sampled else ())
        rules = best_rules(rows, predicates, explained, threshold=threshold, delta=0.2, max_size=max_size)
    for i, (rule, label) in enumerate(zip(rules, explained, strict=True)):
        every = {
            anchor: (n, hits)
            for anchor, n, hits in naive_conjunctions(binned.numpy(), labels.numpy(), predicates, i, label, max_size)
        }
        assert every[rule.anchor] == (rule.n, rule.n_hits)
        holding = [(n, -len(a)) for a, (n, hits) in every.items() if naive_holds(n, hits, threshold, 0.2)]
        assert rule.holds == bool(holding)
        if holding:
            assert (rule.n, -len(rule.anchor)) == max(holding)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6))
def test_a_rule_does_not_depend_on_the_batch(seed, n):
    rng = np.random.default_rng(seed)
    binned, labels = random_table(200, 4, 3, 2, seed)
    predicates = bounds_and_categories(binned[:n], 3, rng)
    rows = LabelledRows.of(binned, labels, 2)
    together = best_rules(rows, predicates, labels[:n].numpy(), threshold=0.8)
    for i in range(n):
        own = Predicates(*(part[i : i + 1] for part in (predicates.column, predicates.low, predicates.high)))
        assert best_rules(rows, own, labels[i : i + 1].numpy(), threshold=0.8) == [together[i]]


def test_planted_rule_is_found(device):
    rng = np.random.default_rng(0)
    binned = torch.as_tensor(rng.integers(0, 4, (20_000, 6)))
    labels = ((binned[:, 1] <= 1) & (binned[:, 4] == 2)).long()  # a bound and a category
    predicates = Predicates(
        torch.tensor([[0, 1, 1, 2, 4]]), torch.tensor([[3, 0, 0, 0, 2]]), torch.tensor([[3, 1, 2, 1, 2]])
    )
    rows = LabelledRows.of(binned.to(device), labels.to(device), 2)
    (rule,) = best_rules(rows, predicates.to(device), np.array([1]))
    assert rule.anchor == (1, 4)
    assert rule.holds
    assert rule.precision == 1.0
    assert rule.n == int(labels.sum())


def test_two_bounds_of_one_column_meet():
    binned = torch.arange(4).repeat(200)[:, None]
    labels = ((binned[:, 0] == 1) | (binned[:, 0] == 2)).long()
    predicates = Predicates(torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[1, 0, 0]]), torch.tensor([[3, 1, 2]]))
    (rule,) = best_rules(LabelledRows.of(binned, labels, 2), predicates, np.array([1]), max_size=2)
    assert rule.anchor == (0, 2)


def test_no_rule_holds_by_luck_alone():
    """Labels that no column explains: of thousands of conjunctions some reach the threshold on their rows."""
    rng = np.random.default_rng(1)
    binned = torch.as_tensor(rng.integers(0, 2, (2_000, 14)))
    labels = torch.as_tensor(rng.random(2_000) < 0.9).long()
    column = torch.arange(14)[None].expand(40, -1)
    predicates = Predicates(column, binned[:40], binned[:40])
    rows = LabelledRows.of(binned, labels, 2)
    plain = best_rules(rows, predicates, np.ones(40, dtype=int), threshold=0.95, delta=0.5)
    guarded = best_rules(rows, predicates, np.ones(40, dtype=int), threshold=0.95, delta=0.05)
    assert sum(r.holds for r in guarded) <= sum(r.holds for r in plain) // 2


def test_empty_rule_wins_where_all_rows_agree():
    binned = torch.zeros(100, 1, dtype=torch.int64)
    predicates = Predicates(binned[:1], binned[:1], binned[:1])
    (rule,) = best_rules(LabelledRows.of(binned, binned[:, 0], 1), predicates, np.array([0]))
    assert rule.anchor == ()
    assert rule.holds


def test_threshold_one_asks_that_every_row_be_a_hit():
    binned = torch.tensor([[0], [0], [1]])
    predicates = Predicates(torch.zeros(1, 1, dtype=torch.int64), torch.tensor([[1]]), torch.tensor([[1]]))
    rows = LabelledRows.of(binned, torch.tensor([0, 1, 1]), 2)
    (rule,) = best_rules(rows, predicates, np.array([1]), threshold=1.0)
    assert (rule.anchor, rule.holds) == ((0,), True)


def test_negative_size_is_refused():
    binned = torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(ArgumentError, match="max_size must be 0 or more, got -1"):
        best_rules(
            LabelledRows.of(binned, binned[:, 0], 1),
            Predicates(binned, binned, binned),
            np.array([0]),
            max_size=-1,
        )


def test_counting_stays_on_the_device():
    with FakeTensorMode():
        rows = LabelledRows(torch.zeros(3, 500, dtype=torch.int16, device="cuda"), (200, 300))
        column, low, high = torch.zeros(3, 7, dtype=torch.int64, device="cuda")
        counts = rows.count_extensions(column, low, high, torch.zeros(5, 2, dtype=torch.int64, device="cuda"))
    assert counts.device.type == "cuda"
    assert counts.shape == (2, 5, 7)


def test_a_sample_has_the_same_share_of_each_label():
    rng = np.random.default_rng(0)
    labels = torch.as_tensor(np.sort(rng.choice(3, 10_000, p=[0.7, 0.29, 0.01])))
    rows = LabelledRows.of(torch.stack([labels, torch.arange(10_000)], dim=1), labels, 3)
    sample = rows.sample(500)
    for label, (n, k) in enumerate(zip(rows.n_by_label, sample.n_by_label, strict=True)):
        assert k == -(-n // 20)
        block = sample.by_column.split(sample.n_by_label, dim=1)[label]
        assert (block[0] == label).all()
        assert len(set(block[1].tolist())) == k
        place = block[1].double() - int((labels < label).sum())
        assert abs(place.mean() / n - 0.5) < 0.2  # from all over the table


def test_samples_spare_counting_and_lose_nothing(monkeypatch):
    """A table of many rows: the rule is the same with and without samples, at a fraction of the products."""
    rng = np.random.default_rng(5)
    binned = torch.as_tensor(rng.integers(0, 3, (20_000, 9)))
    labels = ((binned[:, 0] == 1) & (binned[:, 1] > 0) & (binned[:, 2] < 2)).long()
    labels = torch.where(torch.as_tensor(rng.random(20_000) < 0.02), 1 - labels, labels)
    chosen = torch.nonzero(labels == 1)[:3, 0]
    predicates = bounds_and_categories(binned[chosen], 3)
    rows = LabelledRows.of(binned, labels, 2)
    products = []
    counted = LabelledRows.count_extensions

    def counting(self, column, low, high, bases):
        products.append(self.n_rows * len(bases) * bases.shape[1])
        return counted(self, column, low, high, bases)

    monkeypatch.setattr(LabelledRows, "count_extensions", counting)
    monkeypatch.setattr(LabelledRows, "n_bases", 16)
    outcomes, costs = [], []
    for samples in ((), (2_000,)):
        monkeypatch.setattr(conjunctions, "SAMPLES", samples)
        products.clear()
        outcomes.append(best_rules(rows, predicates, np.ones(3, dtype=int), threshold=0.9, max_size=3))
        costs.append(sum(products))
    assert outcomes[0] == outcomes[1]
    assert all(rule.holds for rule in outcomes[0])
    assert costs[1] < 0.6 * costs[0]
