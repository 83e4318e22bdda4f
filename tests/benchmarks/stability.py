"""Whether rules name the columns that matter, and are the same under another seed: tables with columns of noise.

    python tests/benchmarks/stability.py [--tables moons xor] [--rows 100] [--seeds 0 1]
        [--alibi-python PEER/bin/python] [--acv-python PEER/bin/python] [--peer-rows 20]

The first table is that of arXiv 2111.04658, section 5.3: two moons beside 100 columns of noise, and a random forest.
The others have a XOR of two of 30 columns, three informative columns of 50, and no noise at all (breast cancer). Of
each explainer the table has, over the same rows of no training set and over both seeds:

- conditions: mean number of a rule's predicates, the rules that were not certified included;
- noise: share of all columns that rules name that the label does not depend on;
- true: share found of the columns that it does depend on;
- same: share of the rows that have the same rule under both seeds of the explainer;
- valid, coverage: share of the rows whose rule is certified, and the share of the table that such a rule covers, where
  a row without one counts as 0;
- rows: of the model, for each explanation, on average and at most; seconds: of CPU, on one thread.

PEER are environments of their own: one with ``pip install alibi``, one with ``pip install acv-exp`` (it was built with
numpy 1.23, Cython 0.29 and scikit-learn 1.2, without build isolation). ACV's explainer is a forest that is fitted once
to the model's labels; it asks the model nothing afterwards, and promises nothing. What is fitted once is not counted.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

N_TRAIN = 5000
N_TREES = 200
COLUMN = re.compile(r"x(\d+)")


@dataclass(frozen=True)
class Forest:
    """A forest of scikit-learn as plain arrays, which environments of all versions can read."""

    feature: np.ndarray  # trees, nodes; -1 at a leaf
    cut: np.ndarray
    children: np.ndarray  # trees, nodes, 2
    chance: np.ndarray

    @classmethod
    def fit(cls, rows: np.ndarray, labels: np.ndarray) -> Forest:
        from sklearn.ensemble import RandomForestClassifier

        trees = [tree.tree_ for tree in RandomForestClassifier(N_TREES, random_state=0).fit(rows, labels).estimators_]
        shape = len(trees), max(tree.node_count for tree in trees)
        feature, cut, chance = np.full(shape, -1), np.zeros(shape), np.zeros(shape)
        children = np.zeros((*shape, 2), dtype=np.int64)
        for i, tree in enumerate(trees):
            own = slice(tree.node_count)
            feature[i, own] = np.maximum(tree.feature, -1)
            cut[i, own] = tree.threshold
            leaf = tree.children_left < 0
            for side, child in enumerate((tree.children_left, tree.children_right)):
                children[i, own, side] = np.where(leaf, np.arange(tree.node_count), child)
            chance[i, own] = tree.value[:, 0, 1] / tree.value[:, 0].sum(axis=1)
        return cls(feature, cut, children, chance)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Labels (n,) of rows (n, columns)."""
        rows = np.asarray(rows, dtype=np.float32)
        tree, n = np.arange(len(self.cut))[:, None], np.arange(len(rows))
        node = np.zeros((len(self.cut), len(rows)), dtype=np.int64)
        while ((feature := self.feature[tree, node]) >= 0).any():
            above = rows[n, feature] > self.cut[tree, node]  # of a leaf both children are the leaf itself
            node = self.children[tree, node, above.astype(np.int64)]
        return (self.chance[tree, node].mean(axis=0) > 0.5).astype(np.int64)


@dataclass(frozen=True)
class Xor:
    """Whether exactly one of two columns is above 0."""

    columns: tuple[int, int] = (3, 17)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        above = np.asarray(rows)[:, self.columns] > 0
        return (above[:, 0] ^ above[:, 1]).astype(np.int64)


@dataclass(frozen=True)
class Task:
    train: np.ndarray
    explained: np.ndarray
    model: Forest | Xor
    true: frozenset[int]


