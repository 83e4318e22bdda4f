"""What the host does for each row, where the model costs nothing: microseconds of CPU time a row.

    python tests/benchmarks/host.py [--beside CHECKOUT] [--repeats 3] [--only scores 64]

Images are 8 x 8 pixels with 16 or 64 superpixels. The model looks at three pixels and says whether all of them are
shown, either as a label or as scores. So what is measured is the search, the drawing and counting of rows, and the
making of explanations.

With `--beside`, the root of another checkout, both packages explain the same images in turn, and the table has the
ratio of their times, and says so where they needed other rows. CPU time (`time.process_time`, one thread) is what the
process itself took, whatever else runs on the machine; medians are of several processes.

"gpu" rounds are those that a search asks for beside a GPU (`ExplainSettings.config`), with the batches that a GPU would
have, on the CPU: how many rows are decided on at once, and nothing else, is that of a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from torch_anchors import AnchorImage
from torch_anchors.settings import ExplainSettings

SIDE = 8
"""Pixels of each side of an image."""
LOOKED_AT = torch.tensor([5, 34, 47])
"""Pixels that decide, no two of them in one superpixel."""
ALONE = 16
"""Images that are explained one after the other where jobs are alone."""
MAX_ROWS = {"cpu": 64, "gpu": 1024}
"""Rows of a batch."""


def labels(rows: Tensor) -> Tensor:
    """Whether all pixels that decide are shown."""
    return (shown(rows) == len(LOOKED_AT)).long()


def scores(rows: Tensor) -> Tensor:
    """The same with logits."""
    margin = shown(rows) - len(LOOKED_AT) + 0.5
    return torch.stack([-margin, margin], dim=1)


def shown(rows: Tensor) -> Tensor:
    return (rows[:, 0].flatten(1)[:, LOOKED_AT] > 0).sum(1)


MODELS: dict[str, Callable[[Tensor], Tensor]] = {"labels": labels, "scores": scores}


@dataclass(frozen=True, slots=True)
class Setting:
    """What is explained together, by which model, in rounds of which device."""

    model: str
    rounds: str
    n_superpixels: int
    n_jobs: int

    def __str__(self) -> str:
        return f"{self.model:>6} {self.rounds:>4} {self.n_superpixels:>3} {self.n_jobs:>4}"


SETTINGS = [Setting(*values) for values in product(MODELS, MAX_ROWS, (16, 64), (1, 32, 256))]


@contextmanager
def rounds_of_a_gpu() -> Iterator[None]:
    """Searches ask for as many rows at once as beside a GPU."""
    config = ExplainSettings.config
    ExplainSettings.config = lambda self, device: config(self, torch.device("cuda"))  # type: ignore[method-assign]
    try:
        yield
    finally:
        ExplainSettings.config = config  # type: ignore[method-assign]


def measured(setting: Setting) -> tuple[int, float]:
    """Rows of some explanations, and the seconds of CPU time that they took, after others that warmed up."""
    side = round(setting.n_superpixels**0.5)
    explainer = AnchorImage(
        MODELS[setting.model],
        segmentation_fn="grid",
        segmentation_kwargs={"rows": side, "cols": side},
        fill=0.0,
        seed=0,
        max_rows=MAX_ROWS[setting.rounds],
    )
    n_images = ALONE if setting.n_jobs == 1 else setting.n_jobs
    images = [torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(i)) + 0.1 for i in range(n_images)]
    with rounds_of_a_gpu() if setting.rounds == "gpu" else nullcontext():
        explainer.explain_batch(images[:4], method="auto")
        started = time.process_time()
        if setting.n_jobs == 1:
            found = [explainer.explain(image) for image in images]
        else:
            found = explainer.explain_batch(images)
        return sum(one.n_rows for one in found), time.process_time() - started


def in_another_process(checkout: Path, names: Sequence[str]) -> dict[str, tuple[int, float]]:
    """As `measured`, for each of the settings of these names, by the package of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--once", *names]
    answer = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=True)
    return {name: (rows, seconds) for name, (rows, seconds) in json.loads(answer.stdout).items()}


def table(runs: Sequence[Sequence[dict[str, tuple[int, float]]]]) -> Iterator[str]:
    """The lines of the table. Of each checkout, this one first, there is a sequence of runs."""
    yield f"{' model  cpu   K jobs':<20}{'rows':>9}{'us a row':>10}" + f"{'beside':>10}{'ratio':>8}" * (len(runs) > 1)
    for name, (n_rows, _) in runs[0][0].items():
        costs = [statistics.median(1e6 * run[name][1] / run[name][0] for run in own) for own in runs]
        line = f"{name:<20}{n_rows:>9,}{costs[0]:>10.1f}"
        if len(runs) > 1:
            line += f"{costs[1]:>10.1f}{costs[0] / costs[1]:>8.2f}"
            line += "" if runs[1][0][name][0] == n_rows else f"  {runs[1][0][name][0]:,} rows"
        yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="root of another checkout")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[], help="words or numbers that a line of the table must have")
    parser.add_argument("--once", nargs="+", metavar="SETTING", help=argparse.SUPPRESS)  # what the other processes do
    options = parser.parse_args()
    if options.once:
        torch.set_num_threads(1)
        print(json.dumps({str(one): measured(one) for one in SETTINGS if str(one) in options.once}))
        return
    names = [str(one) for one in SETTINGS if set(options.only) <= set(str(one).split())]
    checkouts = [Path(__file__).resolve().parents[2], *([options.beside.resolve()] if options.beside else [])]
    runs = [[in_another_process(one, names) for one in checkouts] for _ in range(options.repeats)]
    print("\n".join(table(list(zip(*runs, strict=True)))))


if __name__ == "__main__":
    main()
