"""The benchmark of wide tables, small enough to run with the tests."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import wide_tables
from tests.benchmarks.wide_tables import HEAD, Measured, Setting, line, measured


def test_a_planted_rule_is_worth_all_that_it_can_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wide_tables, "SETTINGS", {"planted": Setting(lambda: wide_tables.planted(12))})
    monkeypatch.setattr("sys.argv", ["wide_tables.py", "--once", "planted", "--explained", "10"])
    wide_tables.main()
    found = Measured(**json.loads(capsys.readouterr().out))
    assert found.n_columns == 12
    assert (found.certified, found.precision, found.below, found.size, found.noise) == (1.0, 1.0, 0.0, 3.0, 0.0)
    assert 0.05 < found.coverage < 0.1
    assert 0 < found.each < 10
    words = line("planted (12 columns)", found)
    assert len(words) == len(HEAD)
    assert words.split()[-1] == "0.000"


def test_rules_of_a_forest_are_judged_by_rows_that_neither_it_nor_they_were_made_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wide_tables, "N_TREES", 20)
    table = wide_tables.cancer()
    assert len(table.fitted) == 300
    assert len(table.explained) == 569 - 450
    found = measured(table, 20)
    assert 0 < found.certified <= 1
    assert found.precision > 0.9
