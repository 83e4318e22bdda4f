"""Where randomness comes from: the user's seed, and from it a stream for each instance."""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray

from torch_anchors._checks import whole


def checked_seed(seed: int | np.integer | None) -> int:
    """The user's seed, or a new one from the system."""
    given = whole("seed", seed, or_none=True)
    return secrets.randbits(64) if given is None else given


def stream(seed: int, *instance: bytes) -> np.random.Generator:
    """The random stream of one instance: from the seed and the instance's bytes, never from its position.

    So an explanation does not depend on what else is in a batch, nor on the order.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in instance:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    words = np.concatenate([_words(seed), _words(int.from_bytes(digest.digest(), "little"))])
    return np.random.Generator(np.random.PCG64(words))


def _words(number: int) -> NDArray[np.uint32]:
    """A number as NumPy's ``SeedSequence`` reads it, in half the time: ``default_rng`` of numbers is of their words."""
    n_words = max(-(-number.bit_length() // 32), 1)
    return np.frombuffer(number.to_bytes(4 * n_words, "little"), dtype="<u4")
