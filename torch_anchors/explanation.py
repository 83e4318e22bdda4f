"""What explanations of all kinds share: frozen results, and their words, dictionaries and files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from torch_anchors.search.protocol import Status, Step
from torch_anchors.words import LabelNames, at_least, at_most, label_name, plural

_REMEDIES = {
    Status.NOT_FOUND: "No anchor reached the threshold; this is the best that was found. A larger max_anchor_size, "
    "a lower threshold or other {predicates} may help.",
    Status.ROW_BUDGET: "The row budget was spent before an anchor was certified; this is the best so far. A larger "
    "max_rows_total continues the search.",
    Status.COUNTED: "It was chosen for its count on the training rows, so that is no promise for other rows. More "
    "rows, such as fit(..., unlabelled=rows), or a lower threshold may certify a rule.",
}
_CERTAINTY = (
    "No sample shows that a precision is exactly 1; ask for threshold=0.99 or, for an image of few superpixels, have "
    "all perturbed copies tried with method='exact'."
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Explanation:
    """What is common to the explanations of images and of table rows.

    Attributes:
        features: ids of the anchor's predicates (superpixels, or conditions of the row), sorted.
        names: the same in words.
        precision: estimate of P(same label | anchor holds), in [0, 1]; exact if `status` is EXACT.
        precision_interval: bounds that hold the true precision with probability 1 - `delta`, however long the search
            was and whenever it stopped.
        coverage: P(anchor holds), in [0, 1].
        status: how the search ended.
        label: the explained label.
        label_name: the label in words where these are known.
        threshold: the precision that was asked for.
        delta: 1 - confidence.
        n_rows: rows that were sent to the model for this explanation.
        n_calls: forward passes in which they were; other explanations of a batch may have shared them.
        seconds: from the first row drawn to the end of the search, shared with the other explanations of a batch.
        path: partial anchors from the empty one to this, each with its precision and coverage.
        meta: name and parameters of the explainer, as in the reference.
    """

    features: tuple[int, ...]
    names: tuple[str, ...]
    precision: float
    precision_interval: tuple[float, float]
    coverage: float
    status: Status
    label: int
    label_name: str | None = None
    threshold: float
    delta: float
    n_rows: int
    n_calls: int
    seconds: float
    path: tuple[Step, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the precision reaches the threshold with the promised confidence."""
        return self.status in (Status.CERTIFIED, Status.EXACT, Status.EMPTY_HOLDS)

    @property
    def label_words(self) -> str:
        """The label's name, or "label 3" where it has none."""
        return self.label_name if self.label_name is not None else f"label {self.label}"

    def called(self, label_names: LabelNames = None) -> str:
        """The label as a picture or the command line calls it, in quotation marks if it has a name.

        Args:
            label_names: the name of each class; None for the one that the explanation knows itself.
        """
        known = {} if self.label_name is None else {self.label: self.label_name}
        return label_name(self.label, known if label_names is None else label_names)

    @property
    def remark(self) -> str:
        """What limits the use of a found anchor, and the remedy, in a sentence or two; "" where there is nothing."""
        return ""

    def _precision_words(self) -> str:
        low, high = self.precision_interval
        if low == high:
            return f"precision {self.precision:.3f} (exact)"
        confidence, estimate = f"{100 * (1 - self.delta):g} % confidence", f"the estimate is {self.precision:.3f}"
        if self.success:
            return f"precision at least {at_least(low)} with {confidence} ({estimate})"
        return f"precision between {at_least(low)} and {at_most(high)} with {confidence} ({estimate})"

    def _cost_words(self) -> str:
        rows, calls = plural(self.n_rows, "model row"), plural(self.n_calls, "call")
        return f"It took {rows} in {calls} and {self.seconds:.2f} s."

    def _remedy(self, predicates: str) -> str:
        if self.threshold >= 1 and self.status in (Status.NOT_FOUND, Status.COUNTED):
            return _CERTAINTY
        return _REMEDIES.get(self.status, "").format(predicates=predicates)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain Python values; pictures and tables of rows are left out."""
        return {
            "anchor": list(self.features),
            "names": list(self.names),
            "precision": self.precision,
            "precision_interval": list(self.precision_interval),
            "coverage": self.coverage,
            "status": self.status.value,
            "success": self.success,
            "remark": self.remark,
            "label": self.label,
            "label_name": self.label_name,
            "threshold": self.threshold,
            "delta": self.delta,
            "n_rows": self.n_rows,
            "n_calls": self.n_calls,
            "seconds": self.seconds,
            "path": [
                {"anchor": list(s.anchor), "precision": s.precision, "coverage": s.coverage, "n": s.n}
                for s in self.path
            ],
            "meta": plain(self.meta),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """The dictionary as JSON text, with null for NaN and infinity; also written to `path` if one is given."""
        text = json.dumps(plain(self.to_dict()), indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def _raw_numbers(self) -> dict[str, Any]:
        """The entries of the reference's ``raw`` that need no rows."""
        steps = [step for step in self.path if step.anchor]
        order = [next(iter(set(b.anchor) - set(a.anchor))) for a, b in _pairs(self.path)]
        return {
            "feature": order,
            "mean": [step.precision for step in steps],
            "precision": [step.precision for step in steps],
            "coverage": [step.coverage for step in steps],
            "all_precision": self.path[0].precision if self.path else float("nan"),
            "num_preds": self.n_rows,
            "success": self.success,
            "names": list(self.names),
            "prediction": np.array([self.label]),
        }

    def __repr__(self) -> str:
        low, high = self.precision_interval
        return (
            f"{type(self).__name__}(anchor={list(self.names)}, label={self.label_words!r}, "
            f"precision={self.precision:.3f} [{low:.3f}, {high:.3f}], coverage={self.coverage:.3f}, "
            f"status={self.status.value!r})"
        )


def _pairs(path: Sequence[Step]) -> list[tuple[Step, Step]]:
    return [(a, b) for a, b in pairwise(path) if set(a.anchor) < set(b.anchor)]


def plain(value: Any) -> Any:
    """Nested containers of values that JSON knows; anything else by its name."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, type) or not hasattr(value, "shape") else f"array{tuple(value.shape)}"
