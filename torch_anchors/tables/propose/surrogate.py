"""An additive model of the explained model, that guesses which rules will hold before any row is drawn.

It sees a row as the bins of its columns and adds up one weight for each; a sigmoid of the sum is the chance that the
explained model gives the row a certain label. It is fitted once, to the labels of the training rows, and only ever
proposes: what it says is never part of a result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, embedding_bag, one_hot

from torch_anchors._shapes import Float, Int

MAX_ROWS = 20_000
"""Training rows that the weights are fitted to; more change them little."""
PENALTY = 2e-4
"""Weight decay. It keeps the weights of rare bins, and of labels that a few columns decide, finite. With half of it,
the precision of rules was guessed too high where there are few rows or many columns; with ten times as much too low
(measured on three tables)."""
MAX_ITERATIONS = 60


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Chance of each label as a function of a row's bins; make one with `Surrogate.fit`.

    Args:
        weight: the weight of each bin of each column, the columns one after another, for each label.
        intercept: for each label.
        offset: where each column's bins begin in `weight`.
    """

    weight: Float[Tensor, "bins labels"]
    intercept: Float[Tensor, " labels"]
    offset: Int[Tensor, " columns"]

    @classmethod
    def fit(
        cls,
        binned: Int[Tensor, "rows columns"],
        labels: Int[Tensor, " rows"],
        n_codes: Sequence[int],
        n_labels: int,
    ) -> Surrogate:
        """Logistic regression of "has this label", one for each label, on the bins of the rows' columns.

        Args:
            binned: training rows.
            labels: the explained model's labels of them, 0 to `n_labels` - 1.
            n_codes: number of bins of each column, with those that no row has, whose weight is 0.
            n_labels: number of labels.
        """
        sizes = torch.tensor(n_codes, device=binned.device)
        offset = sizes.cumsum(0) - sizes
        step = -(-len(binned) // MAX_ROWS)
        with torch.inference_mode(False), torch.no_grad():  # what is learned is of use outside inference mode, too
            codes = binned[::step] + offset
            target = one_hot(labels[::step], n_labels).float()
            weight, intercept = _fit_weights(codes, target, int(sizes.sum()))
        return cls(weight, intercept, offset)

    def with_idle(self, n_codes: Sequence[int]) -> Surrogate:
        """The same for rows with further columns, of these numbers of bins, whose weights are 0."""
        sizes = torch.tensor(n_codes, dtype=torch.int64, device=self.offset.device)
        offset = len(self.weight) + sizes.cumsum(0) - sizes
        weight = torch.nn.functional.pad(self.weight, (0, 0, 0, sum(n_codes)))
        return Surrogate(weight, self.intercept, torch.cat([self.offset, offset]))

    def sums(self, binned: Int[Tensor, "rows columns"]) -> Float[Tensor, "rows labels"]:
        """The sum of the weights of each row's bins, and the intercept."""
        return embedding_bag(binned + self.offset, self.weight, mode="sum") + self.intercept


def _fit_weights(
    codes: Int[Tensor, "rows columns"], target: Float[Tensor, "rows labels"], n_codes: int
) -> tuple[Float[Tensor, "codes labels"], Float[Tensor, " labels"]]:
    """Weights of all codes, and intercepts, of least penalised logistic loss; an absent code's weight stays 0."""
    shape = n_codes + 1, target.shape[1]  # the last line is the intercepts
    # A row's margin is a sum over its codes, and the gradient of a code's weight one over its rows: a bag either way.
    rows = codes.flatten().argsort(stable=True) // codes.shape[1]
    n_own = torch.bincount(codes.flatten(), minlength=n_codes)
    first = n_own.cumsum(0) - n_own

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The penalised loss and its gradient. One copy to the device and one back for each step."""
        parameters = torch.as_tensor(values, dtype=torch.float32, device=target.device).view(shape)
        weight, intercept = parameters[:-1], parameters[-1]
        margin = embedding_bag(codes, weight, mode="sum") + intercept
        errors = binary_cross_entropy_with_logits(margin, target, reduction="none").mean(0).sum()
        value = errors + PENALTY * weight.square().sum()
        residual = (margin.sigmoid() - target) / len(target)
        by_code = embedding_bag(rows, residual, first, mode="sum") + 2 * PENALTY * weight
        gradient = torch.cat([by_code, residual.sum(0, keepdim=True)])
        return float(value), gradient.flatten().double().cpu().numpy()

    # PyTorch's own L-BFGS would import its compiler, which takes seconds.
    found = minimize(loss, np.zeros(math.prod(shape)), jac=True, method="L-BFGS-B", options={"maxiter": MAX_ITERATIONS})
    parameters = torch.as_tensor(found.x, dtype=torch.float32, device=target.device).view(shape)
    return parameters[:-1].contiguous(), parameters[-1].contiguous()
