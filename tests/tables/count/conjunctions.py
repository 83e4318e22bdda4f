"""Random binned tables, the predicates of some rows, and all their conjunctions by plain loops."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.discretizer import Predicates


def random_table(n_rows: int, n_columns: int, n_bins: int, n_labels: int, seed: int) -> tuple[Tensor, Tensor]:
    """Bins, and labels that depend on two columns and on chance."""
    rng = np.random.default_rng(seed)
    binned = rng.integers(0, n_bins, (n_rows, n_columns))
    labels = np.where(rng.random(n_rows) < 0.8, binned[:, 0] + binned[:, 1], rng.integers(0, 9, n_rows)) % n_labels
    return torch.as_tensor(binned), torch.as_tensor(labels)


def bounds_and_categories(rows: Tensor, n_bins: int, rng: np.random.Generator | None = None) -> Predicates:
    """Predicates of instances: column 0 a category, the others bounds at every cut; with `rng` some are padding."""
    lines = []
    for row in rows.tolist():
        line = [(0, row[0], row[0])]
        for column, code in enumerate(row[1:], start=1):
            line += [(column, 0, c) if code <= c else (column, c + 1, n_bins - 1) for c in range(n_bins - 1)]
        lines.append([p if rng is None or rng.random() < 0.9 else (-1, 0, 0) for p in line])
    return Predicates(*torch.tensor(lines).unbind(-1))


def every_conjunction(
    binned: Tensor, labels: Tensor, predicates: Predicates, i: int, label: int, max_size: int
) -> Iterator[tuple[Anchor, int, int]]:
    """Anchor, rows and hits of every conjunction of instance i that has no redundant bound."""
    column, low, high = (part[i].tolist() for part in (predicates.column, predicates.low, predicates.high))
    ids = [k for k, c in enumerate(column) if c >= 0]
    table, hits = binned.numpy(), labels.numpy() == label

    def redundant(a: int, b: int) -> bool:
        return column[a] == column[b] and (low[a] == low[b] or high[a] == high[b])

    for size in range(max_size + 1):
        for anchor in combinations(ids, size):
            if any(redundant(a, b) for a, b in combinations(anchor, 2)):
                continue
            held = np.ones(len(table), dtype=bool)
            for k in anchor:
                held &= (table[:, column[k]] >= low[k]) & (table[:, column[k]] <= high[k])
            yield anchor, int(held.sum()), int((held & hits).sum())
