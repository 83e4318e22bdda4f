"""The value of a column <-> its bin, and the elementary conditions that hold on an instance."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._checks import is_number, said
from torch_anchors._shapes import Bool, Float, Int
from torch_anchors.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Predicates:
    """The elementary conditions that hold on each of some instances; a predicate's id is its place in the row.

    Predicate p of instance i holds on the rows whose bin in column `column[i, p]` is at least `low[i, p]` and at most
    `high[i, p]`. A place in column -1 has no predicate: where a number is missing, the only condition is that it is,
    in place of one for each cut point; and no rule may name a column that is excluded.
    """

    column: Int[Tensor, "instances predicates"]
    low: Int[Tensor, "instances predicates"]
    high: Int[Tensor, "instances predicates"]

    def __getitem__(self, instances: slice) -> Predicates:
        return Predicates(self.column[instances], self.low[instances], self.high[instances])

    def to(self, device: torch.device | str) -> Predicates:
        """The same predicates on `device`."""
        return Predicates(self.column.to(device), self.low.to(device), self.high.to(device))

    def without(self, columns: Collection[int]) -> Predicates:
        """The same in their places, but for those on some columns, which are none any more."""
        if not columns:
            return self
        closed = torch.isin(self.column, torch.tensor(sorted(columns), device=self.column.device))
        return Predicates(torch.where(closed, -1, self.column), self.low, self.high)


@dataclass(frozen=True, slots=True)
class Discretizer:
    """Bins of the columns of a table; make one with `Discretizer.fit`.

    A numeric column with the cut points c_1 < ... < c_m has the bins 0 to m, and bin i is (c_i, c_(i+1)]: a value's
    bin is the number of cut points below it. A categorical column's bin is its category's code. A missing value (NaN)
    has a bin of its own, `n_values`, above all of these, so that it is neither "at most" nor "above" anything. Any
    other value (a category that was never declared) falls in the bin `n_bins`, where no training row is; so does a
    missing one where none was missing in training.

    Args:
        cuts: cut points of each column, ascending; none for a categorical column.
        n_values: number of bins of each column for values that are not missing.
        has_missing: which columns have missing values in training.
        categorical: which columns are categorical.
        varies: which columns have two or more different values in training; a missing one is different from all.
        minimum, maximum: range of each column in training, where it is not missing.
    """

    cuts: tuple[NDArray[np.float64], ...]
    n_values: NDArray[np.int64]
    has_missing: NDArray[np.bool_]
    categorical: NDArray[np.bool_]
    varies: NDArray[np.bool_]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "rows columns"],
        n_categories: Sequence[int | None],
        percentiles: Sequence[float | int] = (25, 50, 75),
    ) -> Discretizer:
        """Bins whose cut points are the percentiles of each numeric column of `rows`.

        Percentiles that coincide are one cut point, and a cut point at the largest value is none, as nothing lies
        above it.

        Args:
            rows: training rows, finite or NaN where a value is missing; categorical columns hold codes.
            n_categories: number of categories of each column, or None for a numeric column.
            percentiles: in [0, 100].

        Raises:
            ArgumentError: no rows, or a percentile outside [0, 100].

        Example:
            >>> Discretizer.fit(np.array([[1.0], [2.0], [3.0], [4.0]]), [None], (50,)).cuts
            (array([2.5]),)
        """
        if len(rows) == 0:
            raise ArgumentError("train_data must have at least one row, got none.")
        percentiles = checked_percentiles(percentiles)
        categorical = np.array([n is not None for n in n_categories], dtype=bool)
        gone = np.isnan(rows)
        minimum = np.where(gone, np.inf, rows).min(axis=0).astype(np.float64)
        maximum = np.where(gone, -np.inf, rows).max(axis=0).astype(np.float64)
        cuts = tuple(
            np.empty(0) if is_category else _cut_points(rows[~gone[:, i], i], maximum[i], percentiles)
            for i, is_category in enumerate(categorical)
        )
        n_values = [len(c) + 1 if n is None else n for c, n in zip(cuts, n_categories, strict=True)]
        has_missing = gone.any(axis=0)
        varies = (minimum < maximum) | (has_missing & ~gone.all(axis=0))
        return cls(cuts, np.array(n_values, dtype=np.int64), has_missing, categorical, varies, minimum, maximum)

    @property
    def n_bins(self) -> NDArray[np.int64]:
        """Number of bins of each column, not counting the one where no training row is."""
        return self.n_values + self.has_missing

    def bin(self, rows: Float[Tensor, "rows columns"]) -> Int[Tensor, "rows columns"]:
        """The bin of every value, on the device of `rows`; int16 where that is enough, otherwise int32."""
        dtype = torch.int16 if self.n_bins.max() < torch.iinfo(torch.int16).max else torch.int32
        # Column by column in memory: everything that reads bins reads whole columns.
        binned = torch.empty(rows.shape[1], len(rows), dtype=dtype, device=rows.device)
        for column, values in enumerate(rows.unbind(1)):
            n, n_bins = int(self.n_values[column]), int(self.n_bins[column])
            if self.categorical[column]:
                known = (values >= 0) & (values < n) & (values == values.floor())
                bins = torch.where(known, values, n_bins)
            else:
                cuts = torch.as_tensor(self.cuts[column], dtype=rows.dtype, device=rows.device)
                bins = torch.bucketize(values.contiguous(), cuts, out_int32=True)
            binned[column] = torch.where(values.isnan(), n, bins).to(dtype)
        return binned.T

    def predicates(self, binned: Int[Tensor, "instances columns"]) -> Predicates:
        """The predicates of instances with these bins, column by column and from the lowest cut point up.

        A categorical column gives "is this category"; each cut point of a numeric one gives "at most" or "above",
        whichever holds on the instance; a missing value gives "is missing"; a constant column gives none.
        """
        column = torch.as_tensor(self._predicate_columns(), device=binned.device)
        cut = torch.as_tensor(self._predicate_cuts(), device=binned.device)
        top = torch.as_tensor(self.n_values - 1, device=binned.device)[column]
        n_cuts = torch.as_tensor([len(cuts) for cuts in self.cuts], device=binned.device)[column]
        code = binned.long()[:, column]  # instances, predicates
        gone = (code > top) & (cut >= 0)  # a number that is missing; of a category that is, the bin says all
        is_one = (cut < 0) | gone
        below = code <= cut
        low = torch.where(is_one, code, torch.where(below, 0, cut + 1))
        high = torch.where(is_one, code, torch.where(below, cut, top))
        there = (cut < 0) | torch.where(gone, cut == 0, cut < n_cuts)
        return Predicates(torch.where(there, column, -1), low, high)

    def bounds(
        self, column: Int[np.ndarray, " n"], low: Int[np.ndarray, " n"], high: Int[np.ndarray, " n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The cut points around the bins `low` to `high` of numeric columns, infinite where there is none.

        A value is in these bins when it is above the first and at most the second.
        """
        edges = np.full((len(self.cuts), max(map(len, self.cuts), default=0) + 2), np.inf)
        edges[:, 0] = -np.inf
        for line, cuts in zip(edges, self.cuts, strict=True):
            line[1 : len(cuts) + 1] = cuts
        return edges[column, low], edges[column, high + 1]

    def edges(
        self, binned: Int[np.ndarray, "instances columns"], rows: Float[np.ndarray, "instances columns"]
    ) -> Float[np.ndarray, "2 instances columns"]:
        """What the values in the bins of some instances are above, and what they are at most.

        A value of a categorical column is within half of its own code; of one that is missing both are NaN.
        """
        column = np.broadcast_to(np.arange(len(self.cuts)), rows.shape)
        numeric = ~self.categorical[column] & ~np.isnan(rows)
        edges = np.stack([rows - 0.5, rows + 0.5])
        edges[:, numeric] = self.bounds(column[numeric], binned[numeric], binned[numeric])
        return edges

    def value_ranges(
        self,
        column: Int[np.ndarray, " n"],
        low: Int[np.ndarray, " n"],
        high: Int[np.ndarray, " n"],
        own: Float[np.ndarray, " n"],
        dtype: torch.dtype = torch.float64,
    ) -> Float[Tensor, "2 n"]:
        """Least and greatest value in the bins `low` to `high` of each column.

        An unbounded side ends at the training rows' extreme or at `own`, the instance's value, where that is beyond.
        A category's range is `own` alone, and so is NaN for a missing value.
        """
        numeric = ~self.categorical[column] & ~np.isnan(own)
        lower, upper = np.full(len(column), -np.inf), own.copy()
        lower[numeric], upper[numeric] = self.bounds(column[numeric], low[numeric], high[numeric])
        unbounded = np.isinf(lower)
        least = np.where(unbounded & numeric, np.minimum(self.minimum[column], own), np.where(unbounded, own, lower))
        greatest = np.where(np.isinf(upper), np.maximum(self.maximum[column], own), upper)
        ranges = torch.as_tensor(np.stack([least, greatest]), dtype=dtype)
        # A bin does not contain the cut point below it.
        above = torch.nextafter(ranges[0], torch.tensor(torch.inf, dtype=dtype))
        ranges[0] = torch.where(torch.as_tensor(unbounded), ranges[0], above)
        return ranges

    @property
    def n_predicates(self) -> int:
        """Number of places for predicates of each instance."""
        return len(self._predicate_columns())

    def _predicate_columns(self) -> NDArray[np.int64]:
        of_numbers = np.maximum(self.n_values - 1, self.has_missing)
        n = np.where(self.categorical, 1, of_numbers) * self.varies
        return np.repeat(np.arange(len(self.cuts)), n)

    def _predicate_cuts(self) -> NDArray[np.int64]:
        """Number of each predicate's cut point in its column; -1 for categorical ones."""
        columns = self._predicate_columns()
        first = np.searchsorted(columns, columns)  # where the column's predicates begin
        return np.where(self.categorical[columns], -1, np.arange(len(columns)) - first)


