"""Weights that may have to be downloaded: without a network, that fails soon instead of after minutes."""

from __future__ import annotations

import io
import logging
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeVar

Loaded = TypeVar("Loaded")

PATIENCE = 2.0
"""Seconds after which whoever has not loaded anything is suspected of waiting for a network that does not answer."""
ANSWER = 3.0
"""Seconds within which a server answers."""
STALL = 10.0
"""Seconds without a byte after which a download has failed."""


def loaded_in_time(load: Callable[[], Loaded], host: str, is_here: Callable[[], bool]) -> Loaded:
    """What `load` returns; it is given up where it waits for a server that does not answer.

    It works in a thread. Downloads that have begun take as long as they take.

    Args:
        load: makes a network, its weights from a cache or from the server.
        host: address of the server, as in a browser.
        is_here: whether the weights are in the cache, so that nobody has to answer.

    Raises:
        TimeoutError: the server does not answer.
        Exception: what `load` raises.
    """
    outcome: dict[str, Any] = {}

    def work() -> None:
        try:
            with _quiet_hub(), _stalls_are_errors():
                outcome["loaded"] = load()
        except BaseException as error:
            outcome["error"] = error

    worker = threading.Thread(target=work, name="torch_anchors weights", daemon=True)
    with redirect_stdout(sys.stderr if sys.stderr.isatty() else io.StringIO()):  # PyTorch tells what it downloads
        worker.start()
        worker.join(PATIENCE)
        if worker.is_alive() and not answers(host) and worker.is_alive() and not is_here():
            raise TimeoutError(f"{host} does not answer")
        worker.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["loaded"]


def answers(host: str) -> bool:
    """Whether a server answers at all, through a proxy if the environment names one."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(host, method="HEAD"), timeout=ANSWER).close()
        except urllib.error.HTTPError:
            answered.set()  # with a refusal
        except (OSError, ValueError):
            pass
        else:
            answered.set()

    asking = threading.Thread(target=ask, daemon=True)  # as looking up a name knows no timeout
    asking.start()
    asking.join(ANSWER)
    return answered.is_set()


@contextmanager
def _quiet_hub() -> Iterator[None]:
    """Within it, the hub does not tell of each of its attempts."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _stalls_are_errors() -> Iterator[None]:
    """Within it, a connection on which nothing comes is an error after a while, where nobody said otherwise."""
    before = socket.getdefaulttimeout()
    if before is None:
        socket.setdefaulttimeout(STALL)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
