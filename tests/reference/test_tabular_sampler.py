"""The sampler step by step: the methods of the reference, on the batched draw."""

import numpy as np
import pytest
import torch

from torch_anchors.errors import AnchorsWarning, ArgumentError, NotFittedError, PredictorReturnTypeError
from torch_anchors.perturb.protocol import Order
from torch_anchors.reference.tabular_sampler import TabularSampler
from torch_anchors.search.protocol import SampleRequest
from torch_anchors.tables.discretizer import Discretizer
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

RNG = np.random.default_rng(0)
ROWS = np.column_stack([np.arange(100.0), RNG.integers(0, 3, 100), RNG.normal(size=100)])
X = np.array([30.0, 1.0, 0.0])


def label(rows):
    return (rows[:, 0] < 50).astype(int)


def sampler(**options):
    made = TabularSampler(label, (25, 50, 75), [0, 2], [1], ["age", "job", "pay"], {1: ["a", "b", "c"]}, **options)
    return made.deferred_init(ROWS)


@pytest.fixture
def ready():
    made = sampler(seed=0)
    made.build_lookups(X)
    return made


def test_lookups_number_cut_points_and_categories_from_left_to_right():
    categories, bins, columns = sampler().build_lookups(X)
    # age 30 is above the first of the cut points 24.75, 49.5 and 74.25
    assert columns == {0: 0, 1: 0, 2: 0, 3: 1, 4: 2, 5: 2, 6: 2}
    assert categories == {3: 1.0}
    assert (bins[0], bins[1], bins[2]) == ({1, 2, 3}, {0, 1}, {0, 1, 2})
    assert set(bins) == {0, 1, 2, 4, 5, 6}


def test_perturbation_gives_rows_bins_and_coverage(ready):
    samples, d_samples, coverage = ready.perturbation((1, 3), 50)
    holds = (ROWS[:, 0] <= 49.5) & (ROWS[:, 1] == 1)
    assert coverage == holds.mean()
    assert ((samples[:, 0] <= 49.5) & (samples[:, 1] == 1)).all()
    discretizer = Discretizer.fit(ROWS, [None, 3, None])
    assert np.array_equal(d_samples, discretizer.bin(torch.as_tensor(samples)).numpy())


def test_it_draws_what_the_explainer_draws():
    made = sampler(seed=3)
    made.build_lookups(X)
    samples, _, _ = made.perturbation((0, 3), 20)
    batched = RowSampler(TrainingRows.fit(ROWS, [None, 3, None]), X[None])
    (expected,) = batched.draw([Order(SampleRequest((0, 3), 20), np.random.default_rng(3), 0)])
    assert np.array_equal(samples, expected.numpy())


def test_a_call_sorts_rows_into_hits_and_misses(ready):
    ready.set_n_covered(4)
    hits, misses, labels, binary, coverage, position = ready((7, (3,)), 60)
    assert position == 7
    assert coverage == (ROWS[:, 1] == 1).mean()
    assert labels.shape == (60,)
    assert 0 < labels.sum() < 60
    assert len(hits) == len(misses) == 4
    assert (hits[:, 0] < 50).all()
    assert (misses[:, 0] >= 50).all()
    assert binary.shape == (60, 7)
    assert binary[:, 3].all()  # the anchor's own condition
    assert np.array_equal(binary[:, 1], labels)  # age <= 49.5 is what decides the label


def test_a_call_without_labels_asks_for_none():
    made = TabularSampler(lambda rows: 1 / 0, (50,), [0, 1, 2], [], ["a", "b", "c"], {}, seed=0).deferred_init(ROWS)
    made.build_lookups(X)
    (binary,) = made((0, ()), 8, compute_labels=False)
    assert binary.shape == (8, 3)


def test_features_index_lists_bins_and_rows_of_each_column_alone(ready):
    bins, rows, unknown = ready.get_features_index((0, 1, 3))
    assert bins == {0: {1}}  # between the first and the second cut point
    assert sorted(rows[0]) == list(range(25, 50))
    assert sorted(rows[1]) == np.flatnonzero(ROWS[:, 1] == 1).tolist()
    assert unknown == []


