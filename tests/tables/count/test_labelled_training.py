"""Counts and examples of labelled training rows against plain masks."""

import numpy as np
import pytest
import torch

from torch_anchors.tables import conditions as conditions_module
from torch_anchors.tables import row_index
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.training import TrainingRows

LABELS = (-1, 4, 9)


def labelled(device="cpu", n_rows=200, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, (n_rows, 4)).astype(float)
    labels = rng.choice(LABELS, n_rows)
    training = TrainingRows.fit(rows, [3] * 4, device=device)
    return rows, labels, LabelledTraining(training, torch.as_tensor(labels, device=device))


def anchors(n=20, seed=1):
    rng = np.random.default_rng(seed)
    column = np.sort(rng.permuted(np.tile(np.arange(4), (n, 1)), axis=1)[:, :3], axis=1)
    column = np.where(np.arange(3) < rng.integers(0, 4, (n, 1)), column, -1)
    code = rng.integers(0, 4, column.shape)  # code 3 is on no row
    return Conditions(column, code, code)


def masks(rows, conditions):
    for column, code in zip(conditions.column, conditions.low, strict=True):
        yield np.all(
            [rows[:, c] == v for c, v in zip(column, code, strict=True) if c >= 0] or [rows[:, 0] >= 0], axis=0
        )


@pytest.mark.parametrize("chunk_bytes", [1, 2**26])
@pytest.mark.parametrize("most_sets", [1, conditions_module.MAX_SETS])
def test_counts_are_those_of_plain_masks(most_sets, chunk_bytes, monkeypatch, device):
    """One anchor at a time or all, and with room for the conditions of few anchors only or of all."""
    for name in ("CHUNK_BYTES", "CACHED_BYTES"):
        monkeypatch.setattr(row_index, name, chunk_bytes)
    monkeypatch.setattr(conditions_module, "MAX_SETS", most_sets)
    rows, labels, table = labelled(device)
    conditions, wanted = anchors(), np.resize([*LABELS, 7], 20)  # 7 is no row's label
    found = table.count(conditions, table.class_of(wanted))
    expected = [(m.sum(), (m & (labels == w)).sum()) for m, w in zip(masks(rows, conditions), wanted, strict=True)]
    assert found.tolist() == [list(pair) for pair in expected]
    assert 0 in found[:, 0]


def test_examples_are_rows_of_the_anchor_and_know_their_labels(device):
    rows, labels, table = labelled(device)
    conditions, wanted = anchors(), np.resize([*LABELS, 7], 20)
    classes = table.class_of(wanted)
    found = table.examples(conditions, classes, table.count(conditions, classes), 5)
    for (examples, shown, hits), mask, label in zip(found, masks(rows, conditions), wanted, strict=True):
        n_hits, n_misses = (mask & (labels == label)).sum(), (mask & (labels != label)).sum()
        assert hits.tolist() == [True] * min(5, n_hits) + [False] * min(5, n_misses)
        assert ((shown == label) == hits).all()
        real = {(*row, lab) for row, lab in zip(rows[mask].tolist(), labels[mask].tolist(), strict=True)}
        assert {(*row, lab) for row, lab in zip(examples.tolist(), shown.tolist(), strict=True)} <= real


def test_no_examples_are_none():
    _, _, table = labelled()
    conditions, classes = anchors(), table.class_of(np.full(20, 4))
    assert all(
        len(rows) == 0 for rows, _, _ in table.examples(conditions, classes, table.count(conditions, classes), 0)
    )


def test_classes_number_the_labels_through():
    _, labels, table = labelled()
    assert table.n_classes == 4
    assert table.class_of(np.array([9, -1, 4, 5, 100, -8])).tolist() == [2, 0, 1, 3, 3, 3]
    assert table.classes.tolist() == table.class_of(labels).tolist()
    assert table.shares.tolist() == [*((labels == label).mean() for label in LABELS), 0]


def test_a_proposer_is_fitted_to_the_labels():
    rows, _, _ = labelled(n_rows=2000)
    training = TrainingRows.fit(rows, [3] * 4)
    table = LabelledTraining(training, torch.as_tensor(np.where(rows[:, 1] == 2, 9, -1)))
    predicates = training.discretizer.predicates(training.binned[rows[:, 1] == 2][:1])
    (proposals,) = table.proposer().propose(predicates, table.class_of(np.array([9])))
    assert proposals.guesses[(1,)] > 0.95
