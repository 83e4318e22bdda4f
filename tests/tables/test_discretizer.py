import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from torch_anchors.errors import ArgumentError
from torch_anchors.tables.discretizer import Discretizer

NUMBERS = arrays(np.float64, (30, 2), elements=st.integers(-4, 4).map(float) | st.floats(-1e6, 1e6))


def test_cut_points_are_the_percentiles():
    rows = np.arange(101.0)[:, None]
    assert Discretizer.fit(rows, [None], (25, 50, 75)).cuts[0].tolist() == [25, 50, 75]
    assert Discretizer.fit(rows, [None], ()).n_bins.tolist() == [1]


def test_percentiles_that_coincide_are_merged_and_one_at_the_largest_value_is_dropped():
    rows = np.array([[0.0]] * 6 + [[1.0]] * 2 + [[5.0]] * 8)
    assert Discretizer.fit(rows, [None], (10, 20, 45, 75, 90)).cuts[0].tolist() == [0, 1]


@pytest.mark.parametrize("percentiles", [(25, 101), (-1,)])
def test_percentiles_outside_0_to_100_are_refused(percentiles):
    with pytest.raises(ArgumentError, match=r"disc_perc must be percentiles in \[0, 100\]"):
        Discretizer.fit(np.zeros((3, 1)), [None], percentiles)


def test_no_rows_are_refused():
    with pytest.raises(ArgumentError, match="train_data must have at least one row"):
        Discretizer.fit(np.zeros((0, 1)), [None])


@settings(deadline=None)
@given(NUMBERS)
def test_a_bin_is_open_below_and_closed_above(rows):
    discretizer = Discretizer.fit(rows, [None, None], (25, 50, 75))
    binned = discretizer.bin(torch.as_tensor(rows)).numpy()
    for column, cuts in enumerate(discretizer.cuts):
        edges = [-np.inf, *cuts, np.inf]
        for value, code in zip(rows[:, column], binned[:, column], strict=True):
            assert edges[code] < value <= edges[code + 1]


def test_a_category_is_its_own_bin_and_any_other_value_is_the_unknown_bin():
    discretizer = Discretizer.fit(np.array([[0.0], [2.0]]), [3])
    values = torch.tensor([[0.0], [1.0], [2.0], [3.0], [-1.0], [0.5], [1e9]], dtype=torch.float64)
    assert discretizer.bin(values)[:, 0].tolist() == [0, 1, 2, 3, 3, 3, 3]


def test_many_categories_take_wider_codes():
    rows = np.arange(40_000.0)[:, None]
    assert Discretizer.fit(rows, [40_000]).bin(torch.as_tensor(rows)).dtype == torch.int32
    assert Discretizer.fit(rows[:5], [5]).bin(torch.as_tensor(rows[:5])).dtype == torch.int16


@settings(deadline=None)
@given(NUMBERS, st.integers(0, 29))
def test_predicates_hold_on_the_instance_and_separate_at_each_cut_point(rows, i):
    rows = np.column_stack([rows, np.arange(30) % 3, np.full(30, 7.0)])
    discretizer = Discretizer.fit(rows, [None, None, 3, None])
    binned = discretizer.bin(torch.as_tensor(rows))
    predicates = discretizer.predicates(binned[i : i + 1])
    expected = []
    for column in (0, 1):
        for cut, value in enumerate(discretizer.cuts[column]):
            below = rows[i, column] <= value
            expected.append((column, *((0, cut) if below else (cut + 1, len(discretizer.cuts[column])))))
    expected.append((2, i % 3, i % 3))  # the constant column 3 gives none
    found = torch.stack([predicates.column, predicates.low, predicates.high])[:, 0].T.tolist()
    assert [tuple(p) for p in found] == expected
    assert all(low <= binned[i, column] <= high for column, low, high in found)


def test_many_instances_have_the_predicates_that_each_has_alone():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(size=50), rng.integers(0, 4, 50)])
    discretizer = Discretizer.fit(rows, [None, 4])
    binned = discretizer.bin(torch.as_tensor(rows))
    together = discretizer.predicates(binned)
    for i in range(50):
        alone = discretizer.predicates(binned[i : i + 1])
        assert together.low[i].tolist() == alone.low[0].tolist()
        assert together.high[i].tolist() == alone.high[0].tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_ranges_lie_inside_their_bins(dtype):
    rows = np.array([[0.0], [1.0], [2.0], [10.0]])
    discretizer = Discretizer.fit(rows, [None], (25, 50, 75))
    n = len(discretizer.cuts[0])
    intervals = [(low, high) for low in range(n + 1) for high in range(low, n + 1)]
    low, high = np.array(intervals).T
    own = np.full(len(intervals), 12.0)
    ranges = discretizer.value_ranges(np.zeros(len(intervals), dtype=int), low, high, own, dtype)
    assert ranges.dtype == dtype
    for least, greatest, low_bin, high_bin in zip(*ranges.tolist(), low, high, strict=True):
        assert least <= greatest
        codes = discretizer.bin(torch.tensor([[least], [greatest]], dtype=dtype))[:, 0].tolist()
        assert low_bin == codes[0]
        assert codes[1] == high_bin
    assert ranges[1].max() == 12  # an instance beyond the training rows widens the last bin
    assert ranges[0].min() == 0


def test_value_range_of_a_category_is_the_instances_value():
    discretizer = Discretizer.fit(np.array([[0.0], [1.0]]), [2])
    two = np.array([2])
    ranges = discretizer.value_ranges(np.array([0]), two, two, np.array([17.0]))
    assert ranges.tolist() == [[17.0], [17.0]]
