"""``torch-anchors report``, and the report that ``torch-anchors evaluate`` ends with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor, nn

from tests.datasets.inputs import folder_of, row
from torch_anchors.cli import CANNOT, FOUND, main
from torch_anchors.models import LoadedModel, Preprocess

OPTIONS = ("--segments", "grid", "--n-segments", "4", "--fill", "constant", "--quiet")


class Redness(nn.Module):
    """Says 1 while the upper left quarter is red."""

    def forward(self, rows: Tensor) -> Tensor:
        red = rows[:, 0, :8, :8].mean((1, 2))
        return red[:, None] * Tensor([-1, 1]) + Tensor([0.5, -0.5])


@pytest.fixture
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess((16, 16), (0.0,) * 3, (1.0,) * 3, resize=20)
    model = LoadedModel("red", Redness().eval(), preprocess, ("other", "red"))
    monkeypatch.setattr("torch_anchors.models.load_image_model", lambda name, device, trust: model)
    monkeypatch.chdir(tmp_path)
    for i in range(4):
        path = Path("in/red") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (250 - i, 10, 10)).save(path)


@pytest.mark.usefixtures("_pictures")
class TestAtTheEnd:
    def test_evaluate_writes_a_report(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["evaluate", "in", "--out", "out", *OPTIONS[:-1]]) == FOUND
        assert f"The report is in {Path('out/report.html')}." in " ".join(capsys.readouterr().out.split())
        text = Path("out/report.html").read_text()
        assert text.count("data:image/jpeg") == 4
        assert text.count('class="overlay"') == 4

    def test_unless_nobody_wants_it(self) -> None:
        assert main(["evaluate", "in", "--out", "out", "--no-report", *OPTIONS]) == FOUND
        assert not Path("out/report.html").exists()

    def test_without_jinja2_nothing_is_begun(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "jinja2", None)
        assert main(["evaluate", "in", "--out", "out", *OPTIONS]) == CANNOT
        (line,) = capsys.readouterr().err.splitlines()
        assert 'pip install "torch-anchors[evaluate]" (--no-report does without a report)' in line
        assert not Path("out").exists()
        assert main(["evaluate", "in", "--out", "out", "--no-report", *OPTIONS]) == FOUND
        assert main(["report", "out"]) == CANNOT

    def test_of_several_processes_the_first_writes_it_and_the_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said = {}
        for rank in ("0", "1"):
            monkeypatch.setitem(os.environ, "RANK", rank)
            monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
            assert main(["evaluate", "in", "--out", "out", *OPTIONS]) == FOUND
            said[rank] = Path("out/report.html").read_text()
        assert "of 4 images</strong>: the run was not finished" in said["0"]
        assert "4 images, all of the data set." in said["1"]

    def test_an_unfinished_rank_leaves_it_to_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(os.environ, "RANK", "1")
        monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
        assert main(["evaluate", "in", "--out", "out", *OPTIONS]) == FOUND
        assert not Path("out/report.html").exists()


def test_a_report_of_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    folder_of(out, [row(str(i), "exact", 1, features=[1]) for i in range(3)], 5)
    assert main(["report", str(out)]) == FOUND
    assert "A report on 3 inputs is in" in capsys.readouterr().out
    assert "3 of 5 images" in (out / "report.html").read_text()
    page = tmp_path / "page.html"
    assert main(["report", str(out), "--out", str(page), "--gallery", "1", "--quiet"]) == FOUND
    assert page.read_text().count("<article") == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "there is no run.json in nowhere"),
        (["out", "--out", "out"], "--out must be a file, and out is a folder"),
        (["out", "--pictures", "nowhere"], "--pictures must be a folder, and there is no folder nowhere"),
        (["damaged"], "cannot be read as a part of an evaluation"),
    ],
)
def test_what_cannot_be_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of(Path("out"), [])
    folder_of(Path("damaged"), [])
    Path("damaged/part-000-000001.parquet").write_bytes(b"PAR1")
    assert main(["report", *arguments]) == CANNOT
    assert complaint in capsys.readouterr().err
    assert not list(Path().rglob("report.html"))
