"""What the engine asks of a sampler."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors.search.protocol import Anchor, Request


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
    packed keep-mask of an image, or the values themselves of a table's row. Only the sampler knows what is in a code.
    """

    independent: bool
    """Whether a row drawn for an anchor is also a draw of every larger anchor that it satisfies. The sampler is then a
    `MaskSampler`-like one: see `IndependentSampler`."""

    repeatable: bool
    """Whether equal codes are equal rows, so that none need be predicted twice. Codes are then uint8 on the CPU."""

    dtype: torch.dtype
    """Type of a rendered row."""

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


class JointSampler(Sampler, Protocol):
    """A sampler whose rows can be rendered jointly with those of others, in fewer operations than each by itself.

    A device is told what to do one operation after the other, however small, and batches have rows of many instances.
    """

    @property
    def joint_key(self) -> Hashable:
        """What is equal for samplers whose rows are rendered jointly."""
        ...

    def render_jointly(self, runs: Sequence[tuple[Any, Tensor]], out: Tensor) -> Tensor:
        """Rows (n, *row_shape) of samplers of this one's key, itself among them, from their codes; written to `out`."""
        ...


@runtime_checkable
class ComparingSampler(Sampler, Protocol):
    """A sampler that can tell how far a row is from the instance: explanations then show the nearest miss."""

    def n_changes(self, codes: Tensor, instance: Any) -> Tensor:
        """How many changes made each row of the instance, (n,) whole numbers, on the sampler's device or the host.

        Of a sampler of many instances, `instance` may be an array (n,) that says which one each row is of.
        """
        ...


@runtime_checkable
class IndependentSampler(Sampler, Protocol):
    """A sampler whose predicates hold independently of each other, so that a row tells which of them it satisfies.

    Its codes are uint8 on the CPU, one line a row.
    """

    n_backgrounds: int
    """Equally likely rows of one mask; they are consecutive in an enumeration."""

    @property
    def n_predicates(self) -> int:
        """Predicates of the instance, K."""
        ...

    @property
    def p_keep(self) -> float:
        """Chance that a predicate outside the anchor holds, in [0, 1]."""
        ...

    def of_parts(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """A number of each part of the instance from one of each predicate, 0 for parts that no predicate is about."""
        ...

    def keep(self, codes: Tensor) -> Tensor:
        """Which predicates hold in each row, (n, K) bool on the device of `codes`.

        Samplers of one class with equally many predicates and codes of one width read codes alike: those of many
        instances are read together.
        """
        ...

    def kept(self, codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """As `keep`, (n, K), on the host."""
        ...

    def holds(self, codes: NDArray[np.uint8], anchor: Anchor) -> NDArray[np.bool_]:
        """In which of the rows (n, width) all predicates of `anchor` hold, on the host."""
        ...
