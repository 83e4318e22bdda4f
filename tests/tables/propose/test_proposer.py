"""What is proposed, against a loop over all anchors and a plain simulation of interventional rows."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.tables.discretizer import Predicates
from torch_anchors.tables.propose.proposer import ColumnConditions, Proposer
from torch_anchors.tables.propose.surrogate import Surrogate

N_BINS = [3, 4, 2, 4, 3]


@pytest.fixture(scope="module")
def table():
    """Bins of columns that depend on each other, and labels of an additive model of three of them."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(6000, 1))
    binned = np.stack(
        [((hidden[:, 0] + rng.normal(size=6000)) * 0.8 + n / 2).clip(0, n - 0.01).astype(int) for n in N_BINS], 1
    )
    labels = (2.0 * binned[:, 1] - 1.5 * binned[:, 3] + 1.2 * binned[:, 0] > 1.6).astype(int)
    return torch.as_tensor(binned), torch.as_tensor(labels)


@pytest.fixture(scope="module")
def proposer(table):
    return Proposer.fit(Surrogate.fit(*table, N_BINS, 2), table[0], np.random.default_rng(1))


def predicates_of(rows):
    """Columns 0 and 2 are categories, the others have bounds."""
    lines = []
    for row in rows.tolist():
        line = []
        for column, code in enumerate(row):
            if column in (0, 2):
                line.append((column, code, code))
            else:
                top = N_BINS[column] - 1
                line += [(column, 0, c) if code <= c else (column, c + 1, top) for c in range(top)]
        lines.append(line)
    return Predicates(*torch.tensor(lines).unbind(-1))


def held(binned, predicates, i, anchor):
    ok = np.ones(len(binned), dtype=bool)
    for k in anchor:
        values = binned[:, int(predicates.column[i, k])]
        ok &= (values >= int(predicates.low[i, k])) & (values <= int(predicates.high[i, k]))
    return ok


def redundant(predicates, i, a, b):
    """Whether two predicates are bounds on the same side of one column."""
    column, low, high = (part[i] for part in (predicates.column, predicates.low, predicates.high))
    return bool(column[a] == column[b]) and bool((low[a] == low[b]) | (high[a] == high[b]))


def interventional_precision(binned, labels, predicates, i, label, anchor, rng, n=4000):
    """Share of hits of rows drawn as the sampler does, with the labels of the additive model itself."""
    rows = binned[rng.integers(0, len(binned), n)].copy()
    match = np.flatnonzero(held(binned, predicates, i, anchor))
    if len(match) == 0:
        return np.nan
    columns = sorted({int(predicates.column[i, k]) for k in anchor})
    rows[:, columns] = binned[rng.choice(match, n)][:, columns]
    return float(((2.0 * rows[:, 1] - 1.5 * rows[:, 3] + 1.2 * rows[:, 0] > 1.6) == label).mean())


def test_expected_precision_is_near_the_truth(table, proposer):
    binned, labels = (part.numpy() for part in table)
    predicates = predicates_of(table[0][:40])
    rng = np.random.default_rng(2)
    errors = []
    for i, proposals in enumerate(proposer.propose(predicates, labels[:40])):
        assert proposals.guesses
        for anchor, expected in proposals.guesses.items():
            assert anchor == tuple(sorted(set(anchor)))
            assert 0 < expected < 1
            truth = interventional_precision(binned, labels, predicates, i, labels[i], anchor, rng)
            if not np.isnan(truth):
                errors.append(expected - truth)
    assert np.abs(errors).mean() < 0.06


def test_front_is_close_to_the_best_of_all_anchors(table, proposer):
    """At a true precision of 0.95 the widest proposal covers nearly as much as the widest anchor of all."""
    binned, labels = (part.numpy() for part in table)
    predicates = predicates_of(table[0][:12])
    rng = np.random.default_rng(3)
    proposed, best = [], []
    for i, proposals in enumerate(proposer.propose(predicates, labels[:12])):

        def coverage(anchors, i=i):
            wide = [
                held(binned, predicates, i, a).mean()
                for a in anchors
                if interventional_precision(binned, labels, predicates, i, labels[i], a, rng, 2000) >= 0.95
            ]
            return max(wide, default=0.0)

        every = [
            anchor
            for size in range(1, 7)
            for anchor in combinations(range(predicates.column.shape[1]), size)
            if not any(redundant(predicates, i, a, b) for a, b in combinations(anchor, 2))
        ]
        proposed.append(coverage(proposals.guesses))
        best.append(coverage(every))
    assert np.mean(proposed) >= 0.8 * np.mean(best)
    assert np.mean(best) > 0.02


def test_no_anchor_has_a_redundant_bound_or_too_many_predicates(table, proposer):
    binned, labels = table
    predicates = predicates_of(binned[:10])
    for limit in (1, 2, 4, None):
        for i, proposals in enumerate(proposer.propose(predicates, labels[:10].numpy(), max_anchor_size=limit)):
            for anchor in proposals.guesses:
                assert limit is None or len(anchor) <= limit
                assert not any(redundant(predicates, i, a, b) for a, b in combinations(anchor, 2))


