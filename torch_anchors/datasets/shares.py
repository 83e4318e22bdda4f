"""Which of several processes explains which input: by a hash of its id, so that nobody has to ask anybody."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from torch_anchors.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one process.

    Args:
        rank: its number, from 0.
        world_size: how many processes there are.
    """

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ArgumentError(
                f"rank must be from 0 to world_size - 1, got rank {self.rank} of {self.world_size} processes."
            )

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> Share:
        """What ``torchrun`` and similar launchers say by RANK and WORLD_SIZE; all of it where they say nothing.

        Raises:
            ArgumentError: only one of the two is there, or they are no numbers that fit.
        """
        environment = os.environ if environment is None else environment
        found = {name: environment[name] for name in ("RANK", "WORLD_SIZE") if environment.get(name)}
        if not found:
            return cls()
        try:
            return cls(int(found["RANK"]), int(found["WORLD_SIZE"]))
        except (KeyError, ValueError) as error:
            raise ArgumentError(
                "the environment variables RANK and WORLD_SIZE must be the number of this process and how many there "
                f"are, as torchrun sets them, got {found}; unset them to work alone."
            ) from error

    def has(self, id: str) -> bool:
        """Whether this process explains the input of that id; exactly one of them does."""
        if self.world_size == 1:
            return True
        digest = hashlib.blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.world_size == self.rank
