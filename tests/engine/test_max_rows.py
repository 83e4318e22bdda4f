"""The size of a batch: given, found, halved; on timings that are made up."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.engine.max_rows import MaxRows, is_out_of_memory
from torch_anchors.errors import ArgumentError, PredictorCallError

CPU, META = torch.device("cpu"), torch.device("meta")


def tuned(
    seconds: Callable[[int], float],
    shape: tuple[int, ...] = (3, 64, 64),
    device: torch.device = CPU,
    static_shapes: bool = False,
) -> tuple[MaxRows, list[int]]:
    """A size found on a model that takes `seconds(n)` for n rows, and the sizes tried on the way."""
    size, tried = MaxRows("auto"), []
    size.start(shape, device, static_shapes)
    while size.tuning:
        tried.append(size.n)
        size.record(size.n, seconds(size.n))
        assert len(tried) < 200
    return size, tried


def test_a_given_size_is_the_size() -> None:
    size = MaxRows(48)
    size.start((3, 224, 224), CPU)
    size.record(48, 0.1)
    assert size.n == 48
    assert not size.tuning


@pytest.mark.parametrize("given", [0, -3, 2.5, "many", None, True])
def test_a_size_that_is_none_is_an_error(given: Any, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=f'max_rows must be "auto" or a whole number.*got {given!r}'):
        MaxRows(given)


def test_numpy_integers_are_sizes(unchecked: None) -> None:
    assert MaxRows(np.int64(12)).n == 12


@pytest.mark.parametrize("best", [4, 8, 32, 128])
def test_the_fastest_size_is_found(best: int) -> None:
    size, tried = tuned(lambda n: n * (1 + abs(np.log2(n / best))))
    assert size.n == best
    assert max(tried) == 2 * best
    assert len(tried) <= 4 * np.log2(best / 4) + 7  # each step up is timed twice, and what it came from as well


@pytest.mark.parametrize(("per_batch", "best"), [(0.0, 4), (1.3, 16), (10.0, 128)])
def test_what_the_host_does_between_batches_makes_larger_ones_worthwhile(per_batch: float, best: int) -> None:
    """A model that takes 0.9 ms a row in batches of any size, and a host that has 0.2 ms a row to do beside that."""
    size = MaxRows("auto")
    size.start((3, 64, 64), CPU)
    while size.tuning:
        size.record(size.n, 0.9 * size.n, per_batch + 0.2 * size.n)
    assert size.n == best


def test_the_host_has_its_mean_time_and_the_model_its_least() -> None:
    """A turn in which searches go on is no slower model, but one of the turns that there are."""
    size = MaxRows("auto")
    size.start((3, 64, 64), CPU)
    n_turns = 0
    while size.tuning:
        n_turns += 1
        size.record(size.n, 1.0 * size.n * (1 + n_turns % 2), 4.0 * (n_turns % 2))
    assert size.n == 32


def test_the_climb_may_begin_anywhere() -> None:
    size = MaxRows("auto", n=1024, tuning=True)
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
    size = MaxRows("auto")
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
    size = MaxRows("auto")
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
    size = MaxRows("auto")
    size.start((3, 32, 32), META)
    size.survive(MemoryError(), 64)
    assert (size.n, size.tuning) == (32, False)
    for _ in range(10):
        size.record(32, 1.0)
    assert size.n == 32
    size.survive(torch.OutOfMemoryError("CUDA out of memory"), 32)
    size.survive(RuntimeError("can't allocate memory"), 16)
    size.start((3, 32, 32), META)
    assert size.n == 8


@pytest.mark.parametrize(("failed", "left"), [(7, 3), (3, 1), (2, 1)])
def test_a_given_size_is_halved_too(failed: int, left: int) -> None:
    size = MaxRows(7)
    size.survive(MemoryError(), failed)
    assert size.n == left


def test_a_single_row_that_does_not_fit_cannot_be_survived() -> None:
    size, error = MaxRows(7), MemoryError()
    with pytest.raises(PredictorCallError, match="not enough memory for a forward pass of one single row") as caught:
        size.survive(error, 1)
    assert caught.value.__cause__ is error
    assert size.n == 7


@pytest.mark.parametrize("n_rows", [1, 64])
def test_an_error_that_is_not_about_memory_changes_nothing(n_rows: int) -> None:
    size = MaxRows("auto")
    size.start((3, 32, 32), META)
    error = RuntimeError("shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="shapes cannot") as caught:
        size.survive(error, n_rows)
    assert caught.value is error
    assert (size.n, size.tuning) == (64, True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("can't allocate memory: you tried to allocate 5 GB"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_which_errors_are_about_memory(error: BaseException, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda size: pickle.loads(pickle.dumps(size))])
def test_a_copy_goes_on_where_the_size_was_found(copied: Callable[[MaxRows], MaxRows]) -> None:
    """A pickled explainer takes what it has learned with it."""

    def record(size: MaxRows) -> None:
        size.record(size.n, size.n * (1 + abs(np.log2(size.n / 32))))

    size = MaxRows("auto")
    size.start((3, 64, 64), CPU)
    for _ in range(4):
        record(size)
    other = copied(size)
    assert (other.n, other.tuning, other.limit) == (size.n, True, size.limit) == (8, True, 5461)
    for one in (size, other):
        while one.tuning:
            record(one)
    assert other.n == size.n == 32


@pytest.mark.parametrize("attempt", range(12))
def test_threads_that_share_a_size_find_it_together(attempt: int) -> None:
    """Each batch counts once, for the size it had."""
    size, n_threads = MaxRows("auto"), 4
    size.start((3, 64, 64), CPU)
    together = threading.Barrier(n_threads)

    def record() -> None:
        together.wait(timeout=30)
        while size.tuning:
            n = size.n
            size.record(n, n * (1 + abs(np.log2(n / 256))))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(n_threads) as pool:
            for done in [pool.submit(record) for _ in range(n_threads)]:
                done.result(timeout=30)
    finally:
        sys.setswitchinterval(interval)
    assert size.n == 256


@pytest.mark.parametrize(
    ("full", "n_rows", "expected"),
    [(64, 64, 64), (64, 33, 64), (64, 32, 32), (64, 17, 32), (64, 9, 16), (64, 8, 8), (64, 1, 8), (5, 2, 5), (6, 2, 3)],
)
def test_batches_are_padded_to_few_sizes(full: int, n_rows: int, expected: int) -> None:
    assert MaxRows(full).padded(n_rows) == expected


def test_a_batch_has_at_most_four_shapes() -> None:
    for full in (1, 2, 3, 24, 100, 256):
        sizes = {MaxRows(full).padded(n) for n in range(1, full + 1)}
        assert len(sizes) <= 4
        assert max(sizes) == full
