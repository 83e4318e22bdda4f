"""Anchors worth certifying, for many instances at once and before any row is drawn.

Under interventional sampling a row is a training row whose columns in the anchor got other values. The surrogate
of the explained model foresees the labels of such rows, and with them the precision of anchors, at the cost of a few
tensor operations; the search, which draws rows, picks from the anchors proposed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.discretizer import Predicates, within
from torch_anchors.tables.propose.front import contributions, grow
from torch_anchors.tables.propose.surrogate import Surrogate

ERRORS = (3.4, 2.8, 2.4, 2.0, 1.7, 1.4, 1.15, 0.95, 0.75, 0.55, 0.4, 0.27, 0.16, 0.08, 0.03, 0.01)
"""Rates of error, as multiples of 1 - threshold, at each of which one anchor is proposed."""
KNOWN_LABEL = 1.5
"""Log-odds that naming all columns adds to the surrogate's, because the instance itself is known to be a hit; naming
a share of them adds the square of that share (measured on Adult)."""
N_INTERVENED = 128
"""Training rows on which the surrogate's precision is a mean."""
N_COVERED = 512
"""Training rows on which coverage is estimated; the proposed anchors' is then counted on all."""
MAX_CONDITIONS = 12
"""Columns that a proposed anchor names at most: the time goes with it."""
CHUNK_INSTANCES = 32
"""Instances at a time: what one pass touches then stays in a processor's cache."""

