"""The command on tables: a planted rule told in words, and messages a person can act on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from torch_anchors.cli import CANNOT, FOUND, main


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose target is yes exactly where the job is nurse and the age above 40."""
    rng = np.random.default_rng(0)
    n = 2000
    age, job, pay = rng.integers(20, 80, n), rng.choice(["clerk", "nurse"], n), rng.normal(size=n).round(3)
    target = np.where((job == "nurse") & (age > 49), "yes", "no")
    path = tmp_path_factory.mktemp("table") / "people.csv"
    pd.DataFrame({"age": age, "job": job, "pay": pay, "helps": target}).to_csv(path, index=False)
    return path


def row_with(file: Path, **values: object) -> int:
    table = pd.read_csv(file)
    fits = np.logical_and.reduce([table[name] == value for name, value in values.items()])
    return int(np.flatnonzero(fits & ((table["age"] < 35) | (table["age"] > 60)))[0])


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_rule_in_words(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, sampling: str) -> None:
    row, drawing, data = row_with(file, helps="yes"), tmp_path / "deep" / "rule.png", tmp_path / "rule.json"
    arguments = ["table", str(file), "--target", "helps", "--row", str(row), "--sampling", sampling]
    assert main([*arguments, "--epochs", "5", "--out", str(drawing), "--json", str(data)]) == FOUND
    out = " ".join(capsys.readouterr().out.split())
    assert "trained on 1,600 rows" in out
    assert f"Row {row}: the model says helps = yes." in out
    assert "job = nurse" in out
    assert "age >" in out
    assert drawing.stat().st_size > 5000
    (rule,) = json.loads(data.read_text())["rules"]
    assert rule["row"] == row
    assert {condition["column"] for condition in rule["predicates"]} >= {"age", "job"}


def test_global_random_state_is_left_alone(file: Path) -> None:
    before = torch.random.get_rng_state()
    assert main(["table", str(file), "--target", "helps", "--epochs", "1", "--quiet"]) in (0, 1)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_given_model(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Nurses(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return torch.stack([1 - rows[:, 1], rows[:, 1]], dim=1)

    path = tmp_path / "nurses.pt"
    torch.jit.trace(Nurses(), torch.zeros(2, 3), check_trace=False).save(str(path))
    row = row_with(file, job="nurse")
    assert main(["table", str(file), "--target", "helps", "--row", str(row), "--model", str(path), "--trust"]) == FOUND
    out = " ".join(capsys.readouterr().out.split())
    assert "Where job = nurse, it says so in 100.0 %" in out


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"--target": "salary"}, "--target must name columns of the table (age, job, pay and helps)"),
        ({"--row": "2000"}, "--row must be between 0 and 1999, got 2000"),
        ({"--drop": "wage"}, "--drop must name columns"),
        ({"--within": "3"}, "--within is for a --target of numbers, and helps has words"),
        ({"--fixed": "jbo"}, "got ['jbo']; did you mean job?"),
        ({"--exclude": "helps"}, "--fixed and --exclude must name columns beside --target and --drop, got helps"),
        ({"--model": "nowhere.pt"}, "there is no file nowhere.pt"),
    ],
)
def test_what_cannot_be_used(
    file: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], expected: str
) -> None:
    options = {"--target": "helps", **change}
    assert main(["table", str(file), *(word for option in options.items() for word in option)]) == CANNOT
    assert expected in " ".join(capsys.readouterr().err.split())


def test_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(tmp_path / "none.csv"), "--target", "helps"]) == CANNOT
    assert "there is no file" in capsys.readouterr().err


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_empty_cells_are_a_value_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sampling: str
) -> None:
    """Whoever has no pay and no job helps; both columns have empty cells, and the network learns what they mean."""
    rng = np.random.default_rng(0)
    n = 2000
    pay, job = rng.normal(size=n).round(3), rng.choice(["clerk", "nurse", "cook"], n).astype(object)
    pay[rng.random(n) < 0.4], job[rng.random(n) < 0.4] = np.nan, None
    helps = np.where(np.isnan(pay) & pd.isna(job), "yes", "no")
    table = pd.DataFrame({"pay": pay, "job": job, "age": rng.integers(20, 80, n), "helps": helps})
    table.to_csv(tmp_path / "gaps.csv", index=False)
    row = int(np.flatnonzero(helps == "yes")[0])
    arguments = ["table", str(tmp_path / "gaps.csv"), "--target", "helps", "--row", str(row), "--sampling", sampling]
    data = tmp_path / "rule.json"
    assert main([*arguments, "--epochs", "5", "--json", str(data), "--out", str(tmp_path / "rule.png")]) == FOUND
    out = " ".join(capsys.readouterr().out.split())
    assert "Where pay is missing and job is missing, it says so in" in out
    assert "Of the" in out
    (rule,) = json.loads(data.read_text())["rules"]
    assert rule["predicates"] == [{"column": name, "operator": "is missing", "value": None} for name in ("pay", "job")]
