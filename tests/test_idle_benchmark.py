"""The stand-in for an asynchronous device, and how busy the engine keeps it."""

from __future__ import annotations

import time

import pytest
import torch

from tests.benchmarks import idle
from tests.benchmarks.idle import StandIn, asynchronous, measured
from torch_anchors.engine import counting, job, runner
from torch_anchors.engine.host_copy import HostCopy


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The CPU time that the stand-in sees."""
    now = [100.0]
    monkeypatch.setattr(time, "process_time", lambda: now[0])
    return now


def test_batches_follow_each_other_and_the_device_is_idle_between_them(clock: list[float]) -> None:
    device = StandIn(per_row=0.01, per_batch=1.0)
    device.launch(100)  # until 102
    clock[0] = 101.0
    device.launch(50)  # waits its turn, until 103.5
    assert (device.busy, device.idle, device.free_at) == (3.5, 0.0, 103.5)
    clock[0] = 105.0
    device.launch(0)
    assert (device.busy, device.idle, device.free_at) == (4.5, 1.5, 106.0)


def test_waiting_moves_the_clock_and_takes_no_time(clock: list[float]) -> None:
    device = StandIn(per_row=1.0)
    device.wait_until(99.0)
    assert device.now() == 100.0
    device.wait_until(110.0)
    clock[0] = 101.0
    assert device.now() == 111.0


def test_a_copy_can_be_read_when_the_batches_before_it_are_done(clock: list[float]) -> None:
    device = StandIn(per_row=1.0, per_batch=0.0)
    with asynchronous(device):
        assert runner.DEPTHS["cpu"] == 2
        assert counting.HostCopy is job.HostCopy is not HostCopy
        device.launch(5)
        copy = counting.HostCopy(torch.ones(1))
        device.launch(7)
        copy.wait()
        assert device.now() == 105.0
    assert (counting.HostCopy, job.HostCopy, "cpu" in runner.DEPTHS) == (HostCopy, HostCopy, False)


@pytest.fixture
def steady_host(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The host takes 20 microseconds a row to make a batch, whatever else the machine does."""
    launch = StandIn.launch

    def launch_after_work(device: StandIn, n_rows: int) -> None:
        clock[0] += 20e-6 * n_rows
        launch(device, n_rows)

    monkeypatch.setattr(StandIn, "launch", launch_after_work)


@pytest.mark.usefixtures("steady_host")
def test_a_slow_device_is_kept_busy_and_one_batch_at_a_time_would_not_do() -> None:
    found = measured("labels", 16, 32, 1 / 5_000)
    assert found.idle < 0.05
    assert found.n_rows > 20_000
    assert found.n_rows / found.n_calls > 0.8 * idle.MAX_ROWS


@pytest.mark.usefixtures("steady_host")
def test_without_anything_to_do_ahead_the_device_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    two = measured("labels", 16, 64, 1 / 10_000)
    monkeypatch.setattr(idle, "asynchronous", one_at_a_time)
    one = measured("labels", 16, 64, 1 / 10_000)
    assert one.n_rows == two.n_rows  # what is found does not depend on it
    assert two.idle < 0.01 < 0.1 < one.idle


def one_at_a_time(device: StandIn) -> object:
    context = asynchronous(device)

    class OneAtATime:
        def __enter__(self) -> None:
            context.__enter__()
            runner.DEPTHS["cpu"] = 1

        def __exit__(self, *error: object) -> None:
            context.__exit__(None, None, None)

    return OneAtATime()
