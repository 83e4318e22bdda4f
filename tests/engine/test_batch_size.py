"""The size of a batch: given, found, halved; on timings that are made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.errors import ArgumentError

CPU, META = torch.device("cpu"), torch.device("meta")


def tuned(
    seconds: Callable[[int], float],
    shape: tuple[int, ...] = (3, 64, 64),
    device: torch.device = CPU,
    static_shapes: bool = False,
) -> tuple[BatchSize, list[int]]:
    """A size found on a model that takes `seconds(n)` for n rows, and the sizes tried on the way."""
    size, tried = BatchSize("auto"), []
    size.start(shape, device, static_shapes)
    while size.tuning:
        tried.append(size.n)
        size.record(size.n, seconds(size.n))
        assert len(tried) < 200
    return size, tried


def test_a_given_size_is_the_size() -> None:
    size = BatchSize(48)
    size.start((3, 224, 224), CPU)
    size.record(48, 0.1)
    assert size.n == 48
    assert not size.tuning


@pytest.mark.parametrize("given", [0, -3, 2.5, "many", None, True])
def test_a_size_that_is_none_is_an_error(given: Any, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=f'max_rows must be "auto" or a whole number.*got {given!r}'):
        BatchSize(given)


def test_numpy_integers_are_sizes(unchecked: None) -> None:
    assert BatchSize(np.int64(12)).n == 12


@pytest.mark.parametrize("best", [4, 8, 32, 128])
def test_the_fastest_size_is_found(best: int) -> None:
    size, tried = tuned(lambda n: n * (1 + abs(np.log2(n / best))))
    assert size.n == best
    assert max(tried) == 2 * best
    assert len(tried) <= 4 * np.log2(best / 4) + 7  # each step up is timed twice, and what it came from as well


def test_the_climb_may_begin_anywhere() -> None:
    size = BatchSize("auto", n=1024, tuning=True)
    size.start((20,), CPU)
    assert size.n == 1024
    while size.tuning:
        size.record(size.n, size.n * abs(np.log2(size.n / 4096)) + 1)
    assert size.n == 4096


def test_a_slow_first_pass_does_not_count() -> None:
    first = iter([30.0])
    size, _ = tuned(lambda n: n * (1 + abs(np.log2(n / 4))) + next(first, 0.0))
    assert size.n == 4


def test_a_slow_first_pass_of_each_size_does_not_count_where_shapes_are_prepared_for() -> None:
    seen: set[int] = set()

    def seconds(n: int) -> float:
        known = n in seen
        seen.add(n)
        return n * (1 + abs(np.log2(n / 256))) + (0.0 if known else 1e6)

    size, _ = tuned(seconds, device=META, static_shapes=True)
    assert size.n == 256


def test_a_size_that_is_faster_once_a_larger_one_has_run_is_timed_again() -> None:
    seen: set[int] = set()

    def seconds(n: int) -> float:
        seen.add(n)
        return n * (1.6 if n == 4 and 8 not in seen else {4: 1.0, 8: 1.5}.get(n, 2.0))

    size, tried = tuned(seconds)
    assert size.n == 4
    assert tried == [4, 4, 4, 8, 8, 4, 4]  # the very first pass does not count


def test_larger_batches_must_be_worth_their_memory() -> None:
    size, _ = tuned(lambda n: 0.01 * n)  # the same rows a second at every size
    assert size.n == 4


def test_where_rows_are_free_the_size_ends_at_the_limit_of_memory() -> None:
    size, tried = tuned(lambda n: 1.0, shape=(3, 256, 256))
    assert size.n * 4 * 3 * 256 * 256 <= 1 << 28
    assert 2 * size.n > size.limit
    assert max(tried) == size.n


def test_only_full_batches_are_timed() -> None:
    size = BatchSize("auto")
    size.start((3, 32, 32), CPU)
    n = size.n
    for _ in range(20):
        size.record(n - 1, 1e-9)
    assert size.tuning
    assert size.n == n


@pytest.mark.parametrize(
    ("shape", "device", "first"),
    [((3, 224, 224), CPU, 4), ((3, 224, 224), META, 64), ((20,), CPU, 64), ((20,), META, 64)],
)
def test_the_climb_begins_where_a_device_needs_it(shape: tuple[int, ...], device: torch.device, first: int) -> None:
    size = BatchSize("auto")
    size.start(shape, device)
    assert size.n == first
    size.start((1,), CPU)  # another instance of the same model changes nothing
    assert size.n == first


def test_a_size_found_on_small_images_is_not_kept_for_large_ones() -> None:
    size, _ = tuned(lambda n: 1.0, shape=(3, 8, 8))
    small = size.n
    size.start((3, 512, 512), CPU)
    assert size.n * 4 * 3 * 512 * 512 <= 1 << 28
    assert size.n < small


def test_out_of_memory_halves_the_size_for_good() -> None:
    size = BatchSize("auto")
    size.start((3, 32, 32), META)
    size.shrink(64)
    assert (size.n, size.tuning) == (32, False)
    for _ in range(10):
        size.record(32, 1.0)
    assert size.n == 32
    size.shrink(32)
    size.shrink(16)
    size.start((3, 32, 32), META)
    assert size.n == 8


@pytest.mark.parametrize(("failed", "left"), [(7, 3), (2, 1), (1, 1)])
def test_a_given_size_is_halved_too(failed: int, left: int) -> None:
    size = BatchSize(7)
    size.shrink(failed)
    assert size.n == left


@pytest.mark.parametrize(
    ("full", "n_rows", "expected"),
    [(64, 64, 64), (64, 33, 64), (64, 32, 32), (64, 17, 32), (64, 9, 16), (64, 8, 8), (64, 1, 8), (5, 2, 5), (6, 2, 3)],
)
def test_batches_are_padded_to_few_sizes(full: int, n_rows: int, expected: int) -> None:
    assert BatchSize(full).padded(n_rows) == expected


def test_a_batch_has_at_most_four_shapes() -> None:
    for full in (1, 2, 3, 24, 100, 256):
        sizes = {BatchSize(full).padded(n) for n in range(1, full + 1)}
        assert len(sizes) <= 4
        assert max(sizes) == full
