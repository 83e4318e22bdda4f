"""Where randomness comes from."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.seeds import checked_seed, stream


def test_the_stream_of_an_instance_depends_on_seed_and_bytes_only() -> None:
    def draw(seed: int, *parts: bytes) -> list[float]:
        return stream(seed, *parts).random(4).tolist()

    assert draw(1, b"ab", b"c") == draw(1, b"ab", b"c")
    different = [
        draw(1, b"ab", b"c"),
        draw(2, b"ab", b"c"),
        draw(1, b"a", b"bc"),
        draw(1, b"abc"),
        draw(1, b"ab", b"d"),
    ]
    assert len({tuple(numbers) for numbers in different}) == 5


def test_streams_are_the_same_on_every_machine_and_in_every_version() -> None:
    assert stream(7, b"an instance").integers(1000, size=5).tolist() == [956, 167, 235, 254, 4]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**64 - 1, 2**100])
def test_a_stream_is_the_one_that_numpy_makes_of_the_two_numbers(seed: int) -> None:
    digest = hashlib.blake2b((3).to_bytes(8, "little") + b"abc", digest_size=16).digest()
    theirs = np.random.default_rng([seed, int.from_bytes(digest, "little")])
    assert stream(seed, b"abc").bit_generator.state == theirs.bit_generator.state


def test_seeds() -> None:
    assert checked_seed(7) == 7
    assert checked_seed(np.int64(7)) == 7
    assert type(checked_seed(np.int64(7))) is int
    assert checked_seed(None) != checked_seed(None)
    assert checked_seed(None) >= 0
    stream(checked_seed(None), b"")


@pytest.mark.parametrize("seed", [-1, 1.5, "7", True, np.int64(-2)])
def test_what_is_no_seed(seed: Any, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=r"seed must be None or a whole number of at least 0, got "):
        checked_seed(seed)
