"""Killed, interrupted or out of room at any moment: every file that is there is whole.

One process imports everything once and makes a child for each run, which ends itself at a chosen moment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")

N_PICTURES = 6

UNFINISHED = 70
"""What a child ends with in which the command did not come to its end."""

SERVER = """
import json, os, resource, signal, sys, threading
import matplotlib
matplotlib.use("Agg")
import matplotlib.figure, matplotlib.collections, torch, torchvision
from torch_anchors import cli
from torch_anchors.cli import drawings, words
from torch_anchors.images import anchor_image
from torch_anchors.models import load_image_model

drawings._DOTS_PER_INCH = 50  # which are drawn sooner
torch.set_num_threads(1)  # others would be lost to the children


def at(owner, name, n, number):
    inner, count = getattr(owner, name), [0]

    def counting(*arguments, **more):
        count[0] += 1
        if count[0] == n:
            os.kill(os.getpid(), number)
        return inner(*arguments, **more)

    setattr(owner, name, counting)


def work(order):
    os.chdir(order["folder"])
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open("../" + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    if order.get("at"):
        owner = {"os": os, "figure": matplotlib.figure.Figure}[order["at"][0]]
        at(owner, order["at"][1], order["n"], order["signal"])
    if order.get("largest"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], order["largest"]))
    return cli.main(order["arguments"])


print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        status = UNFINISHED
        try:
            status = work(order)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    if order.get("after"):
        timer = threading.Timer(order["after"], os.kill, (child, order["signal"]))
        timer.start()
    _, status = os.waitpid(child, 0)
    if order.get("after"):
        timer.cancel()
    print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)
