"""The benchmark of the host, small enough to run with the tests."""

from __future__ import annotations

import json

import pytest
import torch

from tests.benchmarks import host
from tests.benchmarks.host import Setting, measured, table
from torch_anchors.settings import ExplainSettings


def test_rows_are_as_many_in_every_run_and_depend_on_what_a_round_asks_for() -> None:
    n_rows = {rounds: measured(Setting("scores", rounds, 16, 2))[0] for rounds in ("cpu", "gpu", "cpu")}
    assert n_rows["cpu"] == measured(Setting("scores", "cpu", 16, 2))[0]
    assert 20 < n_rows["cpu"] < n_rows["gpu"]
    assert ExplainSettings().config(torch.device("cpu")).round_rows == 16  # as before


def test_both_models_give_the_same_labels() -> None:
    rows = torch.rand(200, 3, host.SIDE, host.SIDE).round()
    assert 0 < host.labels(rows).sum() < 200
    assert torch.equal(host.scores(rows).argmax(1), host.labels(rows))


def test_it_prints_what_one_process_measures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    setting = Setting("labels", "gpu", 16, 2)
    monkeypatch.setattr(host, "SETTINGS", [setting])
    monkeypatch.setattr("sys.argv", ["host.py", "--once", str(setting)])
    host.main()
    (rows, seconds), *others = json.loads(capsys.readouterr().out).values()
    assert rows > 20
    assert seconds > 0
    assert not others


def test_the_table_has_medians_and_their_ratio() -> None:
    ours = [{"a": (1000, seconds), "b": (1000, 2 * seconds)} for seconds in (0.01, 0.02, 0.9)]
    theirs = [{"a": (1000, seconds), "b": (900, 0.018)} for seconds in (0.04, 0.05, 0.01)]
    heading, *lines = table([ours, theirs])
    assert heading.split()[-2:] == ["beside", "ratio"]
    assert [line.split() for line in lines] == [
        ["a", "1,000", "20.0", "40.0", "0.50"],
        ["b", "1,000", "40.0", "20.0", "2.00", "900", "rows"],
    ]
    assert [line.split() for line in table([ours])][1] == ["a", "1,000", "20.0"]
