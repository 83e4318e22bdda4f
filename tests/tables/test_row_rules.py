"""Rules of some rows, counted together on the training rows."""

from __future__ import annotations

import numpy as np
import torch

from torch_anchors.search.protocol import SearchResult, Status
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.covered import Covered
from torch_anchors.tables.row_rules import row_rules
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.schema import TableSchema
from torch_anchors.tables.training import TrainingRows

ROWS = np.random.default_rng(0).normal(size=(400, 2))
LABELS = torch.tensor(ROWS[:, 0] > 0).long()


def test_each_rule_is_that_of_its_row_with_the_counts_of_its_conditions() -> None:
    training = TrainingRows.fit(ROWS, [None, None], (50,))
    instances = np.array([[1.0, 1.0], [-1.0, 1.0]])
    sampler = RowSampler(training, instances)
    results = [SearchResult(a, 0.9, (0.8, 1.0), 0.5, Status.CERTIFIED, 9, 8) for a in ((0,), (0, 1), ())]
    covered = Covered(LabelledTraining(training, LABELS), sampler)
    found = row_rules(TableSchema.infer(ROWS, ["a", "b"]), sampler, covered, results, [0, 1, 1], np.array([1, 0, 0]))
    cut = training.discretizer.cuts[0][0]
    above = ROWS[:, 0] > cut
    assert [rule.rule.conditions[0].split()[1] for rule in found[:2]] == [">", "<="]
    assert found[0].path[-1].n == above.sum()
    assert found[0].path[-1].precision == (ROWS[above, 0] > 0).mean()
    assert [len(rule.path) for rule in found] == [2, 3, 1]
    assert found[2].rule.conditions == []
    anchor = found[1].as_anchor()
    assert (anchor.features, anchor.on_training) == ((0, 1), found[1].path[-1])


def test_on_new_rows_it_is_what_the_count_can_promise() -> None:
    training = TrainingRows.fit(ROWS, [None, None], (50,))
    sampler = RowSampler(training, np.array([[1.0, 1.0]]))
    covered = Covered(LabelledTraining(training, LABELS), sampler)
    result = SearchResult((0,), 0.99, (0.95, 1.0), 0.5, Status.CERTIFIED, 100, 99)
    schema = TableSchema.infer(ROWS, ["a", "b"])
    (rule,) = row_rules(schema, sampler, covered, [result], [0], np.array([1]))
    new = rule.on_new_rows(sampler.n_predicates, threshold=0.9999, delta=0.1)
    assert new.result.status is Status.COUNTED
    assert new.result.precision == rule.path[-1].precision
    assert rule.result.status is Status.CERTIFIED
    assert rule.on_new_rows(sampler.n_predicates, threshold=0.5, delta=0.1).result.status is Status.CERTIFIED
