"""Locks and per-thread values inside objects that are pickled and copied."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any


class Lock:
    """A lock that its holder may take again. A pickled or copied object gets a new one."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


class PerThread(threading.local):
    """A value that each thread sets and reads by itself; None before it is set, and in a pickle or copy."""

    value: Any = None

    def __reduce__(self) -> tuple[type[PerThread], tuple[()]]:
        return PerThread, ()
