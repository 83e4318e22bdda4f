"""The page about a run: one file of HTML that needs no other, and no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors._checks import is_number
from torch_anchors._extras import import_extra
from torch_anchors.datasets.fields import FAILED, STATUSES
from torch_anchors.datasets.parts import seconds_of
from torch_anchors.datasets.report.classes import class_lines
from torch_anchors.datasets.report.distributions import distributions
from torch_anchors.datasets.report.gallery import cards, chosen
from torch_anchors.datasets.report.photographs import photographs_of
from torch_anchors.datasets.report.results import RIGHT, UNKNOWN, results_of
from torch_anchors.datasets.report.thumbnails import LONGEST
from torch_anchors.datasets.run_record import RunRecord

if TYPE_CHECKING:
    import pandas as pd

GALLERY = 300
"""Cards of a page, unless the user says otherwise."""

_MOST_LETTERS = 300
"""Of a name or a reason; hostile ones are longer."""


def page_of(
    folder: Path,
    record: RunRecord,
    *,
    gallery: int = GALLERY,
    pictures: Path | None = None,
    transform: Callable[[Any], Any] | None = None,
) -> str:
    """The page about what is in a folder so far.

    Args:
        folder: of the parts.
        record: of the run.
        gallery: most cards.
        pictures: folder where the photographs are now; None for where they were.
        transform: applied to each photograph before it was explained, where it was no loaded model's `fit`.

    Raises:
        ArgumentError: a part is damaged.
        ImportError: jinja2, matplotlib, pandas or pyarrow is not installed.
    """
    template = _template()
    results = results_of(folder)
    is_table = record.explainer == "AnchorTabular"
    photographs = None if is_table else photographs_of(record.pictures, pictures, transform, 2 * LONGEST)
    shown = chosen(results, gallery)
    script = _file("page.js")
    return template.render(
        record=record,
        unit="row" if is_table else "image",
        is_table=is_table,
        summary=_summary(folder, record, results),
        lines=class_lines(results),
        distributions=distributions(results, _number_or_none(record.settings.get("threshold"))),
        cards=cards(folder, shown, photographs, is_table=is_table, necessary=record.asks_what_is_necessary),
        n_shown=len(shown),
        style=_file("page.css"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _template() -> Any:
    jinja2 = import_extra("jinja2", "evaluate")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=_number, percent=_percent, duration=_duration, cut=_cut, attribute=_attribute)
    environment.globals.update(failed=FAILED)
    return environment.from_string(_file("page.html"))


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _summary(folder: Path, record: RunRecord, results: pd.DataFrame) -> dict[str, Any]:
    """What ran, on how much, and how long."""
    counts = results["status"].value_counts()
    seconds = seconds_of(folder)
    longest = max(seconds.values(), default=0.0)
    return {
        "n": len(results),
        "n_inputs": record.n_inputs,
        "promise": _promise(record),
        "statuses": [(status, int(counts[status])) for status in STATUSES if status in counts],
        "comparable": _is_comparable(results),
        "n_rows": int(results["n_rows"].fillna(0).sum()),
        "seconds": longest,
        "n_processes": len(seconds),
        "a_second": len(results) / longest if longest else None,
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _is_comparable(results: pd.DataFrame) -> bool:
    """Whether some true label is the name of an answer, so that wrong answers are not merely called otherwise."""
    known = results[results["right"] != UNKNOWN]
    return not len(known) or bool(known["true_label"].isin(known["answer"]).any() or (known["right"] == RIGHT).any())


def _promise(record: RunRecord) -> str:
    """What is asked of an anchor."""
    threshold, delta = (_number_or_none(record.settings.get(name)) for name in ("threshold", "delta"))
    precision = "precision" if threshold is None else f"precision {threshold:g}"
    return precision if delta is None else f"{precision}, with confidence {1 - delta:g}"


def _number_or_none(value: Any) -> float | None:
    return float(value) if is_number(value) else None


def _number(value: float | int | None, digits: int = 3) -> str:
    """A number of a table; a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}" if digits == 0 else f"{value:.{digits}f}"


def _attribute(value: float | int | None) -> str:
    """A number as the script reads it; "" where there is none."""
    return "" if value is None or value != value else f"{value:.6g}"


def _percent(share: float | int | None) -> str:
    return "–" if share is None or share != share else f"{100 * share:.1f} %"


def _duration(seconds: float | int) -> str:
    """ "2 h 05 min", "3 min 20 s", "4.2 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return f"{minutes} min {round(seconds) % 60:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _cut(text: Any, most: int = _MOST_LETTERS) -> str:
    words = str(text)
    return words if len(words) <= most else words[:most] + "…"
