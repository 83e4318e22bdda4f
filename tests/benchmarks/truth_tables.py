"""Explanations with a known truth: rows, false anchors and sizes over many seeds, through the public explainer.

    python tests/benchmarks/truth_tables.py --seeds 200

A truth table holds the hit or miss of each of the 2^K masks of a photograph, from a real network, or a coin's. It
becomes a model of a tiny image with one pixel per superpixel: which pixels are not 0 is the mask to look up. Of crops
the margins are known as well, for `method="guided"`, and of the two photographs the probability of the explained class.
That of the next class is taken for half of the rest there, as far as the label allows it. A coin's table has labels
only.

Each table is asked what keeps the label while it is shown, and what is necessary: what changes it while it is hidden.
Tables of photographs that are not there are left out. `--data` names the folder that they are in. Harder ones, of
crops, are made by

    python tests/benchmarks/truth_tables.py --make FOLDER

which keeps them in that folder, and asked when `--crops FOLDER` names it; see `masked_crops` for what it needs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_anchors import AnchorImage
from torch_anchors.search.exact import superset_precisions
from torch_anchors.search.protocol import NECESSARY, QUESTIONS, SUFFICIENT

sys.path.insert(0, str(Path(__file__).parent))
import masked_crops

DATA = Path(__file__).parents[1] / "data"
PHOTOGRAPHS = ("coffee", "camera")
N_COINS = 13
"""Superpixels of a table of coins."""
THRESHOLD = 0.95


class Table(nn.Module):
    """A network that looks its answer up: labels, 1 where the mask is a hit, or two logits."""

    def __init__(self, answers: NDArray) -> None:
        super().__init__()
        self.register_buffer("answers", torch.from_numpy(answers))
        self.register_buffer("powers", 2 ** torch.arange(n_superpixels(answers)))

    def forward(self, images: Tensor) -> Tensor:
        return self.answers[((images.flatten(1) > 0).long() * self.powers).sum(dim=1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One explanation against the truth."""

    n_rows: int
    n_calls: int
    seconds: float
    size: int
    best_size: int
    success: bool
    false: bool
    covered: bool
    error: float


def n_superpixels(answers: NDArray) -> int:
    """K of a table with an answer to each of 2^K masks."""
    return len(answers).bit_length() - 1


def photograph(name: str, folder: Path = DATA) -> NDArray[np.bool_]:
    """Hits (2^K,) of a photograph's masks."""
    with np.load(folder / f"truth_{name}.npz") as stored:
        return stored["labels"] == stored["y0"]


def logits(name: str, folder: Path = DATA) -> NDArray[np.float64]:
    """Of the next class and of the explained one (2^K, 2), for each of a photograph's masks."""
    with np.load(folder / f"truth_{name}.npz") as stored:
        if "margins" in stored:
            half = stored["margins"].astype(np.float64) / 2
            return np.stack([-half, half], axis=1)  # one is below 0: no row is taken for probabilities
        own = stored["conf"].astype(np.float64).clip(1e-6, 1 - 1e-6)
    following = (1 - own) / 2
    following = np.where(photograph(name, folder), np.minimum(following, own / 1.05), np.maximum(following, own * 1.05))
    return np.log(np.stack([following, own], axis=1))


def coins(precision: float, seed: int) -> NDArray[np.bool_]:
    """Hits (2^K,) by chance; the whole image is one."""
    hits = np.random.default_rng(10_000 + seed).random(1 << N_COINS) < precision
    hits[-1] = True
    return hits


def precisions(hits: NDArray[np.bool_], question: str) -> NDArray[np.float64]:
    """The true precision (2^K,) of every anchor; bit k of an index says that superpixel k is in it.

    Of what is necessary, a mask of hidden superpixels is the complement of one of shown ones: the table backwards.
    """
    counted = ~hits[::-1] if question == NECESSARY else hits
    return superset_precisions(counted.astype(np.float64))