def moons(n_rows: int, seed: int) -> Task:
    from sklearn.datasets import make_moons

    rows, labels = make_moons(N_TRAIN + n_rows, noise=0.1, random_state=seed)
    rows = np.column_stack([rows, np.random.default_rng(seed).standard_normal((len(rows), 100))])
    return learned(rows, labels, {0, 1})


def xor(n_rows: int, seed: int) -> Task:
    rows = np.random.default_rng(seed).standard_normal((N_TRAIN + n_rows, 30))
    return Task(rows[:N_TRAIN], rows[N_TRAIN:], Xor(), frozenset(Xor().columns))


def informative(n_rows: int, seed: int) -> Task:
    from sklearn.datasets import make_classification

    rows, labels = make_classification(
        N_TRAIN + n_rows, 50, n_informative=3, n_redundant=0, shuffle=False, class_sep=1.5, random_state=seed
    )
    order = np.random.default_rng(seed).permutation(len(rows))
    return learned(rows[order], labels[order], {0, 1, 2})


def cancer(n_rows: int, seed: int) -> Task:
    from sklearn.datasets import load_breast_cancer

    rows, labels = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(rows))
    return learned(rows[order], labels[order], set(range(rows.shape[1])), len(rows) - n_rows)


def learned(rows: np.ndarray, labels: np.ndarray, true: set[int], n_train: int = N_TRAIN) -> Task:
    """The rows in two parts, and a forest that learned the first of them."""
    forest = Forest.fit(rows[:n_train], labels[:n_train])
    print(f"held-out accuracy {(forest(rows[n_train:]) == labels[n_train:]).mean():.3f}")
    return Task(rows[:n_train], rows[n_train:], forest, frozenset(true))


TABLES = {"moons": moons, "xor": xor, "informative": informative, "cancer": cancer}


@dataclass(frozen=True)
class Found:
    """One rule: its predicates in words, and what it cost."""

    conditions: list[str]
    valid: bool
    coverage: float
    rows: int
    seconds: float

    @property
    def columns(self) -> set[int]:
        return {int(COLUMN.search(words).group(1)) for words in self.conditions}


def ours(task: Task, seed: int) -> list[Found]:
    """This package, all rows in one batch, after the first explanation, which has the model label the training rows."""
    from torch_anchors import AnchorTabular

    explainer = AnchorTabular(task.model, names(task), seed=seed).fit(task.train)
    explainer.explain(task.explained[-1])
    started = time.process_time()
    found = explainer.explain_batch(task.explained)
    seconds = (time.process_time() - started) / len(found)
    return [Found(list(f.anchor), f.success, f.coverage, f.n_rows, seconds) for f in found]


def names(task: Task) -> list[str]:
    return [f"x{j}" for j in range(task.train.shape[1])]


def by_alibi(task: Task, seed: int) -> list[Found]:
    """alibi, one row at a time; in its own environment."""
    from alibi.explainers import AnchorTabular

    counted: list[int] = []

    def model(rows: np.ndarray) -> np.ndarray:
        counted.append(len(rows))
        return task.model(rows)

    explainer = AnchorTabular(model, names(task), seed=seed).fit(task.train, disc_perc=(25, 50, 75))
    np.random.seed(seed)  # noqa: NPY002 - what alibi draws from
    found = []
    for row in task.explained:
        counted.clear()
        started = time.process_time()
        one = explainer.explain(row, threshold=0.95)
        seconds = time.process_time() - started
        precision, coverage = (float(np.ravel(value)[0]) for value in (one.precision, one.coverage))
        found.append(Found(list(one.anchor), precision >= 0.95, coverage, sum(counted), seconds))
    return found


