"""Documents: whole, of this package, not newer than it, and not damaged, or refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torch_anchors
from torch_anchors import AnchorTabular, Between, TopK, Within, store
from torch_anchors.errors import ArgumentError
from torch_anchors.packing import Fields
from torch_anchors.store import FORMAT, VERSION, Document

DOCUMENT = Document("Thing", {"name": "é"}, {"numbers": [0.1, 1e300, 5], "nothing": None})


def test_a_document_comes_back(tmp_path: Path) -> None:
    assert Document.from_text(DOCUMENT.to_text()) == DOCUMENT
    DOCUMENT.write(tmp_path / "new" / "thing.json")
    assert Document.read(tmp_path / "new" / "thing.json") == DOCUMENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["thing.json"]


def test_the_order_of_keys_and_the_spaces_do_not_matter() -> None:
    values = json.loads(DOCUMENT.to_text())
    again = json.dumps({key: values[key] for key in sorted(values)}, indent=3, ensure_ascii=False)
    assert Document.from_text(again) == DOCUMENT


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(DOCUMENT.to_text()), **changes})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is no JSON, or its end is missing"),
        (DOCUMENT.to_text()[:-9], "it is no JSON, or its end is missing"),
        ("[" * 10**6, "it is no JSON"),
        ('{"a": ' + "9" * 10**5 + "}", "it is no JSON|was not written by"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("[1, 2]", "it was not written by save"),
        ('{"meta": {}, "data": {}}', "it was not written by save"),
        (changed(format="another"), "it was not written by save"),
        (changed(version=VERSION + 1), f"it has the version {VERSION + 1} .* install a newer torch-anchors"),
        (changed(version="1"), "version must be a whole number of at least 1, got '1'"),
        (changed(data=None), "data must be a dictionary, got NoneType"),
        (changed(kind="Other"), "does not have the digest that it names; it is damaged or was changed"),
        (changed(data={"numbers": [0.1, 1e300, 6], "nothing": None}), "does not have the digest"),
        (changed(digest=""), "does not have the digest"),
    ],
)
def test_what_is_no_whole_document_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        Document.from_text(text)


def test_files_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "binary").write_bytes(b"\x80\x04\x95" + bytes(range(128, 256)))
    (tmp_path / "large").write_text("{}" * 100)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(store, "MOST_TEXT", 150)
    for name, reason in {
        "nowhere": "there is no such file",
        "binary": "it is no text",
        "pipe": "it is no ordinary file",
        "": "it is no ordinary file",
        "large": "it has 200 bytes, and at most 150 are read",
        "a\0b": "embedded null",
        "n" * 300: "File name too long",
    }.items():
        with pytest.raises(ArgumentError, match=f"cannot be read as an explanation: .*{reason}"):
            Document.read(tmp_path / name if "\0" not in name else name)


def test_the_format_is_said() -> None:
    assert json.loads(DOCUMENT.to_text())["format"] == FORMAT


@pytest.mark.parametrize("target", [Within(3), Between(5, 20), TopK(1)])
def test_what_was_asked_and_answered_is_stored(target: Any, tmp_path: Path) -> None:
    def scores(rows: np.ndarray) -> np.ndarray:
        value = 10 * (rows[:, 0] > 0) + 0.1 * rows[:, 1]
        return np.stack([value, -value], axis=1) if isinstance(target, TopK) else value

    rows = np.random.default_rng(0).normal(size=(500, 2))
    explanation = AnchorTabular(scores, ["a", "b"], seed=0).fit(rows).explain([1.0, 0.0], target=target)
    explanation.save(tmp_path / "one.json")
    loaded = torch_anchors.load(tmp_path / "one.json")
    for name in ("target", "said", "answer_names", "label", "label_name"):
        assert getattr(loaded, name) == getattr(explanation, name), name
    assert str(loaded) == str(explanation)


def test_a_file_of_before_targets_is_about_the_argmax(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(500, 2))
    explanation = AnchorTabular(lambda x: (x[:, 0] > 0).astype(int), ["a", "b"], seed=0).fit(rows).explain(rows[0])
    fields = explanation.to_fields()
    for name in ("target", "said", "answer_names"):
        del fields[name]
    read = type(explanation).read_fields(Fields(fields, "explanation"))
    assert not {"target", "said", "answer_names"} & set(read)
    assert explanation.target == "Argmax()"
