"""Killed with `kill -9` at any moment and continued: the union is that of a run that nobody disturbed.

One process imports everything once and makes a child for each run, which is killed after a while or at a chosen call.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.inputs import by_id, folder_of_pictures
from torch_anchors import Evaluation
from torch_anchors.datasets.parts import parts_of, read_part

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")

SERVER = """
import json, os, signal, sys, threading, time
import torch
torch.set_num_threads(1)  # others would be lost to the children
from tests.datasets import inputs
from torch_anchors import evaluate
from torch_anchors.datasets import parts
import pyarrow.parquet, torch_anchors.datasets.evaluate


def slowly(rows):
    time.sleep(order["pause"])
    return inputs.brightness(rows)


def at(owner, name, n):
    inner, count = getattr(owner, name), [0]

    def counting(*arguments, **more):
        count[0] += 1
        if count[0] == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments, **more)

    setattr(owner, name, counting)


def work():
    if order.get("at"):
        at({"os": os, "parquet": pyarrow.parquet}[order["at"][0]], *order["at"][1:])
    if order["kind"] == "images":
        explainer, source = inputs.of_images(slowly), order["source"]
    else:
        explainer, source = inputs.of_rows(sampling="conditional"), inputs.rows_of_table(order["n"])
    evaluate(explainer, source, order["out"], progress=False, part_size=order["part_size"])


print("ready", flush=True)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 70
        try:
            work()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    if order.get("after"):
        timer = threading.Timer(order["after"], os.kill, (child, signal.SIGKILL))
        timer.start()
    _, status = os.waitpid(child, 0)
    if order.get("after"):
        timer.cancel()
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Runs:
    """Runs of `evaluate` in children of one process."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def __call__(self, out: Path, **order: Any) -> int:
        """The exit status of a run, or minus the signal that killed it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        given = {"out": str(out), "part_size": 5, "pause": 0.0, **order}
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    runs = Runs()
    yield runs
    runs.close()


def check_parts(out: Path) -> None:
    """Whatever a killed run left: parts that can be read, no id twice, and nothing else but hidden files."""
    assert len(by_id_of_parts(out)) == sum(len(read_part(path)) for path in parts_of(out))
    others = [path.name for path in out.iterdir() if path not in parts_of(out) and not path.name.startswith(".")]
    assert set(others) <= {"run.json"}


def by_id_of_parts(out: Path) -> set[str]:
    return {id for path in parts_of(out) for id in read_part(path, ["id"])["id"].to_pylist()}


FSYNC, REPLACE, LINK, WRITE = ("os", "fsync"), ("os", "replace"), ("os", "link"), ("parquet", "write_table")


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """A run over 17 rows that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert runs(folder, kind="rows", n=17) == 0
    return Evaluation(folder)


@pytest.mark.parametrize(
    "moment",
    [
        (*REPLACE, 2),
        pytest.param((*FSYNC, 2), marks=pytest.mark.slow),
        pytest.param((*LINK, 1), marks=pytest.mark.slow),
        pytest.param((*FSYNC, 1), marks=pytest.mark.slow),
        pytest.param((*FSYNC, 4), marks=pytest.mark.slow),
        pytest.param((*REPLACE, 1), marks=pytest.mark.slow),
        pytest.param((*WRITE, 2), marks=pytest.mark.slow),
    ],
    ids=lambda moment: f"{moment[1]} {moment[2]}",
)
def test_killed_at_the_worst_moments(runs: Runs, tmp_path: Path, moment: tuple[Any, ...], whole: Evaluation) -> None:
    order = {"kind": "rows", "n": 17}
    assert runs(tmp_path / "killed", **order, at=moment) == -signal.SIGKILL
    check_parts(tmp_path / "killed")
    assert runs(tmp_path / "killed", **order) == 0
    assert not list((tmp_path / "killed").glob(".*"))
    assert by_id(Evaluation(tmp_path / "killed")) == by_id(whole)


def killed_often(runs: Runs, folder: Path, order: dict[str, Any], *, n_kills: int, longest: float) -> None:
    """Kills runs at random moments until one comes to its end, and compares with a run that nobody disturbed."""
    rng = random.Random(0)
    assert runs(folder / "whole", **order) == 0
    whole = by_id(Evaluation(folder / "whole"))
    out, n_killed, n_parts = folder / "killed", 0, []
    while n_killed < n_kills:
        status = runs(out, **order, after=rng.uniform(0.02, longest))
        if status == 0:
            assert by_id(Evaluation(out)) == whole
            out = folder / f"killed {n_killed}"  # and from the beginning
            continue
        assert status == -signal.SIGKILL
        n_killed += 1
        if out.exists():
            check_parts(out)
            n_parts.append(len(parts_of(out)))
    assert runs(out, **order) == 0
    assert by_id(Evaluation(out)) == whole
    assert n_kills < 20 or max(n_parts) > 1


def test_killed_a_few_times(runs: Runs, tmp_path: Path) -> None:
    source = str(folder_of_pictures(tmp_path / "in", 12))
    order = {"kind": "images", "source": source, "pause": 0.01, "part_size": 2}
    killed_often(runs, tmp_path, order, n_kills=2, longest=0.8)


@pytest.mark.slow
def test_killed_20_times_over_60_images(runs: Runs, tmp_path: Path) -> None:
    source = str(folder_of_pictures(tmp_path / "in", 60))
    order = {"kind": "images", "source": source, "pause": 0.01, "part_size": 3}
    killed_often(runs, tmp_path, order, n_kills=20, longest=2.0)


@pytest.mark.slow
def test_killed_20_times_over_5000_rows(runs: Runs, tmp_path: Path) -> None:
    order = {"kind": "rows", "n": 5000, "part_size": 100}
    killed_often(runs, tmp_path, order, n_kills=20, longest=3.0)
