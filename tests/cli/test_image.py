"""Many pictures at once: whose is which, what fails alone, and exit statuses that are true."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from torch_anchors.cli import CANNOT, FAILED, FOUND, NOT_FOUND, main
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.models import LoadedModel, Preprocess

GRID = ("--segments", "grid", "--n-segments", "4", "--fill", "constant")

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


class Moody(nn.Module):
    """Says 1 while the upper left quarter is red; of green it knows nothing, and it cannot stand blue."""

    def forward(self, rows: Tensor) -> Tensor:
        red, green, blue = rows[:, :, :8, :8].mean((2, 3)).unbind(1)
        if (blue > 0.5).any():
            raise ValueError("this is blue")
        red = torch.where(green > 0.5, torch.nan, red - 0.5)
        return torch.stack([-red, red], dim=1)


@pytest.fixture(autouse=True)
def moody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LoadedModel("moody", Moody().eval(), Preprocess((16, 16), (0.0,) * 3, (1.0,) * 3), ("other", "red"))
    monkeypatch.setattr("torch_anchors.models.load_image_model", lambda name, device, trust: model)
    monkeypatch.chdir(tmp_path)


class Sketch:
    """Takes the place of a figure, which takes half a second to draw."""

    def savefig(self, file: IO[bytes], **looks: Any) -> None:
        file.write(b"drawn")

    def get_facecolor(self) -> str:
        return "white"


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageExplanation, "plot", lambda self: Sketch())


def picture(name: str, colour: tuple[int, int, int]) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40), colour).save(path)
    return name


def unwrapped(text: str) -> str:
    return " ".join(text.split())


class TestNames:
    @pytest.mark.usefixtures("sketched")
    def test_nothing_overwrites_anything(self, capsys: pytest.CaptureFixture[str]) -> None:
        names = ["a/cat.png", "b/cat.png", "b/cat.bmp", "b/CAT.png", "dog.png"]
        paths = [picture(name, (250 - i, 10, 10)) for i, name in enumerate(names)]
        assert main(["image", *paths, *GRID, "--json", "all.json"]) == FOUND
        said = unwrapped(capsys.readouterr().out)
        entries = json.loads(Path("all.json").read_text())["pictures"]
        assert [entry["file"] for entry in entries] == paths
        assert len({entry["name"].lower() for entry in entries}) == 5
        for entry in entries[:4]:
            assert f"The model takes {entry['name']} ({entry['file']}) for “red”." in said
        for entry in entries:
            assert entry["drawing"] == f"anchor-{entry['name']}.png"
            assert f"Drawn in {entry['drawing']}, after" in said
        assert "The model takes dog for “red”." in said
        drawn = {path.name for path in Path().glob("anchor-*")}
        assert drawn == {entry["drawing"] for entry in entries}

    @pytest.mark.parametrize("option", ["--out", "--json"])
    def test_the_picture_itself_is_not_overwritten(self, option: str, capsys: pytest.CaptureFixture[str]) -> None:
        path = Path(picture("cat.png", RED))
        before = path.read_bytes()
        assert main(["image", str(path), *GRID, option, "cat.png"]) == CANNOT
        assert "cat.png, which is read, would be overwritten" in capsys.readouterr().err
        assert path.read_bytes() == before

    def test_nor_a_drawing_that_is_explained(self, capsys: pytest.CaptureFixture[str]) -> None:
        paths = [picture("cat.png", RED), picture("anchor-cat.png", RED)]
        assert main(["image", *paths, *GRID]) == CANNOT
        assert "anchor-cat.png, which is read, would be overwritten" in capsys.readouterr().err


@pytest.mark.usefixtures("sketched")
class TestFailures:
    def pictures(self) -> list[str]:
        given = {"r1.png": RED, "blue.png": BLUE, "r2.png": RED, "green.png": GREEN, "r3.png": RED}
        paths = [picture(name, colour) for name, colour in given.items()]
        torn = Path("torn.png")
        torn.write_bytes(Path("r1.png").read_bytes()[:60])
        return [*paths, "torn.png", "nowhere.png"]

    @pytest.mark.parametrize("data", ["all.json", "all.jsonl"])
    def test_each_fails_alone(self, capsys: pytest.CaptureFixture[str], data: str) -> None:
        assert main(["image", *self.pictures(), *GRID, "--json", data]) == FAILED
        captured = capsys.readouterr()
        assert sorted(path.name for path in Path().glob("anchor*")) == [f"anchor-r{i}.png" for i in (1, 2, 3)]
        told = captured.err.splitlines()
        assert [line.split()[1] for line in told] == ["nowhere", "blue", "green", "torn", "3"]
        assert told[0] == "torch-anchors: nowhere was not explained: there is no file nowhere.png"
        assert "blue was not explained: The predictor raised ValueError: this is blue" in told[1]
        assert "green was not explained: The predictor returned NaN" in told[2]
        assert "torn was not explained: torn.png cannot be read as a picture" in told[3]
        assert told[4] == "torch-anchors: 3 of 7 pictures were explained"
        text = Path(data).read_text()
        entries = [json.loads(line) for line in text.splitlines()] if data.endswith("l") else json.loads(text)["failed"]
        errors = {entry["file"]: entry["error"] for entry in entries if "error" in entry}
        assert sorted(errors) == ["blue.png", "green.png", "nowhere.png", "torn.png"]
        assert "this is blue" in errors["blue.png"]

    def test_the_others_are_explained_as_they_would_be_alone(self) -> None:
        assert main(["image", *self.pictures(), *GRID, "--quiet", "--json", "all.json", "--method", "beam"]) == FAILED
        together = {entry["name"]: entry for entry in json.loads(Path("all.json").read_text())["pictures"]}
        assert main(["image", "r3.png", *GRID, "--quiet", "--json", "one.json", "--method", "beam"]) == FOUND
        (alone,) = json.loads(Path("one.json").read_text())["pictures"]
        varying = ("seconds", "n_calls")
        assert {k: v for k, v in together["r3"].items() if k not in varying} == {
            k: v for k, v in alone.items() if k not in varying
        }

    @pytest.mark.parametrize(
        ("first", "complaint", "n_drawn"),
        [
            ("nowhere.png", "error: nowhere cannot be explained: there is no file nowhere.png", 0),
            ("torn.png", "error: torn cannot be explained: torn.png cannot be read as a picture", 0),
            ("blue.png", "this is blue (called with rows", 1),
            ("green.png", "error: green cannot be explained: The predictor returned NaN", 1),
        ],
    )
    def test_stops_if_told_so(
        self, capsys: pytest.CaptureFixture[str], first: str, complaint: str, n_drawn: int
    ) -> None:
        self.pictures()
        paths = ["r1.png", first, "r2.png"] if n_drawn else [first, "r1.png"]
        assert main(["image", *paths, *GRID, "--on-error", "raise"]) == CANNOT
        (said,) = capsys.readouterr().err.splitlines()
        assert complaint in said
        assert said.endswith("(1 of 3 pictures was explained before)") == bool(n_drawn)
        assert len(list(Path().glob("anchor*"))) == n_drawn

    @pytest.mark.parametrize("alone", ["blue.png", "green.png", "torn.png", "nowhere.png"])
    @pytest.mark.parametrize("more", [[], ["--on-error", "skip"]])
    def test_one_alone(self, capsys: pytest.CaptureFixture[str], alone: str, more: list[str]) -> None:
        self.pictures()
        assert main(["image", alone, *GRID, *more, "--json", "all.json"]) == CANNOT
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("torch-anchors: error: ")
        assert not Path("all.json").exists()

    def test_nothing_explained(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.pictures()
        assert main(["image", "blue.png", "torn.png", "nowhere.png", *GRID]) == CANNOT
        assert capsys.readouterr().err.splitlines()[-1] == "torch-anchors: 0 of 3 pictures were explained"

    def test_nothing_found_for_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def forward(self: nn.Module, rows: Tensor) -> Tensor:
            """Red is red; of a darker one the number of quarters counts, so that no one of them is enough."""
            quarters = rows[:, 0, ::8, ::8].flatten(1)
            odd = ((quarters > 0.5) & (quarters < 0.9)).sum(1) % 2
            return nn.functional.one_hot(torch.where(quarters[:, 0] > 0.9, 1, odd), 2).float()

        monkeypatch.setattr(Moody, "forward", forward)
        paths = [picture("red.png", RED), picture("dark.png", (200, 10, 10))]
        assert main(["image", *paths, *GRID, "--max-anchor-size", "1"]) == NOT_FOUND
        assert main(["image", paths[0], *GRID, "--max-anchor-size", "1"]) == FOUND

    def test_what_is_wrong_for_all_is_said_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        paths = [picture("r1.png", RED), picture("r2.png", RED)]
        assert main(["image", *paths, *GRID, "--delta", "1"]) == CANNOT
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("torch-anchors: error: delta must be")


@pytest.mark.usefixtures("sketched")
class TestTerminal:
    def test_no_bar_where_output_is_captured(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["image", picture("a.png", RED), picture("b.png", RED), *GRID]) == FOUND
        assert capsys.readouterr().err == ""

    def test_a_bar_where_somebody_looks(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert main(["image", picture("a.png", RED), picture("b.png", RED), *GRID]) == FOUND
        assert "2/2" in capsys.readouterr().err

    def test_errors_are_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        long = "a-folder-with-a-long-name/" * 8 + "cat.png"
        assert main(["image", long]) == CANNOT
        assert capsys.readouterr().err == f"torch-anchors: error: there is no file {long}\n"

    def test_nobody_reads_the_output(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        path = picture("a.png", RED)
        with open(writer, "w", encoding="utf-8") as pipe, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", pipe)
            assert main(["image", path, *GRID]) == FOUND
        assert Path("anchor-a.png").exists()
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--std", "1", "0", "1"], "--std must be numbers above 0, got 1.0 0.0 1.0"),
        (["--class-names", "latin.txt"], "--class-names must be a text file in UTF-8, and latin.txt is not"),
        (["--out", "file/x.png"], "file/x.png cannot be written:"),
        (["--json", "folder"], "--json must be a file, and folder is a folder"),
    ],
)
def test_arguments_that_cannot_be_used(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("latin.txt").write_bytes("caf\xe9".encode("latin-1"))
    Path("file").touch()
    Path("folder").mkdir()
    assert main(["image", picture("a.png", RED), *GRID, *arguments]) == CANNOT
    (said,) = capsys.readouterr().err.splitlines()
    assert complaint in said


def test_memory_that_does_not_suffice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fill(*arguments: Any, **more: Any) -> Any:
        raise MemoryError("cannot have 4 TB")

    monkeypatch.setattr("torch_anchors.models.load_image_model", fill)
    assert main(["image", picture("a.png", RED), *GRID]) == CANNOT
    assert "there is not enough memory (cannot have 4 TB)" in capsys.readouterr().err


def test_another_question_is_asked_told_and_written(sketched: None, capsys: pytest.CaptureFixture[str]) -> None:
    picture("red.png", RED)
    assert main(["image", "red.png", *GRID, "--json", "red.json", "--target", "Bit(1, threshold=0.3)"]) == FOUND
    (found,) = json.loads(Path("red.json").read_text())["pictures"]
    assert (found["target"], found["label"], found["label_name"]) == ("Bit(j=1, threshold=0.3)", 1, "yes for red")
    assert "For red the model answers yes for red." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("question", "words"),
    [("TopK(3", "target must be such as"), ("Topk(3)", "Did you mean TopK?"), ("Within(0)", "tolerance must be")],
)
def test_a_question_that_is_none_is_told(question: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["image", picture("red.png", RED), *GRID, "--target", question])
    assert ended.value.code == CANNOT
    assert words in capsys.readouterr().err


def deep(name: str, corner: int, rest: int) -> str:
    """A grey picture of 16 bits, its upper left quarter of another value."""
    values = np.full((40, 40), rest, dtype=np.uint16)
    values[:20, :20] = corner
    Image.fromarray(values).save(name)
    return name


class TestDeepPictures:
    def test_are_refused_with_the_option_that_reads_them(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["image", deep("deep.png", 3000, 1000), *GRID]) == CANNOT
        (said,) = capsys.readouterr().err.splitlines()
        assert "deep.png has more than 8 bits a channel; name the values" in said
        assert "--value-range 0 65535" in said

    def test_are_read_by_it(self, sketched: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            Moody, "forward", lambda self, rows: torch.stack([0.5 - rows[:, 0, 0, 0], rows[:, 0, 0, 0] - 0.5], 1)
        )
        arguments = [
            "image",
            deep("deep.png", 3000, 1000),
            *GRID,
            "--value-range",
            "1000",
            "3000",
            "--json",
            "deep.json",
        ]
        assert main(arguments) == FOUND
        (found,) = json.loads(Path("deep.json").read_text())["pictures"]
        assert (found["label_name"], found["anchor"]) == ("red", [0])

    def test_need_a_range(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["image", deep("deep.png", 3000, 1000), *GRID, "--value-range", "5", "5"]) == CANNOT
        assert "--value-range must be a number and a larger one, got 5 5" in capsys.readouterr().err


class AnyRed(nn.Module):
    """Says 1 while any quarter but the last is red."""

    def forward(self, rows: Tensor) -> Tensor:
        red = rows[:, 0, ::8, ::8].flatten(1)[:, :3].amax(1) - 0.5
        return torch.stack([-red, red], dim=1)


@pytest.mark.usefixtures("sketched")
class TestRegions:
    @pytest.fixture(autouse=True)
    def any_red(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Moody, "forward", AnyRed.forward)
        picture("red.png", RED)

    def found(self, *arguments: str) -> dict[str, Any]:
        assert main(["image", "red.png", *GRID, "--quiet", "--json", "red.json", *arguments]) == FOUND
        (found,) = json.loads(Path("red.json").read_text())["pictures"]
        return dict(found)

    def test_excluded_ones_are_in_no_anchor(self) -> None:
        assert self.found("--exclude", "0", "1")["anchor"] == [2]
        assert self.found("--exclude", "1", "2")["anchor"] == [0]

    def test_fixed_ones_always_stay(self) -> None:
        found = self.found("--fixed", "3")
        assert (found["fixed"], len(found["anchor"])) == ([3], 1)
        assert self.found("--fixed", "2")["anchor"] == []

    def test_a_picture_says_where_they_are(self) -> None:
        pixels = np.zeros((40, 40), dtype=np.uint8)
        pixels[:20] = 255
        Image.fromarray(pixels).save("upper.png")
        found = self.found("--exclude", "upper.png")
        assert (found["anchor"], found["excluded"]) == ([2], [0, 1])

    @pytest.mark.parametrize(
        ("given", "complaint"),
        [
            (["7"], "exclude must be numbers of superpixels"),
            (["0", "upper.png"], "--exclude must be numbers of superpixels or one picture, got 0 upper.png"),
            (["upper.png"], "there is no file upper.png"),
            (["wide.png"], "wide.png is of another shape: 80 x 20 pixels, this one 40 x 40"),
        ],
    )
    def test_that_are_none(self, given: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
        Image.new("L", (80, 20), 255).save("wide.png")
        assert main(["image", "red.png", *GRID, "--exclude", *given]) == CANNOT
        (said,) = capsys.readouterr().err.splitlines()
        assert complaint in said

    def test_the_picture_that_names_them_is_not_overwritten(self, capsys: pytest.CaptureFixture[str]) -> None:
        picture("mask.png", (255, 255, 255))
        assert main(["image", "red.png", *GRID, "--fixed", "mask.png", "--out", "mask.png"]) == CANNOT
        assert "mask.png, which is read, would be overwritten" in capsys.readouterr().err


def test_what_is_necessary_and_several_anchors_are_told(sketched: None, capsys: pytest.CaptureFixture[str]) -> None:
    picture("red.png", RED)
    assert main(["image", "red.png", *GRID, "--question", "necessary", "--json", "red.json"]) == FOUND
    (found,) = json.loads(Path("red.json").read_text())["pictures"]
    assert (found["question"], found["anchor"]) == ("necessary", [0])
    told = capsys.readouterr().out
    assert "The model takes red for “red”. While superpixel 0 of 4 is hidden, the model answers something else" in told
    assert main(["image", "red.png", *GRID, "--n-anchors", "2"]) == FOUND
    assert "It is the only anchor: 2 were asked for" in capsys.readouterr().out
