"""Reading ahead, order and interruption."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from torch_anchors.delivery import HAND_OUT, Outlet, Progress, Source, ahead, collected, say
from torch_anchors.errors import AnchorsWarning


def test_a_line_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("round 1")
    assert capsys.readouterr() == ("", "round 1\n")


# ------------------------------------------------------------------------------------------------------- the source


def test_items_come_with_their_numbers_and_are_read_one_by_one() -> None:
    read: list[str] = []

    def items() -> Iterator[str]:
        for item in "abc":
            read.append(item)
            yield item

    source = Source(items())
    assert not read
    assert next(source) == (0, "a")
    assert read == ["a"]
    assert list(source) == [(1, "b"), (2, "c")]
    assert list(source) == []


def test_what_is_not_done_can_be_read_again_in_its_order() -> None:
    source = Source("abcdef")
    for _ in range(4):
        next(source)
    source.done_before(1)
    source.rewind()
    assert [next(source) for _ in range(2)] == [(1, "b"), (2, "c")]
    source.done_before(2)
    source.rewind()
    assert list(source) == [(2, "c"), (3, "d"), (4, "e"), (5, "f")]
    source.done_before(6)
    source.rewind()
    assert list(source) == []


# ------------------------------------------------------------------------------------------------------- order

MADE = [(1, "b"), (3, "d"), (2, "c"), (0, "a"), (6, "g"), (5, "f"), (4, "e")]
"""Numbers and what was made, as they are finished: the first one is among the last."""


def handed_out(made: list[tuple[int, Any]], on_error: str = "raise") -> Iterator[tuple[int, Any]]:
    outlet = Outlet[Any](on_error)
    with outlet.kept():
        for number, one in made:
            outlet.add(number, one)
            yield from outlet.ready()


def test_what_is_made_comes_in_the_order_of_its_numbers() -> None:
    assert list(handed_out(MADE)) == list(enumerate("abcdefg"))
    assert list(handed_out([])) == []


def test_each_comes_as_soon_as_all_before_it_are_there() -> None:
    outlet = Outlet[str]()
    came = []
    for number, one in MADE:
        outlet.add(number, one)
        came.append("".join(made for _, made in outlet.ready()))
    assert came == ["", "", "", "abcd", "", "", "efg"]
    assert outlet.n_out == 7


def test_an_error_in_the_place_of_one_is_raised_when_its_turn_comes() -> None:
    broken = ValueError("no label")
    made = handed_out([(2, "c"), (1, broken), (5, ZeroDivisionError()), (4, "e"), (0, "a"), (3, "d")])
    assert next(made) == (0, "a")
    with pytest.raises(ValueError, match="no label") as caught:
        next(made)
    assert caught.value is broken
    assert caught.value.finished == {2: "c", 4: "e"}


def test_an_error_in_the_place_of_one_may_be_left_out_with_a_warning() -> None:
    made = [(1, ValueError("no label")), (2, "c"), (0, "a"), (3, ValueError("broken")), (4, "e")]
    with pytest.warns(AnchorsWarning, match="left out: (no label|broken)") as caught:
        assert list(handed_out(made, "skip")) == [(0, "a"), (2, "c"), (4, "e")]
    assert [str(warning.message).rpartition(": ")[2] for warning in caught] == ["no label", "broken"]


def test_an_error_may_be_handed_out_in_its_place() -> None:
    broken = ValueError("no label")
    made = [(1, broken), (2, "c"), (0, "a")]
    assert list(handed_out(made, HAND_OUT)) == [(0, "a"), (1, broken), (2, "c")]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_what_was_finished_behind_an_unfinished_one_is_on_the_exception(error: BaseException) -> None:
    def interrupted() -> Iterator[tuple[int, str]]:
        outlet = Outlet[str]()
        with outlet.kept():
            for number, one in ((0, "a"), (3, "d"), (2, "c"), (5, ZeroDivisionError())):
                outlet.add(number, one)
                yield from outlet.ready()
            raise error

    with pytest.raises(type(error)) as caught:
        collected(interrupted())
    assert caught.value is error
    assert caught.value.finished == {0: "a", 2: "c", 3: "d"}
    assert list(caught.value.finished) == [0, 2, 3]


def test_who_stops_early_gets_no_exception() -> None:
    made = handed_out(MADE)
    assert next(made) == (0, "a")
    made.close()
    assert list(made) == []


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_what_was_collected_is_on_the_exception(error: BaseException) -> None:
    def broken() -> Iterator[tuple[int, str]]:
        yield 0, "a"
        yield 2, "c"
        raise error

    with pytest.raises(type(error)) as caught:
        collected(broken())
    assert caught.value is error
    assert caught.value.finished == {0: "a", 2: "c"}
    assert collected(iter([(0, 3), (4, 4)])) == [3, 4]


# ------------------------------------------------------------------------------------------------------- reading ahead


@pytest.mark.parametrize("n_workers", [0, 1, 4])
@pytest.mark.parametrize("together", [1, 3, 100])
def test_items_are_prepared_in_their_order(n_workers: int, together: int) -> None:
    def prepare(items: list[int]) -> list[int]:
        time.sleep(0.001 * (items[0] % 3))
        return [10 * item for item in items]

    groups = list(ahead(range(20), prepare, together=together, n_workers=n_workers))
    assert groups == [[10 * i for i in range(first, min(first + together, 20))] for first in range(0, 20, together)]
    assert list(ahead([], prepare, together=together, n_workers=n_workers)) == []


@pytest.mark.parametrize(("n_workers", "most"), [(0, 1), (2, 4)])
@pytest.mark.parametrize("together", [1, 5])
def test_items_are_read_in_the_callers_thread_and_only_so_far_ahead(n_workers: int, most: int, together: int) -> None:
    read: list[int] = []
    readers, workers = set(), set()

    def items() -> Iterator[int]:
        for i in range(50):
            readers.add(threading.get_ident())
            read.append(i)
            yield i

    def prepare(group: list[int]) -> list[int]:
        workers.add(threading.get_ident())
        return group

    prepared = ahead(items(), prepare, together=together, n_workers=n_workers)
    assert not read
    for n, _ in enumerate(prepared, start=1):
        assert len(read) <= (n - 1 + most) * together
    assert len(read) == 50
    assert readers == {threading.get_ident()}
    assert (threading.get_ident() in workers) is (n_workers == 0)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_an_error_of_a_worker_arrives_at_its_place(n_workers: int) -> None:
    def prepare(items: list[int]) -> list[int]:
        if items[0] == 3:
            raise ZeroDivisionError
        return items

    prepared = ahead(range(10), prepare, together=1, n_workers=n_workers)
    assert [next(prepared) for _ in range(3)] == [[0], [1], [2]]
    with pytest.raises(ZeroDivisionError):
        next(prepared)


def test_threads_end_when_the_reading_does() -> None:
    prepared = ahead(range(100), lambda items: items, together=1, n_workers=3)
    next(prepared)
    prepared.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("torch_anchors")]


def test_what_waits_for_its_turn_can_be_forgotten() -> None:
    """Work that begins again makes it again; what was handed or left out stays so."""
    outlet = Outlet[str]("skip")
    outlet.add(0, ValueError("no"))
    outlet.add(2, "c")
    with pytest.warns(AnchorsWarning, match="left out: no"):
        assert not list(outlet.ready())
    assert (outlet.n_out, outlet.n_made) == (1, 2)
    outlet.forget()
    assert (outlet.n_out, outlet.n_made) == (1, 1)
    outlet.add(1, "b")
    assert list(outlet.ready()) == [(1, "b")]


# ------------------------------------------------------------------------------------------------------- the bar


def test_the_bar_shows_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(shown=True, total=5, unit="row") as progress:
        for n_made, n_rows in ((1, 30), (3, 60), (0, 70), (3, 90)):  # once it had to begin again
            progress.show(n_made, n_rows, 0.75)
        time.sleep(0.15)  # the bar is not drawn more often
        progress.show(5, 120, 0.75)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "rows/s" in shown
    assert "batch fill=75%" in shown
    with Progress(shown=True, total=None, unit="flower") as progress:  # nobody knows how many
        progress.show(5, 0, 1.0)
    assert "5 flowers" in capsys.readouterr().err
    with Progress(shown=False, total=5, unit="row") as progress:
        progress.show(5, 0, 1.0)
    assert capsys.readouterr().err == ""
