"""The network of the command for tables: what is missing is a value that it can learn from."""

from __future__ import annotations

import numpy as np
import torch

from torch_anchors.models.table_net import train_table_net, train_value_net

RNG = np.random.default_rng(0)
ROWS = torch.tensor(np.column_stack([RNG.normal(5, 2, 600), RNG.integers(0, 3, 600), RNG.normal(size=600)])).float()
GAPS = ROWS.clone()
GAPS[torch.tensor(RNG.random(600) < 0.4), 0] = torch.nan
GAPS[torch.tensor(RNG.random(600) < 0.4), 1] = torch.nan


def test_it_learns_what_missing_values_mean() -> None:
    targets = (GAPS[:, 0].isnan() & GAPS[:, 1].isnan()).long()
    net = train_table_net((None, 3, None), GAPS, targets, n_classes=2, epochs=30)
    assert net.gaps.tolist() == [0]
    assert torch.allclose(net.mean[0], GAPS[:, 0].nanmean())
    assert torch.allclose(net.std[0], GAPS[~GAPS[:, 0].isnan(), 0].std())
    with torch.no_grad():
        logits = net(GAPS)
    assert logits.isfinite().all()
    assert (logits.argmax(1) == targets).float().mean() > 0.98


def test_without_gaps_nothing_is_added_and_a_gap_of_a_new_row_is_the_mean() -> None:
    net = train_table_net((None, 3, None), ROWS, (ROWS[:, 2] > 0).long(), n_classes=2, epochs=2)
    assert net.gaps.tolist() == []
    row = torch.tensor([[torch.nan, 1.0, 0.5]])
    mean = torch.tensor([[float(net.mean[0]), 1.0, 0.5]])
    with torch.no_grad():
        assert torch.allclose(net(row), net(mean), atol=1e-5)


def test_columns_with_no_or_one_value_are_no_division_by_zero() -> None:
    rows = ROWS.clone()
    rows[:, 0] = torch.nan
    rows[1:, 2] = torch.nan
    net = train_table_net((None, 3, None), rows, (ROWS[:, 1] > 0).long(), n_classes=2, epochs=1)
    with torch.no_grad():
        assert net(rows).isfinite().all()


def test_numbers_are_told_in_their_own_units() -> None:
    values = 1000 + 50 * ROWS[:, 1] + 20 * ROWS[:, 2]
    net = train_value_net((None, 3, None), ROWS, values, epochs=60)
    with torch.no_grad():
        said = net(ROWS)
    assert said.shape == (600, 1)
    assert (said[:, 0] - values).abs().mean() < 0.2 * values.std()


def test_numbers_that_are_all_the_same_are_no_division_by_zero() -> None:
    net = train_value_net((None, 3, None), ROWS, torch.full((600,), 7.0), epochs=1)
    with torch.no_grad():
        assert torch.allclose(net(ROWS), torch.tensor(7.0), atol=1e-3)


def test_a_table_without_numbers() -> None:
    codes = ROWS[:, 1:2]
    net = train_table_net((3,), codes, (codes[:, 0] == 1).long(), n_classes=2, epochs=20)
    with torch.no_grad():
        assert torch.equal(net(codes).argmax(1), (codes[:, 0] == 1).long())
