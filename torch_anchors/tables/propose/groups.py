"""Columns seen together as one, and the conditions that an anchor may put on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Bool, Int
from torch_anchors.tables.discretizer import Predicates


@dataclass(frozen=True)
class ColumnGroups:
    """Groups of columns, each of which is to the surrogate one column whose bins are the cells of its columns' bins.

    Args:
        columns: numbers of each group's columns, in ascending order; those in no group are left out.
        sizes: number of bins of each column of the table, with the one that no training row has.
    """

    columns: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]

    @property
    def width(self) -> int:
        """Most columns in a group."""
        return max(map(len, self.columns), default=0)

    @cached_property
    def n_cells(self) -> list[int]:
        """Number of cells of each group."""
        return [int(np.prod([self.sizes[column] for column in own])) for own in self.columns]

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """The group of each column, and its place there."""
        return {column: (g, k) for g, own in enumerate(self.columns) for k, column in enumerate(own)}

    @cached_property
    def strides(self) -> Int[np.ndarray, "groups width"]:
        """How many cells apart two neighbouring bins of each group's columns are; 0 beyond its columns."""
        strides = np.zeros((len(self.columns), self.width), dtype=np.int64)
        for line, own in zip(strides, self.columns, strict=True):
            line[: len(own)] = [np.prod([self.sizes[column] for column in own[k + 1 :]]) for k in range(len(own))]
        return strides

    def cells(self, binned: Int[Tensor, "rows columns"]) -> Int[Tensor, "rows groups"]:
        """The cell of each row in each group."""
        cells = torch.zeros(len(self.columns), len(binned), dtype=torch.int64, device=binned.device)
        for line, own, strides in zip(cells, self.columns, self.strides, strict=True):
            for column, stride in zip(own, strides.tolist(), strict=False):
                line += binned[:, column].long() * stride
        return cells.T

    @cached_property
    def bins(self) -> Int[np.ndarray, "groups cells width"]:
        """The bins of each group's columns in each of its cells; -1 beyond its cells, 0 beyond its columns."""
        bins = np.full((len(self.columns), max(self.n_cells, default=0), self.width), -1, dtype=np.int64)
        for line, own, n in zip(bins, self.columns, self.n_cells, strict=True):
            line[:n] = 0
            line[:n, : len(own)] = np.stack(np.unravel_index(np.arange(n), [self.sizes[c] for c in own]), axis=-1)
        return bins


@dataclass(frozen=True, slots=True)
class GroupConditions:
    """The conditions that an anchor may put on a group: bins from `low` to `high` of each of its columns.

    A column that is `named` has a predicate, or two bounds that complement each other; `members` are their ids, two
    places for each column, padded with -1. Any other column is as in the perturbed row, within the bounds, which are
    narrow only where it is kept. Where an instance has fewer conditions than another its line ends in group -1.
    """

    group: Int[np.ndarray, "instances conditions"]
    low: Int[np.ndarray, "instances conditions width"]
    high: Int[np.ndarray, "instances conditions width"]
    members: Int[np.ndarray, "instances conditions members"]

    @classmethod
    def of(
        cls,
        groups: ColumnGroups,
        predicates: Predicates,
        kept: tuple[Sequence[int], Int[np.ndarray, "instances kept"]] | None = None,
    ) -> GroupConditions:
        """All conditions on each instance's groups.

        Args:
            groups: of the table's columns.
            predicates: of the instances.
            kept: columns that have the instance's bin in every row, and these bins; None for none.
        """
        of_column = _OfColumns(groups, predicates, kept)
        parts = [_products([of_column[column] for column in own], groups.width) for own in groups.columns]
        if not parts:
            none = np.zeros((len(predicates.column), 0), dtype=np.int64)
            return cls(none, none[..., None], none[..., None], none[..., None])
        group = np.concatenate([np.where(part.real, g, -1) for g, part in enumerate(parts)], axis=1)
        low, high, members = (
            np.concatenate([getattr(part, name) for part in parts], axis=1) for name in ("low", "high", "members")
        )
        order = np.argsort(group < 0, axis=1, kind="stable")[:, : (group >= 0).sum(axis=1).max(initial=0)]
        deep = order[..., None]
        low, high, members = (np.take_along_axis(part, deep, axis=1) for part in (low, high, members))
        return cls(np.take_along_axis(group, order, axis=1), low, high, members)

    @property
    def named(self) -> Bool[np.ndarray, "instances conditions width"]:
        """The columns that each condition is about."""
        return self.members[..., ::2] >= 0

    @property
    def n_members(self) -> Int[np.ndarray, "instances conditions"]:
        """Number of predicates in each condition."""
        return (self.members >= 0).sum(axis=-1)

    def __getitem__(self, instances: slice) -> GroupConditions:
        return GroupConditions(
            self.group[instances], self.low[instances], self.high[instances], self.members[instances]
        )


