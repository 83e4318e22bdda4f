"""Explains rows of UCI Adult side by side with alibi: same network, rows and one thread, in one run.

    python tests/benchmarks/adult.py --peer-python PEER/bin/python [--data adult.data] [--rows 100] [--batch 1000]

PEER is an environment of its own with ``pip install alibi torch`` (alibi needs numpy < 2); without it only this package
is measured. Without --data the table is downloaded by scikit-learn from OpenML.

Each anchor is judged from its words, by rows that this script draws: the share of hits among 4,000 fresh rows of the
interventional distribution, and precision and coverage on the rows that were not trained on. "below" is the share
of the anchors returned as valid whose precision is below 0.95: on fresh rows, or for "conditional" on held-out rows. An
explanation that found no valid anchor counts as coverage 0. alibi's own sampler, asked for rows of its anchors,
gives a lower precision than this script's; both are printed.

Times are CPU seconds of one thread, of either's own process, as other work on the machine would be in a clock's. Shared
machines are now faster and now slower even so. So alibi explains its rows in turns with the batch, a few at a time, and
the ratios of the two times of each turn are printed with their median.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from torch_anchors import AnchorTabular

N_TRAIN = 22_000
N_FRESH = 4_000
THRESHOLD = 0.95
COLUMNS = ("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation")
COLUMNS += ("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country")
DROPPED = ("fnlwgt", "education-num")
NUMERIC = ("age", "capital-gain", "capital-loss", "hours-per-week")
CONDITION = re.compile(r"(?:(\S+) < )?(.+?)(?: (<=|>|=) (.+))?")

PEER = """
import json, sys, time, warnings
import numpy as np, torch
warnings.filterwarnings("ignore")
torch.set_num_threads(1)
from alibi.explainers import AnchorTabular
sys.path.insert(0, sys.argv[4])
from adult import Network
table = np.load(sys.argv[2])
names = json.load(open(sys.argv[3]))
categories = {int(k): v for k, v in names["categories"].items()}
module = Network({j: len(c) for j, c in categories.items()}, torch.as_tensor(table["train"]))
module.load_state_dict(torch.load(sys.argv[1]))
calls = []
def predict(rows):
    calls.append(len(rows))
    with torch.inference_mode():
        return module(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))).numpy()
explainer = AnchorTabular(predict, names["columns"], categorical_names=categories, seed=0)
explainer.fit(table["train"], disc_perc=(25, 50, 75))
np.random.seed(0)
for turn in sys.stdin:  # the number of a row
    row = table["explained"][int(turn)]
    calls.clear()
    started = time.process_time()
    found = explainer.explain(row)
    seconds = time.process_time() - started
    n_rows, n_calls, precision = sum(calls), len(calls), float(np.ravel(found.precision)[0])
    sampler = explainer.samplers[0]
    sampler.set_instance_label(row)
    sampler.build_lookups(row)
    own = float(np.mean(sampler((0, tuple(found.raw["feature"])), 4000)[2]))
    print(json.dumps({"seconds": seconds, "rows": n_rows, "calls": n_calls, "anchor": list(found.anchor),
                      "precision": precision, "success": precision >= 0.95, "own": own}), flush=True)
