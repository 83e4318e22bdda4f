"""What a run over a data set has left in its folder: a table, and its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_anchors._checks import whole
from torch_anchors._extras import import_extra
from torch_anchors.datasets.fields import FAILED, FOUND, STATUSES, is_right, schema, with_columns
from torch_anchors.datasets.parts import parts_of, read_part, statuses
from torch_anchors.datasets.report.page import GALLERY, page_of
from torch_anchors.datasets.run_record import RunRecord
from torch_anchors.errors import ArgumentError
from torch_anchors.whole_files import whole_file

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
        return pa.concat_tables(
            [own.empty_table(), *(with_columns(read_part(path, names), own) for path in self.parts)]
        )

    def summary(self) -> dict[str, float | int | None]:
        """The numbers of the whole run, as TensorBoard or W&B take them; None for what is not known.

        ``n_inputs`` and ``n`` (with a row so far); ``n_certified`` and so on for each status; ``found``, the share of
        explained inputs whose anchor reaches the threshold with the promised confidence; the means of ``precision``,
        ``precision_low``, ``coverage``, ``size`` (predicates in the anchor), ``share`` and ``score`` over those found;
        ``right``, the share of explained inputs whose label is the true one, where that is known and labels are
        classes; and ``n_rows``, sent to the model in all.
        """
        names = ["status", "label", "label_name", "true_label", "score", "features", "precision", "precision_low"]
        table = self.table([*names, "coverage", "share", "n_rows"])
        columns: dict[str, Any] = {name: table[name].to_pylist() for name in table.column_names}
        status = columns["status"]
        counts = Counter(status)
        explained = [i for i, word in enumerate(status) if word != FAILED]
        found = [i for i in explained if status[i] in FOUND]
        columns["size"] = [None if own is None else len(own) for own in columns["features"]]
        judged = explained if self.run.is_about_classes else []
        right = [is_right(*(columns[name][i] for name in ("true_label", "label_name", "label"))) for i in judged]
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

    def report(
        self,
        path: str | Path,
        *,
        gallery: int = GALLERY,
        pictures: str | Path | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> Path:
        """Writes a page about the run, finished or not: one HTML file that needs no other and no network.

        It tells what ran, on how much and how long, has a table by class and the distributions of all numbers, and
        shows inputs of each class and status with their anchors, to be sorted and filtered. Photographs are read
        again from their files.

        Args:
            path: of the file; one that is there is replaced.
            gallery: how many inputs are shown at most.
            pictures: the folder with the photographs, where they are no longer where they were.
            transform: that was given to `evaluate`, so that photographs are shown as the model saw them. The ``fit`` of
                a loaded model need not be given.

        Returns:
            The path.

        Raises:
            ArgumentError: `gallery` is no number of inputs, or a part is damaged.
            CannotWriteError: the file cannot be written.
            ImportError: jinja2, matplotlib, pandas or pyarrow is not installed.
        """
        whole("gallery", gallery)
        folder = None if pictures is None else Path(pictures)
        if folder is not None and not folder.is_dir():
            raise ArgumentError(f"pictures must be a folder, and there is no folder {folder}.")
        page = page_of(self.folder, self.run, gallery=gallery, pictures=folder, transform=transform)
        with whole_file(Path(path)) as file:
            file.write(page.encode("utf-8", "backslashreplace"))
        return Path(path)

    def __repr__(self) -> str:
        return f"Evaluation({str(self.folder)!r})"


def _mean(values: Sequence[float | int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
