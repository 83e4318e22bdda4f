"""``torch-anchors evaluate``: folders and tables, exit statuses, interruptions and several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.datasets.inputs import by_id
from torch_anchors import Evaluation
from torch_anchors.cli import CANNOT, FAILED, FOUND, INTERRUPTED, NOT_FOUND, TERMINATED, main
from torch_anchors.models import LoadedModel, Preprocess

GRID = ("--segments", "grid", "--n-segments", "4", "--fill", "constant", "--no-report")


class Moody(nn.Module):
    """Says 1 while the upper left quarter is red, and cannot stand blue. A signal may come in one of its calls."""

    n_left, number = -1, signal.SIGINT

    def forward(self, rows: Tensor) -> Tensor:
        Moody.n_left -= 1
        if Moody.n_left == 0:
            signal.raise_signal(Moody.number)
        red, _, blue = rows[:, :, :8, :8].mean((2, 3)).unbind(1)
        if (blue > 0.5).any():
            raise ValueError("this is blue")
        return torch.stack([0.5 - red, red - 0.5], dim=1)


@pytest.fixture
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LoadedModel("moody", Moody().eval(), Preprocess((16, 16), (0.0,) * 3, (1.0,) * 3), ("other", "red"))
    monkeypatch.setattr("torch_anchors.models.load_image_model", lambda name, device, trust: model)
    monkeypatch.setattr(Moody, "n_left", -1)
    monkeypatch.chdir(tmp_path)


def folder(*colours: tuple[int, int, int]) -> None:
    for i, colour in enumerate(colours):
        path = Path("in") / ("red" if colour[0] > 200 else "other") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), colour).save(path)


RED, BLUE = [(250 - i, 10, 10) for i in range(8)], (10, 10, 250)


def unwrapped(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.usefixtures("moody")
class TestPictures:
    def test_a_folder_is_explained_and_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        folder(*RED[:3])
        assert main(["evaluate", "in", "--out", "out", *GRID]) == FOUND
        said = unwrapped(capsys.readouterr().out)
        assert "Explaining 3 pictures with moody on cpu, as it sees them: 16 x 16 pixels." in said
        assert "3 of 3 images are in out: 3 exact." in said
        rows = by_id(Evaluation("out"))
        assert sorted(rows) == ["red/0.png", "red/1.png", "red/2.png"]
        assert {(row["label_name"], row["true_label"], tuple(row["features"])) for row in rows.values()} == {
            ("red", "red", (0,))
        }
        assert main(["evaluate", "in", "--out", "out", *GRID, "--quiet"]) == FOUND
        assert capsys.readouterr().out == ""

    def test_failures_are_rows_and_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        folder(RED[0], BLUE, RED[1])
        Path("in/red/torn.png").write_bytes(b"torn")
        assert main(["evaluate", "in", "--out", "out", *GRID]) == FAILED
        captured = capsys.readouterr()
        assert "4 of 4 images are in out: 2 exact and 2 failed." in unwrapped(captured.out)
        assert "image other/1.png was not explained: The predictor raised ValueError: this is blue" in captured.err
        assert "image red/torn.png was not explained: in/red/torn.png is not a picture" in captured.err

    def test_nothing_can_be_explained(self, capsys: pytest.CaptureFixture[str]) -> None:
        folder(*[BLUE] * 8)
        assert main(["evaluate", "in", "--out", "out", *GRID]) == CANNOT
        assert "this is blue" in (told := capsys.readouterr().err)
        assert told.count("this is blue") == 1
        assert "on each of the first 5 images, so the work has stopped." in told
        assert not list(Path("out").glob("part*"))

    def test_no_anchor_is_a_status_of_its_own(self) -> None:
        folder(RED[0])
        small = ("--segments", "grid", "--n-segments", "16", "--fill", "constant", "--max-anchor-size", "1")
        assert main(["evaluate", "in", "--out", "out", *small]) == NOT_FOUND

    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
    def test_an_interruption_says_how_to_go_on(
        self, number: int, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder(*RED)
        monkeypatch.setattr(Moody, "number", number)
        command = ["evaluate", "in", "--out", "out", *GRID, "--max-rows", "16"]
        Moody.n_left = 6
        assert main(command) == status
        n_done = len(Evaluation("out"))
        assert 0 < n_done < 8
        told = f"; {n_done} of 8 images are in out; the same command continues (without --overwrite)"
        assert told in capsys.readouterr().err
        assert main(command) == FOUND
        assert main(["evaluate", "in", "--out", "whole", *GRID]) == FOUND
        assert by_id(Evaluation("out")) == by_id(Evaluation("whole"))

    def test_another_run_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        folder(RED[0])
        assert main(["evaluate", "in", "--out", "out", *GRID]) == FOUND
        assert main(["evaluate", "in", "--out", "out", *GRID, "--threshold", "0.9"]) == CANNOT
        assert "out holds another run: its setting threshold is 0.95, not 0.9." in capsys.readouterr().err
        assert main(["evaluate", "in", "--out", "out", *GRID, "--threshold", "0.9", "--overwrite"]) == FOUND

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["in", "--target", "y"], "error: target must be one of Argmax"),
            (["nowhere"], "there is no file or folder nowhere"),
            (["in", "in/red/0.png"], "SOURCE must be one folder, or pictures"),
            (["t.csv"], "--target must name the column of the table"),
            (["in", "--seed", "-1"], "--seed must be a whole number of at least 0, got -1"),
            (["in", "--fill", "blur", "--background", "in/red"], "--fill and --background exclude each other"),
            (["in", "--value-range", "9", "0"], "--value-range must be a number and a larger one, got 9 0"),
            (["in", "--fixed", "1", "in"], "--fixed must be numbers of superpixels or one picture, got 1 in"),
        ],
    )
    def test_what_cannot_be_used(
        self, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder(RED[0])
        assert main(["evaluate", *arguments, "--out", "out"]) == CANNOT
        assert complaint in capsys.readouterr().err
        assert not Path("out").exists()

    def test_another_question(self) -> None:
        folder(RED[0])
        assert main(["evaluate", "in", "--out", "out", *GRID, "--question", "necessary"]) == FOUND
        (row,) = by_id(Evaluation("out")).values()
        assert (row["features"], json.loads(row["settings"])["question"]) == ([0], "necessary")

    def test_parts_that_are_in_no_anchor(self, capsys: pytest.CaptureFixture[str]) -> None:
        folder(RED[0])
        assert main(["evaluate", "in", "--out", "numbers", *GRID, "--exclude", "0", "1"]) == NOT_FOUND
        (row,) = by_id(Evaluation("numbers")).values()
        assert not {0, 1} & set(row["features"])
        Image.fromarray(255 * np.kron(np.eye(1, 4).reshape(2, 2), np.ones((8, 8))).astype(np.uint8)).save("corner.png")
        assert main(["evaluate", "in", "--out", "mask", *GRID, "--fixed", "corner.png"]) == FOUND
        (row,) = by_id(Evaluation("mask")).values()
        assert row["status"] == "empty"  # what decides is always shown
        assert main(["evaluate", "in", "--out", "mask", *GRID, "--fixed", "1"]) == CANNOT
        assert "holds another run: its setting fixed is" in capsys.readouterr().err

    def test_a_picture_of_another_shape_than_the_region_is_a_row_with_the_reason(self) -> None:
        folder(RED[0])
        Image.new("RGB", (80, 40), RED[1]).save("in/red/wide.png")
        Image.new("L", (16, 16)).save("corner.png")
        Image.new("L", (40, 40), 255).save("all.png")
        assert main(["evaluate", "in", "--out", "out", *GRID, "--exclude", "all.png"]) == FAILED
        assert by_id(Evaluation("out"))["red/wide.png"]["reason"] == (
            "--exclude must be a picture of the same height and width, and all.png is of another shape: "
            "40 x 40 pixels, this one 80 x 40"
        )

    def test_pictures_of_more_than_8_bits_a_channel(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("in").mkdir()
        Image.fromarray(np.full((40, 40), 4000, dtype=np.uint16)).save("in/deep.png")
        dark = ("--value-range", "0", "4095")
        with_page = [word for word in GRID if word != "--no-report"]
        assert main(["evaluate", "in", "--out", "out", *with_page, *dark]) == CANNOT  # white, so blue as well as red
        assert "this is blue" in capsys.readouterr().err
        assert main(["evaluate", "in", "--out", "light", *with_page, "--value-range", "0", "60000"]) == FOUND
        (row,) = by_id(Evaluation("light")).values()
        assert row["label_name"] == "other"
        assert "deep.png" in (page := Path("light/report.html").read_text())
        assert "cannot be shown" not in page
        assert main(["evaluate", "in", "--out", "light", *GRID, *dark]) == CANNOT
        assert "light holds another run" in capsys.readouterr().err

    def test_listed_pictures(self) -> None:
        folder(*RED[:2])
        assert main(["evaluate", "in/red/1.png", "in/red/0.png", "--out", "out", *GRID]) == FOUND
        assert Evaluation("out").table(["id"])["id"].to_pylist() == ["in/red/1.png", "in/red/0.png"]


def table(path: Path, n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"key": [f"k{i}" for i in range(n)], "age": rng.normal(40, 10, n), "job": ["a", "b"] * (n // 2)}
    )
    frame["paid"] = np.where(frame.age > 40, "yes", "no")
    frame.loc[3, "age"] = np.nan
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return frame


@pytest.mark.parametrize("name", ["t.csv", pytest.param("t.parquet", marks=pytest.mark.slow)])
def test_all_rows_of_a_table(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table(tmp_path / name)
    out = tmp_path / "out"
    command = ["evaluate", str(tmp_path / name), "--out", str(out), "--target", "paid", "--ids", "key"]
    assert main(command) in (FOUND, NOT_FOUND)
    captured = capsys.readouterr()
    assert "A small network, trained on 48 rows, tells paid (no or yes)" in unwrapped(captured.out)
    assert "not explained" not in captured.err
    rows = by_id(Evaluation(out))
    assert list(frame.key) == sorted(rows, key=lambda id: int(id[1:]))
    assert [rows[id]["true_label"] for id in frame.key] == list(frame.paid)
    assert {row["label_name"] for row in rows.values()} == {"no", "yes"}  # of k3, whose age is missing, too
    assert main([*command, "--quiet"]) in (FOUND, NOT_FOUND)  # trained again, and the same


def test_columns_that_are_in_no_rule(tmp_path: Path) -> None:
    table(tmp_path / "t.csv")
    out = tmp_path / "out"
    command = [
        "evaluate",
        str(tmp_path / "t.csv"),
        "--out",
        str(out),
        "--target",
        "paid",
        "--ids",
        "key",
        "--epochs",
        "2",
    ]
    assert main([*command, "--fixed", "job", "--n-anchors", "2"]) in (FOUND, NOT_FOUND)
    rows = by_id(Evaluation(out)).values()
    assert any(row["names"] for row in rows)
    assert not any("job" in name for row in rows for name in row["names"])
    assert json.loads(next(iter(rows))["settings"])["n_anchors"] == 2


def test_all_rows_of_a_table_of_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path / "t.csv")
    out = tmp_path / "out"
    command = ["evaluate", str(tmp_path / "t.csv"), "--out", str(out), "--target", "age", "--drop", "key"]
    assert main([*command, "--within", "9"]) in (FOUND, NOT_FOUND)
    assert "tells age (a number) with an error of" in unwrapped(capsys.readouterr().out)
    rows = by_id(Evaluation(out)).values()
    done = [row for row in rows if row["status"] != "failed"]
    assert len(done) >= 59  # of one row the age is missing
    assert {row["label_name"] for row in done} == {"within 9"}
    assert all("value" in json.loads(row["said"]) for row in done)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--fill", "blur", "--target", "paid"], "--fill is for pictures, and SOURCE is a table"),
        ([], "--target must name the column of the table"),
        (
            ["--target", "paid", "--ids", "id"],
            "--ids must name a column of the table beside --target, --fixed and --exclude, got id",
        ),
        (["t.csv", "--target", "paid"], "SOURCE must be one table, got 2 files"),
    ],
)
def test_what_cannot_be_used_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table(Path("t.csv"))
    assert main(["evaluate", "t.csv", *more, "--out", "out"]) == CANNOT
    assert complaint in capsys.readouterr().err


class Redness(nn.Module):
    """Says 1 while the upper left quarter of a picture is red."""

    def forward(self, rows: Tensor) -> Tensor:
        red = rows[:, 0, :8, :8].mean((1, 2)) - 0.5
        return torch.stack([-red, red], dim=1)


def saved_model(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Redness()).save(str(path))


@pytest.mark.slow  # as each of them imports everything; tests/datasets/test_evaluate.py has ranks in one process
def test_two_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `torchrun --nproc-per-node 2 -m torch_anchors evaluate ...` starts them."""
    monkeypatch.chdir(tmp_path)
    folder(*RED)
    saved_model(Path("redness.pt"))
    size = ["--input-size", "16", "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    command = ["evaluate", "in", "--model", "redness.pt", "--trust", *size, *GRID, "--out"]
    ranks: list[Any] = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "torch_anchors", *command, "shared"],
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate() for process in ranks]
    assert [process.returncode for process in ranks] == [FOUND, FOUND], said
    assert "images are in shared" in unwrapped(said[0][0])
    assert said[1][0] == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*command, "whole"]) == FOUND
    assert by_id(Evaluation("shared")) == by_id(Evaluation("whole"))
    assert {path.name[:8] for path in Evaluation("shared").parts} == {"part-000", "part-001"}
    assert Evaluation("shared").complete


@pytest.mark.slow
def test_torchrun_starts_a_killed_process_again_and_the_work_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(*((250 - i, j, 10) for i in range(20) for j in range(10)))
    saved_model(Path("redness.pt"))
    size = ["--input-size", "16", "--mean", "0", "0", "0", "--std", "1", "1", "1"]
    command = ["evaluate", "in", "--model", "redness.pt", "--trust", *size, *GRID, "--part-size", "10", "--out"]
    launcher = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launcher += ["--max-restarts", "1", "-m", "torch_anchors"]
    with subprocess.Popen([*launcher, *command, "shared"], stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(Path("shared").glob("part-001-*")):
            time.sleep(0.002)
        os.kill(int(Path("shared/.lock-001").read_text().split()[0]), signal.SIGKILL)
        _, said = process.communicate()
    assert process.returncode == 0, said
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([*command, "whole"]) == FOUND
    assert by_id(Evaluation("shared")) == by_id(Evaluation("whole"))
    assert Evaluation("shared").complete
