"""A folder of Parquet parts: each is whole or not there, and what is there says what is done.

The parts of rank 0 are ``part-000-000001.parquet``, ``part-000-000002.parquet``, ...
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch_anchors._extras import import_extra
from torch_anchors.datasets.fields import Row, table_of
from torch_anchors.errors import ArgumentError
from torch_anchors.whole_files import remove_partials, whole_file

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = re.compile(r"part-(?P<rank>\d{3,})-(?P<number>\d{6,})\.parquet")
_PARTIAL = re.compile(rf"\.{_NAME.pattern}\.\d+\.part")

_SECONDS = b"seconds"

LONGEST = 60.0
"""Seconds after which a part is written although it is not full: what a kill may cost at most."""


def parts_of(folder: Path) -> list[Path]:
    """The parts of a folder, in the order of their names."""
    found = folder.glob("part-*.parquet") if folder.is_dir() else ()
    return sorted(path for path in found if _NAME.fullmatch(path.name))


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part, or some of their columns.

    Raises:
        ArgumentError: the file is none of ours, or damaged.
    """
    pa, parquet = import_extra("pyarrow", "evaluate"), import_extra("pyarrow.parquet", "evaluate")
    try:
        return parquet.ParquetFile(path).read(columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ArgumentError(
            f"{path} cannot be read as a part of an evaluation: {reason}. It is damaged or not one; remove it, and the "
            "same command explains again what was in it."
        ) from error


def statuses(folder: Path) -> Iterator[tuple[str, str]]:
    """Id and status of every row of all parts.

    Raises:
        ArgumentError: a part cannot be read.
    """
    for path in parts_of(folder):
        table = read_part(path, ["id", "status"])
        yield from zip(table["id"].to_pylist(), table["status"].to_pylist(), strict=True)


def seconds_of(folder: Path) -> dict[int, float]:
    """How long each rank has worked on the parts that it left, by its number; pauses between runs are not counted."""
    parquet = import_extra("pyarrow.parquet", "evaluate")
    spent: dict[int, float] = {}
    for path in parts_of(folder):
        match = _NAME.fullmatch(path.name)
        assert match is not None
        metadata = parquet.read_schema(path).metadata or {}
        rank = int(match["rank"])
        spent[rank] = spent.get(rank, 0.0) + float(metadata.get(_SECONDS, 0.0))
    return spent


def remove_parts(folder: Path, rank: int, world_size: int) -> None:
    """Removes the parts of a rank; rank 0 also removes those of ranks that there are no more."""
    for path in parts_of(folder):
        if _belongs(path.name, _NAME, rank, world_size):
            path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, rank: int, world_size: int) -> None:
    """Removes what killed processes left of parts that they had not finished, of the same ranks."""
    for path in folder.glob(".part-*.part"):
        if _belongs(path.name, _PARTIAL, rank, world_size):
            path.unlink(missing_ok=True)
    if rank == 0:
        remove_partials([folder / "run.json", folder / "report.html"])


def _belongs(name: str, pattern: re.Pattern[str], rank: int, world_size: int) -> bool:
    match = pattern.fullmatch(name)
    return match is not None and (int(match["rank"]) == rank or (rank == 0 and int(match["rank"]) >= world_size))


@dataclass(slots=True)
class PartWriter:
    """Collects rows, and writes a part when there are enough or the last one was long ago.

    Args:
        folder: of the parts.
        rank: whose parts they are.
        size: rows of a part.

    Attributes:
        counts: rows written, by their status.
    """

    folder: Path
    rank: int
    size: int
    counts: Counter[str] = field(default_factory=Counter)
    _rows: list[Row] = field(default_factory=list)
    _number: int = field(init=False)
    _written: float = field(default_factory=lambda: time.monotonic())

    def __post_init__(self) -> None:
        own = [_NAME.fullmatch(path.name) for path in parts_of(self.folder)]
        self._number = max((int(m["number"]) for m in own if m and int(m["rank"]) == self.rank), default=0)

    def add(self, row: Row) -> None:
        """Takes a row, and perhaps writes it with those before.

        Raises:
            CannotWriteError: a part cannot be written; its rows are kept for the next attempt.
        """
        self._rows.append(row)
        if len(self._rows) >= self.size or time.monotonic() - self._written > LONGEST:
            self.flush()

    def flush(self) -> None:
        """Writes the rows that were not written yet, if there are any; afterwards they are there whatever happens.

        The part also tells how long they took: the time since the part before, or since the writer was made.
        """
        if not self._rows:
            return
        parquet = import_extra("pyarrow.parquet", "evaluate")
        now = time.monotonic()
        table = table_of(self._rows).replace_schema_metadata({_SECONDS: f"{now - self._written:.3f}"})
        path = self.folder / f"part-{self.rank:03d}-{self._number + 1:06d}.parquet"
        with whole_file(path) as file:
            parquet.write_table(table, file, compression="zstd")
        self._number += 1
        self.counts.update(row["status"] for row in self._rows)
        self._rows = []
        self._written = now