@dataclass(frozen=True, slots=True)
class _Conditions:
    """Some conditions of each instance; those that are not `real` are none."""

    real: Bool[np.ndarray, "instances conditions"]
    low: Int[np.ndarray, "instances conditions width"]
    high: Int[np.ndarray, "instances conditions width"]
    members: Int[np.ndarray, "instances conditions members"]


class _OfColumns:
    """What may be demanded of each column: first nothing, then each predicate, then two bounds."""

    def __init__(
        self,
        groups: ColumnGroups,
        predicates: Predicates,
        kept: tuple[Sequence[int], Int[np.ndarray, "instances kept"]] | None,
    ) -> None:
        self._sizes = groups.sizes
        self._column, self._low, self._high = (
            bins.cpu().numpy() for bins in (predicates.column, predicates.low, predicates.high)
        )
        of_place = self._column.max(axis=0, initial=-1)
        self._places = [np.flatnonzero(of_place == column) for column in range(len(self._sizes))]
        self._kept = {} if kept is None else {int(column): kept[1][:, i] for i, column in enumerate(kept[0])}

    def __getitem__(self, column: int) -> _Conditions:
        places, n = self._places[column], len(self._column)
        least = self._kept.get(column, np.zeros(n, dtype=np.int64))
        most = self._kept.get(column, np.full(n, self._sizes[column] - 1))
        there = self._column[:, places] == column
        low, high = self._low[:, places], self._high[:, places]
        upper, lower = (part.ravel() for part in np.indices((len(places), len(places))))
        two_sided = there[:, upper] & there[:, lower]
        two_sided &= (low[:, upper] < low[:, lower]) & (high[:, upper] < high[:, lower])
        some = two_sided.any(axis=0)
        upper, lower, two_sided = upper[some], lower[some], two_sided[:, some]
        none = np.full(1, -1)
        members = np.stack(
            [np.concatenate([none, places, places[upper]]), np.concatenate([none, places * 0 - 1, places[lower]])], -1
        )
        return _Conditions(
            np.concatenate([np.ones((n, 1), dtype=bool), there, two_sided], axis=1),
            np.concatenate([least[:, None], low, low[:, lower]], axis=1)[..., None],
            np.concatenate([most[:, None], high, high[:, upper]], axis=1)[..., None],
            np.broadcast_to(members, (n, *members.shape)),
        )


def _products(columns: list[_Conditions], width: int) -> _Conditions:
    """Every combination of what may be demanded of a group's columns, but for nothing at all of any."""
    picked = np.indices([part.real.shape[1] for part in columns]).reshape(len(columns), -1)[:, 1:]
    n = len(columns[0].real)
    real = np.logical_and.reduce([part.real[:, k] for part, k in zip(columns, picked, strict=True)])
    low, high = np.zeros((2, n, picked.shape[1], width), dtype=np.int64)
    members = np.full((n, picked.shape[1], 2 * width), -1)
    for i, (part, k) in enumerate(zip(columns, picked, strict=True)):
        low[..., i], high[..., i] = part.low[:, k, 0], part.high[:, k, 0]
        members[..., 2 * i : 2 * i + 2] = part.members[:, k]
    return _Conditions(real, low, high, members)
