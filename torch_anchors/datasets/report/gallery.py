"""The cards of a report: a few inputs of each kind, each with its photograph, its anchor and the words for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._extras import import_extra
from torch_anchors.datasets.fields import FAILED, FOUND, mask_of
from torch_anchors.datasets.parts import parts_of, read_part
from torch_anchors.datasets.report import thumbnails
from torch_anchors.datasets.report.photographs import Photographs
from torch_anchors.errors import AnchorsError
from torch_anchors.words import at_least, at_most, listed

if TYPE_CHECKING:
    import pandas as pd

_KINDS = ["answer", "status", "right"]
_READ = ("id", "reason", "names", "predicates", "precision_high", "mask")
_MOST_NAMED = 12
"""Predicates that a sentence or a rule names."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is shown of one input.

    Args:
        line: its line of the results.
        words: the anchor in words, or the reason why there is none.
        rule: the conditions of a table's rule; None for images.
        precision: the interval of the precision in words; None where there is no explanation.
        photograph: a data URI; None where there is none.
        overlay: what the anchor hides, likewise.
        absent: why there is no photograph; None where there is one, or where none is to be expected.
    """

    line: Mapping[str, Any]
    words: str
    rule: tuple[str, ...] | None
    precision: str | None
    photograph: str | None = None
    overlay: str | None = None
    absent: str | None = None


def chosen(results: pd.DataFrame, n: int) -> pd.DataFrame:
    """At most `n` lines: as many as can be from each class, status, and right or wrong, those with the lowest hash of
    their ids, in the order of their ids, in which numbers count as such.
    """
    if len(results) > n:
        order = results["id"].map(lambda id: hashlib.blake2b(id.encode(), digest_size=8).digest()).sort_values().index
        places = results.loc[order].groupby(_KINDS, sort=False).cumcount()
        results = results.loc[places.sort_values(kind="stable").index[:n]]
    return results.sort_values("id", key=lambda ids: ids.map(_order))


def _order(id: str) -> list[tuple[int, int, str]]:
    """By which ids are sorted: "2.png" comes before "10.png"."""
    pieces = re.findall(r"0*([0-9]+)|([^0-9]+)", id)
    return [(0, len(digits), digits) if digits else (1, 0, other) for digits, other in pieces]


def cards(
    folder: Path, results: pd.DataFrame, photographs: Photographs | None, *, is_table: bool, necessary: bool = False
) -> list[Card]:
    """A card for each line, in their order.

    Args:
        folder: of the parts.
        results: the lines; what else a card needs is read of the parts.
        photographs: where photographs are read; None where there are no files.
        is_table: whether the inputs are rows of a table.
        necessary: whether it was asked what is necessary, not what is sufficient.
    """
    words_of = _necessary_words if necessary else _words
    details = {row["id"]: row for row in _details(folder, set(results["id"]))}
    made = []
    for line in results.to_dict("records"):
        row = {**line, **details[line["id"]]}
        pictures = {} if is_table else _pictures(row, photographs)
        failed = row["status"] == FAILED
        words = str(row["reason"]) if failed else words_of(row, is_table=is_table)
        rule = _few(row["names"] or []) if is_table and not failed else None
        made.append(Card(line, words, rule, None if failed else _precision(row), **pictures))
    return made


def _details(folder: Path, ids: set[str]) -> Iterator[dict[str, Any]]:
    """What cards need beside the results, of the inputs with these ids."""
    pa, compute = import_extra("pyarrow", "evaluate"), import_extra("pyarrow.compute", "evaluate")
    wanted = pa.array(sorted(ids), pa.string())
    for path in parts_of(folder):
        table = read_part(path, _READ)
        yield from table.filter(compute.is_in(table["id"], value_set=wanted)).to_pylist()


def _pictures(row: Mapping[str, Any], photographs: Photographs | None) -> dict[str, str]:
    mask = None if row["mask"] is None else mask_of(row["mask"])
    overlay = {} if mask is None or not mask.any() else {"overlay": thumbnails.overlay(mask)}
    if photographs is None:
        return {"absent": "It was not read from a file.", **overlay}
    try:
        picture = photographs.read(row["id"], None if mask is None else mask.shape)
    except AnchorsError as error:
        return {"absent": f"The photograph cannot be shown: {error}", **overlay}
    return {"photograph": thumbnails.photograph(picture), **overlay}


def _words(row: Mapping[str, Any], *, is_table: bool) -> str:
    """What the anchor is, in a sentence."""
    names = row["names"] or []
    if not names:
        whatever = "the values of the columns are" if is_table else "is hidden"
        return f"The answer stays whatever {whatever}." if row["status"] in FOUND else "No anchor was found."
    start = "The answer stays while" if row["status"] in FOUND else "Not certified; the best one found: while"
    if is_table:
        return f"{start} {'this holds' if len(names) == 1 else 'these hold'}:"
    are = "is" if len(names) == 1 else "are"
    return f"{start} {listed(_few(names))} {are} shown."


def _necessary_words(row: Mapping[str, Any], *, is_table: bool) -> str:
    """What is necessary, in a sentence."""
    names, found = row["names"] or [], row["status"] in FOUND
    if not names:
        parts = "columns are replaced" if is_table else "superpixels are hidden"
        return f"The answer changes anyway while {parts} at random." if found else "No anchor was found."
    start = "The answer changes while" if found else "Not certified; the best one found: while"
    if is_table:
        return f"{start} {'this is' if len(names) == 1 else 'these are'} replaced:"
    return f"{start} {listed(_few(names))} {'is' if len(names) == 1 else 'are'} hidden."


def _few(names: list[str]) -> tuple[str, ...]:
    """The names, or the first of them and how many more there are."""
    left = len(names) - _MOST_NAMED
    return tuple(names) if left <= 0 else (*names[:_MOST_NAMED], f"{left:,} more")


def _precision(row: Mapping[str, Any]) -> str:
    low, high = row["precision_low"], row["precision_high"]
    if low == high:
        return f"{row['precision']:.3f} (exact)"
    if row["status"] in FOUND:
        return f"at least {at_least(low)}"
    return f"{at_least(low)} to {at_most(high)}"
