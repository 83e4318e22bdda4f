"""run.json: one run, one folder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from torch_anchors.datasets.run_record import FORMAT, NAME, RunRecord
from torch_anchors.errors import AnchorsWarning, ArgumentError

RECORD = RunRecord("AnchorImage", 3, {"threshold": 0.95, "method": "auto"}, {"model": "abc", "source": "d"}, "pictures")


def test_the_first_claims_and_the_same_run_goes_on(tmp_path: Path) -> None:
    there = RECORD.claim(tmp_path)
    assert there == RECORD == RunRecord.read(tmp_path)
    later = replace(RECORD, started="2100-01-01T00:00:00+00:00", source="the same pictures")
    assert later.claim(tmp_path) == RECORD
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    replace(RECORD, n_inputs=7).write(tmp_path)
    assert RunRecord.read(tmp_path) == replace(RECORD, n_inputs=7)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"explainer": "AnchorTabular"}, "it was made by AnchorImage, this is AnchorTabular"),
        ({"seed": 4}, "its seed is 3, not 4"),
        ({"settings": {"threshold": 0.9, "method": "auto"}}, "its setting threshold is 0.95, not 0.9"),
        ({"settings": {"threshold": 0.95, "method": "auto", "new": 1}}, "its setting new is None, not 1"),
        ({"digests": {"model": "xyz", "source": "d"}}, "it has another model"),
        ({"digests": {"model": "abc", "source": "e"}}, "it has another source"),
        ({"digests": {"model": "xyz"}}, "it has another model; it has another source"),
    ],
)
def test_another_run_is_refused_with_what_differs(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    RECORD.claim(tmp_path)
    with pytest.raises(ArgumentError, match=rf"holds another run: {complaint}\. Choose another folder, .*overwrite"):
        replace(RECORD, **changes).claim(tmp_path)
    assert RunRecord.read(tmp_path) == RECORD


def test_another_version_is_a_warning(tmp_path: Path) -> None:
    replace(RECORD, versions={**RECORD.versions, "torch": "1.0"}).claim(tmp_path)
    with pytest.warns(AnchorsWarning, match=r"was begun with torch 1\.0; explanations that follow may differ"):
        RECORD.claim(tmp_path)


def test_who_is_faster_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the writing, somebody else has written."""
    link = os.link

    def late(source: Any, place: Any) -> None:
        (tmp_path / NAME).write_text(replace(RECORD, source="of the faster one")._text())
        link(source, place)

    monkeypatch.setattr(os, "link", late)
    assert RECORD.claim(tmp_path).source == "of the faster one"
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_file_system_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(source: Any, place: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", none)
    assert RECORD.claim(tmp_path) == RECORD
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("[]", "another format"),
        ('{"format": "another"}', "another format"),
        (
            json.dumps({"format": "torch_anchors evaluation", "version": 99}),
            "its version is 99, .* install a newer one",
        ),
        (json.dumps({"format": FORMAT, "version": 1, "seed": 3}), "missing"),
        ("[" * 10**5, "recursion"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ArgumentError, match=rf"run\.json cannot be read as the record of an evaluation: .*{reason}"):
        RunRecord.read(tmp_path)


def test_no_record(tmp_path: Path) -> None:
    assert RunRecord.read(tmp_path) is None
