"""The table that a user gives in a file: its rows, its columns, and which of them are what."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch_anchors._extras import import_extra
from torch_anchors.cli.options import did_you_mean
from torch_anchors.errors import ArgumentError
from torch_anchors.words import listed

if TYPE_CHECKING:
    import pandas as pd
    import torch

HELD_BACK = 0.2
"""Share of the rows on which a rule and the model are tried; the model is trained on the others."""

MOST_CLASSES = 100

MOST_NUMBERED_CLASSES = 20
"""A target of more different numbers than these is told as a number."""

_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Split:
    """A table without its target.

    Args:
        file: all rows of the file, as they are counted there.
        table: the rows that have a target.
        classes: of the target; none where it is a number.
        target: the class of each row of `table`, by its place in `classes`, or its number.
        train: the rows of `table` that a model is trained on.
        held_back: the other ones.
        asked: the rows of `file` to explain, counted from 0.
    """

    file: pd.DataFrame
    table: pd.DataFrame
    classes: list[str]
    target: torch.Tensor
    train: torch.Tensor
    held_back: torch.Tensor
    asked: list[int]

    @property
    def is_of_numbers(self) -> bool:
        """Whether the target is a number, and not one of some classes."""
        return not self.classes


def read_table(options: argparse.Namespace) -> pd.DataFrame:
    """The table of the file, without the columns to leave out.

    Raises:
        ArgumentError: the file is no table, or has no such columns.
    """
    pandas = import_extra("pandas", "demo")
    if not options.file.exists():
        raise ArgumentError(f"there is no file {options.file}")
    kind = "Parquet" if options.file.suffix.lower() == ".parquet" else "CSV"
    try:
        if kind == "Parquet":
            import_extra("pyarrow", "evaluate")
            table: pd.DataFrame = pandas.read_parquet(options.file)
        else:
            table = pandas.read_csv(options.file, skipinitialspace=True)
    except (ValueError, OSError) as error:  # of pandas and Arrow, too
        raise ArgumentError(f"{options.file} cannot be read as {kind}: {error}") from error
    if not len(table):
        raise ArgumentError(f"{options.file} has no rows below its header")
    columns = [str(column) for column in table.columns]
    _check_columns("--target", [options.target], columns)
    _check_columns("--drop", options.drop, columns)
    if options.target in options.drop:
        raise ArgumentError(f"--drop must not name the column of --target, {options.target}")
    _check_columns("--fixed", options.fixed, columns)
    _check_columns("--exclude", options.exclude, columns)
    for name in sorted({*options.fixed, *options.exclude} & {options.target, *options.drop}):
        raise ArgumentError(f"--fixed and --exclude must name columns beside --target and --drop, got {name}")
    if not set(columns) - {options.target, *options.drop}:
        raise ArgumentError(f"no column is left from which {options.target} could be told")
    return table.drop(columns=options.drop)


def _check_columns(option: str, named: Sequence[str], columns: Sequence[str]) -> None:
    unknown = [name for name in named if name not in columns]
    if unknown:
        more = len(columns) - _MOST_LISTED
        shown = [*columns[:_MOST_LISTED], *([f"{more:,} more"] if more > 0 else [])]
        hints = "".join(did_you_mean(name, columns) for name in unknown)
        raise ArgumentError(f"{option} must name columns of the table ({listed(shown)}), got {unknown}{hints}")


def split_table(table: pd.DataFrame, options: argparse.Namespace) -> Split:
    """The table cut into rows to train on and rows held back, and the rows that are asked for.

    Raises:
        ArgumentError: the target has too few or too many classes, words instead of numbers, or there is no such row.
    """
    import torch

    asked = _rows(options.row, len(table))
    with_target = table[options.target].notna()
    features = table.drop(columns=[options.target])
    known = table[options.target][with_target]
    classes: list[str] = []
    if _is_of_numbers(known, options):
        target = torch.tensor(known.to_numpy("float64"), dtype=torch.float32)
    else:
        names, classes = _classes(known, options.target)
        target = torch.tensor([classes.index(name) for name in names])
    n_rows = len(target)
    order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(options.seed % 2**63))
    n_held_back = int(n_rows * HELD_BACK)
    return Split(
        features,
        features[with_target],
        classes,
        target,
        order[n_held_back:],
        order[:n_held_back],
        asked,
    )


def _rows(asked: Sequence[int], n_rows: int) -> list[int]:
    """The rows counted from the first one; negative numbers count from the end."""
    outside = [row for row in asked if not -n_rows <= row < n_rows]
    if outside:
        rows = listed([str(row) for row in outside])
        raise ArgumentError(
            f"--row must be between 0 and {n_rows - 1}, got {rows} (-1 is the last row, {-n_rows} the first)"
        )
    return [row % n_rows for row in asked]


def _is_of_numbers(target: pd.Series, options: argparse.Namespace) -> bool:
    """Whether a target is told as a number: there are many, or --within says so."""
    is_number = target.dtype.kind in "iuf"
    if options.within is None:
        return is_number and target.nunique() > MOST_NUMBERED_CLASSES
    if not is_number:
        raise ArgumentError(f"--within is for a --target of numbers, and {options.target} has words")
    return True


def _classes(target: pd.Series, name: str) -> tuple[list[str], list[str]]:
    """The class of each row, and all classes in their order: numbers by their size, words by their letters."""
    values = sorted(target.unique()) if target.dtype.kind in "iufb" else sorted(set(target.astype(str)))
    if not 2 <= len(values) <= MOST_CLASSES:
        raise ArgumentError(
            f"--target must have numbers, or 2 to {MOST_CLASSES} classes, and {name} has {len(values)} classes"
        )
    if target.dtype.kind == "f" and (target % 1 == 0).all():  # whole numbers, in a column that has gaps
        target, values = target.astype(int), [int(value) for value in values]
    return [str(value) for value in target], [str(value) for value in values]
