"""Instances are read, some together and a little ahead; what is made of them is handed out in their order.

Everything here knows an instance by its number among those given, from 0.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from torch_anchors.errors import AnchorsWarning

Item = TypeVar("Item")
Made = TypeVar("Made")

ON_ERROR = ("raise", "skip")
"""What happens to an instance that cannot be explained: its error ends the work when its turn comes, or it is left out
with a warning."""

HAND_OUT = "hand out"
"""As a third way, for whoever has a place for errors: in its turn comes the error itself."""


class Source(Generic[Item]):
    """Items with their numbers. Those read but not done yet can be read again.

    Args:
        items: read once, and no further ahead than they are asked for.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._fresh = enumerate(items)
        self._pending: dict[int, Item] = {}  # read and not done
        self._again: deque[tuple[int, Item]] = deque()

    def __iter__(self) -> Iterator[tuple[int, Item]]:
        return self

    def __next__(self) -> tuple[int, Item]:
        if self._again:
            return self._again.popleft()
        number, item = next(self._fresh)
        self._pending[number] = item
        return number, item

    def done_before(self, number: int) -> None:
        """Forgets the items before `number`, which are not needed again."""
        for done in [pending for pending in self._pending if pending < number]:
            del self._pending[done]

    def rewind(self) -> None:
        """Gives all items that are not done once more, in their order, before those not read yet."""
        self._again = deque(sorted(self._pending.items(), key=lambda pair: pair[0]))


class Outlet(Generic[Made]):
    """Hands out what is made in any order in the order of its numbers.

    Args:
        on_error: "raise" or "skip"; see `ON_ERROR`; or `HAND_OUT`.
        n_out: how many were handed out or skipped.
    """

    def __init__(self, on_error: str = "raise") -> None:
        self.on_error = on_error
        self.n_out = 0
        self._waiting: dict[int, Made | Exception] = {}

    @property
    def n_made(self) -> int:
        """How many are finished: handed out, left out or waiting for their turn."""
        return self.n_out + len(self._waiting)

    def add(self, number: int, made: Made | Exception) -> None:
        """Takes what was made of an instance, or the error that stands in its place."""
        self._waiting[number] = made

    def ready(self) -> Iterator[tuple[int, Made | Exception]]:
        """Numbers and what was made, as far as it can be handed out; an error is raised or handed out in its turn."""
        while self.n_out in self._waiting:
            number, made = self.n_out, self._waiting.pop(self.n_out)
            if not isinstance(made, Exception) or self.on_error == HAND_OUT:
                self.n_out += 1
                yield number, made
            elif self.on_error == "skip":
                self.n_out += 1
                warnings.warn(f"One of those given was left out: {made}", AnchorsWarning, stacklevel=2)
            else:
                raise made

    def forget(self) -> None:
        """Drops what was made and not handed out, as it will be made again."""
        self._waiting.clear()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """If the block is interrupted, what is finished and not handed out is the exception's ``finished``."""
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as error:
            finished = {n: made for n, made in sorted(self._waiting.items()) if not isinstance(made, Exception)}
            error.finished = finished  # type: ignore[attr-defined]
            raise


def collected(numbered: Iterable[tuple[int, Made]]) -> list[Made]:
    """All that is handed out. If the work is interrupted, all that is finished is the exception's ``finished``."""
    done: dict[int, Made] = {}
    try:
        for number, made in numbered:
            done[number] = made
    except BaseException as error:
        error.finished = done | getattr(error, "finished", {})  # type: ignore[attr-defined]
        raise
    return list(done.values())


def ahead(
    items: Iterable[Item], prepare: Callable[[list[Item]], Made], *, together: int, n_workers: int
) -> Generator[Made, None, None]:
    """What `prepare` makes of groups of the items, in their order, a few groups ahead in worker threads.

    The items are read in the caller's thread. Without workers each group is prepared when it is asked for.
    """
    source = iter(items)
    groups = iter(lambda: list(islice(source, together)), [])
    if n_workers == 0:
        yield from map(prepare, groups)
        return
    with ThreadPoolExecutor(n_workers, thread_name_prefix="torch_anchors") as pool:
        waiting = deque(pool.submit(prepare, group) for group in islice(groups, n_workers + 1))
        while waiting:
            ready = waiting.popleft().result()
            waiting.extend(pool.submit(prepare, group) for group in islice(groups, 1))
            yield ready


class Progress:
    """A bar of finished instances a second, model rows a second and how full the batches are; nothing if not shown."""

    def __init__(self, *, shown: bool, total: int | None, unit: str) -> None:
        self._bar: Any = tqdm(total=total, unit=f" {unit}s", disable=not shown)
        self._started = time.perf_counter()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def show(self, n_made: int, n_rows: int, fill: float) -> None:
        """`n_made` instances are finished; `n_rows` rows were sent so far, which took the share `fill` of places."""
        elapsed = max(time.perf_counter() - self._started, 1e-9)
        self._bar.set_postfix({"rows/s": f"{n_rows / elapsed:.0f}", "batch fill": f"{fill:.0%}"}, refresh=False)
        self._bar.update(n_made - self._bar.n)


def say(line: str) -> None:
    """One line for a user who asked for a verbose search; it does not disturb a progress bar."""
    tqdm.write(line, file=sys.stderr)
