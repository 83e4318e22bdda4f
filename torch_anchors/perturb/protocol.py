"""What the engine asks of a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from torch_anchors.search.protocol import Request


@dataclass(frozen=True, slots=True)
class Order:
    """A request together with the instance it is about and the random stream of its job.

    `instance` is whatever the sampler calls its instance: a row number of the batch for tables; nothing for images,
    where each image has a sampler of its own.
    """

    request: Request
    rng: np.random.Generator
    instance: Any = None


@runtime_checkable
class Sampler(Protocol):
    """Draws the perturbed rows of one or many instances.

    A row travels as a *code*, one row of a (n, width) tensor from which `render` makes what the model sees: the
    packed keep-mask of an image (`perturb.masks`), or the feature values themselves of a table.
    """

    shares_rows: bool
    """Whether predicates are independent and a code determines its row (images). Then a job remembers its rows, rows
    drawn for one anchor count for larger ones, and codes are uint8 on the CPU, a packed mask first."""

    n_backgrounds: int
    """Equally likely rows of one mask; they are consecutive in an enumeration. 1 for tables."""

    dtype: torch.dtype
    """Type of a rendered row."""

    def n_predicates(self, instance: Any) -> int:
        """Predicates of the instance, K."""
        ...

    def draw(self, orders: Sequence[Order]) -> list[Tensor]:
        """Codes of the rows of each order, one (n, width) tensor an order, in one batched operation."""
        ...

    def instance_code(self, instance: Any) -> Tensor:
        """The (1, width) code of the unperturbed instance."""
        ...

    def row_shape(self) -> tuple[int, ...]:
        """Shape of a rendered row."""
        ...

    def empty(self, n: int) -> Tensor:
        """An uninitialised tensor (n, *row_shape) on the device, of `dtype`, for `render` to write into."""
        ...

    def render(self, codes: Tensor, out: Tensor | None = None) -> Tensor:
        """Rows (n, *row_shape) on the device for codes (n, width); written into `out` when given."""
        ...
