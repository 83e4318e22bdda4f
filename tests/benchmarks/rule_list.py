"""Lists of ten rules of UCI Adult, judged on rows held out, for three models and both samplings.

    python -m tests.benchmarks.rule_list [--data adult.data] [--rows 1000] [--method auto]

Without --data the table is downloaded by scikit-learn from OpenML. Of the rows that were not trained on, some are
explained, 5,000 (these among them) choose a list, and all others judge it and the single rules.

Printed are, for one rule: the share of explanations that were certified, the mean precision on judging rows, and the
mean coverage there, a row without a certified rule counted as 0. For ten: the coverage of `pick`, and coverage and
fidelity of a `RuleList`, each with the lower end that holds with 95 % confidence; the number of its rules; and the
seconds that the explanations took.

In brackets are the figures of Ribeiro, Singh and Guestrin (AAAI 2018), with delta 0.05, beams of 10 and quartiles as
here (``--method beam`` is their search). Their models were others of the same kinds, and so were their rows, so that
only the order of magnitude can be compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.adult import Task, prepare
from torch_anchors import AnchorTabular, RuleList, TabularExplanation, pick
from torch_anchors.datasets.assessment import Prefix

N_CHOOSING = 5_000
THRESHOLD, DELTA, BEAM_SIZE = 0.95, 0.05, 10
PAPER = {
    "logistic regression": (95.6, 10.7, 81.8),
    "gradient boosting": (96.2, 9.7, 80.5),
    "network": (95.6, 7.6, 68.1),
}
"""Precision and coverage of one anchor, and coverage of ten, in per cent."""


def models(task: Task) -> dict[str, Any]:
    """A linear model, boosted trees and a network of the table, as functions of encoded rows or modules."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categorical = sorted(task.categories)
    codes = (OneHotEncoder(handle_unknown="ignore"), categorical)
    numbers = [j for j in range(len(task.columns)) if j not in task.categories]
    columns = make_column_transformer(codes, (StandardScaler(), numbers))
    linear = make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(task.train, task.target)
    trees = HistGradientBoostingClassifier(categorical_features=categorical, random_state=0)
    return {
        "logistic regression": linear.predict,
        "gradient boosting": trees.fit(task.train, task.target).predict,
        "network": task.network,
    }


@dataclass(frozen=True)
class Outcome:
    """What is known of the rules of one model, and of its list; shares in [0, 1].

    Args:
        certified: share of explanations that reach the threshold.
        precision: of one rule on judging rows, the mean over those that hold there.
        coverage: of one rule on judging rows.
        picked: coverage of what `pick` gives.
        whole: the list on judging rows.
        seconds: that the explanations took.
    """

    certified: float
    precision: float
    coverage: float
    picked: float
    whole: Prefix
    seconds: float


def explained(
    task: Task, model: Callable[[Any], Any], sampling: str, rows: np.ndarray, method: str
) -> tuple[list[TabularExplanation], float]:
    """The explanations of some rows, and how many seconds they took."""
    dtype = torch.float32 if isinstance(model, torch.nn.Module) else np.float64
    explainer = AnchorTabular(model, task.columns, task.categories, dtype=dtype, seed=0, sampling=sampling)
    explainer.fit(task.train)
    started = time.perf_counter()
    settings = {"threshold": THRESHOLD, "delta": DELTA, "method": method, "beam_size": BEAM_SIZE}
    return explainer.explain_batch(rows, **settings), time.perf_counter() - started


def measured(
    task: Task,
    model: Callable[[Any], Any],
    sampling: str,
    *,
    n_explained: int,
    n_choosing: int,
    k: int = 10,
    method: str = "auto",
) -> Outcome:
    """One line of the table."""
    choosing, judging = task.held_out[:n_choosing], task.held_out[n_choosing:]
    found, seconds = explained(task, model, sampling, task.held_out[:n_explained], method)
    certified = [one for one in found if one.success]
    predict = certified[0].predict
    assert predict is not None
    labels = predict(judging)
    picked = [one.applies(judging) for one in pick(found, choosing, k)]
    whole = RuleList.from_explanations(found, choosing, k).assess(judging, labels, delta=0.05).prefixes[-1]
    return Outcome(
        len(certified) / len(found),
        float(np.nanmean([one.precision_on(judging, labels) for one in certified])),
        sum(one.coverage_on(judging) for one in certified) / len(found),
        float(np.logical_or.reduce(picked).mean()),
        whole,
        seconds,
    )


def line(name: str, sampling: str, found: Outcome) -> str:
    """The outcome beside the paper's."""
    precision, coverage, ten = PAPER[name]
    own = found.whole
    covers, agrees = own.coverage_interval[0], own.fidelity_interval[0]
    return (
        f"{name:<21}{sampling:<16}{100 * found.certified:7.1f}"
        f"{100 * found.precision:8.1f} ({precision:.1f}){100 * found.coverage:8.1f} ({coverage:4.1f})"
        f"{100 * found.picked:8.1f} ({ten:.1f})"
        f"{100 * own.coverage:8.1f} (>= {100 * covers:.1f}){100 * own.fidelity:8.1f} (>= {100 * agrees:.1f})"
        f"{own.n_rules:5}{found.seconds:9.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="adult.data of UCI")
    parser.add_argument("--rows", type=int, default=1000, help="rows that are explained (default: 1000)")
    parser.add_argument("--method", default="auto", help="of the search (default: auto)")
    arguments = parser.parse_args()
    task = prepare(arguments.data)
    explained_models = models(task)
    print(f"{'':<37}{'%':>7}{'precision':>15}{'coverage':>15}{'ten cover':>15}{'list covers':>18}{'and agrees':>18}")
    for sampling in ("conditional", "interventional"):
        for name, model in explained_models.items():
            found = measured(
                task, model, sampling, n_explained=arguments.rows, n_choosing=N_CHOOSING, method=arguments.method
            )
            print(line(name, sampling, found), flush=True)


if __name__ == "__main__":
    main()
