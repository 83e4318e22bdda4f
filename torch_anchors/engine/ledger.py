"""What is known: the label of every row, and which rows a job has drawn."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Int, Shaped
from torch_anchors.perturb.masks import holds, n_bytes
from torch_anchors.search.protocol import Anchor


class Ledger:
    """Labels by *slot*, on the device.

    Every row that is to be predicted gets the next slot, and rows are predicted in that order, so that a batch writes
    one contiguous piece and the host knows which slots are filled without ever looking at one. Slots before the
    oldest job's first are forgotten, so memory follows the jobs under way and not those finished.
    """

    def __init__(self, device: torch.device, capacity: int = 4096) -> None:
        self.labels: Tensor = torch.full((capacity,), -1, dtype=torch.int64, device=device)
        self.base = 0  # slot of labels[0]
        self.n_reserved = 0
        self.n_written = 0

    def reserve(self, n: int, oldest: int) -> int:
        """First of `n` new consecutive slots; slots before `oldest` may be forgotten."""
        first = self.n_reserved
        self.n_reserved += n
        if self.n_reserved - self.base > self.labels.shape[0]:
            self._move(min(oldest, self.n_written))
        return first

    def _move(self, oldest: int) -> None:
        capacity = self.labels.shape[0]
        while capacity < 2 * (self.n_reserved - oldest):
            capacity *= 2
        moved = torch.full((capacity,), -1, dtype=torch.int64, device=self.labels.device)
        kept = self.labels[oldest - self.base : self.n_written - self.base]
        moved[: kept.shape[0]] = kept
        self.labels, self.base = moved, oldest

    def write(self, labels: Int[Tensor, " rows"]) -> None:
        """Labels of the next rows in slot order."""
        start = self.n_written - self.base
        self.labels[start : start + labels.shape[0]] = labels
        self.n_written += labels.shape[0]

    def read(self, slots: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """Labels of slots that have been written."""
        return self.labels[slots - self.base]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows drawn together for one anchor: their codes (n, width) and slots (n,)."""

    anchor: Anchor
    codes: Tensor
    slots: NDArray[np.int64]


@dataclass(slots=True)
class Memory:
    """The rows that one job has drawn, and for images where each distinct one is to be found.

    `remembers` says that equal codes are equal rows: then none gets a second slot, and rows drawn for an anchor count
    for every larger anchor they satisfy.
    """

    remembers: bool
    blocks: list[Block] = field(default_factory=list)
    slot_of: dict[bytes, int] = field(default_factory=dict)

    def split(self, codes: Shaped[Tensor, "rows width"], first: int) -> tuple[NDArray[np.int64], Tensor]:
        """Slots of the rows, and the codes of those that are new, whose slots are consecutive from `first`.

        A dictionary is the fastest exact index for the hundreds of codes of a round; it sees packed bytes only.
        """
        if not self.remembers:
            return np.arange(first, first + codes.shape[0]), codes
        start = first - len(self.slot_of)
        keys = np.ascontiguousarray(codes.numpy()).view(f"V{codes.shape[1]}").ravel().tolist()
        slot_of = self.slot_of
        slots = np.array([slot_of.setdefault(key, start + len(slot_of)) for key in keys], dtype=np.int64)
        _, positions = np.unique(slots, return_index=True)
        new = positions[slots[positions] >= first]
        return slots, codes if new.size == codes.shape[0] else codes[torch.from_numpy(new)]

    def add(self, anchor: Anchor, codes: Tensor, slots: NDArray[np.int64]) -> None:
        """Takes note of rows drawn for `anchor`."""
        self.blocks.append(Block(anchor, codes, slots))

    def pool(self, anchor: Anchor, n_predicates: int) -> tuple[NDArray[np.int64], Tensor] | None:
        """Slots and codes of all rows so far that are draws of `anchor`; None where rows are not shared."""
        if not self.remembers:
            return None
        members = set(anchor)
        slots, codes = [np.zeros(0, dtype=np.int64)], [np.zeros((0, n_bytes(n_predicates)), dtype=np.uint8)]
        for block in self.blocks:
            if members.issuperset(block.anchor):
                packed = block.codes.numpy()
                held = holds(packed, anchor, n_predicates)
                slots.append(block.slots[held])
                codes.append(packed[held, : n_bytes(n_predicates)])
        return np.concatenate(slots), torch.from_numpy(np.concatenate(codes))

    def known(self, anchor: Anchor, n_predicates: int) -> tuple[NDArray[np.int64], Tensor | None]:
        """Slots and codes of rows already predicted that satisfy `anchor`, to show as examples."""
        if not self.remembers:
            blocks = [block for block in self.blocks if block.anchor == anchor]
            if not blocks:
                return np.zeros(0, dtype=np.int64), None
            return np.concatenate([b.slots for b in blocks]), torch.cat([b.codes for b in blocks])
        slots = np.fromiter(self.slot_of.values(), dtype=np.int64, count=len(self.slot_of))
        codes = np.frombuffer(b"".join(self.slot_of), dtype=np.uint8).reshape(len(self.slot_of), -1)
        held = holds(codes, anchor, n_predicates)
        return slots[held], torch.from_numpy(codes[held])
