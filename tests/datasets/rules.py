"""Explanations of rows of a small table, made by hand, so that it is known where their rules hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_anchors.search.protocol import Status, Step
from torch_anchors.tables.columns import Column
from torch_anchors.tables.explanation import EncodedExamples, TabularExplanation
from torch_anchors.tables.rule import Predicate, Rule
from torch_anchors.tables.schema import TableSchema

SCHEMA = TableSchema((Column("age"), Column("job", ("cook", "nurse", "vet"))))
COOK, NURSE, VET = (Predicate(1, "job", "==", name, float(code)) for code, name in enumerate(("cook", "nurse", "vet")))


def above(age: float) -> Predicate:
    return Predicate(0, "age", ">", age, float(age))


def up_to(age: float) -> Predicate:
    return Predicate(0, "age", "<=", age, float(age))


def explanation_of(*predicates: Predicate, label: int | str = 1, **changes: Any) -> TabularExplanation:
    rule = Rule(predicates, SCHEMA)
    steps = (Step((), 0.5, 1.0, 100),) * (1 + len(rule.conditions))
    given: dict[str, Any] = {
        "features": tuple(range(len(predicates))),
        "names": tuple(rule.conditions),
        "precision": 0.98,
        "precision_interval": (0.9512, 0.9979),
        "coverage": 0.25,
        "status": Status.CERTIFIED,
        "label": label,
        "label_name": label if isinstance(label, str) else None,
        "threshold": 0.95,
        "delta": 0.1,
        "n_rows": 100,
        "n_calls": 1,
        "seconds": 0.5,
        "path": steps,
        "rule": rule,
        "instance": np.zeros(2),
        "sampling": "conditional",
        "training_path": steps,
        "encoded_examples": EncodedExamples(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)),
    }
    return TabularExplanation(**{**given, **changes})


def table(*cells: tuple[float, int]) -> np.ndarray:
    """Rows of ages and of the jobs 0 to 2."""
    return np.array(cells, dtype=float).reshape(-1, 2)


def random_table(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(20, 60, n), rng.integers(0, 3, n)]).astype(float)
