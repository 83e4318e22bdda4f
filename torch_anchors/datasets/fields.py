"""The table of the explanations of a data set: its columns, what each holds, and the row of one explanation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._extras import import_extra
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation, plain
from torch_anchors.found_anchor import FoundAnchor
from torch_anchors.packing import runs_of
from torch_anchors.search.protocol import Status
from torch_anchors.words import LabelNames

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
"""One row of the table, by the names of its columns."""

STATUS = {
    Status.CERTIFIED: "certified",
    Status.EXACT: "exact",
    Status.COUNTED: "counted",
    Status.EMPTY_HOLDS: "empty",
    Status.NOT_FOUND: "not found",
    Status.ROW_BUDGET: "budget",
}
"""The words of the column `status` for how a search ended; an input without an explanation is `FAILED`."""

FAILED = "failed"
FOUND = ("certified", "exact", "empty")
"""Statuses of anchors that reach the threshold with the promised confidence."""

STATUSES = (*FOUND, "counted", "not found", "budget", FAILED)
"""All of them, the best first."""

DOCUMENTED = {
    "id": "What the input is called: the path below the folder, the number of a row from 0, or what `ids` says.",
    "status": "`certified`, `exact`, `counted`, `empty` (the empty anchor holds), `not found`, `budget` or `failed`.",
    "reason": "Why there is no explanation; null unless `status` is `failed`.",
    "label": "Number of the explained class; null where the predictor returns class names.",
    "label_name": "What that class is called, where that is known.",
    "said": "What the model said of the input, as JSON, where `target` compares answers; otherwise null.",
    "true_label": "What the source says that the class is, in words where they are known; null where it does not say.",
    "score": "The model's probability of the explained class for the input itself, in [0, 1]; null for labels only.",
    "features": "Numbers of the anchor's predicates, sorted.",
    "names": "The anchor in words, one for each superpixel or condition.",
    "predicates": "The elementary conditions of a table's rule: column, operator (`==`, `<=`, `>`, `is missing`), "
    "value in words, null where it is missing, and as a number or code; null for images.",
    "precision": "Estimate of the anchor's precision, in [0, 1].",
    "precision_low": "The precision is at least this, with probability 1 - `delta` (both ends together).",
    "precision_high": "The precision is at most this.",
    "coverage": "The anchor's coverage, in [0, 1].",
    "share": "Share of the picture that the anchor shows, in [0, 1]; null for tables.",
    "others": "Further anchors, where `n_anchors` asked for several: features, names, precision and its bounds, "
    "coverage and status of each, as in these columns; together all of it holds with probability 1 - `delta`.",
    "n_rows": "Rows that were sent to the model for the explanation.",
    "n_calls": "Forward passes in which they were; other explanations may have shared them.",
    "seconds": "From the first row drawn to the end of the search; shared with explanations beside it.",
    "mask": "Which pixels the anchor shows: `size` is (height, width), `counts` lengths of runs of hidden and shown "
    "pixels in turn, hidden first, column by column (uncompressed, as COCO has it); null for tables.",
    "seed": "The explainer's seed.",
    "settings": "All parameters of the explainer and of `explain`, as JSON.",
}
"""What each column holds, in their order."""


@cache
def schema() -> pa.Schema:
    """The columns with their Arrow types.

    Raises:
        ImportError: pyarrow is not installed.
    """
    pa = import_extra("pyarrow", "evaluate")
    words, numbers = pa.list_(pa.string()), pa.list_(pa.int32())
    predicate = pa.struct(
        [("column", pa.string()), ("operator", pa.string()), ("value", pa.string()), ("code", pa.float64())]
    )
    figures = ["precision", "precision_low", "precision_high", "coverage"]
    other = pa.struct(
        [("features", numbers), ("names", words), *((name, pa.float64()) for name in figures), ("status", pa.string())]
    )
    types = {
        **dict.fromkeys(("reason", "label_name", "said", "true_label", "settings"), pa.string()),
        **dict.fromkeys(("label", "n_rows", "n_calls"), pa.int64()),
        **dict.fromkeys((*figures, "share", "seconds"), pa.float64()),
        "score": pa.float32(),
        "features": numbers,
        "names": words,
        "predicates": pa.list_(predicate),
        "others": pa.list_(other),
        "mask": pa.struct([("size", numbers), ("counts", numbers)]),
        "seed": pa.uint64(),
    }
    required = [pa.field(name, pa.string(), nullable=False) for name in ("id", "status")]
    others = [pa.field(name, types[name]) for name in DOCUMENTED if name in types]
    documented = [field.with_metadata({"description": DOCUMENTED[field.name]}) for field in [*required, *others]]
    return pa.schema(documented)


def table_of(rows: Sequence[Row]) -> pa.Table:
    """The rows as an Arrow table; columns that a row lacks are null."""
    pa = import_extra("pyarrow", "evaluate")
    return pa.Table.from_pylist(list(rows), schema=schema())


def with_columns(table: pa.Table, own: pa.Schema) -> pa.Table:
    """A part's table with the columns of a schema: null where an earlier version had no such column."""
    pa = import_extra("pyarrow", "evaluate")
    for field in own:
        if field.name not in table.column_names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(own.names).cast(own)


