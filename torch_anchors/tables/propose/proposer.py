"""Anchors worth certifying, for many instances at once and before any row is drawn.

Under interventional sampling a row is a training row whose columns in the anchor got other values. The surrogate
of the explained model foresees the labels of such rows, and with them the precision of anchors, at the cost of a few
tensor operations; the search, which draws rows, picks from the anchors proposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.discretizer import Predicates
from torch_anchors.tables.propose.front import contributions, grow
from torch_anchors.tables.propose.groups import ColumnGroups, GroupConditions
from torch_anchors.tables.propose.relevance import Relevance
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
CHUNK_INSTANCES, CHUNK_CONDITIONS = 32, 2048
"""Most instances, and most conditions of them, at a time: what one pass touches then stays in a processor's cache."""

Kept = tuple[Sequence[int], Int[np.ndarray, "instances kept"]]
"""Columns that stay as they are in every row, and the instances' bins there."""


@dataclass(frozen=True, slots=True)
class Proposer:
    """Proposes anchors of instances of one table; make one with `Proposer.fit`.

    Args:
        groups: of the columns that anchors may name.
        surrogate: of the explained model, which sees a row as the cells of the groups.
        intervened: bins of each group's columns in S training rows.
        quantile: for each of them and each group a number in (0, 1) that picks a cell within a condition.
        covered: cells of R training rows, one line a group.
        counts: number of training rows in each cell of each group.
        bins: of each group's columns in each of its cells, see `ColumnGroups.bins`.
        strides: see `ColumnGroups.strides`.
        idle: groups on which the model does not depend, as far as the training rows show. A table of few columns has
            them, so that an anchor of all columns can be proposed.
    """

    groups: ColumnGroups
    surrogate: Surrogate
    intervened: Int[Tensor, "groups intervened width"]
    quantile: Float[Tensor, "groups intervened"]
    covered: Int[Tensor, "groups covered"]
    counts: Float[Tensor, "groups cells"]
    bins: Int[Tensor, "groups cells width"]
    strides: Int[Tensor, "groups width"]
    idle: frozenset[int] = frozenset()

    @classmethod
    def fit(
        cls,
        binned: Int[Tensor, "rows columns"],
        classes: Int[Tensor, " rows"],
        n_bins: Sequence[int],
        n_classes: int,
    ) -> Proposer:
        """A proposer for the instances of a table.

        The rows that it looks at are the same whatever the explainer's seed, and so are its proposals.

        Args:
            binned: training rows.
            classes: the explained model's labels of them, 0 to `n_classes` - 1.
            n_bins: number of bins of each column.
            n_classes: number of labels.
        """
        relevance = Relevance.of(binned, classes, n_bins, n_classes)
        others = sorted({*range(len(n_bins))}.difference(relevance.columns)) if len(n_bins) <= MAX_CONDITIONS else []
        own = (*relevance.groups, *((column,) for column in others))
        groups = ColumnGroups(own, tuple(n + 1 for n in n_bins))
        cells = groups.cells(binned)
        n_relevant = len(relevance.groups)
        surrogate = Surrogate.fit(cells[:, :n_relevant], classes, groups.n_cells[:n_relevant], n_classes)
        surrogate = surrogate.with_idle(groups.n_cells[n_relevant:])

        rng = np.random.default_rng(0)
        some = [rng.choice(len(binned), min(n, len(binned)), replace=False) for n in (N_INTERVENED, N_COVERED)]
        intervened, covered = (torch.as_tensor(rows, device=binned.device) for rows in some)
        strata = rng.permuted(np.tile(np.arange(len(intervened)), (len(own), 1)), axis=1)
        quantile = torch.as_tensor((strata + 0.5) / len(intervened), dtype=torch.float32, device=binned.device)
        bins, strides = (torch.as_tensor(part, device=binned.device) for part in (groups.bins, groups.strides))
        counts = torch.stack([torch.bincount(codes, minlength=bins.shape[1]) for codes in cells.T]).float()
        held_as = torch.arange(len(own), device=binned.device)[:, None], cells[intervened].T
        covered = cells[covered].T.contiguous()
        idle = frozenset(range(n_relevant, len(own)))
        return cls(groups, surrogate, bins[held_as], quantile, covered, counts, bins, strides, idle)

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
        few that name nearly every column. One copy from the device for every few instances; the work on the device
        waits for nothing.

        Args:
            predicates: of the instances.
            labels: the model's label of each instance.
            threshold: precision in the middle of the front, in (0, 1].
            max_anchor_size: most predicates in an anchor; None for no bound.
            kept: columns that stay as they are in every row, and the instances' bins there; None for none.
        """
        conditions = GroupConditions.of(self.groups, predicates, kept)
        errors = torch.tensor(ERRORS, device=self.covered.device) * max(1 - threshold, 1e-3)
        n_conditions, n_columns = conditions.group.shape[1], len(self.groups.sizes)
        if n_conditions == 0:  # of a table whose columns do not vary
            n = len(labels)
            nothing = _Grown(torch.zeros(n, 0, 1), torch.zeros(n, 0, 0), torch.zeros(n, 0))
            return ProposedAnchors.of_each(conditions.members, nothing, n_columns)
        found: list[ProposedAnchors] = []
        step = max(1, min(CHUNK_INSTANCES, CHUNK_CONDITIONS // n_conditions))
        for first in range(0, len(labels), step):
            part = slice(first, first + step)
            own, bins = conditions[part], None if kept is None else (kept[0], kept[1][part])
            grown = self._grown(own, labels[part], errors, max_anchor_size, bins)
            found += ProposedAnchors.of_each(own.members, grown, n_columns)
        return found

    def without_conditions(self, labels: Int[np.ndarray, " instances"], kept: Kept) -> Float[np.ndarray, " instances"]:
        """The surrogate's precision of the empty anchor of each instance, where some columns stay as they are."""
        sums = self._weights(self._send(labels), kept).sum(1) + self.surrogate.intercept[self._send(labels), None]
        return sums.sigmoid().mean(-1).double().cpu().numpy()

    def _grown(
        self,
        conditions: GroupConditions,
        labels: NDArray[np.int64],
        errors: Float[Tensor, " levels"],
        max_anchor_size: int | None,
        kept: Kept | None,
    ) -> _Grown:
        """The anchors that are proposed for some instances."""
        n_instances, n_conditions, width = conditions.low.shape
        fields = [conditions.group[..., None], conditions.low, conditions.high, conditions.named]
        distinct, number = np.unique(
            np.concatenate(fields, axis=-1).reshape(-1, 1 + 3 * width), axis=0, return_inverse=True
        )
        place, label = self._send(number.reshape(n_instances, n_conditions)), self._send(labels)
        group = self._send(conditions.group)
        of_group, low, high, named = (self._send(part) for part in np.split(distinct, [1, 1 + width, 1 + 2 * width], 1))
        weights, held = self._evaluate(of_group[:, 0], low, high, named.bool())
        unchanged = self._weights(label, kept)
        own = torch.arange(n_instances, device=label.device)[:, None]
        change = weights[label[:, None], place] - unchanged[own, group.clamp(min=0)]
        start = unchanged.sum(1) + self.surrogate.intercept[label, None]
        n_steps = min(len(self.covered), MAX_CONDITIONS, max_anchor_size or MAX_CONDITIONS)
        idle = np.isin(conditions.group, list(self.idle))
        chosen, precision = grow(
            start,
            change,
            held[place],
            group,
            self._send(conditions.n_members),
            max_anchor_size or MAX_CONDITIONS * 2 * width,
            n_steps,
            errors,
            idle=self._send(idle) if idle.any() else None,
        )
        # One copy for all numbers, of which those of conditions are small enough for floats.
        return _Grown(torch.cat([precision.logit(eps=1e-6)[..., None], chosen.float()], dim=-1), change, start)

    def _evaluate(
        self,
        group: Int[Tensor, " distinct"],
        low: Int[Tensor, "distinct width"],
        high: Int[Tensor, "distinct width"],
        named: Bool[Tensor, "distinct width"],
    ) -> tuple[Float[Tensor, "labels distinct intervened"], Float[Tensor, "distinct covered"]]:
        """The surrogate's weights of the cells that each condition leads to, and on which rows it holds."""
        real = group >= 0
        group = group.clamp(min=0)
        low, high, named = low[:, None], high[:, None], named[:, None]
        bins = self.bins[group]
        allowed = (((bins >= low) & (bins <= high)) | (~named & (bins >= 0))).all(-1)
        held = allowed.gather(1, self.covered[group]) & real[:, None]
        # The quantile picks, of the cells that satisfy the condition, one as frequent as in the training rows.
        share = self.counts[group] * allowed
        share = torch.where(share.sum(1, keepdim=True) > 0, share, allowed.float())
        below = share.cumsum(1)
        drawn = torch.searchsorted(below, self.quantile[group] * below[:, -1:], right=True)
        drawn = drawn.clamp(max=below.shape[1] - 1)[..., None].expand(-1, -1, low.shape[2])
        # Only the columns that are named change together; others of the group stay.
        changed = torch.where(named, bins.gather(1, drawn), torch.clamp(self.intervened[group], low, high))
        cells = (changed * self.strides[group, None]).sum(-1)
        return self.surrogate.weight[cells + self.surrogate.offset[group, None]].permute(2, 0, 1), held.float()

    def _weights(
        self, label: Int[Tensor, " instances"], kept: Kept | None
    ) -> Float[Tensor, "instances groups intervened"]:
        """The surrogate's weights where there are no conditions: those of the rows' cells, or, in the columns that are
        kept, of the instances' bins."""
        cells = (self.intervened * self.strides[:, None]).sum(-1)  # groups, intervened
        cells = (cells + self.surrogate.offset[:, None]).expand(len(label), -1, -1)
        if kept is not None:
            cells = cells.clone()
            for column, bins in zip(kept[0], kept[1].T, strict=True):
                if column in self.groups.places:
                    g, k = self.groups.places[column]
                    own = self._send(np.asarray(bins, dtype=np.int64))[:, None]
                    cells[:, g] += (own - self.intervened[g, :, k]) * self.strides[g, k]
        return self.surrogate.weight.T[label[:, None, None], cells]

    def _send(self, array: NDArray[Any]) -> Tensor:
        return torch.as_tensor(array).to(self.covered.device, non_blocking=True)