def test_proposals_do_not_depend_on_the_batch(table, proposer):
    binned, labels = table
    predicates = predicates_of(binned[:40])
    together = proposer.propose(predicates, labels[:40].numpy())
    for i in (0, 17, 39):
        own = Predicates(*(part[i : i + 1] for part in (predicates.column, predicates.low, predicates.high)))
        (alone,) = proposer.propose(own, labels[i : i + 1].numpy())
        assert alone.guesses.keys() == together[i].guesses.keys()
        assert list(alone.guesses.values()) == pytest.approx(list(together[i].guesses.values()), abs=1e-5)


def test_the_longest_anchors_name_every_column(table, proposer):
    binned, labels = table
    predicates = predicates_of(binned[:20])
    for proposals in proposer.propose(predicates, labels[:20].numpy()):
        named = [len({int(predicates.column[0, k]) for k in anchor}) for anchor in proposals.guesses]
        assert max(named) == len(N_BINS)


def test_shorter_anchors_lose_what_adds_least(table, proposer):
    """Each step drops one condition more, and what is expected of each is near the truth."""
    binned, labels = (part.numpy() for part in table)
    predicates = predicates_of(table[0][:12])
    rng = np.random.default_rng(4)
    errors = []
    for i, proposals in enumerate(proposer.propose(predicates, labels[:12])):
        longest = max(proposals.guesses, key=len)
        columns = [{int(predicates.column[i, k]) for k in anchor} for anchor in proposals.shorter(longest)]
        whole = {int(predicates.column[i, k]) for k in longest}
        assert [len(left) for left in columns] == list(range(len(whole) - 1, 0, -1))
        assert all(smaller < larger for smaller, larger in zip(columns, [whole, *columns[:-1]], strict=True))
        assert columns[-1] <= {0, 1, 3}  # the columns that labels depend on
        for anchor, expected in proposals.shorter(longest).items():
            assert set(anchor) < set(longest)
            truth = interventional_precision(binned, labels, predicates, i, labels[i], anchor, rng)
            errors.append(expected - truth)
    assert np.abs(errors).mean() < 0.12


def test_conditions_are_predicates_and_complementary_pairs():
    """Bins 0 to 3 cut at 0, 1 and 2, the instance in bin 1; then a category, and padding."""
    predicates = Predicates(
        torch.tensor([[0, 0, 0, 1, -1]]), torch.tensor([[1, 0, 0, 2, 0]]), torch.tensor([[3, 1, 2, 2, 0]])
    )
    conditions = ColumnConditions.of(predicates)
    found = {
        (c, low, high): tuple(m[m >= 0])
        for c, low, high, m in zip(
            conditions.column[0], conditions.low[0], conditions.high[0], conditions.members[0], strict=True
        )
        if c >= 0
    }
    assert {key: set(ids) for key, ids in found.items()} == {
        (0, 1, 3): {0},
        (0, 0, 1): {1},
        (0, 0, 2): {2},
        (1, 2, 2): {3},
        (0, 1, 1): {0, 1},
        (0, 1, 2): {0, 2},
    }


def test_evaluating_conditions_stays_on_the_device():
    with FakeTensorMode():

        def zeros(*shape, dtype=torch.int64):
            return torch.zeros(shape, dtype=dtype, device="cuda")

        surrogate = Surrogate(zeros(20, 2, dtype=torch.float32), zeros(2, dtype=torch.float32), zeros(5))
        proposer = Proposer(
            surrogate, zeros(16, 5), zeros(16, 5, dtype=torch.float32), zeros(5, 64), zeros(5, 6, dtype=torch.float32)
        )
        changes, rows = proposer._evaluate(zeros(7), zeros(7), zeros(7))
    assert changes.device.type == rows.device.type == "cuda"
    assert (changes.shape, rows.shape) == ((2, 7, 16), (7, 64))


def test_columns_that_are_kept_have_the_instances_bins_in_what_is_expected(table, proposer):
    """The surrogate's own sums, with these bins in place of the rows' own."""
    rows, labels = table[0][:5], np.array([0, 1, 1, 0, 1])
    kept = (torch.tensor([1, 3]), rows[:, [1, 3]])
    surrogate = proposer.surrogate
    expected = []
    for row, label in zip(rows, labels, strict=True):
        changed = proposer.intervened.clone()
        changed[:, [1, 3]] = row[[1, 3]].to(changed.dtype)
        sums = surrogate.weight[changed.long() + surrogate.offset][:, :, label].sum(1) + surrogate.intercept[label]
        expected.append(float(sums.sigmoid().mean()))
    assert proposer.without_conditions(labels, kept) == pytest.approx(expected, abs=1e-5)
    free = proposer.propose(predicates_of(rows), labels)
    told = proposer.propose(predicates_of(rows).without([1, 3]), labels, kept=kept)
    for i, (own, usual) in enumerate(zip(told, free, strict=True)):
        assert own.guesses != usual.guesses
        columns = predicates_of(rows).column[i]
        assert not any(columns[p] in (1, 3) for anchor in own.guesses for p in anchor)
