"""Rows whose columns are replaced, all by the values of one training row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.perturb.protocol import ComparingSampler, IndependentSampler, Order
from torch_anchors.search.protocol import EnumerateRequest, SampleRequest
from torch_anchors.tables import column_sampler
from torch_anchors.tables.column_sampler import ColumnSampler, Replacements

ROW = np.array([100.0, np.nan, 300.0, 400.0])
ROWS = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, np.nan, 2.0], [3.0, np.nan, 3.0, 400.0]], dtype=torch.float64)


def sampler_of(device: torch.device | str = "cpu", **settings: Any) -> ColumnSampler:
    rows = ROWS.to(device) if torch.device(device).type != "mps" else ROWS.float().to(device)
    return ColumnSampler(ROW, rows, **{"to_model": lambda rows: rows, **settings})


def drawn(sampler: ColumnSampler, request: Any) -> tuple[torch.Tensor, np.ndarray]:
    (codes,) = sampler.draw([Order(request, np.random.default_rng(0))])
    return codes, sampler.values(codes).cpu().double().numpy()


def test_it_is_a_sampler_of_independent_predicates_that_compares() -> None:
    assert isinstance(sampler_of(), IndependentSampler)
    assert isinstance(sampler_of(), ComparingSampler)


@pytest.mark.parametrize("anchor", [(), (0,), (1, 3)])
def test_replaced_values_are_all_those_of_one_training_row(anchor: tuple[int, ...], device: torch.device) -> None:
    sampler = sampler_of(device)
    codes, rows = drawn(sampler, SampleRequest(anchor, 400))
    replaced, number = sampler.keep(codes).numpy(), sampler.background(codes).numpy()
    expected = np.where(replaced, ROWS.numpy()[number], ROW)
    np.testing.assert_array_equal(rows, expected)
    assert replaced[:, list(anchor)].all()
    assert replaced[:, 2].mean() == pytest.approx(0.5, abs=0.1)
    assert set(number.tolist()) == {0, 1, 2}


def test_fixed_columns_keep_the_rows_value_and_are_no_predicates() -> None:
    sampler = sampler_of(fixed=(0, 3), exclude=(1,))
    assert (sampler.n_predicates, sampler.numbers, sampler.space().excluded) == (2, [1, 2], {0})
    _, rows = drawn(sampler, EnumerateRequest(()))
    assert len(rows) == 2**2 * 3
    np.testing.assert_array_equal(rows[:, [0, 3]], np.broadcast_to(ROW[[0, 3]], (12, 2)))


def test_the_instance_is_the_row_itself() -> None:
    sampler = sampler_of()
    np.testing.assert_array_equal(sampler.values(sampler.instance_code())[0].numpy(), ROW)
    assert sampler.n_changes(sampler.instance_code()).tolist() == [0]


def test_a_replaced_value_that_is_the_same_is_no_change() -> None:
    """A missing value is like a missing one, and 400 like 400."""
    sampler = sampler_of()
    codes, rows = drawn(sampler, EnumerateRequest((0, 1, 2, 3)))
    assert rows.shape == (3, 4)
    assert sampler.changed(torch.from_numpy(rows)).tolist() == [[True] * 4, [True] * 4, [True, False, True, False]]
    assert sampler.n_changes(codes).tolist() == [4, 4, 2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_rendered_as_the_model_reads_them(dtype: torch.dtype) -> None:
    sampler = sampler_of(to_model=lambda rows: torch.cat([rows, rows.nan_to_num(0.0)], dim=1), dtype=dtype)
    codes, rows = drawn(sampler, SampleRequest((1,), 20))
    assert sampler.row_shape() == (8,)
    rendered, out = sampler.render(codes), sampler.empty(20)
    assert rendered.dtype == dtype
    assert sampler.render(codes, out) is out
    for made in (rendered, out):
        np.testing.assert_array_equal(made[:, :4].double().numpy(), rows)
        assert not made[:, 4:].isnan().any()


def test_of_very_many_training_rows_as_many_as_there_may_be_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Replacements.of(ROWS, np.random.default_rng(0)).numbers is None
    monkeypatch.setattr(column_sampler, "MOST_ROWS", 2)
    chosen = Replacements.of(ROWS, np.random.default_rng(0))
    assert chosen.numbers is not None
    assert len(set(chosen.numbers.tolist())) == 2
    torch.testing.assert_close(chosen.values, ROWS[chosen.numbers], equal_nan=True)
    again = Replacements.of(ROWS, np.random.default_rng(0))
    assert again.numbers is not None
    assert torch.equal(again.numbers, chosen.numbers)
