"""Targets of regressions: a value near the instance's, or in a range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_anchors._checks import is_number, said
from torch_anchors._shapes import Float
from torch_anchors.errors import ArgumentError
from torch_anchors.targets.raw_output import values_of
from torch_anchors.targets.target import Comparison, Labelling


@dataclass(frozen=True)
class Within(Comparison):
    """The value that a regression returns is within a tolerance of the one for the instance.

    Args:
        tolerance: largest difference that counts as the same answer, in the units of the value; above 0.

    The model returns one number per row, (N,) or (N, 1).

    Example:
        >>> Within(10).agreement(torch.tensor([100.0, 108.0, 111.0]), torch.tensor([100.0, 100.0, 100.0]))
        tensor([10.,  2., -1.])
    """

    tolerance: float | int

    def __post_init__(self) -> None:
        if not is_number(self.tolerance) or self.tolerance <= 0:
            raise ArgumentError(f"tolerance must be a number above 0, got {said(self.tolerance)}.")

    def answers(self, output: Any, n: int, device: torch.device) -> Float[Tensor, " rows"]:
        return values_of(output, n, device)

    def explained(self, answers: Float[Tensor, " 1"]) -> Float[Tensor, " 1"]:
        return answers

    def agreement(self, answers: Float[Tensor, " rows"], explained: Float[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        return self.tolerance - (answers - explained).abs()

    def name_of(self, label: int, explained: Float[Tensor, " 1"] | None = None) -> str:
        near = f"{'within' if label == 1 else 'beyond'} {self.tolerance:,.6g}"
        return near if explained is None else f"a value {near} of {float(explained):,.6g}"

    def said(self, explained: Float[Tensor, " 1"]) -> dict[str, Any]:
        return {"value": float(explained)}


@dataclass(frozen=True)
class Between(Labelling):
    """The value that a regression returns lies in a range. Of an instance outside it, that is what is explained.

    Args:
        low: least value inside; None for no bound.
        high: greatest value inside; None for no bound.

    The model returns one number per row, (N,) or (N, 1).

    Example:
        >>> Between(0, 10).labels(torch.tensor([-1.0, 2.0]), 2, torch.device("cpu"))
        tensor([[-1.],
                [ 2.]])
    """

    low: float | int | None = None
    high: float | int | None = None

    def __post_init__(self) -> None:
        for name, end in (("low", self.low), ("high", self.high)):
            if end is not None and not is_number(end):
                raise ArgumentError(f"{name} must be a finite number or None, got {said(end)}.")
        if self.low is None and self.high is None:
            raise ArgumentError("low or high must be given; without a bound every value is inside.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ArgumentError(f"high must be at least low, {self.low:g}, got {self.high:g}.")

    def labels(self, output: Any, n: int, device: torch.device) -> Float[Tensor, "rows 1"]:
        """How far inside each value is; the smallest number above 0 at a bound, which belongs to the range."""
        values = values_of(output, n, device)
        inside = torch.full_like(values, torch.inf)
        if self.low is not None:
            inside = inside.minimum(values - self.low)
        if self.high is not None:
            inside = inside.minimum(self.high - values)
        tiny = torch.finfo(values.dtype).tiny
        return torch.where(inside == 0, tiny, inside)[:, None]

    def name_of(self, label: int, explained: Tensor | None = None) -> str:
        if self.low is None:
            return f"a value {'up to' if label == 1 else 'above'} {self.high:,.6g}"
        if self.high is None:
            return f"a value {'from' if label == 1 else 'below'} {self.low:,.6g}{' on' if label == 1 else ''}"
        return f"a value {'from' if label == 1 else 'outside'} {self.low:,.6g} to {self.high:,.6g}"
