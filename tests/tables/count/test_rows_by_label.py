"""Training rows in the order of their labels, chunks and samples of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from torch_anchors.tables.count.rows_by_label import RowsByLabel


def random_table(n_rows: int, n_labels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.integers(0, 4, (n_rows, 5))), torch.as_tensor(rng.integers(0, n_labels, n_rows))


def test_the_rows_of_each_label_stand_together_in_an_order_that_is_always_the_same(device: torch.device) -> None:
    binned, labels = random_table(300, 3)
    numbered = torch.cat([binned, torch.arange(300)[:, None]], dim=1)
    rows = RowsByLabel.of(numbered.to(device), labels.to(device), 4)
    assert rows.n_rows == 300
    assert rows.n_by_label == (*torch.bincount(labels).tolist(), 0)  # label 3 is no row's
    for label, block in enumerate(rows.by_column.cpu().split(rows.n_by_label, dim=1)):
        number = block[-1].long()
        assert sorted(number.tolist()) == torch.nonzero(labels == label)[:, 0].tolist()
        assert torch.equal(block[:-1].long(), binned[number].T)
        assert label == 3 or number.tolist() != sorted(number.tolist())
    assert torch.equal(rows.by_column, RowsByLabel.of(numbered.to(device), labels.to(device), 4).by_column)


@pytest.mark.parametrize(("highest", "dtype"), [(2**15 - 1, torch.int16), (2**15, torch.int32)])
def test_bins_take_few_bytes_and_are_never_cut_off(highest: int, dtype: torch.dtype) -> None:
    rows = RowsByLabel.of(torch.tensor([[0], [highest]]), torch.tensor([0, 1]), 2)
    assert rows.by_column.dtype == dtype
    assert rows.by_column.tolist() == [[0, highest]]


@pytest.mark.parametrize("n", [1, 17, 1000])
def test_chunks_are_all_rows_and_each_has_one_label(n: int) -> None:
    binned, labels = random_table(300, 3)
    rows = RowsByLabel.of(binned, labels, 4)
    chunks = list(rows.chunks(n))
    assert torch.equal(torch.cat([chunk for _, chunk in chunks], dim=1), rows.by_column)
    assert max(chunk.shape[1] for _, chunk in chunks) <= n
    for label in range(4):
        assert sum(chunk.shape[1] for own, chunk in chunks if own == label) == rows.n_by_label[label]


def test_a_sample_has_the_same_share_of_each_label() -> None:
    rng = np.random.default_rng(0)
    labels = torch.as_tensor(np.sort(rng.choice(3, 10_000, p=[0.7, 0.29, 0.01])))
    rows = RowsByLabel.of(torch.stack([labels, torch.arange(10_000)], dim=1), labels, 3)
    sample = rows.sample(500)
    for label, (n, k) in enumerate(zip(rows.n_by_label, sample.n_by_label, strict=True)):
        assert k == -(-n // 20)
        block = sample.by_column.split(sample.n_by_label, dim=1)[label]
        assert (block[0] == label).all()
        assert len(set(block[1].tolist())) == k
        place = block[1].double() - int((labels < label).sum())
        assert abs(place.mean() / n - 0.5) < 0.2  # from all over the table
