"""The results of a run, one line for each input, as a report counts and sorts them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.datasets.fields import FOUND, is_right, schema
from torch_anchors.datasets.parts import parts_of, read_part
from torch_anchors.datasets.run_record import RunRecord

if TYPE_CHECKING:
    import pandas as pd

_READ = (
    "id", "status", "label", "label_name", "true_label", "score", "features", "precision", "precision_low", "coverage",
    "share", "n_rows",
)  # fmt: skip

NO_CLASS = "no answer"
"""Where inputs are counted that the model gave no label."""

UNKNOWN, RIGHT, WRONG = "unknown", "right", "wrong"
"""What the label is, beside the true one."""


def results_of(folder: Path) -> pd.DataFrame:
    """A line for each input that has a row so far, without its mask and its words.

    The columns are those of the table, and ``answer``, the explained class in words; ``right``, whether that is the
    true one (`RIGHT`, `WRONG` or `UNKNOWN`); ``found``, whether the anchor reaches the threshold; and ``size``, its
    predicates.

    Raises:
        ArgumentError: a part is damaged.
    """
    pa, compute = import_extra("pyarrow", "evaluate"), import_extra("pyarrow.compute", "evaluate")
    import_extra("pandas", "evaluate")
    own = pa.schema([schema().field(name) for name in _READ])
    tables = [own.empty_table(), *(read_part(path, _READ).select(_READ).cast(own) for path in parts_of(folder))]
    table = pa.concat_tables(tables)
    sizes = compute.list_value_length(table["features"])
    frame = table.drop_columns(["features"]).append_column("size", sizes).to_pandas(integer_object_nulls=True)
    labels = [frame[name] for name in ("true_label", "label_name", "label")]
    frame["answer"] = [_answer(name, label) for name, label in zip(*labels[1:], strict=True)]
    run = RunRecord.read(folder)
    about_classes = run is None or run.is_about_classes
    frame["right"] = [_right(*map(_or_none, own)) if about_classes else UNKNOWN for own in zip(*labels, strict=True)]
    frame["found"] = frame["status"].isin(FOUND)
    frame["size"] = frame["size"].astype(float)
    return frame


def _answer(name: Any, label: Any) -> str:
    """What the explained class is called."""
    if _or_none(name) is not None:
        return str(name)
    return NO_CLASS if _or_none(label) is None else f"label {label}"


def _right(true_label: str | None, label_name: str | None, label: int | None) -> str:
    known = is_right(true_label, label_name, label)
    return UNKNOWN if known is None else RIGHT if known else WRONG


def _or_none(value: Any) -> Any:
    """The value, or None for what pandas has in its place."""
    return None if value is None or value != value else value