"""


class Network(nn.Module):
    """An embedding of each category beside the standardised numbers, and two hidden layers."""

    def __init__(self, n_categories: dict[int, int], train: torch.Tensor) -> None:
        super().__init__()
        self.categorical = sorted(n_categories)
        self.numeric = [j for j in range(train.shape[1]) if j not in n_categories]
        self.embeddings = nn.ModuleList(nn.Embedding(n_categories[j], 4) for j in self.categorical)
        self.register_buffer("mean", train[:, self.numeric].mean(0))
        self.register_buffer("std", train[:, self.numeric].std(0))
        width = 4 * len(self.categorical) + len(self.numeric)
        self.layers = nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        parts = [e(rows[:, j].long()) for e, j in zip(self.embeddings, self.categorical, strict=True)]
        parts.append((rows[:, self.numeric] - self.mean) / self.std)
        return self.layers(torch.cat(parts, dim=1))


@dataclass(frozen=True)
class Task:
    """The table, split, the true labels of its training rows, and the network that is explained."""

    columns: list[str]
    categories: dict[int, list[str]]
    train: np.ndarray
    held_out: np.ndarray
    target: np.ndarray
    network: Network

    def labels(self, rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.network(torch.as_tensor(rows)).argmax(1).numpy()


def load(path: Path | None) -> tuple[list[list[str]], list[str]]:
    """Rows of text without the dropped columns, and the target."""
    if path is not None:
        lines = [line.strip().split(", ") for line in path.read_text().splitlines() if line.strip()]
        cells = {name: [line[i] for line in lines] for i, name in enumerate(COLUMNS)}
        target = [line[-1] for line in lines]
    else:
        from sklearn.datasets import fetch_openml

        frame = fetch_openml("adult", version=2, as_frame=True).frame
        cells = {name: frame[name].astype(object).fillna("?").astype(str).tolist() for name in COLUMNS}
        target = frame["class"].astype(str).tolist()
    kept = [name for name in COLUMNS if name not in DROPPED]
    return [cells[name] for name in kept], target


def prepare(path: Path | None) -> Task:
    """The table in codes, shuffled and split, and a network trained on it."""
    cells, target = load(path)
    columns = [name for name in COLUMNS if name not in DROPPED]
    table = np.zeros((len(target), len(columns)), dtype=np.float32)
    categories = {}
    for j, name in enumerate(columns):
        if name in NUMERIC:
            table[:, j] = np.asarray(cells[j], dtype=np.float64)
        else:
            known, table[:, j] = np.unique(cells[j], return_inverse=True)
            categories[j] = known.tolist()
    order = np.random.default_rng(0).permutation(len(table))
    table, rich = table[order], np.array([">50K" in label for label in target])[order]
    train, held_out = table[:N_TRAIN], table[N_TRAIN:]

    torch.manual_seed(0)
    x, y = torch.as_tensor(train), torch.as_tensor(rich[:N_TRAIN]).long()
    network = Network({j: len(names) for j, names in categories.items()}, x)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(10):
        for batch in torch.randperm(N_TRAIN).split(256):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
    task = Task(columns, categories, train, held_out, y.numpy(), network.eval().requires_grad_(False))
    accuracy = (task.labels(held_out) == rich[N_TRAIN:]).mean()
    print(f"{len(table)} rows; the network's accuracy on held-out rows is {accuracy:.3f}\n")
    return task


def parse(task: Task, words: str) -> tuple[int, float, float]:
    """Column, lower bound (exclusive) and upper bound of a condition in words."""
    lower, name, operator, value = CONDITION.fullmatch(words).groups()
    j = task.columns.index(name)
    if operator == "=":
        code = float(task.categories[j].index(value))
        return j, code - 0.5, code
    if operator == ">":
        return j, float(value), np.inf
    return j, -np.inf if lower is None else float(lower), float(value)


def judge(task: Task, anchor: list[str], label: int, rng: np.random.Generator) -> dict[str, float]:
    """Fresh precision, and precision and coverage on held-out rows, of an anchor in words."""
    conditions = [parse(task, words) for words in anchor]

    def applies(rows: np.ndarray) -> np.ndarray:
        holds = [(rows[:, j] > low) & (rows[:, j] <= high) for j, low, high in conditions]
        return np.logical_and.reduce(holds) if holds else np.ones(len(rows), dtype=bool)

    rows = task.train[rng.integers(N_TRAIN, size=N_FRESH)].copy()
    sources, columns = np.flatnonzero(applies(task.train)), sorted({j for j, _, _ in conditions})
    if len(sources):
        rows[:, columns] = task.train[rng.choice(sources, N_FRESH)][:, columns]
    else:  # no row to take all columns from: each by itself
        for j, low, high in conditions:
            values = task.train[(task.train[:, j] > low) & (task.train[:, j] <= high), j]
            rows[:, j] = rng.choice(values, N_FRESH) if len(values) else high
    held = applies(task.held_out)
    hits = task.labels(task.held_out)[held] == label
    return {
        "fresh": float((task.labels(rows) == label).mean()),
        "held_out": float(hits.mean()) if held.any() else float("nan"),
        "coverage": float(held.mean()),
    }


class Peer:
    """alibi in its own environment, one row at a time."""

    def __init__(self, task: Task, python: str, explained: np.ndarray) -> None:
        self._folder = tempfile.TemporaryDirectory()
        module, table, names = (
            str(Path(self._folder.name) / name) for name in ("module.pt", "table.npz", "names.json")
        )
        torch.save(task.network.state_dict(), module)
        np.savez(table, train=task.train, explained=explained)
        Path(names).write_text(json.dumps({"columns": task.columns, "categories": task.categories}))
        self._process = subprocess.Popen(
            [python, "-c", PEER, module, table, names, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a warning for each anchor that it did not find
            text=True,
            bufsize=1,
        )

    def explain(self, i: int) -> dict:
        """What alibi found for row i."""
        self._process.stdin.write(f"{i}\n")
        line = self._process.stdout.readline()
        while line and not line.startswith("{"):
            line = self._process.stdout.readline()
        if not line:
            sys.exit("The Python of --peer-python cannot run alibi: call it with -c 'import alibi, torch' to see why.")
        return json.loads(line)


def explainer_of(task: Task, sampling: str) -> AnchorTabular:
    """An explainer that has done what is done once per predictor, which is not counted."""
    from torch_anchors import AnchorTabular

    explainer = AnchorTabular(task.network, task.columns, categorical_names=task.categories, seed=0, sampling=sampling)
    explainer.fit(task.train)
    explainer.explain(task.held_out[-1])
    return explainer


def in_turns(task: Task, python: str, few: np.ndarray, many: np.ndarray, n_turns: int) -> list[dict]:
    """alibi's explanations of a few rows, in turns with one batch of many; prints the ratios of times per row."""
    peer, explainer = Peer(task, python, few), explainer_of(task, "interventional")
    found, ratios = {}, []
    for turn in range(n_turns):
        part = {i: peer.explain(i) for i in range(turn, len(few), n_turns)}
        found |= part
        theirs = statistics.mean(f["seconds"] for f in part.values())
        started = time.process_time()
        explainer.explain_batch(many)
        ratios.append(theirs * len(many) / (time.process_time() - started))
    turns = ", ".join(f"{ratio:.0f}" for ratio in ratios)
    print(f"alibi's time a row over that of {len(many)} at once, in turns: {turns}; median {np.median(ratios):.0f}")
    return [found[i] for i in range(len(few))]


