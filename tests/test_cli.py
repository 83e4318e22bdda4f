"""The command: what it explains, what it says, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from torch_anchors.cli import main
from torch_anchors.cli.image_options import FILLS, METHODS, SEGMENTATIONS
from torch_anchors.cli.words import where
from torch_anchors.errors import AnchorsWarning
from torch_anchors.images.files import distinct_names, read_picture
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.segmentation import DEFAULT_SEGMENTATION_KWARGS
from torch_anchors.models import LoadedModel, Preprocess
from torch_anchors.search.choose import SEARCHES

GRID = ("--segments", "grid", "--n-segments", "4", "--fill", "constant")
"""Four quarters; black where hidden."""


class RedCorner(nn.Module):
    """Says "red" while the upper left quarter of a 16 x 16 picture is red, and "other" when it is not."""

    def forward(self, rows: Tensor) -> Tensor:
        red = rows[:, 0, :8, :8].mean((1, 2)) - 0.5
        return torch.stack([-red, red], dim=1)


@pytest.fixture
def corner(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess((16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
    model = LoadedModel("red-corner", RedCorner().eval(), preprocess, ("other", "red"))
    monkeypatch.setattr("torch_anchors.models.load_image_model", lambda name, device, trust: model)


@pytest.fixture
def red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A red picture in the folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return picture("red.png", (255, 10, 10))


def picture(name: str, colour: tuple[int, ...], mode: str = "RGB") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (40, 40), colour).save(path)
    return path


def unwrapped(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.usefixtures("corner")
class TestImage:
    def test_says_what_makes_the_model_say_so(self, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["image", str(red), *GRID]) == 0
        said = unwrapped(capsys.readouterr().out)
        assert said.startswith("Explaining red with red-corner on cpu, as it sees it: 16 x 16 pixels.")
        assert "The model takes red for “red”. It says so in 100.0 % (exactly) of perturbed pictures" in said
        assert "as long as superpixel 0 (upper left) of 4 stays visible." in said
        assert "Drawn in anchor-red.png, after 16 perturbed pictures in" in said
        with Image.open("anchor-red.png") as drawing:
            assert drawing.width == 1500

    def test_certified_by_sampling(self, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["image", str(red), *GRID[:2], "--n-segments", "16", *GRID[4:], "--method", "beam"]) == 0
        said = unwrapped(capsys.readouterr().out)
        assert "% with 90 % confidence) of perturbed pictures as long as superpixels" in said

    def test_many_pictures(self, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
        paths = [str(red), str(picture("b/red.png", (250, 0, 0))), str(picture("blue.png", (0, 0, 255)))]
        assert main(["image", *paths, *GRID, "--out", "drawn/here", "--json", "drawn/all.json"]) == 0
        drawn = sorted(path.name for path in Path("drawn/here").iterdir())
        assert drawn == ["anchor-blue.png", "anchor-red-2.png", "anchor-red.png"]
        captured = capsys.readouterr()
        assert "Explaining 3 pictures" in captured.out
        assert not captured.err  # no progress bar where nobody looks
        read = json.loads(Path("drawn/all.json").read_text())
        assert read["model"] == "red-corner"
        by_name = {entry["name"]: entry for entry in read["pictures"]}
        assert list(by_name) == ["red", "red-2", "blue"]
        assert by_name["red-2"]["anchor"] == [0]
        assert by_name["red-2"]["label_name"] == "red"
        assert by_name["blue"]["anchor"] == []
        assert by_name["blue"]["label_name"] == "other"
        assert np.array(by_name["red"]["segments"]).shape == (16, 16)

    def test_an_empty_anchor_comes_with_advice(self, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["image", str(red), *GRID[:4]]) == 0  # the mean colour of red is red
        said = unwrapped(capsys.readouterr().out)
        assert "whatever is hidden: no superpixel is needed" in said
        assert "--background" in said

    def test_no_anchor_is_another_status(self, red: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
        def parity(self: nn.Module, rows: Tensor) -> Tensor:
            """Changes with each quarter, so that no one of them is enough."""
            quarters = rows[:, 0, ::8, ::8].round().long().sum((1, 2))
            return nn.functional.one_hot(quarters % 2, 2).float()

        monkeypatch.setattr(RedCorner, "forward", parity)
        assert main(["image", str(red), *GRID, "--max-anchor-size", "1"]) == 1
        said = unwrapped(capsys.readouterr().out)
        assert "No anchor reached the threshold of 95 %. The best one found: in 50.0 % " in said
        assert "--n-segments" in said
        assert Path("anchor-red.png").exists()

    def test_all_superpixels_come_with_advice(self, red: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
        def whole(self: nn.Module, rows: Tensor) -> Tensor:
            """Needs every quarter."""
            least = rows[:, 0].flatten(1).amin(1) - 0.5
            return torch.stack([-least, least], dim=1)

        monkeypatch.setattr(RedCorner, "forward", whole)
        assert main(["image", str(red), *GRID]) == 0
        assert "Those are all that there are to hide" in unwrapped(capsys.readouterr().out)
        assert main(["image", str(red), *GRID, "--fixed", "0"]) == 0
        assert "Those are all that there are to hide" in unwrapped(capsys.readouterr().out)

    def test_a_folder_of_backgrounds(self, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
        picture("backgrounds/green.png", (0, 255, 0))
        picture("backgrounds/pink.jpg", (255, 100, 100))
        Path("backgrounds/notes.txt").write_text("not a picture")
        assert main(["image", str(red), *GRID[:4], "--background", "backgrounds"]) == 0
        said = unwrapped(capsys.readouterr().out)
        assert "as long as superpixel 0 (upper left) of 4 stays visible." in said
        assert "after 31 perturbed pictures" in said  # 16 masks on 2 backgrounds, one of which hides nothing

    def test_quiet_says_nothing(self, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["image", str(red), *GRID, "--quiet", "--out", "x.svg"]) == 0
        assert capsys.readouterr() == ("", "")
        assert "<svg" in Path("x.svg").read_text()

    def test_options_reach_the_search(self, red: Path) -> None:
        options = ["--threshold", "0.8", "--delta", "0.25", "--seed", "3", "--max-rows", "5", "--method", "exact"]
        assert main(["image", str(red), *GRID, *options, "--quiet", "--json", "all.json"]) == 0
        (entry,) = json.loads(Path("all.json").read_text())["pictures"]
        parameters = entry["meta"]["params"]
        assert entry["status"] == "exact"
        assert (entry["threshold"], entry["delta"]) == (0.8, 0.25)
        assert (parameters["seed"], parameters["max_rows"]) == (3, 5)
        assert parameters["segmentation_kwargs"] == {"rows": 2, "cols": 2}

    def test_the_user_knows_the_model_better(self, red: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Path("names.txt").write_text("anders\nrot\n")
        mean = ("--mean", "0.3", "0", "0", "--class-names", "names.txt", "--input-size", "20")
        assert main(["image", str(red), *GRID, *mean]) == 0
        said = unwrapped(capsys.readouterr().out)
        assert "20 x 20 pixels" in said
        assert "“rot”" in said

    def test_a_bad_argument_of_the_library_is_an_error(self, red: Path, capsys) -> None:
        assert main(["image", str(red), *GRID, "--seed", "-1"]) == 2
        assert "error: seed must be" in unwrapped(capsys.readouterr().err)

    def test_a_missing_package_is_named_before_the_work(self, red: Path, capsys, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        assert main(["image", str(red), *GRID]) == 2
        captured = capsys.readouterr()
        assert 'pip install "torch-anchors[demo]"' in unwrapped(captured.err)
        assert not captured.out

    def test_warnings_are_notes(self, red: Path, capsys, monkeypatch) -> None:
        look = RedCorner.forward

        def shiver(self: nn.Module, rows: Tensor) -> Tensor:
            warnings.warn("the corner is cold", AnchorsWarning, stacklevel=1)
            return look(self, rows)

        monkeypatch.setattr(RedCorner, "forward", shiver)
        assert main(["image", str(red), *GRID]) == 0
        assert "note: the corner is cold\n" in capsys.readouterr().err


COMPLAINTS = {
    "nowhere.png": (["nowhere.png"], "there is no file nowhere.png"),
    "folder": (["."], "is a folder; name the pictures in it"),
    "text": (["notes.txt"], "notes.txt is not a picture"),
    "damaged": (["damaged.png"], "damaged.png cannot be read as a picture"),
    "16 bit": (["deep.png"], "deep.png has more than 8 bits a channel"),
    "model": (["red.png", "--model", "resnet18"], "no file called 'resnet18'. Did you mean torchvision:resnet18?"),
    "weights": (["red.png", "--model", "notes.txt"], "neither a TorchScript nor a torch.export file"),
    "device": (["red.png", "--device", "toaster"], "--device toaster cannot be used here"),
    "background": (["red.png", "--background", "none"], "there is no folder none"),
    "empty": (["red.png", "--background", "empty"], "there is no picture in the folder empty"),
    "two fills": (["red.png", "--background", "full", "--fill", "blur"], "exclude each other"),
    "count": (
        ["red.png", "--segments", "quickshift", "--n-segments", "9"],
        "--n-segments is for slic, grid and hierarchy",
    ),
    "suffix": (["red.png", "--out", "anchor.docx"], "--out must end in one of .png"),
    "one file": (["red.png", "red.png", "--out", "anchor.png"], "--out must be a folder for 2 pictures"),
    "names": (["red.png", "--class-names", "none.txt"], "none.txt"),
}

MISUSES = {
    "segmentation": (["--segments", "slick"], "invalid choice: 'slick'"),
    "method": (["--method", "best"], "invalid choice: 'best'"),
    "fill": (["--fill", "blue"], "expected mean, blur, infill, noise, constant or a number, got 'blue'"),
    "threshold": (["--threshold", "95"], "expected a number above 0 and at most 1, got '95'"),
    "delta": (["--delta", "none"], "expected a number above 0 and at most 1, got 'none'"),
    "rows": (["--max-rows", "0"], "expected a whole number of at least 1, got '0'"),
    "segments": (["--n-segments", "few"], "expected a whole number of at least 1, got 'few'"),
}


class TestComplaints:
    @pytest.fixture(autouse=True)
    def files(self, red: Path) -> None:
        Path("notes.txt").write_text("not a picture")
        Path("empty").mkdir()
        picture("full/green.png", (0, 255, 0))
        Path("damaged.png").write_bytes(red.read_bytes()[:60])
        Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save("deep.png")

    @pytest.mark.parametrize("case", COMPLAINTS)
    def test_says_what_to_mend(self, case: str, capsys: pytest.CaptureFixture[str]) -> None:
        arguments, complaint = COMPLAINTS[case]
        assert main(["image", *arguments]) == 2
        captured = capsys.readouterr()
        assert complaint in unwrapped(captured.err)
        assert captured.err.startswith("torch-anchors: error: ")
        assert not captured.out
        assert not list(Path().glob("anchor*"))

    @pytest.mark.parametrize("case", MISUSES)
    def test_misuse_is_reported_by_the_parser(self, case: str, capsys: pytest.CaptureFixture[str]) -> None:
        arguments, complaint = MISUSES[case]
        with pytest.raises(SystemExit) as ended:
            main(["image", "red.png", *arguments])
        assert ended.value.code == 2
        assert complaint in unwrapped(capsys.readouterr().err)

    def test_interrupted(self, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("torch_anchors.models.load_image_model", interrupt)
        assert main(["image", "red.png"]) == 130
        assert "interrupted" in capsys.readouterr().err


class TestStart:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)

    @pytest.mark.parametrize("arguments", [["--help"], ["image", "--help"], ["image", "nowhere.png"]])
    def test_does_not_wait_for_pytorch(self, arguments: list[str]) -> None:
        script = f"""
