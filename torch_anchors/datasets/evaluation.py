"""What a run over a data set has left in its folder: a table, and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_anchors._extras import import_extra
from torch_anchors.datasets.fields import FAILED, FOUND, STATUSES, schema
from torch_anchors.datasets.parts import parts_of, read_part, statuses
from torch_anchors.datasets.run_record import RunRecord
from torch_anchors.errors import ArgumentError

if TYPE_CHECKING:
    import pyarrow as pa


class Evaluation:
    """The explanations of a data set, in a folder of Parquet parts; they are read when they are asked for.

    Args:
        folder: that `evaluate` wrote to; the run may be unfinished, or under way.

    Attributes:
        folder: of the parts and of ``run.json``.
        run: what the run is: explainer, settings, digests and versions.

    Raises:
        ArgumentError: there is no such folder, or no run in it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        run = RunRecord.read(self.folder)
        if run is None:
            raise ArgumentError(f"folder must be one that evaluate wrote to; there is no run.json in {self.folder}.")
        self.run = run

    @property
    def parts(self) -> list[Path]:
        """The Parquet files, each with some of the rows."""
        return parts_of(self.folder)

    def __len__(self) -> int:
        """How many inputs have a row so far."""
        return sum(self.counts().values())

    @property
    def n_inputs(self) -> int | None:
        """How many inputs the source has; None as long as no run has come to the end of a source of unknown length."""
        return self.run.n_inputs

    @property
    def complete(self) -> bool:
        """Whether every input has its row."""
        return self.n_inputs is not None and len(self) >= self.n_inputs

    def counts(self) -> Counter[str]:
        """How many inputs have each status so far."""
        return Counter(status for _, status in statuses(self.folder))

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, as an Arrow table; ``to_pandas()`` makes a DataFrame of it.

        Args:
            columns: names of the columns to read; None for all. See the page on evaluations for what they hold.

        Raises:
            ArgumentError: a column that there is not, or a part that is damaged.
            ImportError: pyarrow is not installed.
        """
        pa, known = import_extra("pyarrow", "evaluate"), schema()
        names = known.names if columns is None else list(columns)
        unknown = [name for name in names if name not in known.names]
        if unknown:
            raise ArgumentError(f"columns must be some of {', '.join(known.names)}, got {unknown}.")
        own = pa.schema([known.field(name) for name in names])
        return pa.concat_tables([own.empty_table(), *(read_part(path, names).cast(own) for path in self.parts)])

    def summary(self) -> dict[str, float | int | None]:
        """The numbers of the whole run, as TensorBoard or W&B take them; None for what is not known.

        ``n_inputs`` and ``n`` (with a row so far); ``n_certified`` and so on for each status; ``found``, the share of
        explained inputs whose anchor reaches the threshold with the promised confidence; the means of ``precision``,
        ``precision_low``, ``coverage``, ``size`` (predicates in the anchor), ``share`` and ``score`` over those found;
        ``right``, the share of explained inputs whose label is the true one, where that is known; and ``n_rows``, sent
        to the model in all.
        """
        names = ["status", "label", "label_name", "true_label", "score", "features", "precision", "precision_low"]
        table = self.table([*names, "coverage", "share", "n_rows"])
        columns: dict[str, Any] = {name: table[name].to_pylist() for name in table.column_names}
        status = columns["status"]
        counts = Counter(status)
        explained = [i for i, word in enumerate(status) if word != FAILED]
        found = [i for i in explained if status[i] in FOUND]
        columns["size"] = [None if own is None else len(own) for own in columns["features"]]
        right = [_is_right(*(columns[name][i] for name in ("true_label", "label_name", "label"))) for i in explained]
        means = ("precision", "precision_low", "coverage", "size", "share", "score")
        return {
            "n_inputs": self.n_inputs,
            "n": len(status),
            **{f"n_{word.replace(' ', '_')}": counts[word] for word in STATUSES},
            "found": len(found) / len(explained) if explained else None,
            **{name: _mean([columns[name][i] for i in found]) for name in means},
            "right": _mean(right),
            "n_rows": sum(n or 0 for n in columns["n_rows"]),
        }

    def __repr__(self) -> str:
        return f"Evaluation({str(self.folder)!r})"


def _is_right(true_label: str | None, label_name: str | None, label: int | None) -> bool | None:
    """Whether the label is the true one, by its name or its number; None where they cannot be compared."""
    if true_label is None or (label_name is None and not true_label.lstrip("-").isdigit()):
        return None
    return true_label in (label_name, str(label))


def _mean(values: Sequence[float | int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
