"""Which columns labels depend on, on tables where it is known."""

import numpy as np
import pytest
import torch

from torch_anchors.tables.propose.relevance import MAX_CELLS, Relevance

N_BINS = 4


def table(n_columns, n_rows=5000, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).integers(N_BINS, size=(n_rows, n_columns)))


def relevance(binned, labels, n_bins=N_BINS):
    classes = torch.as_tensor(np.unique(np.asarray(labels), return_inverse=True)[1])
    return Relevance.of(binned, classes, [n_bins] * binned.shape[1], int(classes.max()) + 2)


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_matter_are_found_among_a_hundred_that_do_not(seed):
    binned = table(102, seed=seed)
    found = relevance(binned, binned[:, 5] + binned[:, 60] > 3)
    assert found.columns == (5, 60)


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_matter_only_together_are_found_and_are_one_group(seed):
    binned = table(30, seed=seed)
    found = relevance(binned, (binned[:, 3] >= 2) ^ (binned[:, 17] >= 2))
    assert found.columns == (3, 17)
    assert found.groups == ((3, 17),)


def test_of_three_labels_each_may_depend_on_other_columns():
    binned = table(40)
    labels = torch.where(binned[:, 8] == 0, 0, torch.where((binned[:, 20] > 1) ^ (binned[:, 30] > 1), 1, 2))
    found = relevance(binned, labels)
    assert found.columns == (8, 20, 30)
    assert (20, 30) in found.groups


def test_columns_whose_effects_add_up_are_groups_by_themselves():
    binned = table(12)
    noise = np.random.default_rng(1).logistic(size=len(binned))
    labels = binned[:, 0].numpy() - 1.5 + 0.8 * (binned[:, 1].numpy() - 1.5) + noise > 0
    assert relevance(binned, labels).groups == ((0,), (1,))


def test_no_group_has_more_cells_than_it_may():
    binned = table(6, n_rows=20_000)
    labels = (binned[:, :4] >= 2).sum(1) % 2  # parity of four: no pair shows, nor any column
    assert relevance(binned, labels).columns == tuple(range(6))
    among_pairs = ((binned[:, 0] > 1) ^ (binned[:, 1] > 1)) | ((binned[:, 1] > 1) ^ (binned[:, 2] > 1))
    among_pairs = among_pairs & ((binned[:, 2] > 1) ^ (binned[:, 3] > 1))
    groups = relevance(binned, among_pairs).groups
    assert all((N_BINS + 1) ** len(columns) <= MAX_CELLS for columns in groups)
    assert sorted(column for columns in groups for column in columns) == [0, 1, 2, 3]


@pytest.mark.parametrize("labels", ["random", "all the same"])
def test_where_nothing_shows_no_column_is_left_out(labels):
    binned = table(20)
    drawn = np.random.default_rng(2).integers(2, size=len(binned)) if labels == "random" else np.zeros(len(binned))
    found = relevance(binned, drawn)
    assert found.columns == tuple(range(20))
    assert found.groups == tuple((column,) for column in range(20))


def test_of_many_tables_without_an_effect_few_show_one():
    """The chance of one is `SIGNIFICANCE` for columns and for pairs, so that of 200 tables about 4 do."""
    shown = 0
    for seed in range(200):
        binned = table(8, n_rows=600, seed=seed)
        labels = np.random.default_rng(1000 + seed).integers(2, size=600)
        shown += relevance(binned, labels).columns != tuple(range(8))
    assert shown <= 12


def test_rows_in_any_order_of_labels_show_the_same():
    binned = table(300, n_rows=6000)  # so many bins that pairs are looked for on some of the rows
    labels = (binned[:, 3] >= 2) ^ (binned[:, 17] >= 2)
    order = labels.long().argsort(stable=True)
    assert relevance(binned[order], labels[order]).columns == (3, 17)


def test_bins_that_no_row_has_are_no_evidence():
    binned = table(6) % 2
    found = relevance(binned, binned[:, 2], n_bins=30)
    assert found.columns == (2,)
    assert found.groups == ((2,),)
