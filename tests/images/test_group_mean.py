from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_anchors.images.group_mean import FixedPoint


def naive(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    means = np.full((*values.shape[:2], n_groups), np.nan)
    for b in range(len(values)):
        for g in range(n_groups):
            if (group[b] == g).any():
                means[b, :, g] = values[b][:, group[b] == g].astype(np.float64).mean(axis=1)
    return means


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 60), st.integers(1, 9), st.integers(-60, 60))
def test_means_equal_those_of_a_loop(seed, n_batch, n_rows, n_groups, magnitude):
    rng = np.random.default_rng(seed)
    values = np.ldexp(rng.normal(size=(n_batch, 2, n_rows)), magnitude).astype(np.float32)
    group = rng.integers(0, n_groups, (n_batch, n_rows))
    means = FixedPoint.of(torch.from_numpy(values)).mean_by(torch.from_numpy(group), n_groups)
    largest = np.abs(values).max()
    np.testing.assert_allclose(means.numpy(), naive(values, group, n_groups), rtol=2e-7, atol=float(largest) * 2e-9)


def test_means_of_whole_numbers_are_exact(device):
    values = torch.tensor([[[7.0, 7.0, 7.0, 255.0, 0.0]]], device=device)
    group = torch.tensor([[0, 0, 0, 2, 2]], device=device)
    means = FixedPoint.of(values).mean_by(group, 3).flatten()
    assert means[0] == 7
    assert means[1].isnan()
    assert means[2] == 127.5


def test_means_do_not_depend_on_the_order_of_the_rows(device):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 5000, generator=generator).to(device)
    group = torch.randint(0, 7, (2, 5000), generator=generator).to(device)
    order = torch.randperm(5000, generator=generator).to(device)
    means = FixedPoint.of(values).mean_by(group, 7)
    assert torch.equal(means, FixedPoint.of(values[:, :, order]).mean_by(group[:, order], 7))


def test_rows_of_weight_0_do_not_count(device):
    values = torch.tensor([[[1.0, 5.0, 3.0, 8.0]]], device=device)
    weights = torch.tensor([[1.0, 0.0, 1.0, 0.0]], device=device)
    means = FixedPoint.of(values, weights).mean_by(torch.tensor([[0, 0, 0, 1]], device=device), 2).flatten()
    assert means[0] == 2
    assert means[1].isnan()


@pytest.mark.parametrize("value", [0.0, 1e-37, 3e38])
def test_extreme_values_survive(value, device):
    values = torch.full((1, 1, 4), value, device=device)
    means = FixedPoint.of(values).mean_by(torch.zeros(1, 4, dtype=torch.int64, device=device), 1)
    assert means.item() == pytest.approx(value, rel=1e-6)
