"""Which columns the model's labels depend on, and which of them only together: counted on labelled training rows.

Each column is tested by Pearson's chi-squared statistic of its bins and the labels. Each pair is tested by the same
statistic of the residuals that an additive model leaves in the cells of their two bins, all pairs in one matrix
product. Like all that proposes, this decides only what is tried first, and never what is certified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor
from torch.nn.functional import one_hot

from torch_anchors._shapes import Float, Int
from torch_anchors.tables.propose.surrogate import MAX_ROWS, Surrogate

SIGNIFICANCE = 0.01
"""Chance that any column, or any pair, of a table whose labels depend on nothing is taken for one that matters."""
LEAST_INTERACTION = 0.02
"""Mean squared standardised residual, of 1 in all, that a pair must explain for its columns to be seen together. In a
XOR it is 0.95. On Adult no pair of a network's explains more than 0.006 and on two moons it is 0.01, where additive
weights find the same rules."""
MAX_CELLS = 125
"""Most cells of columns that are seen together, with the bins that no row has: three columns of four bins, or two of
ten."""
MAX_CODES = 4096
"""Bins of columns among which pairs are looked for, those that matter first: memory goes with the square."""
PAIR_WORK = 20_000_000_000
"""Multiplications that looking for pairs may cost; where there are many bins, fewer rows are looked at."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """What the labels depend on; make one with `Relevance.of`.

    Args:
        columns: numbers of those that matter, by themselves or in a pair, ascending.
        groups: the same columns, those together that must be seen together.
    """

    columns: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls,
        binned: Int[Tensor, "rows columns"],
        classes: Int[Tensor, " rows"],
        n_bins: Sequence[int],
        n_classes: int,
    ) -> Relevance:
        """What the labels of training rows depend on; where nothing shows, on all columns.

        Args:
            binned: training rows.
            classes: the explained model's labels of them, 0 to `n_classes` - 1.
            n_bins: number of bins of each column.
            n_classes: number of labels.
        """
        step = -(-len(binned) // MAX_ROWS)
        binned, target = binned[::step], one_hot(classes[::step].clone(), n_classes).float()
        sizes = np.asarray(n_bins) + 1
        present = _n_present(binned, sizes)
        alone = _main_p_values(binned, target, sizes, present) < SIGNIFICANCE / max(len(sizes), 1)
        expected = _additive(binned, classes[::step], target, sizes, alone)
        pairs = _interacting(binned, target, expected, sizes, present, alone)
        matter = sorted({*np.flatnonzero(alone).tolist(), *(column for a, b, _ in pairs for column in (a, b))})
        columns = tuple(matter or range(len(sizes)))
        return cls(columns, _grouped(columns, pairs, sizes))


def _n_present(binned: Int[Tensor, "rows columns"], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of bins of each column that some row has."""
    counts = [torch.bincount(codes, minlength=int(size)) for codes, size in zip(binned.T, sizes, strict=True)]
    return np.array([int((count > 0).sum()) for count in counts], dtype=np.int64)


def _one_hot(binned: Int[Tensor, "rows columns"], sizes: NDArray[np.int64]) -> Float[Tensor, "rows codes"]:
    """1 where a row has a bin, the columns one after another."""
    offset = torch.as_tensor(np.cumsum(sizes) - sizes, device=binned.device)
    codes = torch.zeros(len(binned), int(sizes.sum()), device=binned.device)
    return codes.scatter_(1, binned.long() + offset, 1.0)


