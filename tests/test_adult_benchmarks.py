"""The benchmarks of whole data sets on a small table in the form of Adult's, of which the truth is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import adult, evaluate_adult, rule_list


def adults(path: Path, n: int) -> Path:
    """People who are rich if they are married and have a master's degree or work for more than 45 hours."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(n):
        education, status = rng.choice(["Bachelors", "HS-grad", "Masters"]), rng.choice(["Divorced", "Married"])
        hours = int(rng.integers(20, 60))
        rich = status == "Married" and (education == "Masters" or hours > 45)
        cells = [int(rng.integers(18, 80)), rng.choice(["Private", "?"]), 7, education, 9, status, "Sales", "Wife"]
        cells += [
            "White",
            rng.choice(["Female", "Male"]),
            *rng.integers(0, 9, 2),
            hours,
            "Peru",
            ">50K" if rich else "<=50K",
        ]
        lines.append(", ".join(map(str, cells)))
    path.write_text("\n".join(lines))
    return path


def test_the_table_of_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(adult, "N_TRAIN", 900)
    monkeypatch.setattr(rule_list, "N_CHOOSING", 300)
    data = adults(tmp_path / "adult.data", 1500)
    monkeypatch.setattr("sys.argv", ["rule_list", "--data", str(data), "--rows", "20"])
    rule_list.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1500 rows")
    assert [line[:21].strip() for line in lines[3:]] == list(rule_list.PAPER) * 2
    for line in lines[3:]:
        certified, precision, *_ = map(float, line[37:].replace("(", " ").split()[:2])
        assert certified >= 70
        assert precision > 95


def test_the_list_of_a_model_that_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adult, "N_TRAIN", 900)
    task = adult.prepare(adults(tmp_path / "adult.data", 1500))
    married = task.columns.index("marital-status")
    found = rule_list.measured(
        task, lambda rows: rows[:, married].astype(int), "conditional", n_explained=40, n_choosing=300, k=2
    )
    assert (found.certified, found.precision, found.picked) == (1.0, 1.0, 1.0)
    assert found.coverage == pytest.approx(0.5, abs=0.05)
    assert (found.whole.n_rules, found.whole.n_rows, found.whole.coverage, found.whole.fidelity) == (2, 300, 1.0, 1.0)
    assert 0.98 < found.whole.coverage_interval[0] < 0.99


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc")
def test_a_line_about_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adult, "N_TRAIN", 900)
    task = adult.prepare(adults(tmp_path / "adult.data", 1500))
    found = evaluate_adult.measured(task, "conditional", 50)
    assert (found.n, found.summary["n"], found.summary["n_failed"]) == (50, 50, 0)
    assert 10 < found.before <= found.peak
    assert 0 < found.cpu < 100
    words = evaluate_adult.line("conditional", found).split()
    assert words[:2] == ["conditional", "50"]
    assert float(words[4]) == pytest.approx(50 / found.seconds, abs=1)
    assert float(words[7]) == pytest.approx(found.summary["found"], abs=0.001)
