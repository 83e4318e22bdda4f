"""Files of networks: those that can run code need trust, and no damage shows as a traceback."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torch_anchors.errors import ArgumentError
from torch_anchors.models import load_image_model

KINDS = {"network.pt": "TorchScript", "network.pt2": "torch.export"}


class Scores(nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows.mean((2, 3))


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as files of both kinds."""
    folder = tmp_path_factory.mktemp("networks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.script(Scores()).save(str(folder / "network.pt"))
    batch = torch.export.Dim("batch")
    example = (torch.rand(2, 3, 32, 32),)
    torch.export.save(torch.export.export(Scores(), example, dynamic_shapes=({0: batch},)), folder / "network.pt2")
    torch.export.save(torch.export.export(Scores(), example), folder / "fixed.pt2")
    return folder


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """What a trap makes when it is unpickled."""
    return tmp_path / "executed"


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"archive/{name}", content)
    return path


@pytest.mark.parametrize("name", KINDS)
def test_a_program_needs_trust(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(folder / name)
    model = load_image_model(path, trust=True)
    rows = torch.rand(5, 3, 32, 32)
    torch.testing.assert_close(model.module(rows), rows.mean((2, 3)))
    for module in (torch.jit, torch.export, torch, pickle):
        monkeypatch.delattr(module, "load")  # nothing may be asked to read it
    expected = rf"{name} is a {KINDS[name]} file, and such a file can run any code of whoever made it\. .* --trust"
    with pytest.raises(ArgumentError, match=expected) as refused:
        load_image_model(path)
    assert "trust=True" in str(refused.value)
    assert "\n" not in str(refused.value)


def traps(folder: Path, trapped: Path) -> dict[str, Path]:
    """Archives of all kinds with a trap in them, by what they pretend to be."""
    trap = pickle.dumps(Trap(trapped))
    config = {
        "config": {"weight": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}
    }
    exported = {}
    with zipfile.ZipFile(folder / "network.pt2") as file:
        for member in file.namelist():
            exported[member.partition("/")[2]] = file.read(member)
    exported["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    exported["data/weights/weight_0"] = trap
    older = ("state_dict.pt", "constants.pt", "example_inputs.pt", "exported_program.json")
    place = trapped.parent
    return {
        "weights": archive(place / "weights.pth", {"data.pkl": trap, "version": b"3"}),
        "TorchScript": archive(place / "script.pt", {"data.pkl": trap, "constants.pkl": trap, "version": b"3"}),
        "torch.export": archive(place / "exported.pt2", exported),
        "older torch.export": archive(place / "older.pt2", {f"serialized_{name}": trap for name in older}),
    }


@pytest.mark.parametrize("kind", ["weights", "TorchScript", "torch.export", "older torch.export"])
def test_nothing_is_executed_without_trust(folder: Path, trapped: Path, kind: str) -> None:
    with pytest.raises(ArgumentError, match=r"neither a TorchScript nor|can run any code"):
        load_image_model(str(traps(folder, trapped)[kind]))
    assert not trapped.exists()


def test_what_trust_means(folder: Path, trapped: Path) -> None:
    """The trap works, so that the test above shows something; and what it leads to is an error in words."""
    paths = traps(folder, trapped)
    with pytest.raises(ArgumentError, match=r"exported\.pt2 cannot be loaded as a torch\.export file"):
        load_image_model(str(paths["torch.export"]), trust=True)
    assert trapped.exists()
    trapped.rmdir()
    for kind in ("weights", "TorchScript"):
        with pytest.raises(ArgumentError):
            load_image_model(str(paths[kind]), trust=True)
        assert not trapped.exists(), kind


@pytest.mark.parametrize("name", KINDS)
def test_torn_and_damaged(
    folder: Path, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    content = (folder / name).read_bytes()
    path = tmp_path / name
    torn = [content[: len(content) * i // 8] for i in range(8)]
    middles = [content[:i] + bytes(200) + content[i + 200 :] for i in range(0, len(content) - 200, len(content) // 6)]
    for damaged in (*torn, *middles, b"PK\x03\x04", content[:-1]):
        path.write_bytes(damaged)
        try:
            load_image_model(str(path), trust=True)  # some damage is to nothing that is read
        except ArgumentError as error:
            words = str(error)
            assert "\n" not in words
            assert "Traceback" not in words
            assert path.name in words
    assert capfd.readouterr().err == ""
    assert not caplog.records


def test_a_torn_archive_is_called_so(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    path.write_bytes((folder / "network.pt").read_bytes()[:-30])
    with pytest.raises(
        ArgumentError, match=r"network\.pt is neither .*: its end is missing or damaged\. .*copy it again"
    ):
        load_image_model(str(path), trust=True)


def test_weights_alone_are_refused_with_or_without_trust(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    header = b'{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    for trust in (False, True):
        with pytest.raises(
            ArgumentError, match=r"neither a TorchScript .* weights alone, build their network in Python"
        ):
            load_image_model(str(path), trust=trust)


def test_a_fixed_batch_and_other_inputs(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="batches of exactly 2 rows"):
        load_image_model(str(folder / "fixed.pt2"), trust=True)

    class Nothing(nn.Module):
        def forward(self) -> Tensor:
            return torch.zeros(1)

    path = tmp_path / "nothing.pt2"
    torch.export.save(torch.export.export(Nothing(), ()), path)
    with pytest.raises(ArgumentError, match="whose first input is no tensor of rows"):
        load_image_model(str(path), trust=True)


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("timn:resnet18", "timm:resnet18"),
        ("EfficientNet-Lite0", "efficientnet-lite0"),
        ("netwrok.pt", "network.pt"),
        ("./netwrok.pt2", "./network.pt2"),
    ],
)
def test_did_you_mean(folder: Path, name: str, proposed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ArgumentError, match=rf"Did you mean {proposed}\?"):
        load_image_model(name)


def test_a_tag_of_timm_is_proposed() -> None:
    with pytest.raises(ArgumentError, match=r"Did you mean .*resnet50\.a1_in1k"):
        load_image_model("timm:resnet50.a1_in1")
