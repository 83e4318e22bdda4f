"""What a rule costs as the table grows: fitting, the first explanation, the next ones, and peak memory.

    python tests/benchmarks/tables.py [--rows 10000 100000 1000000] [--columns 50] [--explained 20]

Half of the columns are numbers, half are categories; the model answers by a weighted vote of six of them. Each size is
measured in a process of its own, so that its peak memory is its own. The first explanation has the model label all
training rows.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import torch

N_CATEGORIES = 5
DECIDING = (0, 3, 7, 30, 35, 40)
WEIGHTS = (1.6, -1.0, 0.8, 0.7, -0.6, 0.5)


def table(n_rows: int, n_columns: int) -> tuple[np.ndarray, dict[int, list[str]]]:
    """Random rows, the second half of their columns being categories."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n_rows, n_columns), dtype=np.float32)
    categorical = range(n_columns // 2, n_columns)
    rows[:, n_columns // 2 :] = rng.integers(N_CATEGORIES, size=(n_rows, len(categorical)))
    return rows, {j: [f"kind {k}" for k in range(N_CATEGORIES)] for j in categorical}


def model(rows: torch.Tensor) -> torch.Tensor:
    deciding = [j % rows.shape[1] for j in DECIDING]
    return (rows[:, deciding] @ torch.tensor(WEIGHTS, dtype=rows.dtype) > 1).long()


def measure(n_rows: int, options: argparse.Namespace) -> None:
    """One size, in this process."""
    from torch_anchors import AnchorTabular

    torch.set_num_threads(options.threads)
    rows, categories = table(n_rows, options.columns)
    words = [f"{n_rows:>9,}"]
    for sampling in ("interventional", "conditional"):
        explainer = AnchorTabular(model, categorical_names=categories, dtype=torch.float32, seed=0, sampling=sampling)
        started = time.perf_counter()
        explainer.fit(rows)
        fitted = time.perf_counter()
        explainer.explain(rows[0])
        first = time.perf_counter()
        milliseconds, found = [], []
        for row in rows[1 : 1 + options.explained]:
            begun = time.perf_counter()
            found.append(explainer.explain(row))
            milliseconds.append(1e3 * (time.perf_counter() - begun))
        words += [f"{fitted - started:6.1f}", f"{first - fitted:6.1f}", f"{statistics.median(milliseconds):8.0f}"]
        words += [f"{statistics.mean(one.success for one in found):6.2f}"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(" ".join(words), f"{peak:8.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--explained", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if len(options.rows) == 1:
        measure(options.rows[0], options)
        return
    one = f"{'fit s':>6} {'1st s':>6} {'next ms':>8} {'found':>6}"
    print(f"{'':>9} {'interventional':^29} {'conditional':^29}\n{'rows':>9} {one} {one} {'peak GiB':>8}", flush=True)
    for n_rows in options.rows:
        arguments = [f"--{name}={getattr(options, name)}" for name in ("columns", "explained", "threads")]
        subprocess.run([sys.executable, __file__, "--rows", str(n_rows), *arguments], check=True)


if __name__ == "__main__":
    main()
