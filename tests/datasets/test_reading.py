"""Reading ahead: in order, bounded, and with the reason in the place of what cannot be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

import pytest

from torch_anchors.datasets.reading import BUFFERED, Read, buffered, distinct, read_ahead, reason_of
from torch_anchors.datasets.sources import Entry, Inputs
from torch_anchors.errors import ArgumentError


class Numbers:
    """A source of numbers, some of which cannot be read."""

    words, n = "numbers", 20

    def __init__(self, together: int = 1, readers: int = 3, bad: Sequence[int] = ()) -> None:
        self.together, self.readers, self.bad = together, readers, bad
        self.threads: set[str] = set()
        self.n_read = 0

    def entries(self) -> Iterator[Entry]:
        return (Entry(str(i), i, "known before") for i in range(20))

    def read(self, entries: Sequence[Entry]) -> Inputs:
        self.threads.add(threading.current_thread().name)
        self.n_read += len(entries)
        if any(entry.key in self.bad for entry in entries):
            raise OSError("torn")
        time.sleep(0.001 * (entries[0].key % 3))
        true_labels = [f"t{entry.key}" for entry in entries] if self.together == 1 else None
        return Inputs([entry.key for entry in entries], true_labels)

    def digest(self) -> None:
        return None


def doubled(given: list[int]) -> list[int]:
    return [2 * number for number in given]


@pytest.mark.parametrize("together", [1, 4])
@pytest.mark.parametrize("bad", [(), (0,), (5, 6, 19)])
def test_each_has_its_instance_or_its_reason_in_order(together: int, bad: tuple[int, ...]) -> None:
    source = Numbers(together, bad=bad)
    found = list(read_ahead(source, source.entries(), doubled))
    assert found == [
        Read(str(i), None, "known before", "OSError: torn")
        if i in bad
        else Read(str(i), 2 * i, f"t{i}" if together == 1 else "known before")
        for i in range(20)
    ]
    assert all(name.startswith("torch_anchors") for name in source.threads)


def test_what_goes_wrong_behind_the_source_is_a_reason_too() -> None:
    def singled(given: list[int]) -> list[int]:
        if given == [3]:
            raise ArgumentError("image must have\n finite pixels")
        return [] if given == [4] else given

    source = Numbers()
    reasons = {read.id: read.reason for read in read_ahead(source, source.entries(), singled) if read.reason}
    assert reasons == {"3": "image must have finite pixels", "4": "0 instances came for 1 inputs."}


def test_memory_that_runs_out_is_no_reason() -> None:
    def singled(given: Any) -> Any:
        raise MemoryError

    source = Numbers()
    with pytest.raises(MemoryError):
        list(read_ahead(source, source.entries(), singled))


def test_no_further_ahead_than_the_readers() -> None:
    source = Numbers()
    reads = read_ahead(source, source.entries(), doubled)
    next(reads)
    time.sleep(0.1)
    assert source.n_read <= 1 + source.readers + 1
    reads.close()
    n_before = source.n_read
    time.sleep(0.05)
    assert source.n_read == n_before


def test_a_stream_is_read_ahead_by_a_thread_of_its_own() -> None:
    threads, n_read = set(), 0

    def items() -> Iterator[int]:
        nonlocal n_read
        for i in count():
            threads.add(threading.current_thread().name)
            n_read = i
            yield i

    stream = buffered(items())
    assert list(islice(stream, 3)) == [0, 1, 2]
    stream.close()
    assert len(threads) == 1
    assert threads.pop().startswith("torch_anchors")
    assert n_read < 4 * BUFFERED


@pytest.mark.parametrize("n", [0, 1, BUFFERED, BUFFERED + 1])
def test_a_stream_ends_where_it_ends(n: int) -> None:
    assert list(buffered(iter(range(n)))) == list(range(n))


def test_a_stream_that_breaks_says_so() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        list(buffered(items()))


def test_ids_that_come_twice() -> None:
    entries = [Entry("a", 0), Entry("b", 1), Entry("a", 2)]
    assert list(distinct(entries[:2])) == entries[:2]
    with pytest.raises(ArgumentError, match="ids must differ, and 'a' comes twice"):
        list(distinct(entries))


def test_reasons() -> None:
    assert reason_of(ArgumentError("a\n  b")) == "a b"
    assert reason_of(ValueError("a")) == "ValueError: a"