def by_acv(task: Task, seed: int) -> list[Found]:
    """ACV's sufficient explanations and the rules of their columns; in its own environment."""
    from acv_explainers import ACXplainer

    labels = task.model(task.train)
    explainer = ACXplainer(classifier=True, n_estimators=50, max_depth=5, seed=seed)
    explainer.fit(task.train, labels)
    found = []
    for row in task.explained:
        started = time.process_time()
        one, label = row[None], task.model(row[None])
        _, columns, size, reached = explainer.importance_sdp_rf(one, label, task.train, labels, pi_level=0.95)
        chosen = [[int(j) for j in columns[0][: int(size[0])]]]
        _, bounds = explainer.compute_sdp_maxrules(one, label, task.train, labels, chosen)[:2]
        seconds = time.process_time() - started
        low, high = np.asarray(bounds)[0].T
        span = np.stack([task.train.min(0), task.train.max(0)])
        conditions = [f"x{j} > {low[j]:.3g}" for j in np.flatnonzero((low > span[0]) & (low < span[1]))]
        conditions += [f"x{j} <= {high[j]:.3g}" for j in np.flatnonzero((high < span[1]) & (high > span[0]))]
        covered = ((task.train > low) & (task.train <= high)).all(axis=1).mean()
        found.append(Found(conditions, bool(reached[0] >= 0.95), float(covered), 0, seconds))
    return found


PEERS = {"alibi": by_alibi, "ACV": by_acv}


def in_environment(python: str, peer: str, task: Task, seed: int) -> list[Found]:
    """What a peer finds, in the environment of that Python."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.npz"
        model = vars(task.model) if isinstance(task.model, Forest) else {}
        np.savez(path, train=task.train, explained=task.explained, **model)
        command = [python, __file__, "--as-peer", peer, str(path), str(seed)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{peer} failed:\n{done.stderr[-2000:]}")
        return [Found(**fields) for fields in json.loads(done.stdout.splitlines()[-1])]


def as_peer(peer: str, path: str, seed: str) -> None:
    """Runs in the environment of a peer."""
    arrays = dict(np.load(path))
    train, explained = arrays.pop("train"), arrays.pop("explained")
    found = PEERS[peer](Task(train, explained, Forest(**arrays) if arrays else Xor(), frozenset()), int(seed))
    print(json.dumps([vars(one) for one in found]))


def report(name: str, task: Task, runs: list[list[Found]]) -> None:
    """One line of the table."""
    found = [one for run in runs for one in run]
    named = [column for one in found for column in one.columns]
    same = [len({frozenset(one.conditions) for one in of_row}) == 1 for of_row in zip(*runs, strict=True)]
    rows = [one.rows for one in found]
    print(
        f"{name:<26}{np.mean([len(one.conditions) for one in found]):>11.2f}"
        f"{np.mean([column not in task.true for column in named]):>8.3f}"
        f"{np.mean([len(one.columns & task.true) / len(task.true) for one in found]):>8.3f}{np.mean(same):>7.2f}"
        f"{np.mean([one.valid for one in found]):>7.2f}{np.mean([one.valid * one.coverage for one in found]):>10.3f}"
        f"{np.mean(rows):>9.0f}{max(rows):>9}{np.median([one.seconds for one in found]):>9.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--peer-rows", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--alibi-python")
    parser.add_argument("--acv-python")
    options = parser.parse_args()
    try:
        import torch

        torch.set_num_threads(1)
    except ModuleNotFoundError:
        sys.exit("Run this with the Python that torch_anchors is installed for.")
    for name in options.tables:
        print(f"\n{name}: ", end="")
        task = TABLES[name](options.rows, 0)
        if isinstance(task.model, Xor):
            print("a function")
        print(f"{'':<26}{'conditions':>11}{'noise':>8}{'true':>8}{'same':>7}{'valid':>7}{'coverage':>10}", end="")
        print(f"{'rows':>9}{'at most':>9}{'seconds':>9}")
        report(f"{len(task.explained)} rows", task, [ours(task, seed) for seed in options.seeds])
        few = Task(task.train, task.explained[: options.peer_rows], task.model, task.true)
        pythons = {"alibi": options.alibi_python, "ACV": options.acv_python}
        if any(pythons.values()):
            report(f"{len(few.explained)} of these", few, [ours(few, seed) for seed in options.seeds])
        for peer, python in pythons.items():
            if python:
                report(f"the same by {peer}", few, [in_environment(python, peer, few, s) for s in options.seeds])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-peer"]:
        as_peer(*sys.argv[2:])
    else:
        main()