class _Grown(NamedTuple):
    """Anchors grown for some instances, on the device.

    `numbers` are the surrogate's log-odds of each anchor's precision and then its conditions; `change` and `start` are
    what it was grown by, see `grow`.
    """

    numbers: Float[Tensor, "instances anchors numbers"]
    change: Float[Tensor, "instances conditions intervened"]
    start: Float[Tensor, "instances intervened"]


@dataclass(frozen=True, slots=True)
class ProposedAnchors:
    """Anchors proposed for one instance.

    Args:
        guesses: the precision that each is expected to have.
    """

    guesses: dict[Anchor, float]
    _anchors: list[Anchor]  # of the lines of the arrays below
    _members: Int[np.ndarray, "conditions members"]
    _log_odds: Float[np.ndarray, " anchors"]
    _chosen: Int[np.ndarray, "anchors steps"]
    _change: Float[Tensor, "conditions intervened"]
    _start: Float[Tensor, " intervened"]
    _n_columns: int

    @classmethod
    def of_each(
        cls, members: Int[np.ndarray, "instances conditions members"], grown: _Grown, n_columns: int
    ) -> list[ProposedAnchors]:
        """The proposals of some instances, from their conditions' members and the anchors grown."""
        numbers = grown.numbers.cpu().numpy()
        log_odds, chosen = numbers[..., 0], numbers[..., 1:].astype(np.int64)
        guesses, is_one = _chance(log_odds, _n_named(members, chosen), n_columns), ~np.isnan(log_odds)
        found = []
        of_each = zip(is_one, _anchors(members, chosen), members, grown.change, grown.start, strict=True)
        for i, (own, anchors, *rest) in enumerate(of_each):
            there = [anchors[k] for k in own.nonzero()[0].tolist()]
            expected = dict(zip(there, guesses[i, own].tolist(), strict=True))
            of_one, change, start = rest
            found.append(cls(expected, there, of_one, log_odds[i, own], chosen[i, own], change, start, n_columns))
        return found

    def shorter(self, anchor: Anchor) -> dict[Anchor, float]:
        """A proposed anchor without the condition that adds least, without the two that do, and so on to one
        condition; and the precision that each is expected to have."""
        line = len(self._anchors) - 1 - self._anchors[::-1].index(anchor)  # what was found last is expected of it
        chosen = torch.from_numpy(self._chosen[line]).to(self._start.device)
        adds = contributions(self._start[None], self._change[None], chosen[None, None])[0, 0].cpu().numpy()
        real = np.flatnonzero(self._chosen[line] >= 0)
        order = real[np.argsort(adds[real], kind="stable")]
        n_left = np.arange(len(order) - 1, 0, -1)
        dropped = np.cumsum(adds[order])[: len(n_left)]
        kept = np.where(np.arange(len(order)) > np.arange(len(n_left))[:, None], self._chosen[line, order], -1)
        guesses = _chance(self._log_odds[line] - dropped, _n_named(self._members[None], kept[None])[0], self._n_columns)
        return dict(zip(_anchors(self._members[None], kept[None])[0], guesses.tolist(), strict=True))


