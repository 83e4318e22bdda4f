"""What was probably meant, and words of the terminal."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from torch_anchors.cli import main
from torch_anchors.cli.console import reason, say
from torch_anchors.cli.options import did_you_mean

MISUSES = {
    "--segments slick": "invalid choice: 'slick' (choose from slic, slic_torch, felzenszwalb, quickshift, grid, "
    "hierarchy); did you mean slic?",
    "--method exakt": "did you mean exact?",
    "--fill Bluer": "or a number, got 'Bluer'; did you mean blur?",
    "--tresh 0.9": "unrecognized arguments: --tresh; did you mean --threshold?",
    "--segmnts=grid": "unrecognized arguments: --segmnts=grid; did you mean --segments?",
    "--zzz": "unrecognized arguments: --zzz\n",
    "--on-error skp": "did you mean skip?",
}


@pytest.mark.parametrize("words", MISUSES)
def test_did_you_mean(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["image", *words.split()])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: torch-anchors image ")
    assert MISUSES[words] in said


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("imgae cat.png", "did you mean image?"),
        ("cat.png --seed 1", "did you mean torch-anchors image cat.png?"),
        ("rows.csv", "did you mean torch-anchors table rows.csv?"),
        ("photos", "did you mean torch-anchors evaluate photos --out FOLDER?"),
        ("qqq", "there is no command qqq (choose from image, table, evaluate, report)\n"),
    ],
)
def test_no_command(
    words: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat.png").touch()
    Path("rows.csv").touch()
    Path("photos").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err


def test_a_word_of_another_command_is_not_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", "x.csv", "--target", "y", "--segments", "grid"])
    assert "unrecognized arguments: --segments grid" in capsys.readouterr().err


def test_only_likely_words_are_proposed() -> None:
    assert did_you_mean("AGE", ["age", "pay"]) == "; did you mean age?"
    assert did_you_mean("colour", ["age", "pay"]) == ""


def test_reasons_are_one_line() -> None:
    listing = (
        "The predictor raised Error: The following operation failed in the TorchScript interpreter.\n"
        'Traceback of TorchScript (most recent call last):\n  File "code", line 14, in forward\n    weight: int = 1\n'
        "           ~~~ <--- HERE\nRuntimeError: mat1 and mat2 shapes\ncannot be multiplied\n (called with rows)"
    )
    assert reason(RuntimeError(listing)) == (
        "The predictor raised Error: mat1 and mat2 shapes cannot be multiplied (called with rows)"
    )
    assert reason(KeyError()) == "KeyError"


def test_strange_letters_are_shown_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    say("“café” \udcff")
    stream.seek(0)
    assert stream.read() == "\\u201ccaf\\xe9\\u201d \\udcff\n"