def test_features_index_tells_what_no_row_has():
    few = TabularSampler(label, (25, 50, 75), [0], [1], ["age", "job"], {1: ["a", "b"]}, seed=0)
    few.deferred_init(np.array([[0.0, 0.0], [10.0, 0.0]]))
    few.build_lookups(np.array([4.0, 1.0]))
    with pytest.warns(AnchorsWarning, match="No training row"):
        samples, _, coverage = few.perturbation((0, 1), 5)
    assert coverage == 0
    assert ((samples[:, 0] > 2.5) & (samples[:, 0] <= 5)).all()

    bins, rows, unknown = few.get_features_index((0, 1))
    assert {c: len(r) for c, r in rows.items()} == {0: 0}
    assert unknown == [(0, "o", {1})]

    samples = np.full((200, 2), -1.0)
    few.handle_unk_features(bins, 200, samples, [*unknown, (1, "c", 9.0)])
    assert ((samples[:, 0] > 2.5) & (samples[:, 0] <= 5)).all()
    assert len(np.unique(samples[:, 0])) > 100
    assert (samples[:, 1] == 9).all()


def test_features_are_replaced_by_the_longest_partial_anchor_and_then_one_by_one(ready):
    samples = np.full((300, 3), -7.0)
    one, two = np.array([3, 4, 5]), np.array([], dtype=int)
    ready.replace_features(samples, {1: {10, 11}, 2: [20]}, [0, 1, 2], [one, two, two], [3, 0, 0], 300)
    assert set(samples[:, 0]) == {3, 4, 5}
    assert set(samples[:, 1]) == set(ROWS[[10, 11], 1])
    assert set(samples[:, 2]) == {ROWS[20, 2]}
    together = np.full((300, 3), -7.0)
    ready.replace_features(together, {}, [0, 2], [one, one], [3, 3], 300)
    assert {tuple(row) for row in together} == {(ROWS[i, 0], -7.0, ROWS[i, 2]) for i in one}


def test_a_column_without_allowed_rows_is_left_as_it_is(ready):
    samples = np.full((5, 3), -7.0)
    ready.replace_features(samples, {0: []}, [0], [[]], [0], 5)
    assert (samples == -7).all()


def test_labels_are_compared_with_the_instances(ready):
    rows = np.array([[10.0, 0, 0], [90.0, 0, 0]])
    assert ready.compare_labels(rows).tolist() == [1, 0]
    ready.set_instance_label(np.array([80.0, 0, 0]))
    assert ready.instance_label == 0
    assert ready.compare_labels(rows).tolist() == [0, 1]


def test_equal_seeds_draw_equal_rows():
    def drawn(seed):
        made = sampler(seed=seed)
        made.build_lookups(X)
        return made.perturbation((1,), 10)[0]

    assert np.array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


def test_bins_given_beside_the_rows_are_checked():
    made = TabularSampler(label, (25, 50, 75), [0, 1, 2], [], ["a", "b", "c"], {})
    bins = Discretizer.fit(ROWS, [None] * 3).bin(torch.as_tensor(ROWS)).numpy()
    assert made.deferred_init(ROWS, bins) is made
    with pytest.raises(ArgumentError, match="d_train_data must be the bins that disc_perc gives"):
        made.deferred_init(ROWS, bins + 1)


def test_errors_say_what_to_do():
    with pytest.raises(ArgumentError, match="must name each of the 2 columns"):
        TabularSampler(label, (50,), [0], [0], ["a", "b"], {0: ["x"]})
    with pytest.raises(ArgumentError, match=r"feature_values must have the categories of the columns \[1\]"):
        TabularSampler(label, (50,), [0], [1], ["a", "b"], {})
    bare = TabularSampler(label, (50,), [0], [], ["a"], {})
    with pytest.raises(NotFittedError, match="deferred_init"):
        bare.build_lookups(X[:1])
    with pytest.raises(NotFittedError, match="build_lookups"):
        sampler().perturbation((), 1)
    with pytest.raises(ArgumentError, match=r"X must have the 3 columns of feature_names, got shape \(1, 2\)"):
        sampler().build_lookups(X[:2])
    with pytest.raises(ArgumentError, match="X must be one row, got 100"):
        sampler().build_lookups(ROWS)
    made = sampler()
    made.build_lookups(X)
    with pytest.raises(ArgumentError, match=r"encoded features 0 to 6, got \(9,\)"):
        made.perturbation((9,), 1)
    with pytest.raises(ArgumentError, match="n_covered must be a whole number of at least 0"):
        made.set_n_covered(-1)
    made.set_instance_label(X)
    made.predictor = lambda rows: rows[:1]
    with pytest.raises(PredictorReturnTypeError, match=r"expected 2 rows, got shape \(1, 3\)"):
        made.compare_labels(ROWS[:2])
