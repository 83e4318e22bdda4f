"""Tables with models of the user's own, rows counted as in the file, and rows that fail alone."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from torch_anchors.cli import CANNOT, FAILED, FOUND, NOT_FOUND, main
from torch_anchors.cli.rows import read_table, split_table


class OneScore(nn.Module):
    """One score a row, (rows, 1), that is positive for nurses."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, 1:2] - 0.5


class FlatScore(nn.Module):
    """The same as (rows,)."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, 1] - 0.5


class Labels(nn.Module):
    """The labels themselves."""

    def forward(self, rows: Tensor) -> Tensor:
        return (rows[:, 1] > 0.5).long()


class TwoScores(nn.Module):
    """A score for each class; NaN for those aged 99."""

    def forward(self, rows: Tensor) -> Tensor:
        score = torch.where(rows[:, 0] == 99, torch.nan, rows[:, 1] - 0.5)
        return torch.stack([-score, score], dim=1)


class ThreeScores(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, :3]


class OtherLabels(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return 7 * (rows[:, 1] > 0.5).long()


class AgeInDays(nn.Module):
    """A number a row, (rows,)."""

    def forward(self, rows: Tensor) -> Tensor:
        return 365.0 * rows[:, 0]


class TooMany(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows[:, None, :].expand(-1, 2, -1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in which nurses help, the same with gaps in the target, and models of it."""
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    n = 200
    job = rng.choice(["clerk", "nurse"], n)
    table = pd.DataFrame({"age": rng.integers(20, 80, n), "job": job, "pay": rng.normal(size=n).round(3)})
    table["helps"] = np.where(job == "nurse", "yes", "no")
    table.to_csv(folder / "people.csv", index=False)
    gaps = table.astype({"helps": object})
    gaps.loc[[0, 1, 4], "helps"] = None
    gaps.loc[0, "job"] = "pilot"
    gaps.loc[1, "job"] = "nurse"
    gaps.to_csv(folder / "gaps.csv", index=False)
    table.assign(age=table["age"].where(table.index != 3, 99)).to_csv(folder / "old.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for model in (
            OneScore(),
            FlatScore(),
            Labels(),
            TwoScores(),
            ThreeScores(),
            OtherLabels(),
            AgeInDays(),
            TooMany(),
        ):
            torch.jit.script(model).save(str(folder / f"{type(model).__name__}.pt"))
        torch.jit.script(nn.Linear(5, 2)).save(str(folder / "wide.pt"))
    batch = torch.export.Dim("batch")
    exported = torch.export.export(OneScore(), (torch.rand(2, 3),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, folder / "OneScore.pt2")
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def run(table: str, *more: str) -> int:
    return main(["table", f"{table}.csv", "--target", "helps", "--sampling", "conditional", *more])


def unwrapped(text: str) -> str:
    return " ".join(text.split())


class TestGivenModels:
    @pytest.mark.parametrize("model", ["OneScore.pt", "FlatScore.pt", "Labels.pt", "TwoScores.pt", "OneScore.pt2"])
    def test_accuracy_is_of_the_labels_that_are_explained(self, model: str, capsys: pytest.CaptureFixture[str]) -> None:
        row = int(pd.read_csv("people.csv")["helps"].eq("yes").argmax())
        assert run("people", "--model", model, "--trust", "--row", str(row)) == FOUND
        said = unwrapped(capsys.readouterr().out)
        assert f"The model {model} tells helps (no or yes) right in 100.0 % of 40 rows held back." in said
        assert f"Row {row}: the model says helps = yes. Where job = nurse, it says so in 100.0 %" in said

    @pytest.mark.parametrize(
        ("model", "complaint"),
        [
            ("ThreeScores.pt", "ThreeScores.pt tells 3 classes, and --target has 2 in the table: no and yes"),
            ("OtherLabels.pt", "the model returns the label 7, and the table has the labels 0 to 1: no and yes"),
            ("wide.pt", "which have 3 columns (age, job and pay): mat1 and mat2 shapes cannot be multiplied"),
            ("TooMany.pt", "must return scores (rows, classes), and for 4 rows returns (4, 2, 3)"),
            ("people.csv", "neither a TorchScript nor a torch.export file"),
            ("nowhere.pt", "there is no file nowhere.pt"),
        ],
    )
    def test_a_model_of_another_table(self, model: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("people", "--model", model, "--trust") == CANNOT
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("torch-anchors: error: ")
        assert complaint in said

    def test_needs_trust(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("people", "--model", "OneScore.pt") == CANNOT
        (said,) = capsys.readouterr().err.splitlines()
        assert "OneScore.pt is a TorchScript file, and such a file can run any code" in said
        assert "--trust" in said


class TestRows:
    def test_are_those_of_the_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        more = ("--model", "TwoScores.pt", "--trust", "--json", "gaps.jsonl", "--row", "2", "1", "-1", "199")
        assert run("gaps", *more) == FOUND
        said = unwrapped(capsys.readouterr().out)
        assert "3 of 200 rows have no helps; they are left out." in said
        job = pd.read_csv("gaps.csv")["job"]
        entries = [json.loads(line) for line in Path("gaps.jsonl").read_text().splitlines()]
        assert [entry["row"] for entry in entries] == [2, 1, 199, 199]  # row 1 has no target, and is explained
        for entry in entries:
            assert entry["label_name"] == ("yes" if job[entry["row"]] == "nurse" else "no")
            assert f"Row {entry['row']}: the model says helps = {entry['label_name']}." in said

    def test_the_help_says_so(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["table", "--help"])
        said = unwrapped(capsys.readouterr().out)
        assert "by their place in FILE: 0 is the first one below the header, -1 the last" in said

    @pytest.mark.parametrize("row", ["200", "-201"])
    def test_that_are_not_there(self, row: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("gaps", "--row", row) == CANNOT
        expected = f"--row must be between 0 and 199, got {row} (-1 is the last row, -200 the first)"
        assert expected in capsys.readouterr().err

    def test_fail_alone(self, capsys: pytest.CaptureFixture[str]) -> None:
        more = ("--model", "TwoScores.pt", "--trust", "--row", "2", "3", "5", "--json", "old.json", "--out", "old.png")
        assert run("old", *more) == FAILED
        told = capsys.readouterr().err.splitlines()
        assert told[0].startswith("torch-anchors: row 3 was not explained: The predictor returned NaN")
        assert told[1:] == ["torch-anchors: 2 of 3 rows were explained"]
        data = json.loads(Path("old.json").read_text())
        assert data["classes"] == ["no", "yes"]
        assert [rule["row"] for rule in data["rules"]] == [2, 5]
        assert [failed["row"] for failed in data["failed"]] == [3]
        assert Path("old.png").stat().st_size > 5000
        assert run("old", *more, "--on-error", "raise") == CANNOT
        assert "row 3 cannot be explained: The predictor returned NaN" in capsys.readouterr().err

    def test_of_which_nothing_is_known(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("gaps", "--model", "OneScore.pt", "--trust", "--row", "0", "2") == FAILED
        assert "row 0 was not explained: its job is pilot, as in no row that has a helps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--drop", "jbo"], "columns of the table (age, job, pay and helps), got ['jbo']; did you mean job?"),
        (["--drop", "helps"], "--drop must not name the column of --target, helps"),
        (["--drop", "age", "job", "pay"], "no column is left from which helps could be told"),
        (["--out", "rule.docx"], "--out must end in one of .png"),
        (["--json", "people.csv"], "people.csv, which is read, would be overwritten"),
        (["--seed", "-1"], "--seed must be a whole number of at least 0, got -1"),
    ],
)
def test_what_cannot_be_used(more: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("people", *more) == CANNOT
    (said,) = capsys.readouterr().err.splitlines()
    assert complaint in said


def test_a_target_is_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "people.csv", "--target", "Help"]) == CANNOT
    assert "got ['Help']; did you mean helps?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot be read as CSV"),
        ("age,helps\n", "has no rows below its header"),
        ("\0\1\2\xff", "has no rows below its header"),
        ('age,helps\n1,"yes\n', "cannot be read as CSV"),
        ("age,helps\n1,\n2,\n", "--target must have numbers, or 2 to 100 classes, and helps has 0 classes"),
    ],
)
def test_tables_that_are_none(text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    assert main(["table", str(path), "--target", "helps"]) == CANNOT
    (said,) = capsys.readouterr().err.splitlines()
    assert complaint in said


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([10, 9, 9, 2], ["2", "9", "10"]),
        ([1, 0, None, 1], ["0", "1"]),
        ([0.5, 1, 1, None], ["0.5", "1.0"]),
        ([True, False, True, True], ["False", "True"]),
        (["b", "a", "B", None], ["B", "a", "b"]),
    ],
)
def test_classes_are_in_their_order(values: list[object], classes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    pd.DataFrame({"x": range(4), "y": values}).to_csv(path, index=False)
    options = argparse.Namespace(
        file=path, target="y", drop=[], fixed=[], exclude=[], row=[-1], seed=2**70, within=None
    )
    split = split_table(read_table(options), options)
    assert split.classes == classes
    assert len(split.table) == len(split.target) == sum(value is not None for value in values)
    assert split.asked == [3]
    assert sorted([*split.train.tolist(), *split.held_back.tolist()]) == list(range(len(split.table)))


def test_a_short_table_holds_nothing_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "short.csv"
    pd.DataFrame({"x": range(4), "y": list("abab")}).to_csv(path, index=False)
    assert main(["table", str(path), "--target", "y", "--epochs", "1"]) in (0, 1)
    assert "the table is too short for rows to be held back" in unwrapped(capsys.readouterr().out)


def test_what_is_necessary_and_several_rules_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--model", "TwoScores.pt", "--trust", "--threshold", "0.3")
    nurse = str(pd.read_csv("people.csv").index[pd.read_csv("people.csv")["job"] == "nurse"][0])
    more = ("--row", nurse, "--question", "necessary", "--json", "people.json", "--sampling", "interventional")
    assert run("people", *given, *more) == FOUND
    (found,) = json.loads(Path("people.json").read_text())["rules"]
    assert (found["question"], found["names"]) == ("necessary", ["job = nurse"])
    told = unwrapped(capsys.readouterr().out)
    assert "With job = nurse replaced by the value of a random training row, the model answers something else" in told
    assert "It took" not in told
    assert run("people", *given, "--row", nurse, "--n-anchors", "2") in (FOUND, NOT_FOUND)
    assert f"Row {nurse}: the model says helps = yes." in unwrapped(capsys.readouterr().out)


class TestSampling:
    def test_a_rule_of_rows_as_they_are_is_taken_where_one_is_certified(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found = self.explained(tmp_path, n=1000)
        assert [rule["sampling"] for rule in found] == ["conditional", "conditional"]
        said = unwrapped(capsys.readouterr().out)
        assert "A rule is about rows like those of the table, as they are (--sampling conditional); where none" in said
        assert "Row 0: the model says helps = yes. Where job = nurse, it says so in 100.0 % (9" in said
        assert "of rows like those of the table; that covers" in said

    def test_another_one_where_the_table_is_too_short(self, tmp_path: Path) -> None:
        found = self.explained(tmp_path, n=60)
        assert [(rule["sampling"], rule["names"]) for rule in found] == [
            ("interventional", ["job = nurse"]),
            ("interventional", ["job = clerk"]),
        ]

    def test_neither(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.explained(tmp_path, "--max-anchor-size", "1", "--exclude", "job", n=60, status=NOT_FOUND)
        assert "No rule reached the threshold of 95 %" in unwrapped(capsys.readouterr().out)

    def test_what_is_replaced_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.explained(tmp_path, "--sampling", "interventional", n=60)
        said = unwrapped(capsys.readouterr().out)
        assert "A rule is about rows whose columns outside the rule are replaced at random" in said
        assert "of rows, whatever the other columns hold; that covers" in said

    def test_columns_that_stay_are_in_no_rule(self, tmp_path: Path) -> None:
        for rule in self.explained(tmp_path, "--fixed", "job", n=60):
            assert (rule["sampling"], rule["fixed"], rule["names"]) == ("interventional", [1], [])

    def explained(self, folder: Path, *more: str, n: int, status: int = FOUND) -> list[dict[str, object]]:
        """Rules of a nurse and a clerk among `n`."""
        rng = np.random.default_rng(0)
        job = np.array(["nurse", "clerk"])[np.arange(n) % 2]
        table = pd.DataFrame({"age": rng.integers(20, 80, n), "job": job, "pay": rng.normal(size=n).round(3)})
        table.assign(helps=np.where(job == "nurse", "yes", "no")).to_csv(folder / "all.csv", index=False)
        given = ("--target", "helps", "--model", "TwoScores.pt", "--trust", "--row", "0", "1")
        data = str(folder / "rules.json")
        assert main(["table", str(folder / "all.csv"), *given, "--json", data, *more]) == status
        return list(json.loads(Path(data).read_text())["rules"])


class TestNumbers:
    @pytest.fixture
    def houses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
        """Prices that the city decides, but for a little."""
        monkeypatch.chdir(tmp_path)
        rng = np.random.default_rng(0)
        city, rooms = rng.choice(["Bonn", "Ulm"], 1200), rng.integers(1, 7, 1200)
        price = np.where(city == "Bonn", 300.0, 100.0) + rng.normal(size=1200)
        table = pd.DataFrame({"city": city, "rooms": rooms, "price": price.round(3)})
        table.to_csv("houses.csv", index=False)
        return table

    def test_are_explained_within_a_tolerance(self, houses: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
        row = int(houses["city"].eq("Bonn").argmax())
        given = ("--target", "price", "--within", "50", "--row", str(row), "--json", "rule.json", "--out", "rule.png")
        assert main(["table", "houses.csv", *given]) == FOUND
        document = json.loads(Path("rule.json").read_text())
        (rule,) = document["rules"]
        assert document["classes"] == []
        assert (rule["names"], rule["target"]) == (["city = Bonn"], "Within(tolerance=50.0)")
        assert abs(rule["said"]["value"] - 300) < 20
        said = unwrapped(capsys.readouterr().out)
        assert "tells price (a number) with an error of" in said
        assert "The same answer is a number within 50 of the model's (--within)." in said
        value = f"{rule['said']['value']:,.6g}"
        assert f"says price = {value}. Where city = Bonn, it says a value within 50 of {value} in 100.0 %" in said
        assert "rows held back that it covers, the model says so of 100.0 %" in said

    def test_have_a_tolerance_of_half_their_spread(self, houses: pd.DataFrame) -> None:
        assert main(["table", "houses.csv", "--target", "price", "--quiet", "--json", "rule.json"]) == FOUND
        (rule,) = json.loads(Path("rule.json").read_text())["rules"]
        assert rule["target"] == "Within(tolerance=50.0)"  # the spread is 100

    def test_of_few_values_are_classes_unless_told_otherwise(self, houses: pd.DataFrame) -> None:
        for more, target in (((), "Argmax()"), (("--within", "9"), "Within(tolerance=9.0)")):
            arguments = ["table", "houses.csv", "--target", "rooms", "--quiet", "--epochs", "1", "--json", "rule.json"]
            assert main([*arguments, *more]) in (FOUND, NOT_FOUND)
            (rule,) = json.loads(Path("rule.json").read_text())["rules"]
            assert rule["target"] == target

    def test_of_a_given_model(self, capsys: pytest.CaptureFixture[str]) -> None:
        given = ("--drop", "helps", "--model", "AgeInDays.pt", "--trust", "--json", "rule.json", "--row", "0")
        # The age itself is no column of the model's, which reads it as the first one of the table.
        assert main(["table", "people.csv", "--target", "pay", "--within", "1000", *given]) in (FOUND, NOT_FOUND)
        (rule,) = json.loads(Path("rule.json").read_text())["rules"]
        assert rule["said"]["value"] == 365 * pd.read_csv("people.csv")["age"][0]

    def test_need_a_model_that_returns_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        given = ("--target", "pay", "--drop", "helps", "--model", "ThreeScores.pt", "--trust")
        assert main(["table", "people.csv", *given]) == CANNOT
        said = capsys.readouterr().err
        assert "ThreeScores.pt must return one number for each row, and for 4 rows returns (4, 2)" in said

    def test_that_are_all_the_same(self, houses: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
        houses.assign(price=7.0).to_csv("same.csv", index=False)
        assert main(["table", "same.csv", "--target", "price"]) == CANNOT
        assert "--target must have numbers, or 2 to 100 classes, and price has 1 classes" in capsys.readouterr().err
