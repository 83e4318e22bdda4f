"""Groups of columns and the conditions on them, against loops."""

from itertools import product

import numpy as np
import pytest
import torch

from torch_anchors.tables.discretizer import Predicates
from torch_anchors.tables.propose.groups import ColumnGroups, GroupConditions

SIZES = (3, 2, 6, 4, 5)


def rows(n=50):
    rng = np.random.default_rng(0)
    return torch.as_tensor(np.stack([rng.integers(size, size=n) for size in SIZES], axis=1))


@pytest.mark.parametrize("columns", [((0, 3, 4), (1,), (2,)), ((2, 4),), ((1,), (0,))])
def test_cells_are_numbered_by_the_bins_of_their_columns(columns):
    groups, binned = ColumnGroups(columns, SIZES), rows()
    cells = groups.cells(binned)
    for g, own in enumerate(columns):
        every = list(product(*(range(SIZES[column]) for column in own)))
        assert groups.n_cells[g] == len(every)
        assert [every.index(tuple(line)) for line in binned[:, list(own)].tolist()] == cells[:, g].tolist()
        assert groups.bins[g, : len(every), : len(own)].tolist() == [list(bins) for bins in every]
        assert (groups.bins[g, len(every) :] == -1).all()
        assert (groups.bins[g, : len(every), len(own) :] == 0).all()
        assert (groups.bins[g, : len(every)] @ groups.strides[g]).tolist() == list(range(len(every)))
        assert all(groups.places[column] == (g, k) for k, column in enumerate(own))


def test_conditions_are_predicates_and_complementary_pairs():
    """Bins 0 to 3 cut at 0, 1 and 2, the instance in bin 1; then a category, and padding."""
    predicates = Predicates(
        torch.tensor([[0, 0, 0, 1, -1]]), torch.tensor([[1, 0, 0, 2, 0]]), torch.tensor([[3, 1, 2, 2, 0]])
    )
    conditions = GroupConditions.of(ColumnGroups(((0,), (1,)), (5, 4)), predicates)
    found = {
        (int(g), int(low), int(high)): {int(k) for k in members if k >= 0}
        for g, low, high, members in zip(
            conditions.group[0], conditions.low[0, :, 0], conditions.high[0, :, 0], conditions.members[0], strict=True
        )
    }
    assert found == {
        (0, 1, 3): {0},
        (0, 0, 1): {1},
        (0, 0, 2): {2},
        (1, 2, 2): {3},
        (0, 1, 1): {0, 1},
        (0, 1, 2): {0, 2},
    }
    assert conditions.n_members.tolist() == [[len(members) for members in found.values()]]


def test_of_a_group_every_combination_but_none_at_all_is_a_condition():
    """Two instances: a bound and its complement, or one bound only, on column 0, and a category on column 1."""
    predicates = Predicates(
        torch.tensor([[0, 0, 1], [0, -1, 1]]),
        torch.tensor([[1, 0, 2], [2, 0, 0]]),
        torch.tensor([[2, 1, 2], [2, 0, 0]]),
    )
    conditions = GroupConditions.of(ColumnGroups(((0, 1),), (4, 4)), predicates)
    members = [
        {frozenset(k for k in ids if k >= 0) for g, ids in zip(group, lines, strict=True) if g == 0}
        for group, lines in zip(conditions.group.tolist(), conditions.members.tolist(), strict=True)
    ]
    on_the_first = [set(), {0}, {1}, {0, 1}]
    assert members[0] == {frozenset(a | b) for a in on_the_first for b in (set(), {2})} - {frozenset()}
    assert members[1] == {frozenset({0}), frozenset({2}), frozenset({0, 2})}
    assert (conditions.group[1, 3:] == -1).all()
    both = next(k for k in range(7) if set(conditions.members[0, k]) >= {0, 1, 2})
    assert (conditions.low[0, both].tolist(), conditions.high[0, both].tolist()) == ([1, 2], [1, 2])
    assert conditions.named[0].sum(axis=1).tolist() == [
        sum(any(k in ids for k in own) for own in ((0, 1), (2,))) for ids in conditions.members[0].tolist()
    ]


def test_columns_that_are_kept_stay_in_the_instances_bin():
    predicates = Predicates(torch.tensor([[-1, 1]]), torch.tensor([[0, 2]]), torch.tensor([[0, 2]]))
    kept = ((0,), np.array([[3]]))
    conditions = GroupConditions.of(ColumnGroups(((0, 1),), (5, 4)), predicates, kept)
    assert conditions.low.tolist() == conditions.high.tolist() == [[[3, 2]]]
    assert conditions.named.tolist() == [[[False, True]]]


def test_columns_in_no_group_have_no_conditions():
    predicates = Predicates(torch.tensor([[0, 1, 2]]), torch.zeros(1, 3).long(), torch.zeros(1, 3).long())
    conditions = GroupConditions.of(ColumnGroups(((1,),), (2, 2, 2)), predicates)
    assert conditions.members[0].tolist() == [[1, -1]]
    none = GroupConditions.of(ColumnGroups((), (2, 2, 2)), predicates)
    assert none.group.shape == (1, 0)
    assert len(none[0:1].members) == 1
