"""Perturbed rows of a table, drawn for many anchors of many instances in one batched operation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._checks import one_of
from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.engine.device_copy import on_device
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import Anchor, SampleRequest
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.row_index import ENTROPY, whole
from torch_anchors.tables.training import TrainingRows

SAMPLINGS = ("interventional", "conditional")
"""The distributions that rows come from; see `RowSampler`."""


class RowSampler:
    """Draws rows on which an anchor holds; the engine's `Sampler` for tables.

    Under "interventional" sampling a row is a random training row whose values in the anchor's columns are replaced,
    all together, by those of a random training row on which the anchor holds. The other columns are independent of
    the anchor, so that the rows show what the conditions do by themselves, though some may look like no real row.
    Under "conditional" sampling a row is a random training row on which the anchor holds, and so is realistic.

    Where no training row satisfies the anchor, its columns, taken from left to right, are replaced together as far as
    there is a row that satisfies them together, and each of the others by itself from a row that satisfies its own
    condition. Where there is no such row either, a category or a missing value is set to the instance's and a number is
    drawn uniformly from its bins, and a warning says so. Every row drawn satisfies its anchor.

    Columns that are `fixed` have the instance's value in every row drawn.

    Args:
        training: the rows to draw from; drawing is done on their device.
        instances: the explained rows, numbers and category codes, NaN where a value is missing; an order names one by
            its number.
        sampling: one of the two distributions above.
        to_model: turns drawn rows into what the model reads, such as one-hot columns; None leaves them as they are.
        dtype: of the model's rows.
        fixed: numbers of columns that stay as they are; only where rows are made, by interventional sampling.

    Raises:
        ArgumentError: another `sampling`, `fixed` columns of rows that are taken as they are, or instances that have
            not as many columns as the training rows.
    """

    independent = False
    repeatable = False

    def __init__(
        self,
        training: TrainingRows,
        instances: Float[np.ndarray, "instances columns"],
        *,
        sampling: str = "interventional",
        to_model: Callable[[Tensor], Tensor] | None = None,
        dtype: torch.dtype = torch.float32,
        fixed: Sequence[int] = (),
    ) -> None:
        one_of("sampling", sampling, SAMPLINGS)
        if fixed and sampling == "conditional":
            raise ArgumentError(
                "fixed must be None with sampling='conditional', which takes training rows as they are. Make the "
                "explainer with sampling='interventional', or name the columns in exclude if no rule may have them."
            )
        if instances.shape[1] != training.values.shape[1]:
            raise ArgumentError(
                f"instances must have the training rows' {training.values.shape[1]} columns, got {instances.shape[1]}."
            )
        self.training = training
        self.instances = instances
        self.sampling = sampling
        self.fixed = tuple(fixed)
        self.dtype = dtype
        self.device = training.values.device
        self._to_model = to_model or _unchanged
        rows = torch.as_tensor(instances, dtype=training.values.dtype)
        self._host_codes = rows.numpy()
        self._instance_codes = rows.to(self.device)
        self._fixed = torch.tensor(self.fixed, dtype=torch.int64, device=self.device)
        self.binned = training.discretizer.bin(rows)
        predicates = training.discretizer.predicates(self.binned)
        self.predicates = predicates.to(self.device)
        self._host_predicates = torch.stack([predicates.column, predicates.low, predicates.high]).numpy()

    @property
    def n_predicates(self) -> int:
        """Number of places for predicates, the same for every instance; see `Predicates`."""
        return self.predicates.column.shape[1]

    @property
    def kept(self) -> tuple[tuple[int, ...], Int[np.ndarray, "instances fixed"]] | None:
        """The columns that are fixed and the bins of each instance there; None where none is."""
        return (self.fixed, self.binned[:, self.fixed].numpy()) if self.fixed else None

    def draw(self, orders: Sequence[Order]) -> list[Float[Tensor, "n columns"]]:
        """Rows for each order, numbers and category codes, on the device.

        An order's rows depend on its instance, request and random stream alone, not on the other orders.
        """
        instances = np.array([order.instance for order in orders], dtype=np.int64)
        conditions = self.conditions(instances, [cast(SampleRequest, order.request).anchor for order in orders])
        step = self.training.index.n_anchors_at_once(conditions.column.shape[1])
        drawn: list[Tensor] = []
        for first in range(0, len(orders), step):
            part = slice(first, first + step)
            drawn += self._draw(orders[part], instances[part], conditions[part])
        return drawn

    def alone(self, instance: int) -> RowSampler:
        """A sampler of one of the instances, which has the number 0 there."""
        return RowSampler(
            self.training,
            self.instances[instance : instance + 1],
            sampling=self.sampling,
            to_model=self._to_model,
            dtype=self.dtype,
            fixed=self.fixed,
        )

    def ids(self, instance: int) -> list[int]:
        """Ids of an instance's predicates; the places that have none are left out."""
        return np.flatnonzero(self._host_predicates[0, instance] >= 0).tolist()

    def bins(self, instance: int, anchor: Anchor) -> list[tuple[int, int, int]]:
        """Column, lowest and highest bin of each predicate of an anchor; column -1 where there is none."""
        return [tuple(line) for line in self._host_predicates[:, instance, list(anchor)].T.tolist()]

    def n_changes(
        self, codes: Float[Tensor, "rows columns"], instance: int | Int[np.ndarray, " rows"]
    ) -> Int[Tensor, " rows"]:
        """In how many columns each row is unlike an instance: in another bin, or of another category."""
        return self.changed(codes, instance).sum(dim=1)

    def changed(
        self, codes: Float[Tensor, "rows columns"], instance: int | Sequence[int] | Int[np.ndarray, " rows"]
    ) -> Bool[Tensor, "rows columns"]:
        """In which columns each row is unlike an instance, one for all or each its own, on the device."""
        above, at_most = self._edges[:, instance]
        alike = (codes > above) & (codes <= at_most)
        if self._has_missing[instance].any():
            alike |= codes.isnan() & self._instance_codes[instance].isnan()
        return ~alike

    @cached_property
    def _has_missing(self) -> Bool[np.ndarray, " instances"]:
        """Which instances have any missing value."""
        return np.isnan(self.instances).any(axis=1)

    @cached_property
    def _edges(self) -> Float[Tensor, "2 instances columns"]:
        """See `Discretizer.edges`; on the device."""
        edges = self.training.discretizer.edges(self.binned.numpy(), self.instances)
        return torch.as_tensor(edges, dtype=self.training.values.dtype).to(self.device)

    def instance_code(self, instance: Any) -> Float[Tensor, "1 columns"]:
        """The explained row itself."""
        return self._instance_codes[instance : instance + 1]

    def row_shape(self) -> tuple[int, ...]:
        """The number of columns that the model reads, alone in a tuple."""
        return self._row_shape

    @cached_property
    def _row_shape(self) -> tuple[int, ...]:
        return tuple(self._to_model(self.training.values[:1]).shape[1:])

    def empty(self, n: int) -> Shaped[Tensor, "rows features"]:
        """Room for `n` of the model's rows."""
        return torch.empty(n, *self.row_shape(), dtype=self.dtype, device=self.device)

    def render(
        self, codes: Float[Tensor, "rows columns"], out: Shaped[Tensor, "rows features"] | None = None
    ) -> Shaped[Tensor, "rows features"]:
        """The model's rows for drawn rows; written into `out` when given."""
        rows = self._to_model(codes)
        return rows.to(self.dtype, copy=True) if out is None else out.copy_(rows)

    def n_covered(
        self, instances: Sequence[int] | NDArray[np.int64], anchors: Sequence[Anchor]
    ) -> Int[Tensor, " anchors"]:
        """Number of training rows on which each anchor, of the instance beside it, holds; on the device."""
        return self.training.index.count(self.conditions(instances, anchors))

    def conditions(self, instances: Sequence[int] | NDArray[np.int64], anchors: Sequence[Anchor]) -> Conditions:
        """What each anchor, of the instance beside it, demands of each column, from left to right."""
        return Conditions.of_anchors(self._host_predicates, instances, anchors)

    def _draw(self, orders: Sequence[Order], instances: NDArray[np.int64], conditions: Conditions) -> list[Tensor]:
        """Rows for as many orders as the index looks up at a time."""
        index, values = self.training.index, self.training.values
        n_columns, sizes = values.shape[1], [_n_rows(order) for order in orders]
        owner, uniform = np.repeat(np.arange(len(orders)), sizes), _uniform(orders, sizes, conditions)
        sent = [
            whole(uniform[:, 1]) % index.n_rows,
            # Positions without a condition are about a column that is cut off again: there is no scatter with a mask.
            np.where(conditions.column < 0, n_columns, conditions.column)[owner],
            self._host_codes[instances][:, self.fixed][owner],
        ]
        chosen, (base, column, fixed) = index.choose(conditions, owner, uniform[:, 0], uniform[:, 2:], sent)
        base = chosen.joint if self.sampling == "conditional" else base
        source = base[:, None].repeat(1, n_columns + 1).scatter_(1, column, chosen.source)
        rows = values.gather(0, source[:, :n_columns])
        absent = (index.spans(conditions)[1] == 0) & (conditions.column >= 0)
        if absent.any():
            self._invent(rows, conditions, absent, instances, owner, uniform[:, 2:])
        if self.fixed:
            rows.index_copy_(1, self._fixed, fixed)
        return list(torch.split(rows, sizes))

    def _invent(
        self,
        rows: Float[Tensor, "rows columns"],
        conditions: Conditions,
        absent: Bool[np.ndarray, "anchors positions"],
        instances: NDArray[np.int64],
        owner: Int[np.ndarray, " rows"],
        uniform: Float[np.ndarray, "rows positions"],
    ) -> None:
        """Writes values for the conditions that no training row satisfies, `absent`, into rows of these anchors."""
        draw, position = absent[owner].nonzero()
        anchor, column = owner[draw], conditions.column[owner[draw], position]
        least, greatest = self._value_ranges(conditions, absent, instances)[:, anchor, position]
        invented = uniform_between(least, greatest, torch.from_numpy(whole(uniform[draw, position])))
        places, values = on_device([draw * rows.shape[1] + column, invented.numpy()], self.device)
        rows.view(-1).index_copy_(0, places, values)

    def _value_ranges(
        self, conditions: Conditions, absent: Bool[np.ndarray, "anchors positions"], instances: NDArray[np.int64]
    ) -> Float[Tensor, "2 anchors positions"]:
        """Least and greatest value to draw for the conditions that no training row satisfies, on the host."""
        anchor, position = absent.nonzero()
        column, low, high = (bins[absent] for bins in (conditions.column, conditions.low, conditions.high))
        warnings.warn(
            f"No training row has the instance's category, or a number in its bins, in columns "
            f"{sorted(set(column.tolist()))}; drawn rows get the instance's category or a number drawn uniformly from "
            "the bins, and a missing value stays missing. Explain rows that look like train_data, or fit on more rows.",
            AnchorsWarning,
            stacklevel=5,
        )
        ranges = torch.zeros(2, *absent.shape, dtype=self.training.values.dtype)
        own = self.instances[instances[anchor], column]
        ranges[:, anchor, position] = self.training.discretizer.value_ranges(column, low, high, own, ranges.dtype)
        return ranges


def _unchanged(codes: Tensor) -> Tensor:
    return codes


def uniform_between(
    least: Float[Tensor, "*shape"], greatest: Float[Tensor, "*shape"], entropy: Int[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Uniform random numbers from `least` to `greatest`, neither less nor greater for any rounding."""
    share = entropy.to(least.dtype) / ENTROPY
    return torch.minimum(least + share * (greatest - least).clamp(min=0), greatest)


def _n_rows(order: Order) -> int:
    if not isinstance(order.request, SampleRequest):
        raise TypeError(f"Rows of a table are sampled, never enumerated, got {order.request!r}.")
    return order.request.n


def _uniform(
    orders: Sequence[Order], sizes: Sequence[int], conditions: Conditions
) -> Float[np.ndarray, "rows numbers"]:
    """Random numbers in [0, 1) for each row: for its joint row, its base row, and each condition of its anchor."""
    uniform = np.zeros((sum(sizes), 2 + conditions.column.shape[1]))
    widths = 2 + (conditions.column >= 0).sum(axis=1)
    for order, end, n, width in zip(orders, np.cumsum(sizes).tolist(), sizes, widths.tolist(), strict=True):
        uniform[end - n : end, :width] = order.rng.random((n, width))
    return uniform