def ours(task: Task, explained: np.ndarray, sampling: str, batch: bool) -> list[dict]:
    """This package, one row at a time or all in one batch."""
    explainer = explainer_of(task, sampling)
    started = time.process_time()
    if batch:
        found = explainer.explain_batch(explained)
        seconds = [(time.process_time() - started) / len(explained)] * len(explained)
    else:
        found, seconds = [], []
        for row in explained:
            started = time.process_time()
            found.append(explainer.explain(row))
            seconds.append(time.process_time() - started)
    return [
        {
            "seconds": s,
            "rows": f.n_rows,
            "calls": f.n_calls,
            "anchor": list(f.anchor),
            "precision": f.precision,
            "success": f.success,
        }
        for f, s in zip(found, seconds, strict=True)
    ]


def report(task: Task, name: str, found: list[dict], explained: np.ndarray, conditional: bool = False) -> None:
    """One line of the table."""
    rng = np.random.default_rng(1)
    labels = task.labels(explained)
    judged = [judge(task, f["anchor"], label, rng) for f, label in zip(found, labels, strict=True)]
    valid = [(f, j) for f, j in zip(found, judged, strict=True) if f["success"]]
    truth = [j["held_out" if conditional else "fresh"] for _, j in valid]
    print(
        f"{name:<34}{1e3 * statistics.mean(f['seconds'] for f in found):9.1f}"
        f"{statistics.mean(f['rows'] for f in found):8.0f}{statistics.mean(f['calls'] for f in found):7.1f}"
        f"{len(valid) / len(found):8.2f}{statistics.mean(f['precision'] for f, _ in valid):10.3f}"
        f"{statistics.mean(j['fresh'] for _, j in valid):8.3f}{np.nanmean([j['held_out'] for _, j in valid]):10.3f}"
        f"{np.mean([t < THRESHOLD for t in truth if t == t]):8.2f}"
        f"{sum(j['coverage'] for _, j in valid) / len(found):10.3f}"
        f"{statistics.mean(len(f['anchor']) for f, _ in valid):8.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="python of an environment with alibi")
    parser.add_argument("--data", type=Path, help="adult.data of UCI")
    parser.add_argument("--rows", type=int, default=100, help="rows explained one at a time (default: 100)")
    parser.add_argument("--batch", type=int, default=1000, help="rows explained in one batch (default: 1000)")
    parser.add_argument("--turns", type=int, default=5, help="turns of alibi and the batch (default: 5)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = prepare(arguments.data)
    few, many = task.held_out[: arguments.rows], task.held_out[: arguments.batch]
    theirs = in_turns(task, arguments.peer_python, few, many, arguments.turns) if arguments.peer_python else []
    print(
        f"{'':<34}{'ms':>9}{'rows':>8}{'calls':>7}{'valid':>8}{'reported':>10}{'fresh':>8}{'held out':>10}"
        f"{'below':>8}{'coverage':>10}{'length':>8}"
    )
    if theirs:
        report(task, "alibi", theirs, few)
        own = np.array([f["own"] for f in theirs if f["success"]])
        print(f"    by its own sampler: fresh {own.mean():.3f}, below {(own < THRESHOLD).mean():.2f}")
    for sampling in ("interventional", "conditional"):
        conditional = sampling == "conditional"
        report(task, f"{sampling}, one at a time", ours(task, few, sampling, False), few, conditional)
        report(task, f"{sampling}, {len(many)} at once", ours(task, many, sampling, True), many, conditional)


if __name__ == "__main__":
    sys.exit(main())
