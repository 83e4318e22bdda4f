"""The numbers of a run, class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch_anchors.datasets.fields import FAILED
from torch_anchors.datasets.report.results import NO_CLASS, RIGHT, UNKNOWN

if TYPE_CHECKING:
    import pandas as pd

MOST = 60
"""Classes that have a line of their own."""


@dataclass(frozen=True, slots=True)
class ClassLine:
    """The numbers of the inputs that the model gives one class.

    Args:
        name: of the class; of the last line "all".
        n: how many inputs they are.
        found: share of the explained ones whose anchor reaches the threshold.
        n_empty: how many have the empty anchor.
        size: mean number of predicates of the anchors found, like the means that follow.
        share: of the picture that they show.
        coverage: theirs.
        precision: theirs.
        right: share of the inputs whose true label is known that have it.
        n_failed: how many could not be explained.

    Means and shares are None where there is nothing to take them of.
    """

    name: str
    n: int
    found: float | None
    n_empty: int
    size: float | None
    share: float | None
    coverage: float | None
    precision: float | None
    right: float | None
    n_failed: int


def class_lines(results: pd.DataFrame) -> list[ClassLine]:
    """A line for each class, that with most inputs first, one for those that there is no room for, and one for all."""
    return list(_lines(results))


def _lines(results: pd.DataFrame) -> Iterator[ClassLine]:
    counts = results["answer"].value_counts(sort=False).sort_index().sort_values(ascending=False, kind="stable")
    names = [name for name in counts.index if name != NO_CLASS]
    listed, others = names[:MOST], names[MOST:]
    by_name = dict(iter(results.groupby("answer", sort=False)))
    for name in listed:
        yield _line(name, by_name[name])
    if others:
        yield _line(f"{len(others):,} more classes", results[results["answer"].isin(others)])
    if NO_CLASS in by_name:
        yield _line(NO_CLASS, by_name[NO_CLASS])
    yield _line("all", results)


def _line(name: str, own: pd.DataFrame) -> ClassLine:
    explained = own[own["status"] != FAILED]
    found, known = explained[explained["found"]], own[own["right"] != UNKNOWN]
    return ClassLine(
        name,
        n=len(own),
        found=_mean(explained["found"]),
        n_empty=int((own["status"] == "empty").sum()),
        size=_mean(found["size"]),
        share=_mean(found["share"]),
        coverage=_mean(found["coverage"]),
        precision=_mean(found["precision"]),
        right=_mean(known["right"] == RIGHT),
        n_failed=len(own) - len(explained),
    )


def _mean(values: pd.Series) -> float | None:
    known = values.dropna().astype(float)
    return float(known.mean()) if len(known) else None
