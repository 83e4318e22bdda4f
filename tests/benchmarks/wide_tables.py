"""Counted rules (`sampling="conditional"`) of tables with many columns: CPU seconds, and what the rules are worth.

    python tests/benchmarks/wide_tables.py [--beside CHECKOUT] [--explained 40] [--only moons cancer]

Each table is split in three: the model, a random forest or what is planted, is trained on one part; the explainer is
fitted on another; and rows of the third are explained, and judge the rules. Of the rules that are certified the table
has coverage (a row without one counts as 0), precision on the third part, how many are below 0.95 there, conditions,
and the share of these that are about a column of pure noise, where it is known which columns are.

With `--beside`, the root of another checkout, that package explains the same rows, but for those of tables that might
take it hours. Each table and checkout is measured in a process of its own, with one thread; seconds are CPU time
(`time.process_time`), what the process itself took whatever else runs on the machine, without what the model took:
"label" is the model's time for the fitted rows, "1st" the first explanation, "one" the next one alone, "each" one of a
batch. Memory is the process's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch_anchors import TabularExplanation

N_TREES = 200
THRESHOLD = 0.95

Model = Callable[[NDArray[np.float64]], NDArray[np.int64]]


@dataclass(frozen=True)
class WideTable:
    """Rows to fit and to explain, a model of them, and which columns it has a reason to look at, if that is known."""

    fitted: NDArray[np.float64]
    explained: NDArray[np.float64]
    model: Model
    signal: tuple[int, ...] | None = None
    n_categories: int | None = None  # of all columns


def forest(rows: NDArray[np.float64], target: NDArray[np.int64], n_train: int, n_fitted: int, **more: Any) -> WideTable:
    """The rows in three parts, and a forest trained on the first."""
    from sklearn.ensemble import RandomForestClassifier

    trained = RandomForestClassifier(N_TREES, min_samples_leaf=3, random_state=0).fit(rows[:n_train], target[:n_train])
    return WideTable(rows[n_train : n_train + n_fitted], rows[n_train + n_fitted :], trained.predict_proba, **more)


def moons(n_noise: int) -> WideTable:
    """Two half moons, and columns of noise beside them."""
    from sklearn.datasets import make_moons

    rows, target = make_moons(15_000, noise=0.2, random_state=0)
    noise = np.random.default_rng(0).normal(size=(len(rows), n_noise))
    return forest(np.hstack([rows, noise]), target, 5_000, 5_000, signal=(0, 1))


def clusters() -> WideTable:
    """60 columns: 6 that tell the classes apart, 12 mixtures of these, and noise."""
    from sklearn.datasets import make_classification

    rows, target = make_classification(
        15_000, 60, n_informative=6, n_redundant=12, shuffle=False, class_sep=1.5, random_state=0
    )
    order = np.random.default_rng(0).permutation(len(rows))  # they come by class
    return forest(rows[order], target[order], 5_000, 5_000, signal=tuple(range(18)))


def cancer() -> WideTable:
    """Wisconsin's breast cancer table: 569 rows of 30 closely related columns."""
    from sklearn.datasets import load_breast_cancer

    rows, target = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(rows))
    return forest(rows[order], target[order], 150, 300)


