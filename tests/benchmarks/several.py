"""Several anchors with nothing in common: whether planted ones are all found, and how often anything said is false.

    python tests/benchmarks/several.py [--seeds 100] [--near 300]

Every explanation is of a model, and a picture or table, of its own, and is asked for `n_anchors=3`.

1. Planted: the model keeps its answer where any of three disjoint sets of superpixels is shown, or any of three
   disjoint conjunctions of columns holds, of one or two members each. "all three" is the share of explanations that
   find them all, exactly: the superpixels, or columns, and no others.
2. Near the threshold: labels are noise at a rate just below it, so that nearly all anchors are just below it as well.
   "false" is the share of explanations of which any anchor that is said to reach the threshold does not, "at most" the
   upper end of its 95 % interval (Clopper and Pearson); promised is at most `delta`. "anchors" is how many are said to,
   on average.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta
from torch import Tensor

from torch_anchors import AnchorImage, AnchorTabular, Rule
from torch_anchors.search.exact import superset_precisions

N_ANCHORS = 3
N_SUPERPIXELS = 12
N_COLUMNS = 8
DELTA, THRESHOLD = 0.2, 0.9
"""Of the runs near the threshold."""
BELOW = 0.004
"""By how much the rate of hits is below the threshold there."""
LEVELS, N_NEAR = np.arange(4.0), 6
"""Values of each of the columns of tables there, and how many columns there are."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One explanation against the truth.

    Args:
        all_found: whether the planted anchors, and no others, were found.
        n_certified: anchors that are said to reach the threshold.
        false: whether any of them does not.
        n_rows: rows sent to the model.
    """

    all_found: bool
    n_certified: int
    false: bool
    n_rows: int


def _disjoint(rng: np.random.Generator, n: int) -> list[tuple[int, ...]]:
    """Three disjoint sets of one or two of n members."""
    members, sizes = rng.permutation(n).tolist(), [1, *rng.integers(1, 3, 2).tolist()]
    ends = np.cumsum(sizes)
    return [tuple(sorted(members[end - size : end])) for end, size in zip(ends, sizes, strict=True)]


# ----------------------------------------------------------------------------------------------------------- pictures


def _explained(model: Callable[[NDArray[np.bool_]], NDArray[np.int64]], n: int, seed: int, **settings: Any) -> Any:
    """The explanation of a picture of n superpixels of one pixel, by a model of which of them are shown."""

    def labels(images: Tensor) -> Tensor:
        return torch.from_numpy(model(images[:, 0].flatten(1).numpy() > 0))

    segments = np.arange(n)[None]
    explainer = AnchorImage(labels, segmentation_fn=segments, fill=0.0, seed=seed, dtype=torch.float32)
    return explainer.explain(torch.ones(1, 1, n), n_anchors=N_ANCHORS, **settings)


def planted_image(seed: int, method: str = "auto") -> Outcome:
    """A picture with three disjoint anchors."""
    planted = _disjoint(np.random.default_rng(seed), N_SUPERPIXELS)

    def model(shown: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.any([shown[:, list(anchor)].all(axis=1) for anchor in planted], axis=0).astype(np.int64)

    found = _explained(model, N_SUPERPIXELS, seed, method=method)
    anchors = [anchor.features for anchor in found.anchors]
    n = sum(anchor.success for anchor in found.anchors)
    return Outcome(sorted(anchors) == sorted(planted), n, False, found.n_rows)


def near_image(seed: int, method: str = "auto", n: int = 14) -> Outcome:
    """A picture whose every perturbed copy is a hit with a chance just below the threshold."""
    hits = np.random.default_rng(seed).random(1 << n) < THRESHOLD - BELOW
    hits[-1] = True
    powers = 1 << np.arange(n)
    found = _explained(
        lambda shown: hits[shown @ powers].astype(np.int64), n, seed, method=method, delta=DELTA, threshold=THRESHOLD
    )
    truth = superset_precisions(hits.astype(float))
    certified = [truth[sum(1 << k for k in anchor.features)] for anchor in found.anchors if anchor.success]
    return Outcome(False, len(certified), any(p < THRESHOLD - 1e-9 for p in certified), found.n_rows)


# ------------------------------------------------------------------------------------------------------------- tables


def planted_table(seed: int, sampling: str = "interventional", method: str = "auto") -> Outcome:
    """A table with three disjoint rules."""
    rng = np.random.default_rng(seed)
    planted, rows = _disjoint(rng, N_COLUMNS), rng.normal(size=(4000, N_COLUMNS))

    def model(table: NDArray[Any]) -> NDArray[np.int64]:
        return np.any([(table[:, list(columns)] > 0.5).all(axis=1) for columns in planted], axis=0).astype(np.int64)

    explainer = AnchorTabular(model, seed=seed, sampling=sampling).fit(rows, (25, 50, 75, 90))
    row = np.where(np.isin(np.arange(N_COLUMNS), [c for columns in planted for c in columns]), 2.0, 0.0)
    found: Any = explainer.explain(row, n_anchors=N_ANCHORS, method=method)
    columns = [tuple(sorted({p.column for p in anchor.rule.predicates})) for anchor in found.anchors]
    n = sum(anchor.success for anchor in found.anchors)
    return Outcome(sorted(columns) == sorted(planted), n, False, found.n_rows)


def near_table(seed: int, sampling: str = "interventional", method: str = "auto", n_rows: int = 1500) -> Outcome:
    """A table whose labels are noise that is 1 at a rate just below the threshold, whatever the columns hold."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((len(LEVELS),) * N_NEAR) < THRESHOLD - BELOW).astype(np.int64)
    rows = rng.choice(LEVELS, size=(n_rows, N_NEAR))

    def model(table: NDArray[Any]) -> NDArray[np.int64]:
        return labels[tuple(table.astype(int).T)]

    explainer = AnchorTabular(model, seed=seed, sampling=sampling).fit(rows)
    row = rows[model(rows) == 1][0]
    settings = {"threshold": THRESHOLD, "delta": DELTA, "method": method}
    found: Any = explainer.explain(row, n_anchors=N_ANCHORS, **settings)
    rules = [anchor.rule for anchor in found.anchors if anchor.success]
    precision = (
        partial(_of_new_rows, model=model) if sampling == "conditional" else partial(_replaced, rows, model=model)
    )
    return Outcome(False, len(rules), any(precision(rule) < THRESHOLD - 1e-9 for rule in rules), found.n_rows)


