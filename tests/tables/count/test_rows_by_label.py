"""Training rows in the order of their labels, and counts of conjunctions on them against plain masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.tables.count import rows_by_label
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


@pytest.mark.parametrize("chunk_rows", [1, 17, 2**16])
@pytest.mark.parametrize("size", [0, 1, 2])
def test_extensions_are_counted_like_plain_masks(
    size: int, chunk_rows: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_by_label, "CHUNK_ROWS", chunk_rows)
    binned, labels = random_table(200, 3, seed=1)
    column, low, high = torch.tensor([[0, 1, 2, 4, 3, -1], [1, 0, 2, 3, 0, 0], [3, 1, 2, 3, 3, 3]])
    bases = torch.tensor([[0, 1], [2, 3], [4, 0], [1, 5]])[:, :size]
    rows = RowsByLabel.of(binned.to(device), labels.to(device), 3)
    counts = rows.count_extensions(*(part.to(device) for part in (column, low, high, bases)))

    holds = (binned[:, column] >= low) & (binned[:, column] <= high) & (column >= 0)  # rows, predicates
    for label in range(3):
        for base, members in enumerate(bases.tolist()):
            satisfied = holds[:, members].all(1) & (labels == label)
            expected = (satisfied[:, None] & holds).sum(0)
            assert counts[label, base].tolist() == expected.tolist()
    assert counts.sum() > 0
    assert counts[:, :, 5].sum() == 0  # the predicate that is only padding


@pytest.mark.parametrize(("n_rows", "n_bases"), [(10, 256), (2**17, 128), (2**22, 16)])
def test_fewer_bases_are_extended_at_once_the_more_rows_there_are(n_rows: int, n_bases: int) -> None:
    assert RowsByLabel(torch.zeros(1, n_rows, dtype=torch.int16), (n_rows,)).n_bases == n_bases


def test_counting_stays_on_the_device() -> None:
    with FakeTensorMode():
        rows = RowsByLabel(torch.zeros(3, 500, dtype=torch.int16, device="cuda"), (200, 300))
        column, low, high = torch.zeros(3, 7, dtype=torch.int64, device="cuda")
        counts = rows.count_extensions(column, low, high, torch.zeros(5, 2, dtype=torch.int64, device="cuda"))
    assert counts.device.type == "cuda"
    assert counts.shape == (2, 5, 7)


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