def _main_p_values(
    binned: Int[Tensor, "rows columns"],
    target: Float[Tensor, "rows classes"],
    sizes: NDArray[np.int64],
    present: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Of each column, the chance of a statistic as large if it had nothing to do with the labels."""
    share = target.mean(0)
    statistics = []
    for codes, size in zip(binned.T, sizes, strict=True):
        observed = target.new_zeros(int(size), target.shape[1]).index_add_(0, codes.long(), target)
        expected = observed.sum(1, keepdim=True) * share
        statistics.append(((observed - expected).square() / expected.clamp(min=1)).sum())
    freedom = np.maximum(present - 1, 1) * max(int((share > 0).sum()) - 1, 1)
    return np.asarray(chi2.sf(torch.stack(statistics).double().cpu().numpy(), freedom))


def _additive(
    binned: Int[Tensor, "rows columns"],
    classes: Int[Tensor, " rows"],
    target: Float[Tensor, "rows classes"],
    sizes: NDArray[np.int64],
    alone: NDArray[np.bool_],
) -> Float[Tensor, "rows classes"]:
    """The chance of each label in each row by an additive model of the columns that matter by themselves."""
    if not alone.any():
        return target.mean(0).expand_as(target)
    own = binned[:, np.flatnonzero(alone)]
    surrogate = Surrogate.fit(own, classes, sizes[alone].tolist(), target.shape[1])
    return surrogate.sums(own).sigmoid()


def _interacting(
    binned: Int[Tensor, "rows columns"],
    target: Float[Tensor, "rows classes"],
    expected: Float[Tensor, "rows classes"],
    sizes: NDArray[np.int64],
    present: NDArray[np.int64],
    alone: NDArray[np.bool_],
) -> list[tuple[int, int, float]]:
    """Pairs of columns whose bins together explain what the additive model does not, most of it first; and how much."""
    candidates = np.argsort(~alone, kind="stable")
    candidates = candidates[(sizes[candidates] ** 2 <= MAX_CELLS) & (present[candidates] > 1)]
    candidates = np.sort(candidates[np.cumsum(sizes[candidates]) <= MAX_CODES])
    if len(candidates) < 2:
        return []
    own = sizes[candidates]
    step = -(-len(binned) * target.shape[1] * int(own.sum()) ** 2 // PAIR_WORK)
    binned, target, expected = binned[::step], target[::step], expected[::step]
    codes = _one_hot(binned[:, candidates], own)
    column = torch.as_tensor(np.repeat(np.arange(len(own)), own), device=codes.device)
    statistic = codes.new_zeros(len(own), codes.shape[1])
    for observed, chance in zip(target.T, expected.T, strict=True):
        left = (codes * (observed - chance)[:, None]).T @ codes
        usual = (codes * (chance * (1 - chance))[:, None]).T @ codes
        statistic.index_add_(0, column, left.square() / (usual + 1))
    by_pair = codes.new_zeros(len(own), len(own)).index_add_(0, column, statistic.T.contiguous())
    free = present[candidates] - 1
    # Cells of columns that the additive model leaves out also have their own residuals.
    extra = np.where(alone[candidates], 0, free)
    n_classes = int((target.sum(0) > 0).sum())
    freedom = (np.outer(free, free) + extra + extra[:, None]) * max(n_classes - 1, 1)
    # Each label's residuals are counted: with two labels the same ones twice.
    share = by_pair.double().cpu().numpy() * max(n_classes - 1, 1) / max(n_classes, 1)
    first, second = np.triu_indices(len(own), 1)
    p_values, effects = chi2.sf(share, freedom)[first, second], share[first, second] / len(binned)
    found = (p_values < SIGNIFICANCE / len(first)) & (effects >= LEAST_INTERACTION)
    pairs = zip(candidates[first[found]].tolist(), candidates[second[found]].tolist(), effects[found], strict=True)
    return sorted(pairs, key=lambda pair: -pair[2])


def _grouped(
    columns: tuple[int, ...], pairs: list[tuple[int, int, float]], sizes: NDArray[np.int64]
) -> tuple[tuple[int, ...], ...]:
    """The columns, those of each pair in one group as far as its cells are not too many."""
    group_of: dict[int, tuple[int, ...]] = {column: (column,) for column in columns}
    for a, b, _ in pairs:
        together = tuple(sorted({*group_of[a], *group_of[b]}))
        if np.prod(sizes[list(together)]) <= MAX_CELLS:
            group_of.update(dict.fromkeys(together, together))
    return tuple(sorted(set(group_of.values())))
