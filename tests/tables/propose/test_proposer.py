"""What is proposed, against a loop over all anchors and a plain simulation of interventional rows."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.tables.discretizer import Predicates
from torch_anchors.tables.propose.groups import ColumnGroups
from torch_anchors.tables.propose.proposer import Proposer
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
    return Proposer.fit(*table, N_BINS, 2)


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


def test_the_longest_anchors_are_about_every_group(table, proposer):
    binned, labels = table
    predicates = predicates_of(binned[:20])
    assert sorted(c for columns in proposer.groups.columns for c in columns) == list(range(len(N_BINS)))
    for proposals in proposer.propose(predicates, labels[:20].numpy()):
        named = [{int(predicates.column[0, k]) for k in anchor} for anchor in proposals.guesses]
        assert any(all(own.intersection(columns) for columns in proposer.groups.columns) for own in named)


def test_columns_without_an_effect_are_named_only_where_all_are(table):
    """Only what is grown by precision alone goes on to them, and at the end; of a wide table no anchor has them."""
    binned, labels = table
    narrow = Proposer.fit(binned, labels, N_BINS, 2)
    noise = torch.as_tensor(np.random.default_rng(5).integers(3, size=(len(binned), 20)))
    wide = Proposer.fit(torch.cat([binned, noise], dim=1), labels, [*N_BINS, *[3] * 20], 2)
    assert {wide.groups.columns[g] for g in wide.idle} == set()
    assert {c for columns in wide.groups.columns for c in columns} <= set(range(len(N_BINS)))
    quiet = Proposer.fit(torch.cat([binned[:, [1, 3]], noise[:, :4]], dim=1), labels, [4, 4, 3, 3, 3, 3], 2)
    assert [quiet.groups.columns[g] for g in sorted(quiet.idle)] == [(2,), (3,), (4,), (5,)]
    predicates = Predicates(*torch.tensor([[(0, 2, 3), (1, 0, 1), *((c, 1, 1) for c in range(2, 6))]]).unbind(-1))
    (proposals,) = quiet.propose(predicates, np.array([1]))
    assert all({0, 1} <= set(anchor) or not {2, 3, 4, 5}.intersection(anchor) for anchor in proposals.guesses)
    assert max(map(len, proposals.guesses)) == 6
    assert narrow.propose(predicates_of(binned[:3]), labels[:3].numpy())[0].guesses


def test_a_xor_is_foreseen():
    rng = np.random.default_rng(0)
    binned = torch.as_tensor(rng.integers(4, size=(4000, 30)))
    labels = ((binned[:, 3] >= 2) ^ (binned[:, 17] >= 2)).long()
    proposer = Proposer.fit(binned, labels, [4] * 30, 3)
    lines = [[(c, 2, 3) if row[c] >= 2 else (c, 0, 1) for c in range(30)] for row in binned[:20].tolist()]
    for proposals in proposer.propose(Predicates(*torch.tensor(lines).unbind(-1)), labels[:20].numpy()):
        assert proposals.guesses[(3, 17)] > 0.95
        assert all(anchor == (3, 17) or guess < 0.7 for anchor, guess in proposals.guesses.items())


def test_what_is_demanded_of_one_column_of_a_group_leaves_the_others_as_they_are_in_the_row():
    """Of two columns that mostly agree in training, to fix one says nothing of the other."""
    rng = np.random.default_rng(0)
    first, others = rng.integers(2, size=(4000, 1)), rng.integers(2, size=(4000, 20))
    second = np.where(rng.random((4000, 1)) < 0.2, 1 - first, first)
    binned = torch.as_tensor(np.concatenate([first, second, others], axis=1))
    proposer = Proposer.fit(binned, binned[:, 0] ^ binned[:, 1], [2] * 22, 3)
    assert proposer.groups.columns == ((0, 1),)
    predicates = Predicates(*torch.tensor([[(c, 1, 1) for c in range(22)]]).unbind(-1))
    (proposals,) = proposer.propose(predicates, np.array([0]))
    assert proposals.guesses[(0, 1)] > 0.95
    for anchor in {(0,), (1,)}.intersection(proposals.guesses):
        assert proposals.guesses[anchor] == pytest.approx(0.5, abs=0.1)
    assert proposer.without_conditions(np.array([0]), ((), np.zeros((1, 0), dtype=np.int64))) == pytest.approx(
        [0.8], abs=0.1
    )


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
        groups = [{proposer.groups.places[column][0] for column in left} for left in (whole, *columns)]
        assert [len(left) for left in groups] == list(range(len(groups[0]), 0, -1))
        assert all(smaller < larger for smaller, larger in zip(columns, [whole, *columns[:-1]], strict=True))
        assert columns[-1] <= {0, 1, 3}  # the columns that labels depend on
        for anchor, expected in proposals.shorter(longest).items():
            assert set(anchor) < set(longest)
            truth = interventional_precision(binned, labels, predicates, i, labels[i], anchor, rng)
            errors.append(expected - truth)
    assert np.abs(errors).mean() < 0.12


def test_evaluating_conditions_stays_on_the_device():
    with FakeTensorMode():

        def zeros(*shape, dtype=torch.int64):
            return torch.zeros(shape, dtype=dtype, device="cuda")

        surrogate = Surrogate(zeros(20, 2, dtype=torch.float32), zeros(2, dtype=torch.float32), zeros(3))
        proposer = Proposer(
            ColumnGroups(((0, 1), (2,), (4,)), (3, 2, 6, 9, 6)),
            surrogate,
            intervened=zeros(3, 16, 2),
            quantile=zeros(3, 16, dtype=torch.float32),
            covered=zeros(3, 64),
            counts=zeros(3, 6, dtype=torch.float32),
            bins=zeros(3, 6, 2),
            strides=zeros(3, 2),
        )
        changes, rows = proposer._evaluate(zeros(7), zeros(7, 2), zeros(7, 2), zeros(7, 2, dtype=torch.bool))
    assert changes.device.type == rows.device.type == "cuda"
    assert (changes.shape, rows.shape) == ((2, 7, 16), (7, 64))


def test_columns_that_are_kept_have_the_instances_bins_in_what_is_expected(table, proposer):
    """The surrogate's own sums, with these bins in place of the rows' own."""
    rows, labels = table[0][:5], np.array([0, 1, 1, 0, 1])
    kept = ((1, 3), rows[:, [1, 3]].numpy())
    surrogate, groups = proposer.surrogate, proposer.groups
    expected = []
    for row, label in zip(rows, labels, strict=True):
        changed = torch.zeros(proposer.intervened.shape[1], len(N_BINS), dtype=torch.int64)
        for g, columns in enumerate(groups.columns):
            changed[:, list(columns)] = proposer.intervened[g, :, : len(columns)]
        changed[:, [1, 3]] = row[[1, 3]].to(changed.dtype)
        expected.append(float(surrogate.sums(groups.cells(changed))[:, label].sigmoid().mean()))
    assert proposer.without_conditions(labels, kept) == pytest.approx(expected, abs=1e-5)
    free = proposer.propose(predicates_of(rows), labels)
    told = proposer.propose(predicates_of(rows).without([1, 3]), labels, kept=kept)
    for i, (own, usual) in enumerate(zip(told, free, strict=True)):
        assert own.guesses != usual.guesses
        columns = predicates_of(rows).column[i]
        assert not any(columns[p] in (1, 3) for anchor in own.guesses for p in anchor)