def _of_new_rows(rule: Rule, model: Callable[[NDArray[Any]], NDArray[np.int64]]) -> float:
    """True precision on new rows: all of them are equally likely."""
    every = np.stack(np.meshgrid(*[LEVELS] * N_NEAR), -1).reshape(-1, N_NEAR)
    return float(model(every[rule.applies(every)]).mean())


def _replaced(rows: NDArray[Any], rule: Rule, model: Callable[[NDArray[Any]], NDArray[np.int64]]) -> float:
    """True precision on training rows whose columns in the rule are those of training rows on which it holds."""
    columns = sorted({predicate.column for predicate in rule.predicates})
    given, weights = np.unique(rows[rule.applies(rows)][:, columns], axis=0, return_counts=True)
    shares = []
    for values in given:
        changed = rows.copy()
        changed[:, columns] = values
        shares.append(model(changed).mean())
    return float(np.average(shares, weights=weights))


# ---------------------------------------------------------------------------------------------------------- the report

PLANTED: dict[str, Callable[[int], Outcome]] = {
    "pictures, auto": planted_image,
    "pictures, beam": partial(planted_image, method="beam"),
    "pictures, exact": partial(planted_image, method="exact"),
    "tables, interventional, auto": planted_table,
    "tables, interventional, beam": partial(planted_table, method="beam"),
    "tables, conditional, auto": partial(planted_table, sampling="conditional"),
}
NEAR: dict[str, Callable[[int], Outcome]] = {
    "pictures, auto": near_image,
    "pictures, beam": partial(near_image, method="beam"),
    "tables, interventional, auto": near_table,
    "tables, interventional, beam": partial(near_table, method="beam"),
    "tables, conditional, auto": partial(near_table, sampling="conditional"),
}


def main() -> None:
    """Prints both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="explanations of each planted setting")
    parser.add_argument("--near", type=int, default=300, help="explanations of each setting near the threshold")
    options = parser.parse_args()
    print(f"{'planted':32}{'n':>6}{'all three':>11}{'rows':>8}{'seconds':>9}")
    for name, one in PLANTED.items():
        started = time.perf_counter()
        outcomes = [one(seed) for seed in range(options.seeds)]
        found, rows = np.mean([o.all_found for o in outcomes]), np.mean([o.n_rows for o in outcomes])
        print(f"{name:32}{len(outcomes):6}{found:11.2f}{rows:8.0f}{time.perf_counter() - started:9.1f}", flush=True)
    print(f"\n{f'near the threshold, delta {DELTA}':32}{'n':>6}{'anchors':>11}{'false':>8}{'at most':>9}")
    for name, one in NEAR.items():
        outcomes = [one(seed) for seed in range(options.near)]
        n_false, n = sum(o.false for o in outcomes), len(outcomes)
        most = beta.ppf(0.975, n_false + 1, n - n_false) if n_false < n else 1.0
        anchors = np.mean([o.n_certified for o in outcomes])
        print(f"{name:32}{n:6}{anchors:11.2f}{n_false / n:8.3f}{most:9.3f}", flush=True)


if __name__ == "__main__":
    main()
