"""The rows that a job has drawn, each with its slot in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Shaped
from torch_anchors.engine.pool import Pool
from torch_anchors.perturb.protocol import IndependentSampler, Sampler
from torch_anchors.search.protocol import Anchor


@dataclass(frozen=True, slots=True)
class Block:
    """Rows drawn together for one anchor: their codes (n, width) and slots (n,), at least one."""

    anchor: Anchor
    codes: Tensor
    slots: NDArray[np.int64]
    members: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", frozenset(self.anchor))


class Memory:
    """The rows that one job has drawn and, where equal codes are equal rows, the slot of each distinct one.

    Rows drawn for an anchor count for every larger anchor they satisfy where the sampler's predicates are independent.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._blocks: list[Block] = []
        self._pools: dict[Anchor, Pool] = {}
        self._slot_of: dict[bytes, int] = {}

    def split(self, codes: Shaped[Tensor, "rows width"], first: int) -> tuple[NDArray[np.int64], Tensor]:
        """Slots of the rows, and the codes of those that are new, whose slots are consecutive from `first`.

        A dictionary is the fastest exact index for the hundreds of codes of a round; it sees packed bytes only.
        """
        n = codes.shape[0]
        if not self._sampler.repeatable:
            return np.arange(first, first + n), codes
        slot_of, array = self._slot_of, np.ascontiguousarray(codes.numpy())
        keys, n_known = array.view(f"V{array.shape[1]}").ravel().tolist(), len(slot_of)
        # As if all were new. Those that are have then got the slot of their own place, and move up to the new ones.
        found = list(map(slot_of.setdefault, keys, range(first, first + n)))
        if len(slot_of) == n_known + n:
            return np.arange(first, first + n), codes
        slots = np.array(found)
        if len(slot_of) == n_known:
            return slots, codes[:0]
        places = slots - first
        is_new = places == np.arange(n)
        new, moved = np.flatnonzero(is_new), first + np.cumsum(is_new) - 1
        slot_of.update(zip([keys[i] for i in new.tolist()], moved[new].tolist(), strict=True))
        return np.where(places >= 0, moved[np.maximum(places, 0)], slots), torch.from_numpy(array[new])

    def add(self, anchor: Anchor, codes: Tensor, slots: NDArray[np.int64]) -> None:
        """Takes note of rows drawn for `anchor`."""
        self._blocks.append(Block(anchor, codes, slots))

    def pool(self, anchor: Anchor) -> Pool:
        """What is known of the rows that are draws of `anchor`, where the sampler's predicates are independent."""
        pool = self._pools.get(anchor)
        if pool is None:
            pool = self._pools[anchor] = Pool(cast(IndependentSampler, self._sampler).n_predicates)
        return pool

    def uncounted(self, anchor: Anchor) -> tuple[NDArray[np.int64], Tensor | None]:
        """Slots and codes of draws of `anchor` that its pool does not have, those that were drawn last first.

        They belong to the pool from now on, repeated where a row was drawn again.
        """
        pool = self.pool(anchor)
        blocks = [block for block in reversed(self._blocks[pool.n_blocks :]) if block.members.issubset(anchor)]
        pool.n_blocks = len(self._blocks)
        slots, codes = self._satisfying(anchor, blocks)
        if slots.size:
            pool.last_slot = max(pool.last_slot, int(slots.max()))
        return slots, codes

    def every(self, anchor: Anchor) -> tuple[NDArray[np.int64], Tensor | None, NDArray[np.bool_]]:
        """Slots and codes of all rows already predicted, and which of them are rows of `anchor`, to show as examples.

        Where equal codes are equal rows, each comes once.
        """
        if self._sampler.repeatable and self._sampler.independent:
            blocks = [self._distinct()] if self._slot_of else []
        else:
            blocks = self._blocks
        slots, codes = self._satisfying((), blocks)
        if codes is None:
            return slots, None, np.zeros(0, dtype=bool)
        if self._sampler.independent:
            return slots, codes, cast(IndependentSampler, self._sampler).holds(codes.numpy(), anchor)
        own = np.repeat([block.anchor == anchor for block in blocks], [block.slots.size for block in blocks])
        return slots, codes, own

    def _distinct(self) -> Block:
        """All distinct rows, in the order of their slots."""
        n = len(self._slot_of)
        slots = np.fromiter(self._slot_of.values(), dtype=np.int64, count=n)
        codes = np.frombuffer(bytearray().join(self._slot_of), dtype=np.uint8).reshape(n, -1)
        return Block((), torch.from_numpy(codes), slots)

    def _satisfying(self, anchor: Anchor, blocks: Sequence[Block]) -> tuple[NDArray[np.int64], Tensor | None]:
        """The rows of `blocks` on which `anchor` holds: all of them where rows are drawn for one anchor only."""
        if not blocks:
            return np.zeros(0, dtype=np.int64), None
        if len(blocks) == 1 and blocks[0].anchor == anchor:
            return blocks[0].slots, blocks[0].codes
        slots = np.concatenate([block.slots for block in blocks])
        if not self._sampler.independent:
            return slots, torch.cat([block.codes for block in blocks])
        codes = np.concatenate([block.codes.numpy() for block in blocks])
        if anchor:
            held = cast(IndependentSampler, self._sampler).holds(codes, anchor)
            slots, codes = slots[held], codes[held]
        return slots, torch.from_numpy(codes)
