"""A classifier of transformers, saved to a folder: its scores, its names, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.data import coffee

from torch_anchors import AnchorImage
from torch_anchors.cli import main
from torch_anchors.errors import ArgumentError
from torch_anchors.models import huggingface, load_image_model

transformers = pytest.importorskip("transformers")

NAMES = {0: "cat", 1: "cup", 2: "dog"}


def tiny_vit(**settings: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    settings = {"image_size": 32, "patch_size": 8, "initializer_range": 0.5, "id2label": NAMES, **settings}
    config = transformers.ViTConfig(**sizes, **settings)
    return transformers.ViTForImageClassification(config)


def saved(folder: Path, network: Any, processor: Any = None) -> Path:
    network.save_pretrained(folder)
    processor = processor or transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("hf") / "vit", tiny_vit())


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*args: object, **kwargs: object) -> None:
        raise AssertionError("a folder needs no network")

    monkeypatch.setattr("socket.getaddrinfo", no)


def test_it_is_the_network_its_processor_and_its_names(folder: Path, device: torch.device) -> None:
    model = load_image_model(f"hf:{folder}", device=device)
    assert (model.name, model.class_names, model.input_size) == (f"hf:{folder}", ("cat", "cup", "dog"), (32, 32))
    assert not model.module.training
    photograph = torch.from_numpy(coffee()).permute(2, 0, 1).to(device)
    expected = transformers.AutoModelForImageClassification.from_pretrained(folder).eval().to(device)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        scores = model.module(model.preprocess(photograph[None]))
        theirs = expected(**processor(photograph, return_tensors="pt")).logits
    torch.testing.assert_close(scores, theirs, rtol=1e-4, atol=1e-5)


def test_it_is_explained(folder: Path, device: torch.device) -> None:
    model = load_image_model(f"hf:{folder}", device=device)
    explainer = AnchorImage(
        model.module,
        preprocess=model.preprocess,
        segmentation_fn="grid",
        segmentation_kwargs={"rows": 3, "cols": 3},
        fill="infill",
        seed=0,
    )
    explanation = explainer.explain(model.fit(coffee()))
    with torch.inference_mode():
        pixels = torch.from_numpy(model.fit(coffee())).permute(2, 0, 1)[None].to(device)
        assert explanation.label == int(model.module(model.preprocess(pixels)).argmax())
    assert explanation.success
    assert any(name in explanation.called(model.class_names) for name in NAMES.values())


def test_the_command_takes_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawing, data = tmp_path / "coffee.png", tmp_path / "coffee.json"
    options = ["--segments", "grid", "--n-segments", "9", "--device", "cpu", "--out", str(drawing), "--json", str(data)]
    assert main(["image", "--model", f"hf:{folder}", *options]) == 0
    assert drawing.exists()
    said = capsys.readouterr()
    assert "32 x 32 pixels" in said.out + said.err
    (picture,) = json.loads(data.read_text())["pictures"]
    assert picture["label_name"] in NAMES.values()


def test_half_precision_is_read_in_single(tmp_path: Path) -> None:
    network = tiny_vit()
    model = load_image_model(f"hf:{saved(tmp_path, network.half())}")
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    rows = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.module(rows), network.float().eval()(rows).logits)


def test_classes_that_are_only_numbered_have_no_names(tmp_path: Path) -> None:
    model = load_image_model(f"hf:{saved(tmp_path, tiny_vit(id2label={0: 'LABEL_0', 1: 'LABEL_1'}))}")
    assert model.class_names is None


def test_a_network_without_the_weights_of_a_classifier_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, tiny_vit().vit)
    with pytest.raises(ArgumentError, match=r"has no weights for classifier\.bias and classifier\.weight"):
        load_image_model(f"hf:{tmp_path}")


def test_a_folder_without_a_processor_says_what_to_save(tmp_path: Path) -> None:
    tiny_vit().save_pretrained(tmp_path)
    expected = r"hf:.* cannot be loaded as an image classifier with its processor: .*processor\.save_pretrained\(DIR\)"
    with pytest.raises(ArgumentError, match=expected) as refused:
        load_image_model(f"hf:{tmp_path}")
    assert "\n" not in str(refused.value)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    bert = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    saved(tmp_path, transformers.BertModel(bert))
    with pytest.raises(ArgumentError, match="cannot be loaded as an image classifier"):
        load_image_model(f"hf:{tmp_path}")


@pytest.mark.parametrize("name", ["", "../nowhere", "/no/such/folder", "a/b/c"])
def test_a_folder_that_is_not_there_is_said_to_be_missing(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"There is no folder {name}"):
        load_image_model(f"hf:{name}")


def test_a_name_of_the_hub_is_given_up_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise TimeoutError("the hub does not answer")

    monkeypatch.setattr(huggingface, "loaded_in_time", fail)
    with pytest.raises(ArgumentError, match=r"hf:google/vit .*the hub does not answer\. Download it once .* hf:DIR"):
        load_image_model("hf:google/vit")


def test_transformers_is_named_where_it_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r'package transformers.*pip install "torch-anchors\[huggingface\]"'):
        load_image_model(f"hf:{folder}")


def test_what_transformers_tells_stays_as_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = transformers.utils.logging
    before = said.get_verbosity(), said.is_progress_bar_enabled()
    load_image_model(f"hf:{folder}")
    assert (said.get_verbosity(), said.is_progress_bar_enabled()) == before
    assert "".join(capsys.readouterr()) == ""


def test_a_picture_is_fitted_as_the_processor_sees_it(folder: Path) -> None:
    model = load_image_model(f"hf:{folder}")
    fitted = model.fit(coffee())
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    photograph = torch.from_numpy(coffee()).permute(2, 0, 1)
    expected = processor(photograph, return_tensors="pt", do_rescale=False, do_normalize=False)["pixel_values"][0]
    difference = np.abs(fitted.astype(int) - expected.permute(1, 2, 0).numpy())
    assert difference.max() <= 1  # of which the processor rounds once more, between the two directions
    assert difference.mean() < 0.1
