"""Inputs are read a little ahead, in threads; one that cannot be read has its reason in its place."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Any, TypeVar

from torch_anchors.datasets.sources import Entry, Source
from torch_anchors.delivery import ahead
from torch_anchors.errors import AnchorsError, ArgumentError

Item = TypeVar("Item")

BUFFERED = 16
"""How far a stream is read ahead."""


@dataclass(frozen=True, slots=True)
class Read:
    """An input, read.

    Args:
        id: what it is called.
        instance: what is explained; None if it cannot be read.
        true_label: in words, where that is known.
        reason: why it cannot be read; None if it can.
    """

    id: str
    instance: Any
    true_label: str | None = None
    reason: str | None = None


def read_ahead(
    source: Source, entries: Iterable[Entry], singled: Callable[[Any], Sequence[Any]]
) -> Generator[Read, None, None]:
    """The inputs of some entries, in their order.

    Args:
        source: that they are from.
        entries: which ones.
        singled: the single instances of what the source reads.
    """
    groups = ahead(entries, partial(_read, source, singled), together=source.together, n_workers=source.readers)
    with closing(groups):
        yield from chain.from_iterable(groups)


def buffered(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The items, read a little ahead by a thread of their own."""
    end = object()

    def some(asked: list[None]) -> list[Any]:
        return [next(items, end) for _ in asked]

    groups = ahead(repeat(None), some, together=BUFFERED, n_workers=1)
    with closing(groups):
        for item in chain.from_iterable(groups):
            if item is end:
                return
            yield item


def _read(source: Source, singled: Callable[[Any], Sequence[Any]], entries: Sequence[Entry]) -> list[Read]:
    """The inputs of a few entries; where they cannot be read together, each is read alone."""
    try:
        inputs = source.read(entries)
        instances = list(singled(inputs.given))
        if len(instances) != len(entries):
            raise ArgumentError(f"{len(instances)} instances came for {len(entries)} inputs.")
        true_labels = inputs.true_labels or [entry.true_label for entry in entries]
        labelled = zip(entries, instances, true_labels, strict=True)
        return [Read(entry.id, instance, true_label) for entry, instance, true_label in labelled]
    except MemoryError:
        raise
    except Exception as error:  # of the user's data set, which may raise anything
        if len(entries) == 1:
            return [Read(entries[0].id, None, entries[0].true_label, reason_of(error))]
        return [read for entry in entries for read in _read(source, singled, [entry])]


def reason_of(error: BaseException) -> str:
    """Why there is no explanation, in one line."""
    words = " ".join(str(error).split())
    return words if isinstance(error, AnchorsError) and words else f"{type(error).__name__}: {words}"


def distinct(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, until an id comes again.

    Raises:
        ArgumentError: an id has come twice.
    """
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ArgumentError(f"ids must differ, and {entry.id!r} comes twice; give other ids.")
        seen.add(entry.id)
        yield entry
