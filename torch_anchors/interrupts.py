"""Ctrl-C and requests to terminate: they end the command, but not in the middle of a file."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """The command was asked to terminate (SIGTERM), as job managers do before they kill."""


@contextmanager
def ending_on_request() -> Iterator[None]:
    """Within it, a request to terminate ends the work as Ctrl-C does, by an exception."""

    def end(number: int, frame: Any) -> None:
        raise Terminated

    with _handling({signal.SIGTERM: end}):
        yield


@contextmanager
def finished_first() -> Iterator[None]:
    """Within it, Ctrl-C and a request to terminate wait for the end of the block; a second one does not wait."""
    came: list[int] = []

    def wait(number: int, frame: Any) -> None:
        came.append(number)
        if len(came) > 1:
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    with _handling({signal.SIGINT: wait, signal.SIGTERM: wait}):
        yield
    if came:
        signal.raise_signal(came[0])


@contextmanager
def _handling(handlers: dict[signal.Signals, Any]) -> Iterator[None]:
    """Within it, the signals have these handlers, except for those that are ignored."""
    if threading.current_thread() is not threading.main_thread():  # Python has only the main thread handle signals
        yield
        return
    before = {number: signal.getsignal(number) for number in handlers}
    before = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for number in before:
            signal.signal(number, handlers[number])
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
