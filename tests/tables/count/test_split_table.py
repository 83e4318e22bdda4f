"""A labelled table in two parts, against plain masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.count.split_table import SELECTION_SHARE, SplitTable
from torch_anchors.tables.training import TrainingRows

N = 250
RNG = np.random.default_rng(0)
ROWS = np.column_stack([RNG.integers(0, 3, (N, 4)), RNG.normal(size=N).round(1)]).astype(float)
LABELS = RNG.choice([-1, 4, 9], N)


def split_of(
    rows: NDArray[np.float64] = ROWS, device: torch.device | str = "cpu", seed: int = 0, **options: float
) -> SplitTable:
    training = TrainingRows.fit(rows, [3] * 4 + [None], device=device)
    table = LabelledTraining(training, torch.as_tensor(LABELS[: len(rows)], device=device))
    return SplitTable(table, np.random.default_rng(seed), **options)


def parts(n: int = N, seed: int = 0, share: float = SELECTION_SHARE) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the rows for selection, and of those for the test."""
    order = np.random.default_rng(seed).permutation(n)
    n_selected = max(round(share * n), 1)
    return order[:n_selected], order[n_selected:]


@pytest.mark.parametrize("share", [SELECTION_SHARE, 0.1, 1.0])
def test_every_row_is_for_selection_or_for_the_test(share: float, device: torch.device) -> None:
    split = split_of(device=device, share=share)
    selection, test = parts(share=share)
    assert split.n_rows == N
    assert split.selection.n_rows == len(selection)
    assert split.test_ratio == len(test) / len(selection)
    assert split.selection.n_by_label == (*((LABELS[selection] == label).sum() for label in (-1, 4, 9)), 0)
    assert sorted(split.selection.by_column[0].tolist()) == sorted(ROWS[selection, 0].tolist())
    nothing = Conditions(*(np.zeros((1, 0), dtype=np.int64) for _ in range(3)))
    assert split.count(nothing, np.array([1])).tolist() == [[N, len(test), (LABELS[test] == 4).sum()]]


def test_the_parts_are_those_of_the_random_stream_whatever_the_labels() -> None:
    one, same, other = (split_of(seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.selection.by_column, same.selection.by_column)
    assert one.selection.n_by_label != other.selection.n_by_label


def test_counts_are_those_of_plain_masks(device: torch.device) -> None:
    split, (_, test) = split_of(device=device), parts()
    column = np.array([[0, 1], [2, -1], [3, 4], [-1, -1], [0, 3]])
    low = np.array([[0, 2], [1, 0], [1, 0], [0, 0], [3, 1]])  # code 3 is on no row
    high = np.array([[0, 2], [2, 0], [1, 1], [0, 0], [3, 1]])
    classes = np.array([0, 1, 2, 0, 1])
    binned = split_of()._index.binned.numpy()
    expected = []
    for columns, lows, highs, own in zip(column, low, high, classes, strict=True):
        holds = np.ones(N, dtype=bool)
        for c, a, b in zip(columns, lows, highs, strict=True):
            holds &= (c < 0) | ((binned[:, c] >= a) & (binned[:, c] <= b))
        is_test = np.isin(np.arange(N), test)
        hits = [-1, 4, 9][own] == LABELS
        expected.append([holds.sum(), (holds & is_test).sum(), (holds & is_test & hits).sum()])
    assert split.count(Conditions(column, low, high), classes).tolist() == expected
    assert expected[-1] == [0, 0, 0]
    assert split.count(Conditions(column[:0], low[:0], high[:0]), classes[:0]).shape == (0, 3)


def test_a_twin_is_a_test_row_that_is_equal(device: torch.device) -> None:
    split, (selection, test) = split_of(device=device), parts()
    assert len({tuple(row) for row in ROWS.tolist()}) < N or len(test) < N
    of_test = {tuple(row): {int(LABELS[i]) for i in test if (ROWS[i] == row).all()} for row in ROWS[test].tolist()}
    for instances in (ROWS, ROWS[selection], ROWS[::-1].copy()):
        for row, twin in zip(instances.tolist(), split.twins(instances).tolist(), strict=True):
            known = of_test.get(tuple(row), set())
            assert (twin >= 0) == bool(known)
            assert twin < 0 or [-1, 4, 9][twin] in known
    assert set(split.twins(ROWS[test]).tolist()) == {0, 1, 2}
    assert (split.twins(ROWS + 1e-6) == -1).all()


def test_minus_zero_is_zero_and_a_row_is_the_same_in_any_company() -> None:
    split, (_, test) = split_of(), parts()
    zero = next(i for i in test.tolist() if (ROWS[i] == 0).any())
    row = np.where(ROWS[zero] == 0, -0.0, ROWS[zero])[None]
    assert split.twins(row)[0] >= 0
    assert split.twins(np.vstack([ROWS[:9], row]))[-1] == split.twins(row)[0]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tables_of_few_rows(n: int) -> None:
    split = split_of(ROWS[:n])
    assert split.selection.n_rows == max(round(SELECTION_SHARE * n), 1)
    twins = split.twins(ROWS[:n])
    assert (twins >= 0).sum() >= n - split.selection.n_rows
    assert n > 1 or (split.test_ratio == 0 and twins.tolist() == [-1])