def outcome(
    hits: NDArray[np.bool_], method: str, seed: int, answers: NDArray | None = None, question: str = SUFFICIENT
) -> Outcome:
    """One explanation, and what the table says of it; the model returns `answers`, or labels."""
    truth, n = precisions(hits, question), n_superpixels(hits)
    sizes = np.array([code.bit_count() for code in range(truth.size)])
    explainer = AnchorImage(
        Table(hits.astype(np.int64) if answers is None else answers),
        segmentation_fn=np.arange(n)[None],
        images_background=torch.zeros(1, 1, 1, n),
        seed=seed,
    )
    started = time.perf_counter()
    found = explainer.explain(torch.ones(1, 1, n), method=method, question=question)
    seconds = time.perf_counter() - started
    true_precision = float(truth[sum(1 << k for k in found.features)])
    low, high = found.precision_interval
    return Outcome(
        n_rows=found.n_rows,
        n_calls=found.n_calls,
        seconds=seconds,
        size=len(found.features),
        best_size=int(sizes[truth >= THRESHOLD - 1e-12].min(initial=n + 1)),
        success=found.success,
        false=found.success and true_precision < THRESHOLD - 1e-12,
        covered=low - 1e-12 <= true_precision <= high + 1e-12,
        error=abs(found.precision - true_precision),
    )


def line(name: str, method: str, outcomes: list[Outcome], beside: list[Outcome] | None = None) -> str:
    """A row of the table; `half` compares with the rows of the beam search, which are `beside`."""

    def mean(of: Callable[[Outcome], float]) -> float:
        return float(np.mean([of(o) for o in outcomes]))

    most = 0.5 * np.mean([o.n_rows for o in beside or outcomes])
    return (
        f"{name:<12}{method:<8}{len(outcomes):>6}{mean(lambda o: o.n_rows):>8.0f}"
        f"{np.median([o.n_rows for o in outcomes]):>8.0f}{max(o.n_rows for o in outcomes):>7}"
        f"{mean(lambda o: o.n_calls):>7.1f}{sum(o.success for o in outcomes):>9}{sum(o.false for o in outcomes):>7}"
        f"{mean(lambda o: o.size == o.best_size):>9.3f}"
        f"{mean(lambda o: o.size == o.best_size and o.n_rows <= most):>7.3f}{mean(lambda o: o.covered):>9.3f}"
        f"{max(o.error for o in outcomes):>10.1e}{1000 * mean(lambda o: o.seconds):>8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="explanations of each table (default: 200)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the tables of photographs")
    parser.add_argument("--crops", type=Path, help="folder of the tables of crops")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="make the tables of crops in this folder, and end")
    given = parser.parse_args()
    if given.make is not None:
        masked_crops.make(given.make)
        return
    tables = [(given.data, name) for name in PHOTOGRAPHS]
    tables += [(given.crops, name) for name in masked_crops.CROPS] if given.crops is not None else []
    seeds = range(given.seeds)
    torch.set_num_threads(1)
    print(
        f"{'table':<12}{'method':<8}{'seeds':>6}{'rows':>8}{'median':>8}{'most':>7}{'calls':>7}{'success':>9}"
        f"{'false':>7}{'optimal':>9}{'half':>7}{'covered':>9}{'error':>10}{'ms':>8}"
    )
    for question, (folder, name) in product(QUESTIONS, tables):
        if not (folder / f"truth_{name}.npz").exists():
            print(f"{name:<12}left out: there is no {folder / f'truth_{name}.npz'}")
            continue
        hits, answers = photograph(name, folder), logits(name, folder)
        called = name if question == SUFFICIENT else f"{name} nec."
        asked = {"question": question}
        beam = [outcome(hits, "beam", seed, **asked) for seed in seeds]
        print(line(called, "beam", beam), flush=True)
        guided = [outcome(hits, "guided", seed, answers, **asked) for seed in seeds]
        print(line(called, "guided", guided, beam), flush=True)
        # Enumeration has no randomness; a few seeds show it.
        print(line(called, "exact", [outcome(hits, "exact", seed, **asked) for seed in seeds[:3]]), flush=True)
    for question, precision in product(QUESTIONS, (0.92, 0.94)):
        # Of coins the change is as likely as the label: a hit of the one question is a miss of the other.
        share = precision if question == SUFFICIENT else 1 - precision
        called = f"coins {precision}{'' if question == SUFFICIENT else 'n'}"
        for method in ("beam", "exact"):
            tables = [outcome(coins(share, seed), method, seed, question=question) for seed in seeds]
            print(line(called, method, tables), flush=True)
    print(
        "\nrows, calls, ms: per explanation. optimal: share as short as the shortest anchor that truly reaches 0.95; "
        "half: and found in half of the rows of the beam search."
    )
    print(
        "nec., n: asked what is necessary. false: certified, but truly below 0.95. covered: interval holds the truth. "
        "error: of the reported precision."
    )


if __name__ == "__main__":
    main()