def planted(n_columns: int) -> WideTable:
    """Columns of 3 categories, of which three together decide; a fifth of the other rows have their label by chance."""
    rows = np.random.default_rng(0).integers(0, 3, (8_000, n_columns)).astype(float)
    signal = (1, n_columns // 2, n_columns - 1)

    def model(asked: NDArray[np.float64]) -> NDArray[np.int64]:
        luck = np.abs(np.sin(1e4 * (asked @ np.arange(1, n_columns + 1) ** 0.5))) < 0.3
        return ((asked[:, signal] == 1).all(axis=1) | luck).astype(np.int64)

    deciding = (rows[:, signal] == 1).all(axis=1)
    explained = np.concatenate([rows[4_000:][deciding[4_000:]], rows[4_000:]])
    return WideTable(rows[:4_000], explained, model, signal, n_categories=3)


@dataclass(frozen=True)
class Setting:
    """A table, the most of its rows that are explained, and whether all triples can be counted."""

    make: Callable[[], WideTable]
    n_explained: int = 1000
    beside: bool = True


SETTINGS = {
    "moons": Setting(lambda: moons(100)),
    "clusters": Setting(clusters),
    "cancer": Setting(cancer),
    "planted": Setting(lambda: planted(60)),
    "moons, 1000 columns": Setting(lambda: moons(998), n_explained=24, beside=False),
}


@dataclass(frozen=True)
class Measured:
    """Seconds of CPU time, peak memory in GiB, and what the certified rules are worth."""

    n_columns: int
    labelling: float
    first: float
    one: float
    each: float
    memory: float
    certified: float
    coverage: float
    precision: float
    below: float
    size: float
    noise: float


def measured(table: WideTable, n_explained: int) -> Measured:
    """One table, in this process."""
    from torch_anchors import AnchorTabular

    torch.set_num_threads(1)
    names = None
    if table.n_categories is not None:
        kinds = [f"kind {k}" for k in range(table.n_categories)]
        names = dict.fromkeys(range(table.fitted.shape[1]), kinds)
    seconds_in_model = 0.0

    def model(rows: NDArray[np.float64]) -> NDArray[np.int64]:
        nonlocal seconds_in_model
        started = time.process_time()
        answers = table.model(rows)
        seconds_in_model += time.process_time() - started
        return answers

    explainer = AnchorTabular(model, categorical_names=names, dtype=float, seed=0, sampling="conditional")
    explainer.fit(table.fitted)

    def seconds(explain: Callable[[], Any]) -> tuple[float, Any]:
        before, started = seconds_in_model, time.process_time()
        found = explain()
        return time.process_time() - started - (seconds_in_model - before), found

    rows = table.explained[: n_explained + 2]
    started = seconds_in_model
    first, _ = seconds(lambda: explainer.explain(rows[0]))
    labelling = seconds_in_model - started
    one, _ = seconds(lambda: explainer.explain(rows[1]))
    batch, found = seconds(lambda: explainer.explain_batch(rows[2:]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    times = (labelling, first, one, batch / len(rows[2:]), peak)
    return Measured(table.fitted.shape[1], *times, *worth(found, table, explainer.predict(table.explained)))


def worth(found: Sequence[TabularExplanation], table: WideTable, labels: NDArray[np.int64]) -> tuple[float, ...]:
    """Of explanations: the share that are certified, and of these what `Measured` has."""
    certified = [one for one in found if one.success]
    held = [one.applies(table.explained) for one in certified]
    precisions = [float((labels[h] == one.label).mean()) for one, h in zip(certified, held, strict=True) if h.any()]
    columns = [predicate.column for one in certified for predicate in one.predicates]
    noise = [column not in table.signal for column in columns] if table.signal is not None else []
    nan = [float("nan")]
    return (
        len(certified) / len(found),
        sum(float(h.mean()) for h in held) / len(found),
        statistics.mean(precisions or nan),
        statistics.mean([float(p < THRESHOLD) for p in precisions] or nan),
        statistics.mean([len(one.anchor) for one in certified] or nan),
        statistics.mean(noise or nan),
    )


HEAD = f"{'':<32}{'label s':>8}{'1st s':>7}{'one s':>7}{'each s':>8}{'GiB':>6}{'certified':>10}{'coverage':>9}"
HEAD += f"{'precision':>10}{'below':>7}{'size':>6}{'noise':>7}"


def line(words: str, one: Measured) -> str:
    return (
        f"{words:<32}{one.labelling:8.2f}{one.first:7.2f}{one.one:7.2f}{one.each:8.3f}{one.memory:6.1f}"
        f"{one.certified:10.3f}{one.coverage:9.4f}{one.precision:10.4f}{one.below:7.3f}{one.size:6.2f}{one.noise:7.3f}"
    )


def in_own_process(name: str, n_explained: int, checkout: Path) -> Measured:
    """What a process with the package of a checkout measures."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--once", name, "--explained", str(n_explained)]
    answer = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True, check=True)
    return Measured(**json.loads(answer.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="root of another checkout")
    parser.add_argument("--explained", type=int, default=40)
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--once", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        print(json.dumps(asdict(measured(SETTINGS[options.once].make(), options.explained))))
        return
    print(HEAD)
    for name in options.only:
        setting, n = SETTINGS[name], min(options.explained, SETTINGS[name].n_explained)
        one = in_own_process(name, n, Path(__file__).resolve().parents[2])
        print(line(f"{name} ({one.n_columns} columns)", one), flush=True)
        if options.beside and setting.beside:
            print(line("  beside", in_own_process(name, n, options.beside.resolve())), flush=True)


if __name__ == "__main__":
    main()
