"""Locks and per-thread values inside objects that are pickled and copied."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from torch_anchors._locks import Lock, PerThread

COPIES = [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy, copy.copy]


class Shared:
    """An object that has both, as explainers do."""

    def __init__(self) -> None:
        self.lock, self.latest, self.n = Lock(), PerThread(), 0


def is_free(lock: Lock) -> bool:
    """Whether another thread can take the lock at once."""
    taken = threading.Event()

    def take() -> None:
        with lock:
            taken.set()

    threading.Thread(target=take, daemon=True).start()
    return taken.wait(0.2)


def test_one_thread_at_a_time_is_inside() -> None:
    lock, inside, most = Lock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with lock:
                inside += 1
                most = max(most, inside)
                threading.Event().wait(1e-5)  # a chance for others
                inside -= 1

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result()
    assert most == 1


def test_its_holder_may_take_it_again() -> None:
    lock = Lock()
    with lock:
        with lock:
            assert not is_free(lock)
        assert not is_free(lock)
    assert is_free(lock)


def test_an_error_inside_frees_it() -> None:
    lock = Lock()
    with pytest.raises(ZeroDivisionError), lock:
        raise ZeroDivisionError
    assert is_free(lock)


@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_of_a_held_lock_is_free(copied: Callable[[Any], Any]) -> None:
    lock = Lock()
    with lock:
        other = copied(lock)
        assert type(other) is Lock
        assert other is not lock
        assert is_free(other)
        assert not is_free(lock)


@pytest.mark.parametrize("copied", COPIES[:2])
def test_objects_with_locks_and_values_are_copied(copied: Callable[[Any], Any]) -> None:
    shared = Shared()
    shared.n, shared.latest.value = 7, 3
    with shared.lock:
        other = copied(shared)
    assert other.n == 7
    assert is_free(other.lock)
    assert other.latest.value is None
    other.latest.value = 5
    assert shared.latest.value == 3


def test_each_thread_has_its_own_value() -> None:
    latest = PerThread()
    assert latest.value is None
    latest.value = "mine"
    both = threading.Barrier(2, timeout=10)

    def work(own: str) -> tuple[Any, Any]:
        before = latest.value
        latest.value = own
        both.wait()
        return before, latest.value

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, "ab")) == [(None, "a"), (None, "b")]
    assert latest.value == "mine"
    assert PerThread().value is None  # another one


@pytest.mark.parametrize("copied", COPIES)
def test_a_copied_value_is_not_set(copied: Callable[[Any], Any]) -> None:
    latest = PerThread()
    latest.value = 3
    other = copied(latest)
    assert type(other) is PerThread
    assert other.value is None
    other.value = 4
    assert latest.value == 3
