"""What the engine asks of a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from torch_anchors.search.protocol import Request


@dataclass(frozen=True, slots=True)
class Order:
    """A request together with the instance it is about and the random stream of its job.

    `instance` is whatever the sampler calls its instance (a row number of the batch for tables; unused for images,
    where each image has a sampler of its own).
    """

    request: Request
    rng: np.random.Generator
    instance: Any = None


class Sampler(Protocol):
    """Draws the perturbed rows of one or many instances.

    A row travels as a *code*, one row of a (n, width) tensor from which `render` makes what the model sees: the
    packed keep-mask of an image, or the feature values themselves of a table.
    """

    shares_rows: bool
    """Whether rows drawn for one anchor count for larger ones and equal codes are equal rows, so that a job
    remembers them (images); codes are then on the CPU."""

    def draw(self, orders: Sequence[Order]) -> list[Tensor]:
        """Codes of the rows of each order, one (n, width) tensor an order, in one batched operation."""
        ...

    def instance_code(self, instance: Any) -> Tensor:
        """The (1, width) code of the unperturbed instance."""
        ...

    def render(self, codes: Tensor, out: Tensor | None = None) -> Tensor:
        """Model input rows (n, ...) on the device for codes (n, width); written into `out` when given."""
        ...
