"""Many explained together, where one that fails fails alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from torch_anchors.errors import AnchorsError

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Made = TypeVar("Made")


def each_explained(
    items: Sequence[Item],
    load: Callable[[Item], Loaded],
    together: Callable[[Sequence[Any]], Iterable[Made]],
    alone: Callable[[Loaded], Made],
) -> Iterator[tuple[Item, Made | AnchorsError]]:
    """Each item with its explanation, or with the error that it has in place of one, in their order.

    Where one item makes the explaining of all together fail, those that were under way are explained alone, to find
    out which one it is; then the rest goes on together.

    Args:
        items: what is explained.
        load: reads one.
        together: explains those that were read, which are read as it asks for them.
        alone: explains one.

    Raises:
        AnchorsError: nothing can be explained, whatever is read.
    """
    n_done = 0
    while n_done < len(items):
        reader = _Reader(items[n_done:], load)
        n_made, finished = 0, dict[int, Made]()
        try:
            for made in together(reader):
                yield from reader.unreadable()
                yield reader.under_way.popleft(), made
                n_made += 1
        except AnchorsError as error:
            if not reader.n_read:
                raise
            finished = getattr(error, "finished", {})
        while reader.under_way or reader.failed:
            yield from reader.unreadable()
            if reader.under_way:
                item = reader.under_way.popleft()
                yield item, finished[n_made] if n_made in finished else _tried(item, load, alone)
                n_made += 1
        n_done += reader.n_read


class _Reader(Sequence[Any]):
    """Reads items when it is asked for them, and puts those aside that cannot be read.

    It is a sequence, so that a progress bar knows how many there are at most, but one that is gone through only once.

    Attributes:
        n_read: how many were read, or could not be.
        under_way: those read, until they are taken out.
        failed: those that could not be read, each with the number of those read before it, and why.
    """

    def __init__(self, items: Sequence[Any], load: Callable[[Any], Any]) -> None:
        self.n_read = 0
        self.under_way: deque[Any] = deque()
        self.failed: deque[tuple[int, Any, AnchorsError]] = deque()
        self._items, self._load, self._n_given = items, load, 0

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: Any) -> Any:
        return self._load(self._items[place])

    def __iter__(self) -> Iterator[Any]:
        for item in self._items:
            self.n_read += 1
            try:
                loaded = self._load(item)
            except AnchorsError as error:
                self.failed.append((self._n_given, item, error))
                continue
            self._n_given += 1
            self.under_way.append(item)
            yield loaded

    def unreadable(self) -> Iterator[tuple[Any, AnchorsError]]:
        """Those that could not be read and come before all that are under way; they are taken out."""
        n_taken = self._n_given - len(self.under_way)
        while self.failed and self.failed[0][0] <= n_taken:
            _, item, error = self.failed.popleft()
            yield item, error


def _tried(item: Item, load: Callable[[Item], Loaded], alone: Callable[[Loaded], Made]) -> Made | AnchorsError:
    try:
        return alone(load(item))
    except AnchorsError as error:
        return error