Kept = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class Proposer:
    """Proposes anchors of instances of one table; make one with `Proposer.fit`.

    Args:
        surrogate: of the explained model.
        intervened: bins of S training rows.
        quantile: for each of them and each column a number in (0, 1) that picks a bin within a condition.
        covered: bins of R training rows, one line a column.
        below: share of training rows in lower bins than each bin of each column.
    """

    surrogate: Surrogate
    intervened: Int[Tensor, "intervened columns"]
    quantile: Float[Tensor, "intervened columns"]
    covered: Int[Tensor, "columns covered"]
    below: Float[Tensor, "columns bins"]

    @classmethod
    def fit(cls, surrogate: Surrogate, binned: Int[Tensor, "rows columns"], rng: np.random.Generator) -> Proposer:
        """A proposer for the instances of the table whose training rows are `binned`, by rows that `rng` picks."""
        n_rows, n_columns = binned.shape

        def some_rows(n: int) -> Tensor:
            chosen = rng.choice(n_rows, min(n, n_rows), replace=False)
            return binned[torch.as_tensor(chosen, device=binned.device)]

        intervened = some_rows(N_INTERVENED)
        strata = rng.permuted(np.tile(np.arange(len(intervened)), (n_columns, 1)), axis=1).T
        quantile = torch.as_tensor((strata + 0.5) / len(intervened), dtype=torch.float32, device=binned.device)
        n_bins = int(binned.max()) + 2
        counts = torch.stack([torch.bincount(codes, minlength=n_bins) for codes in binned.T])
        below = (counts.cumsum(1) - counts).float() / n_rows
        return cls(surrogate, intervened, quantile, some_rows(N_COVERED).T.contiguous(), below)

    def propose(
        self,
        predicates: Predicates,
        labels: Int[np.ndarray, " instances"],
        *,
        threshold: float = 0.95,
        max_anchor_size: int | None = None,
        kept: Kept | None = None,
    ) -> list[ProposedAnchors]:
        """The proposals for each instance.

        They are the front between precision and coverage around `threshold`, the anchor of highest precision, and a
        few that name nearly every column. One copy from the device for every `CHUNK_INSTANCES` instances; the
        work on the device waits for nothing.

        Args:
            predicates: of the instances.
            labels: the model's label of each instance.
            threshold: precision in the middle of the front, in (0, 1].
            max_anchor_size: most predicates in an anchor; None for no bound.
            kept: columns that stay as they are in every row, and the instances' bins there (instances, fixed); None for
                none.
        """
        conditions = ColumnConditions.of(predicates)
        errors = torch.tensor(ERRORS, device=self.covered.device) * max(1 - threshold, 1e-3)
        found: list[ProposedAnchors] = []
        if predicates.column.shape[1] == 0:  # of a table whose columns do not vary
            return [ProposedAnchors.of(members, np.zeros((0, 1)), len(self.covered)) for members in conditions.members]
        for first in range(0, len(labels), CHUNK_INSTANCES):
            part = slice(first, first + CHUNK_INSTANCES)
            own, bins = conditions[part], None if kept is None else (kept[0], kept[1][part])
            # One copy for all numbers, of which those of conditions are small enough for floats.
            numbers = torch.cat(self._front(own, labels[part], errors, max_anchor_size, bins), dim=-1).cpu().numpy()
            found += [ProposedAnchors.of(*line, len(self.covered)) for line in zip(own.members, numbers, strict=True)]
        return found

    def _front(
        self,
        conditions: ColumnConditions,
        labels: NDArray[np.int64],
        errors: Float[Tensor, " levels"],
        max_anchor_size: int | None,
        kept: Kept | None,
    ) -> tuple[
        Float[Tensor, "instances anchors 1"],
        Float[Tensor, "instances anchors steps"],
        Float[Tensor, "instances anchors steps"],
    ]:
        """Of the anchors that are proposed, the surrogate's log-odds of their precision, their conditions, and what
        each of these adds to the log-odds."""
        send = partial(torch.as_tensor, device=self.covered.device)
        fields = np.stack([conditions.column, conditions.low, conditions.high], axis=-1)
        distinct, number = np.unique(fields.reshape(-1, 3), axis=0, return_inverse=True)
        place, label = send(number.reshape(conditions.column.shape)), send(labels)
        changes, held = self._evaluate(*send(distinct.T.copy()))
        start = self._sums(label, kept)
        change = changes[label[:, None], place]
        n_columns = min(len(self.covered), MAX_CONDITIONS, max_anchor_size or MAX_CONDITIONS)
        size = send((conditions.members >= 0).sum(-1))
        room = n_columns * 2 if max_anchor_size is None else max_anchor_size
        chosen, precision = grow(
            start,
            change,
            held[place],
            send(conditions.column),
            size,
            room,
            n_columns,
            errors,
        )
        return precision.logit(eps=1e-6)[..., None], chosen.float(), contributions(start, change, chosen)

    def _evaluate(
        self, column: Int[Tensor, " distinct"], low: Int[Tensor, " distinct"], high: Int[Tensor, " distinct"]
    ) -> tuple[Float[Tensor, "labels distinct intervened"], Float[Tensor, "distinct covered"]]:
        """What each condition changes in the surrogate's sums, and on which rows it holds."""
        real = column >= 0
        column = column.clamp(min=0)
        held = within(self.covered[column], low, high) & real[:, None]
        # The quantile picks, of the bins that satisfy the condition, one as frequent as in the training rows.
        below = self.below[column]
        n_bins = below.shape[1]
        first = below.gather(1, low.clamp(0, n_bins - 1)[:, None])
        after = below.gather(1, (high + 1).clamp(0, n_bins - 1)[:, None])
        wanted = first + self.quantile.T[column] * (after - first)
        drawn = torch.searchsorted(below, wanted, right=True) - 1
        drawn = torch.minimum(torch.maximum(drawn, low[:, None]), high[:, None])
        weight = self.surrogate.weight[drawn + self.surrogate.offset[column, None]]
        change = weight - self._weights(self.intervened.T)[column]
        return change.permute(2, 0, 1), held.float()

    def without_conditions(self, labels: Int[np.ndarray, " instances"], kept: Kept) -> Float[np.ndarray, " instances"]:
        """The surrogate's precision of the empty anchor of each instance, where some columns stay as they are."""
        label = torch.as_tensor(labels, device=self.covered.device)
        return self._sums(label, kept).sigmoid().mean(-1).double().cpu().numpy()

    def _sums(self, label: Int[Tensor, " instances"], kept: Kept | None) -> Float[Tensor, "instances intervened"]:
        """The surrogate's sums without any condition; where columns are kept, with the instances' bins there."""
        weights = self._weights(self.intervened.T)
        sums = (weights.sum(0) + self.surrogate.intercept).T[label]
        if kept is None:
            return sums
        columns, bins = kept
        own = self.surrogate.weight[bins + self.surrogate.offset[columns]].sum(1)  # instances, labels
        return sums + own.gather(1, label[:, None]) - weights[columns].sum(0).T[label]

    def _weights(self, bins: Int[Tensor, "columns intervened"]) -> Float[Tensor, "columns intervened labels"]:
        """The surrogate's weights of the bins of every column."""
        return self.surrogate.weight[bins + self.surrogate.offset[:, None]]


