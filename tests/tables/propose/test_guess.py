"""What is expected of anchors, by a surrogate and by counts: limits, order, and a table where both are needed."""

import numpy as np
import pytest
import torch

from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import SampleRequest
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.propose.guess import COUNT_VARIANCE, SURROGATE_VARIANCE, with_counts
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows


def log_odds(p):
    return np.log(np.asarray(p) / (1 - np.asarray(p)))


def test_without_rows_the_surrogate_is_nearly_believed():
    found = with_counts(np.array([0.97, 0.3]), np.array([[0, 0], [0, 0]]))
    assert found[0] == pytest.approx(0.96, abs=0.02)
    assert found[1] == pytest.approx(0.3, abs=0.03)


def test_with_many_rows_log_odds_are_a_mean_by_the_variances():
    found = with_counts(np.array([0.9]), np.array([[1_000_000, 990_000]]))
    share = SURROGATE_VARIANCE / (SURROGATE_VARIANCE + COUNT_VARIANCE)
    assert log_odds(found)[0] == pytest.approx((1 - share) * log_odds(0.9) + share * log_odds(0.99), abs=1e-3)


def test_more_hits_and_a_better_guess_are_expected_to_be_more_precise():
    by_hits = with_counts(np.full(5, 0.95), np.array([[40, hits] for hits in (0, 20, 35, 39, 40)]))
    by_guess = with_counts(np.array([0.0, 0.5, 0.9, 0.99, 1.0]), np.full((5, 2), 40))
    assert (np.diff(by_hits) > 0).all()
    assert (np.diff(by_guess) > 0).all()
    assert ((by_hits > 0) & (by_hits < 1)).all()


def test_counts_bring_guesses_closer_where_columns_act_together():
    """A surrogate that adds up columns does not foresee rules of three of them; the training rows show some of it."""
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.integers(0, [2, 5, 8], (4060, 3)), rng.standard_normal((4060, 4))])

    def labels(x):
        x = np.asarray(x)
        return (((x[:, 0] == 1) & (x[:, 3] > -0.3)) | ((x[:, 1] >= 3) & (x[:, 4] + x[:, 5] > 0.8))).astype(np.int64)

    training = LabelledTraining(
        TrainingRows.fit(rows[:4000], [2, 5, 8, *[None] * 4]), torch.as_tensor(labels(rows[:4000]))
    )
    own = labels(rows[4000:])
    sampler, proposer = RowSampler(training.training, rows[4000:]), training.proposer()
    proposed = proposer.propose(sampler.predicates, training.class_of(own))
    errors = []
    for i, one in enumerate(proposed):
        anchors, guesses = list(one.guesses), np.array(list(one.guesses.values()))
        instances = np.full(len(anchors), i)
        counts = training.count(sampler.conditions(instances, anchors), training.class_of(own[instances]))
        orders = [Order(SampleRequest(anchor, 400), np.random.default_rng(0), i) for anchor in anchors]
        truth = np.array([(labels(drawn) == own[i]).mean() for drawn in sampler.draw(orders)])
        expected = np.stack([guesses, with_counts(guesses, counts)])
        errors.append((log_odds(np.clip(expected, 0.002, 0.998)) - log_odds(np.clip(truth, 0.002, 0.998))) ** 2)
    alone, corrected = np.concatenate(errors, axis=1).mean(axis=1)
    assert corrected < 0.8 * alone