def explained_row(
    id: str,
    explanation: Explanation,
    *,
    true_label: str | None = None,
    label_names: LabelNames = None,
    score: float | None = None,
    seed: int | None = None,
    settings: str | None = None,
) -> Row:
    """The row of an input that has an explanation; parameters are columns, see `DOCUMENTED`."""
    mask = getattr(explanation, "mask", None)
    predicates = getattr(explanation, "predicates", None)
    low, high = explanation.precision_interval
    return {
        "id": id,
        "status": STATUS[explanation.status],
        "label": explanation.label if isinstance(explanation.label, int) else None,
        "label_name": _name_of(explanation, label_names),
        "said": json.dumps(plain(explanation.said)) if explanation.said else None,
        "true_label": true_label,
        "score": score,
        "features": list(explanation.features),
        "names": list(explanation.names),
        "predicates": None if predicates is None else [_plain_predicate(one) for one in predicates],
        "precision": explanation.precision,
        "precision_low": low,
        "precision_high": high,
        "coverage": explanation.coverage,
        "share": None if mask is None else float(mask.mean()),
        "others": [_plain_anchor(other) for other in explanation.others],
        "n_rows": explanation.n_rows,
        "n_calls": explanation.n_calls,
        "seconds": explanation.seconds,
        "mask": None if mask is None else {"size": list(mask.shape), "counts": runs_of(mask.ravel(order="F"))},
        "seed": seed,
        "settings": settings,
    }


def failed_row(id: str, reason: str, *, true_label: str | None = None, seed: int, settings: str) -> Row:
    """The row of an input that has none, and why."""
    return {
        "id": id,
        "status": FAILED,
        "reason": reason,
        "true_label": true_label,
        "seed": seed,
        "settings": settings,
    }


def _name_of(explanation: Explanation, label_names: LabelNames) -> str | None:
    """What the label is called; by the same word for all inputs, where the target compares the answers to each."""
    label = explanation.label
    if explanation.answer_names and not explanation.is_about_classes:
        return explanation.answer_names.get(label) if isinstance(label, int) else str(label)
    return name_of(label, label_names) or explanation.label_name


def name_of(label: int | str, label_names: LabelNames) -> str | None:
    """What a label is called, where somebody said so; a class name is called what it is."""
    if isinstance(label, str):
        return label
    if isinstance(label_names, Mapping):
        return label_names.get(label)
    return label_names[label] if label_names is not None and 0 <= label < len(label_names) else None


def is_right(true_label: str | None, label_name: str | None, label: int | None) -> bool | None:
    """Whether the label is the true one, by its name or its number; None where they cannot be compared."""
    if true_label is None or (label is None and label_name is None):
        return None
    if label_name is None and not true_label.lstrip("-").isdigit():
        return None
    return true_label == label_name or (label is not None and true_label == str(label))


def mask_of(packed: Mapping[str, Sequence[int]]) -> NDArray[np.bool_]:
    """The mask (height, width) of a value of the column `mask`.

    Example:
        >>> mask_of({"size": [2, 2], "counts": [1, 2, 1]})
        array([[False,  True],
               [ True, False]])
    """
    size, counts = packed["size"], packed["counts"]
    if len(size) != 2 or sum(counts) != size[0] * size[1]:
        raise ArgumentError(f"packed must have counts that sum to height x width, got {sum(counts)} for {list(size)}.")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(tuple(size), order="F")


def explanations_to_table(explanations: Sequence[Explanation], ids: Sequence[Any] | None = None) -> pa.Table:
    """Explanations as an Arrow table with the columns of `evaluate`; its ``to_pandas()`` makes a DataFrame.

    Args:
        explanations: of any kinds.
        ids: what each is called; None to number them from 0.

    Raises:
        ArgumentError: as many ids are not given as explanations.
        ImportError: pyarrow is not installed.
    """
    names = range(len(explanations)) if ids is None else ids
    if len(names) != len(explanations):
        raise ArgumentError(f"ids must be as many as explanations, {len(explanations)}, got {len(names)}.")
    return table_of([_row_alone(str(id), one) for id, one in zip(names, explanations, strict=True)])


def _row_alone(id: str, explanation: Explanation) -> Row:
    settings = plain(explanation.meta.get("params", {}))
    seed = settings.get("seed")
    fits = isinstance(seed, int) and 0 <= seed < 2**64
    return explained_row(id, explanation, seed=seed if fits else None, settings=json.dumps(settings))


def _plain_anchor(found: FoundAnchor) -> Row:
    low, high = found.precision_interval
    return {
        "features": list(found.features),
        "names": list(found.names),
        "precision": found.precision,
        "precision_low": low,
        "precision_high": high,
        "coverage": found.coverage,
        "status": STATUS[found.status],
    }


def _plain_predicate(predicate: Any) -> Row:
    return {
        "column": predicate.name,
        "operator": predicate.operator,
        "value": None if predicate.operator == "is missing" else str(predicate.value),
        "code": float(predicate.code),
    }
