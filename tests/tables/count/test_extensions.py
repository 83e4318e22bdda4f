"""Counts of conjunctions with one predicate more, against plain masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.tables.count import extensions
from torch_anchors.tables.count.extensions import Extensions
from torch_anchors.tables.count.rows_by_label import RowsByLabel


def random_table(n_rows: int, n_labels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.integers(0, 4, (n_rows, 5))), torch.as_tensor(rng.integers(0, n_labels, n_rows))


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("chunk_rows", [1, 17, 2**16])
@pytest.mark.parametrize("size", [0, 1, 2])
def test_extensions_are_counted_like_plain_masks(
    size: int, chunk_rows: int, kept: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extensions, "CHUNK_ROWS", chunk_rows)
    monkeypatch.setattr(extensions, "CHUNK_CELLS", 10**9 if kept else 6 * 200 - 1)
    binned, labels = random_table(200, 3, seed=1)
    column, low, high = torch.tensor([[0, 1, 2, 4, 3, -1], [1, 0, 2, 3, 0, 0], [3, 1, 2, 3, 3, 3]])
    bases = torch.tensor([[0, 1], [2, 3], [4, 0], [1, 5]])[:, :size]
    rows = RowsByLabel.of(binned.to(device), labels.to(device), 3)
    column_of, low_of, high_of, bases_of = (part.to(device) for part in (column, low, high, bases))
    counts = Extensions(rows, column_of, low_of, high_of).count(bases_of)

    holds = (binned[:, column] >= low) & (binned[:, column] <= high) & (column >= 0)  # rows, predicates
    for label in range(3):
        for base, members in enumerate(bases.tolist()):
            satisfied = holds[:, members].all(1) & (labels == label)
            expected = (satisfied[:, None] & holds).sum(0)
            assert counts[label, base].tolist() == expected.tolist()
    assert counts.sum() > 0
    assert counts[:, :, 5].sum() == 0  # the predicate that is only padding


@pytest.mark.parametrize(
    ("n_rows", "n_predicates", "n_bases"), [(10, 3, 256), (2**17, 3, 128), (2**22, 3, 16), (10, 2**14, 128)]
)
def test_fewer_bases_are_extended_at_once_the_more_rows_or_predicates_there_are(
    n_rows: int, n_predicates: int, n_bases: int
) -> None:
    with FakeTensorMode():
        rows = RowsByLabel(torch.zeros(1, n_rows, dtype=torch.int16), (n_rows // 2, n_rows - n_rows // 2))
        assert Extensions(rows, *torch.zeros(3, n_predicates, dtype=torch.int64)).n_bases == n_bases


def test_counting_stays_on_the_device() -> None:
    with FakeTensorMode():
        rows = RowsByLabel(torch.zeros(3, 500, dtype=torch.int16, device="cuda"), (200, 300))
        column, low, high = torch.zeros(3, 7, dtype=torch.int64, device="cuda")
        extended = Extensions(rows, column, low, high)
        counts = extended.count(torch.zeros(5, 2, dtype=torch.int64, device="cuda"))
    assert counts.device.type == "cuda"
    assert counts.shape == (2, 5, 7)