"""


class Redness(nn.Module):
    """Says 1 while the upper left quarter of a picture is red."""

    def forward(self, rows: Tensor) -> Tensor:
        half = rows.shape[2] // 2
        red = rows[:, 0, :half, :half].mean((1, 2)) - 0.5
        return torch.stack([-red, red], dim=1)


class Runs:
    """Runs of the command in children of one process."""

    def __init__(self, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", f"UNFINISHED = {UNFINISHED}\n{SERVER}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._model = model
        self._answer()

    def __call__(self, folder: Path, *more: str, **order: Any) -> int:
        """The exit status of a run in the folder, or minus the signal that killed it."""
        (folder / "out").mkdir(parents=True, exist_ok=True)
        paths = [f"../{i}/red.png" for i in range(N_PICTURES)]
        for i, path in enumerate(paths):
            (folder / str(i)).mkdir(exist_ok=True)
            Image.new("RGB", (40, 40), (250 - i, 10, 10)).save(folder / "out" / path)
        size = ["--input-size", "96", "--mean", "0", "0", "0", "--std", "1", "1", "1"]
        grid = ["--segments", "grid", "--n-segments", "4", "--fill", "constant", "--max-rows", "64"]
        arguments = ["image", *paths, "--model", str(self._model), "--trust", *size, *grid, *more]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"folder": str(folder / "out"), "arguments": arguments, **order}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()  # it has nothing left to do, and would take seconds to take itself apart
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    model = tmp_path_factory.mktemp("model") / "redness.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Redness()).save(str(model))
    runs = Runs(model)
    yield runs
    runs.close()


def entries(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text()
    assert text.endswith("\n")
    return json.loads(text)["pictures"] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]


def whole_drawings(folder: Path, data: str) -> list[str]:
    """The drawings of a run, after all that it left has been looked at."""
    drawn = []
    for path in sorted((folder / "out").iterdir()):
        if path.name.startswith("."):
            assert path.name.endswith(".part"), path
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
                assert picture.width == 500
            drawn.append(path.name)
        else:
            assert path.name == data
    for entry in entries(folder / "out" / data):
        assert entry["drawing"] in drawn
        assert len(entry["segments"]) == 96
    return drawn


def said(folder: Path) -> str:
    return (folder / "stderr").read_text().strip()


FSYNC, REPLACE, DRAW = ("os", "fsync"), ("os", "replace"), ("figure", "savefig")


@pytest.mark.parametrize(
    ("moment", "n", "data"),
    [
        (FSYNC, 1, "all.json"),
        (FSYNC, 2, "all.jsonl"),
        (REPLACE, 1, "all.jsonl"),
        (REPLACE, 2, "all.json"),
        (DRAW, 3, "all.json"),
    ],
    ids=lambda value: str(value),
)
def test_killed(runs: Runs, tmp_path: Path, moment: tuple[str, str], n: int, data: str) -> None:
    assert runs(tmp_path, "--json", data, at=moment, n=n, signal=signal.SIGKILL) == -signal.SIGKILL
    drawn = whole_drawings(tmp_path, data)
    assert len(drawn) == {DRAW: 2}.get(moment, n - 1)
    left = [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    assert len(left) == (moment != DRAW)


def test_the_next_run_removes_what_a_killed_one_left(runs: Runs, tmp_path: Path) -> None:
    options = ("--json", "all.json", "--quiet")
    assert runs(tmp_path, *options, at=REPLACE, n=3, signal=signal.SIGKILL) == -signal.SIGKILL
    (left,) = (tmp_path / "out").glob(".*")
    stranger = tmp_path / "out" / ".notes.txt.1.part"
    stranger.write_text("of another run")
    assert runs(tmp_path, *options) == 0
    assert not left.exists()
    assert stranger.exists()
    stranger.unlink()
    assert len(whole_drawings(tmp_path, "all.json")) == len(entries(tmp_path / "out" / "all.json")) == N_PICTURES


@pytest.mark.parametrize(
    ("number", "moment", "n", "n_done"),
    [
        (signal.SIGINT, FSYNC, 3, 2),
        (signal.SIGINT, REPLACE, 2, 1),
        (signal.SIGINT, DRAW, 2, 2),
        (signal.SIGTERM, FSYNC, 1, 1),
    ],
    ids=lambda value: str(value),
)
def test_interrupted(runs: Runs, tmp_path: Path, number: int, moment: tuple[str, str], n: int, n_done: int) -> None:
    status = {signal.SIGINT: 130, signal.SIGTERM: 143}[signal.Signals(number)]
    assert runs(tmp_path, "--json", "all.json", at=moment, n=n, signal=number) == status
    assert len(whole_drawings(tmp_path, "all.json")) == len(entries(tmp_path / "out" / "all.json")) == n_done
    assert not list((tmp_path / "out").glob(".*"))
    word = "interrupted" if number == signal.SIGINT else "terminated"
    were = "was" if n_done == 1 else "were"
    assert said(tmp_path) == f"torch-anchors: error: {word}; {n_done} of 6 pictures {were} explained"


@pytest.mark.parametrize("data", [pytest.param("all.json", marks=pytest.mark.slow), "all.jsonl"])
def test_full_disk(runs: Runs, tmp_path: Path, data: str) -> None:
    largest = 70_000  # bytes of a file: a drawing has less, the data of three pictures more
    assert runs(tmp_path, "--json", data, largest=largest) == 2
    n_done = len(entries(tmp_path / "out" / data))
    assert 1 < n_done < N_PICTURES
    assert len(whole_drawings(tmp_path, data)) == n_done + 1
    assert not list((tmp_path / "out").glob(".*"))
    expected = f"error: {data} cannot be written: File too large ({n_done} of 6 pictures were explained before)"
    assert said(tmp_path) == f"torch-anchors: {expected}"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("data", ["all.json", "all.jsonl"])
def test_at_any_time(runs: Runs, tmp_path: Path, number: int, data: str) -> None:
    for i in range(12):
        folder = tmp_path / str(i)
        status = runs(folder, "--json", data, after=0.05 + 0.25 * i, signal=number)
        n_drawn, n_entries = len(whole_drawings(folder, data)), len(entries(folder / "out" / data))
        assert n_entries <= n_drawn
        if number == signal.SIGKILL:
            assert status in (0, -signal.SIGKILL)
        elif status in (130, 143):
            assert n_entries == n_drawn
            assert f"{n_drawn} of 6 pictures" in said(folder) or n_drawn == 0
        else:  # it came before the command listened, or after it was done
            assert status in (0, -number, UNFINISHED)
            assert n_entries == n_drawn
            assert n_drawn in (0, N_PICTURES)
