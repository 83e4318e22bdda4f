"""The page: whole, offline, and nothing of what it tells can become part of its code."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.inputs import folder_of, folder_of_pictures, of_images, of_rows, row, rows_of_table
from torch_anchors import Evaluation, evaluate
from torch_anchors.datasets.fields import failed_row

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>.png',
    "' onmouseover='alert(1)",
    "</style></title><iframe src=//evil.example>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "-->]]>&lt;b&gt;",
    "\u202egnp.exe",
    "x" * 100_000,
)
TAGS = {"script", "img", "iframe", "link", "object", "embed", "base", "b"}


@dataclass
class Page(HTMLParser):
    """What a browser would make of a page."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def written(evaluation: Evaluation, **more: Any) -> Page:
    return read(evaluation.report(evaluation.folder / "report.html", **more))


def test_a_run_over_pictures(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "in", 6)
    (pictures / "red" / "torn.png").write_bytes(b"torn")
    done = evaluate(of_images(), pictures, tmp_path / "out", label_names=["blue", "red"], progress=False)
    page = written(done)
    assert "7 images, all of the data set." in page.text
    assert f"Anchors of pictures in {pictures}" in page.text
    assert "AnchorImage, seed 0" in page.text
    assert "precision 0.95, with confidence 0.9" in page.text
    assert "images a second" in page.text
    assert "All 7 images are on this page." in page.text
    articles = page.named("article")
    assert [own["data-id"] for own in articles] == sorted(done.table(["id"])["id"].to_pylist())
    by_status = {own["data-status"] for own in articles}
    assert by_status == set(done.counts())
    assert len(page.named("svg")) == 6
    photographs = [own for own in page.named("img") if "Photograph" in (own["alt"] or "")]
    assert len(photographs) == 6


def test_a_run_over_rows(tmp_path: Path) -> None:
    done = evaluate(of_rows(), rows_of_table(30), tmp_path / "out", progress=False, label_names=["poor", "rich"])
    page = written(done, gallery=10)
    assert "10 of 30 rows are on this page" in page.text
    assert "20 are left out" in page.text
    assert len(page.named("article")) == 10
    assert not page.named("img")
    assert re.search(r"while these hold: .*(age|pay) (<=|>) -?[\d.]+", page.text)


def test_a_run_that_is_not_finished(tmp_path: Path) -> None:
    rows = [row(str(i), "exact", 1, features=[]) for i in range(6)]
    assert "6 of 2,624 images : the run was not finished" in written(folder_of(tmp_path / "half", rows, 2624)).text
    unknown = folder_of(tmp_path / "stream", rows[:3])
    assert "3 images were explained so far; how many there are was not known" in written(unknown).text
    assert "0 of 5 images" in written(folder_of(tmp_path / "begun", [], 5)).text


@pytest.mark.parametrize(("true_label", "said"), [("thing", True), ("cat", False), ("dog", False)])
def test_labels_of_another_kind_are_noticed(tmp_path: Path, true_label: str, *, said: bool) -> None:
    labels = {"label_name": "cat", "true_label": true_label, "features": []}
    other = row("b", "exact", 1, label_name="dog", true_label="other", features=[])
    page = written(folder_of(tmp_path, [row("a", "exact", 0, **labels), other]))
    assert ("say nothing here" in page.text) is said


def test_nothing_is_fetched_and_only_the_page_s_own_script_runs(tmp_path: Path) -> None:
    page = written(evaluate(of_images(), folder_of_pictures(tmp_path / "in", 3), tmp_path / "out", progress=False))
    sources = [own[name] or "" for _, own in page.tags for name in ("src", "href", "xlink:href") if name in own]
    assert sources
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"@import|url\((?!#)", "".join(page.words))
    assert len(page.named("script")) == 1
    whole = (tmp_path / "out" / "report.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", whole, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.named("meta")[1]["content"] or ""
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"script-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("kind", ["AnchorImage", "AnchorTabular"])
def test_hostile_names_are_words(tmp_path: Path, kind: str) -> None:
    harmless = [
        row("a", "exact", 0, label_name="b", true_label="c", names=["d"], features=[1]),
        failed_row("e", "f", seed=0, settings="{}"),
    ]
    plain = written(folder_of(tmp_path / "plain", harmless * len(HOSTILE), explainer=kind))
    rows = []
    for one in HOSTILE:
        rows.append(row(one, "exact", 0, label_name=one, true_label=one + "2", names=[one], features=[1]))
        rows.append(failed_row(one + "3", one, seed=0, settings="{}"))
    words = dict(zip(HOSTILE, HOSTILE, strict=True))
    record = {"source": " ".join(HOSTILE), "settings": words, "digests": words, "started": HOSTILE[0]}
    page = written(folder_of(tmp_path / "out", rows, explainer=kind, **record))
    made, expected = ([tag for tag, _ in one.tags if tag in TAGS] for one in (page, plain))
    assert made == expected == ["script"]
    assert not [name for _, own in page.tags for name in own if name.startswith("on")]
    for one in HOSTILE:
        assert page.text.count(" ".join(one[:80].split())) >= 6
    assert (tmp_path / "out" / "report.html").stat().st_size < 300_000


def test_a_settings_file_of_another_run_is_no_obstacle(tmp_path: Path) -> None:
    """What `run.json` says may be anything that JSON can say."""
    record = {"settings": {"threshold": None, "delta": "small"}, "explainer": "Unheard", "started": "\udcff"}
    assert "Unheard, seed 0" in written(folder_of(tmp_path, [row("a", "exact", 0, features=[1])], 1, **record)).text


def test_photographs_of_a_transform_and_of_another_place(tmp_path: Path) -> None:
    pictures = folder_of_pictures(tmp_path / "in", 2)

    def transform(image: np.ndarray) -> np.ndarray:
        return image[:8, :8]

    done = evaluate(of_images(), pictures, tmp_path / "out", transform=transform, progress=False)
    assert "give the transform to the report" in written(done).text
    assert len(written(done, transform=transform).named("img")) >= 2
    pictures.rename(tmp_path / "moved")
    assert "there is no file" in written(done, transform=transform).text
    page = written(done, transform=transform, pictures=tmp_path / "moved")
    assert "cannot be shown" not in page.text
