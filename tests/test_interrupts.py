"""Ctrl-C and requests to terminate wait for the end of a block, once."""

from __future__ import annotations

import signal

import pytest

from torch_anchors.interrupts import Terminated, ending_on_request, finished_first


def test_waits_for_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with finished_first():
            with finished_first():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")
        done.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]


def test_a_second_one_does_not_wait() -> None:
    def work() -> None:
        with finished_first():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it has waited")

    with pytest.raises(KeyboardInterrupt):
        work()


def test_termination_is_an_interruption() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), ending_on_request(), finished_first():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with finished_first():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