def checked_percentiles(percentiles: Any) -> tuple[float | int, ...]:
    """The percentiles as numbers.

    Raises:
        ArgumentError: they are not a sequence of numbers in [0, 100].
    """
    if not isinstance(percentiles, Sequence | np.ndarray) or isinstance(percentiles, str) or np.ndim(percentiles) != 1:
        raise ArgumentError(f"disc_perc must be several percentiles such as (25, 50, 75), got {said(percentiles)}.")
    if not all(is_number(percentile) and 0 <= percentile <= 100 for percentile in percentiles):
        raise ArgumentError(f"disc_perc must be percentiles in [0, 100], got {said(tuple(percentiles))}.")
    return tuple(percentiles)


def within(
    bins: Int[Tensor, "conditions rows"], low: Int[Tensor, " conditions"], high: Int[Tensor, " conditions"]
) -> Bool[Tensor, "conditions rows"]:
    """Which bins of each condition's column are from `low` to `high`."""
    low, high = low.to(bins.dtype), high.to(bins.dtype)  # comparing mixed types would widen all rows
    return (bins >= low[:, None]) & (bins <= high[:, None])


def _cut_points(
    values: Float[np.ndarray, " rows"], maximum: float, percentiles: Sequence[float | int]
) -> NDArray[np.float64]:
    """The percentiles of the values of a column that are not missing, without those at or above the maximum."""
    cuts = np.unique(np.percentile(values, percentiles)) if len(percentiles) and len(values) else np.empty(0)
    return cuts[cuts < maximum]