def _chance(
    log_odds: Float[np.ndarray, "*anchors"], n_named: Int[np.ndarray, "*anchors"], n_columns: int
) -> Float[np.ndarray, "*anchors"]:
    """Precision expected of anchors that name some of the columns, from the surrogate's log-odds."""
    return 1 / (1 + np.exp(-log_odds - KNOWN_LABEL * (n_named / n_columns) ** 2))


def _n_named(
    members: Int[np.ndarray, "instances conditions members"], chosen: Int[np.ndarray, "instances anchors steps"]
) -> Int[np.ndarray, "instances anchors"]:
    """Number of columns that the anchors of chosen conditions name; each has two places among the members."""
    n_columns = (members[..., ::2] >= 0).sum(axis=2)
    own = np.arange(len(members))[:, None, None]
    return np.where(chosen >= 0, n_columns[own, chosen], 0).sum(axis=2)


def _anchors(
    members: Int[np.ndarray, "instances conditions members"], chosen: Int[np.ndarray, "instances anchors steps"]
) -> list[list[Anchor]]:
    """Anchors of each instance, as ids of predicates, of lines of conditions that are padded with -1."""
    own = np.arange(len(members))[:, None, None]
    ids = np.where(chosen[..., None] >= 0, members[own, chosen], -1)
    lines = np.sort(ids.reshape(*chosen.shape[:2], chosen.shape[2] * members.shape[2]), axis=2)
    starts = (lines < 0).sum(axis=2).tolist()
    return [
        [tuple(line[start:]) for line, start in zip(of_one, of_lines, strict=True)]
        for of_one, of_lines in zip(lines.tolist(), starts, strict=True)
    ]
