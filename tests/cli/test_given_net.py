"""Models of scikit-learn, saved as ONNX, given to the command for tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from torch_anchors.cli import CANNOT, FOUND, main
from torch_anchors.cli.given_net import given_net
from torch_anchors.errors import ArgumentError

skl2onnx = pytest.importorskip("skl2onnx")
pytest.importorskip("onnxruntime")

ROWS = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)


def saved(path: Path, names: list[Any], **options: Any) -> Path:
    """A model that tells which of two names a row has, by whether its first column is positive."""
    model = LogisticRegression(C=1e4).fit(ROWS, np.array(names)[(ROWS[:, 0] > 0).astype(int)])
    floats = skl2onnx.common.data_types.FloatTensorType([None, 2])
    made = skl2onnx.convert_sklearn(model, initial_types=[("X", floats)], options={id(model): options})
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("names", [["no", "yes"], [0, 1]])
def test_the_command_takes_it_without_trust(
    names: list[Any], zipmap: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame(ROWS, columns=["first", "second"]).round(3)
    table["helps"] = np.where(table["first"] > 0, "yes", "no")
    table.to_csv("people.csv", index=False)
    saved(tmp_path / "model.onnx", names, zipmap=zipmap)
    row = str(int(table["first"].argmax()))
    assert main(["table", "people.csv", "--target", "helps", "--model", "model.onnx", "--row", row]) == FOUND
    said = " ".join(capsys.readouterr().out.split())
    assert f"Row {row}: the model says helps = yes. Where first > " in said
    share = float(said.partition("right in ")[2].partition(" %")[0])
    assert share > 95


def test_scores_that_are_named_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", ["10", "9"])
    rows = torch.tensor([[-3.0, 0.0], [3.0, 0.0]])
    as_saved = given_net(path, rows, ["a", "b"], ["10", "9"], trust=False)
    turned = given_net(path, rows, ["a", "b"], ["9", "10"], trust=False)  # as numbers are sorted
    assert as_saved(rows).argmax(1).tolist() == [0, 1]
    assert torch.equal(turned(rows), as_saved(rows).flip(1))


def test_other_classes_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", ["cat", "dog"])
    with pytest.raises(ArgumentError, match=r"tells the classes cat and dog, and --target has others .*: no and yes"):
        given_net(path, torch.zeros(2, 2), ["a", "b"], ["no", "yes"], trust=False)


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.onnx", ["no", "yes"])
    with pytest.raises(ArgumentError, match=r"model\.onnx does not take the rows of the table, which have 3 columns"):
        given_net(path, torch.zeros(2, 3), ["a", "b", "c"], ["no", "yes"], trust=False)


def test_a_damaged_file_is_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"a": [1, 2, 3, 4], "helps": ["no", "yes", "no", "yes"]}).to_csv("people.csv", index=False)
    Path("bad.onnx").write_bytes(b"no model")
    assert main(["table", "people.csv", "--target", "helps", "--model", "bad.onnx"]) == CANNOT
    assert "bad.onnx cannot be loaded as an ONNX file" in capsys.readouterr().err
