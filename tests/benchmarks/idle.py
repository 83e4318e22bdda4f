"""How long an asynchronous device would wait for the host, found out on a CPU.

    python tests/benchmarks/idle.py [--images 64] [--superpixels 16 64]

A stand-in for the device takes a + b n seconds for a batch of n rows, while the host goes on; an answer can be read
when its batch is done. Its clock is the CPU time of this process, and where the host waits the clock is moved on, so
that nobody sleeps and other work on the machine does not count. What the device itself would do (render, predict,
count) the host does here on small tensors, at about the price of starting as many kernels.

"idle" is the share of the time, from the first batch to the end of the last, in which the stand-in had nothing to do.
Images and models are those of `host.py`; rounds are those that a search asks for beside a GPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.host import MODELS, SIDE, rounds_of_a_gpu
from torch_anchors import AnchorImage
from torch_anchors.engine import counting, job, runner
from torch_anchors.engine.host_copy import HostCopy

LATENCY = 5e-4
"""Seconds that a batch takes beside those for its rows."""
MAX_ROWS = 1024


@dataclass(slots=True)
class StandIn:
    """A device that takes `per_batch` + `per_row` n seconds for a batch of n rows, one batch after another."""

    per_row: float
    per_batch: float = LATENCY
    skipped: float = 0.0
    busy: float = 0.0
    idle: float = 0.0
    free_at: float | None = field(default=None)

    def now(self) -> float:
        """Seconds of CPU time, and of waiting."""
        return time.process_time() + self.skipped

    def launch(self, n_rows: int) -> None:
        """A batch joins the queue."""
        now, took = self.now(), self.per_batch + self.per_row * n_rows
        free_at = now if self.free_at is None else self.free_at
        self.idle += max(now - free_at, 0.0)
        self.busy += took
        self.free_at = max(now, free_at) + took

    def wait_until(self, ready: float) -> None:
        """The host waits."""
        self.skipped += max(ready - self.now(), 0.0)


@contextmanager
def asynchronous(device: StandIn) -> Iterator[None]:
    """The engine works as beside a GPU: two batches under way, and copies that are ready when their batch is."""

    class LateCopy(HostCopy):
        def __init__(self, source: Tensor) -> None:
            super().__init__(source)
            self._ready = device.free_at or 0.0

        def wait(self) -> Tensor:
            device.wait_until(self._ready)
            return super().wait()

    modules: tuple[Any, ...] = (counting, job)
    before, depths = HostCopy, dict(runner.DEPTHS)
    runner.DEPTHS["cpu"] = 2
    for module in modules:
        module.HostCopy = LateCopy
    try:
        yield
    finally:
        runner.DEPTHS.clear()
        runner.DEPTHS.update(depths)
        for module in modules:
            module.HostCopy = before


@dataclass(frozen=True, slots=True)
class Measured:
    """Rows, forward passes, the share of time in which the device was idle, and what it did of rows in a second."""

    n_rows: int
    n_calls: int
    idle: float
    rows_per_second: float


def measured(model: str, n_superpixels: int, n_images: int, per_row: float) -> Measured:
    """Explains some images together, after others that warmed up."""
    device = StandIn(per_row)
    sizes: list[int] = []

    def forward(rows: Tensor) -> Tensor:
        device.launch(len(rows))
        sizes.append(len(rows))
        return MODELS[model](rows)

    side = round(n_superpixels**0.5)
    grid = {"rows": side, "cols": side}
    explainer = AnchorImage(
        forward, segmentation_fn="grid", segmentation_kwargs=grid, fill=0.0, seed=0, max_rows=MAX_ROWS
    )
    images = [torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(i)) + 0.1 for i in range(n_images)]
    with rounds_of_a_gpu(), asynchronous(device):
        explainer.explain_batch(images[:4])
        sizes.clear()
        device.busy = device.idle = 0.0
        device.free_at = None
        explainer.explain_batch(images)
    whole = device.busy + device.idle
    return Measured(sum(sizes), len(sizes), device.idle / whole, sum(sizes) / whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--superpixels", type=int, nargs="+", default=[16, 64])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'model':>6}{'K':>4}{'device rows/s':>15}{'rows':>9}{'calls':>7}{'idle':>7}{'rows/s':>9}")
    for model in MODELS:
        for n_superpixels in options.superpixels:
            for speed in (10_000, 50_000):
                found = measured(model, n_superpixels, options.images, 1 / speed)
                line = f"{model:>6}{n_superpixels:>4}{speed:>15,}{found.n_rows:>9,}{found.n_calls:>7}"
                print(f"{line}{found.idle:>7.1%}{found.rows_per_second:>9,.0f}")


if __name__ == "__main__":
    main()