@dataclass(frozen=True, slots=True)
class ProposedAnchors:
    """Anchors proposed for one instance.

    Args:
        guesses: the precision that each is expected to have.
    """

    guesses: dict[Anchor, float]
    _line: dict[Anchor, int]  # of each anchor in the arrays below
    _members: Int[np.ndarray, "conditions 2"]
    _log_odds: Float[np.ndarray, " anchors"]
    _chosen: Int[np.ndarray, "anchors steps"]
    _adds: Float[np.ndarray, "anchors steps"]
    _n_columns: int

    @classmethod
    def of(
        cls, members: Int[np.ndarray, "conditions 2"], numbers: Float[np.ndarray, "anchors numbers"], n_columns: int
    ) -> ProposedAnchors:
        """The proposals from their conditions' members and, for each anchor, the numbers that `Proposer` finds."""
        numbers = numbers[~np.isnan(numbers[:, 0])]
        log_odds, (chosen, adds) = numbers[:, 0], np.split(numbers[:, 1:], 2, axis=1)
        chosen = chosen.astype(np.int64)
        guesses = _chance(log_odds, (chosen >= 0).sum(axis=1), n_columns).tolist()
        anchors = _anchors(members, chosen)
        line = {anchor: i for i, anchor in enumerate(anchors)}
        return cls(dict(zip(anchors, guesses, strict=True)), line, members, log_odds, chosen, adds, n_columns)

    def shorter(self, anchor: Anchor) -> dict[Anchor, float]:
        """A proposed anchor without the condition that adds least, without the two that do, and so on to one
        condition; and the precision that each is expected to have."""
        line = self._line[anchor]
        real = np.flatnonzero(self._chosen[line] >= 0)
        order = real[np.argsort(self._adds[line, real], kind="stable")]
        n_left = np.arange(len(order) - 1, 0, -1)
        dropped = np.cumsum(self._adds[line, order])[: len(n_left)]
        kept = np.where(np.arange(len(order)) > np.arange(len(n_left))[:, None], self._chosen[line, order], -1)
        guesses = _chance(self._log_odds[line] - dropped, n_left, self._n_columns)
        return dict(zip(_anchors(self._members, kept), guesses.tolist(), strict=True))


def _chance(
    log_odds: Float[np.ndarray, " anchors"], n_named: Int[np.ndarray, " anchors"], n_columns: int
) -> Float[np.ndarray, " anchors"]:
    """Precision expected of anchors that name some of the columns, from the surrogate's log-odds."""
    return 1 / (1 + np.exp(-log_odds - KNOWN_LABEL * (n_named / n_columns) ** 2))


def _anchors(members: Int[np.ndarray, "conditions 2"], chosen: Int[np.ndarray, "anchors steps"]) -> list[Anchor]:
    """Anchors, as ids of predicates, of lines of conditions that are padded with -1."""
    ids = np.where(chosen[..., None] >= 0, members[chosen], -1)
    lines = np.sort(ids.reshape(len(chosen), 2 * chosen.shape[1]), axis=1)
    sizes = (lines >= 0).sum(axis=1)
    width = lines.shape[1]
    return [tuple(line[width - size :]) for line, size in zip(lines.tolist(), sizes.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class ColumnConditions:
    """The conditions that an anchor may put on one column: a predicate, or two bounds that complement each other.

    `members` are the ids of one or two predicates, padded with -1. Where an instance has fewer conditions than
    another its line ends in column -1.
    """

    column: Int[np.ndarray, "instances conditions"]
    low: Int[np.ndarray, "instances conditions"]
    high: Int[np.ndarray, "instances conditions"]
    members: Int[np.ndarray, "instances conditions 2"]

    @classmethod
    def of(cls, predicates: Predicates) -> ColumnConditions:
        """All conditions on each instance's columns."""
        column, low, high = (bins.cpu().numpy() for bins in (predicates.column, predicates.low, predicates.high))
        same = (column[:, :, None] == column[:, None]) & (column >= 0)[:, None]
        two_sided = same & (low[:, :, None] < low[:, None]) & (high[:, :, None] < high[:, None])
        instance, upper, lower = np.nonzero(two_sided)
        n_each = np.bincount(instance, minlength=len(column))
        place = np.arange(len(instance)) - (np.cumsum(n_each) - n_each)[instance]

        def with_pairs(single: NDArray[np.int64], pair: NDArray[np.int64]) -> NDArray[np.int64]:
            pairs = np.full((*single.shape[:1], n_each.max(initial=0), *single.shape[2:]), -1)
            pairs[instance, place] = pair
            return np.concatenate([single, pairs], axis=1)

        ids = np.broadcast_to(np.arange(column.shape[1]), column.shape)
        return cls(
            with_pairs(column, column[instance, upper]),
            with_pairs(low, low[instance, lower]),
            with_pairs(high, high[instance, upper]),
            with_pairs(np.stack([ids, np.full_like(ids, -1)], -1), np.stack([upper, lower], -1)),
        )

    def __getitem__(self, instances: slice) -> ColumnConditions:
        return ColumnConditions(
            self.column[instances], self.low[instances], self.high[instances], self.members[instances]
        )