import sys
from torch_anchors.cli import main
try:
    main({arguments!r})
except SystemExit:
    pass
assert "torch" not in sys.modules, "PyTorch takes seconds to import"
"""
        ended = self.run("-c", script)
        assert ended.returncode == 0, ended.stderr

    def test_is_a_module_too(self) -> None:
        ended = self.run("-m", "torch_anchors", "--version")
        assert ended.stdout.strip() == f"torch-anchors {version('torch-anchors')}"
        assert self.run("-m", "torch_anchors").returncode == 2

    def test_help_explains_the_exit_status(self) -> None:
        for arguments in (["--help"], ["image", "--help"]):
            said = self.run("-m", "torch_anchors", *arguments).stdout
            assert "exit status:\n  0  an anchor" in said

    @pytest.mark.slow
    def test_explains_the_bundled_photograph(self, tmp_path: Path) -> None:
        ended = subprocess.run(
            [sys.executable, "-m", "torch_anchors", "image"], capture_output=True, text=True, cwd=tmp_path, timeout=300
        )
        assert ended.returncode == 0, ended.stderr
        assert "The model takes coffee for “espresso”." in unwrapped(ended.stdout)
        assert (tmp_path / "anchor-coffee.png").stat().st_size > 50_000


class TestParts:
    def test_offers_what_there_is(self) -> None:
        assert set(SEGMENTATIONS) == set(DEFAULT_SEGMENTATION_KWARGS)
        assert set(METHODS) == set(SEARCHES) - {"race"}  # which is for tables
        for name in FILLS:
            assert callable(resolve_fill(name))

    @pytest.mark.parametrize(
        ("rows", "columns", "expected"),
        [
            (slice(0, 3), slice(0, 3), "upper left"),
            (slice(0, 3), slice(None), "top"),
            (slice(7, 9), slice(3, 6), "bottom"),
            (slice(None), slice(0, 2), "left"),
            (slice(6, 9), slice(6, 9), "lower right"),
            (slice(None), slice(None), "centre"),
        ],
    )
    def test_where(self, rows: slice, columns: slice, expected: str) -> None:
        mask = np.zeros((9, 9), dtype=bool)
        mask[rows, columns] = True
        assert where(mask) == expected

    def test_distinct_names(self) -> None:
        paths = [Path(name) for name in ("cat.png", "a/cat.jpg", "dog.png", "b/cat.png")]
        assert distinct_names(paths) == ["cat", "cat-2", "dog", "cat-3"]

    def test_transparent_is_white(self, tmp_path: Path) -> None:
        path = tmp_path / "glass.png"
        Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(path)
        assert (read_picture(path) == 255).all()

    def test_grey_and_palettes_become_colours(self, tmp_path: Path) -> None:
        for mode in ("L", "P", "LA", "CMYK", "1"):
            path = tmp_path / f"picture-{mode}.{'tif' if mode == 'CMYK' else 'png'}"
            Image.new("RGB", (4, 6), (255, 255, 255)).convert(mode).save(path)
            pixels = read_picture(path)
            assert pixels.shape == (6, 4, 3)
            assert (pixels == 255).all()

    def test_pictures_are_upright(self, tmp_path: Path) -> None:
        path = tmp_path / "turned.jpg"
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned by a quarter
        Image.new("RGB", (8, 4)).save(path, exif=exif)
        assert read_picture(path).shape == (8, 4, 3)
