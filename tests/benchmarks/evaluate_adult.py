"""Rows of UCI Adult explained by `evaluate`: rows a second, what was found, and whether memory stays where it is.

    python -m tests.benchmarks.evaluate_adult [--data adult.data] [--rows 2000 10000] [--samplings conditional ...]

Without --data the table is downloaded by scikit-learn from OpenML. Each number of rows, of those that the network was
not trained on, is explained in a process of its own with one thread, so that its peak memory (Linux's VmHWM, counted
from the beginning of `evaluate`) is its own. "CPU" are the seconds that the process had a core, of which a shared
machine gives it fewer than pass; "model rows" are rows sent to the network for an explanation.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from tests.benchmarks.adult import Task, prepare
from torch_anchors import AnchorTabular, evaluate


@dataclass(frozen=True)
class Outcome:
    """One line of the table.

    Args:
        n: rows explained.
        seconds, cpu: that `evaluate` took, and that it had a core.
        before, peak: MiB of resident memory when it began, and the most while it ran.
        summary: of the evaluation.
    """

    n: int
    seconds: float
    cpu: float
    before: float
    peak: float
    summary: dict[str, float | int | None]


def measured(task: Task, sampling: str, n: int) -> Outcome:
    """Explains the first `n` rows held out, in this process."""
    torch.set_num_threads(1)
    explainer = AnchorTabular(task.network, task.columns, task.categories, seed=0, sampling=sampling).fit(task.train)
    with tempfile.TemporaryDirectory() as folder:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew
        before, started, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
        evaluation = evaluate(explainer, task.held_out[:n], folder, progress=False)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        return Outcome(n, seconds, cpu, before, memory("VmHWM"), evaluation.summary())


def memory(what: str) -> float:
    """Resident memory of this process as Linux tells it, in MiB."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{what}:"))
    return int(line.split()[1]) / 1024


def line(sampling: str, found: Outcome) -> str:
    """One line of the table."""
    known = {name: value or 0 for name, value in found.summary.items()}
    return (
        f"{sampling:<16}{found.n:>8,}{found.seconds:9.1f}{found.cpu:7.1f}{found.n / found.seconds:10.0f}"
        f"{found.before:9.0f}{found.peak:8.0f}"
        f"{known['found']:9.3f}{known['coverage']:10.3f}{known['n_rows'] / found.n:12.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="adult.data of UCI")
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 10000], help="how many (default: 2000 10000)")
    samplings = ("conditional", "interventional")
    parser.add_argument("--samplings", nargs="+", choices=samplings, default=samplings, help="which (default: both)")
    arguments = parser.parse_args()
    task = prepare(arguments.data)
    print(f"{'':<16}{'rows':>8}{'seconds':>9}{'CPU':>7}{'rows/s':>10}{'before':>9}{'peak':>8}", end="")
    print(f"{'found':>9}{'coverage':>10}{'model rows':>12}")
    for sampling in arguments.samplings:
        for n in arguments.rows:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                print(line(sampling, alone.submit(measured, task, sampling, n).result()), flush=True)


if __name__ == "__main__":
    main()
