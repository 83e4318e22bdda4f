"""A small network whose answers on small pictures of four quarters are known, with a layer that can be made random."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from torch_anchors import AnchorImage

SIZE = 16
GRID = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 2}, "fill": 0.0}
FEW = {"method": "exact"}


class Quarters(nn.Module):
    """Scores of three classes from how light the four quarters are; class 1 where the first one is."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(SIZE // 2)
        self.linear = nn.Linear(4, 3)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([[0.5, 0, 0, 0.5], [6, 0, 0, 0], [0, 0, 5, 5]]))
            self.linear.bias.copy_(torch.tensor([2.0, 0, -3]))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.pool(images).mean(1).flatten(1))


def pictures() -> np.ndarray:
    """A light first quarter (class 1), a dark picture (class 0, whatever is hidden), light lower quarters (class 2)."""
    images = np.random.default_rng(0).uniform(0, 0.1, (3, 3, SIZE, SIZE)).astype(np.float32)
    images[0, :, :8, :8] += 0.9
    images[2, :, 8:] += 0.9
    return images


LABELS = np.array([1, 0, 2])


def explainer_of(model: nn.Module, **settings: object) -> AnchorImage:
    return AnchorImage(model, seed=0, **{**GRID, **settings})  # type: ignore[arg-type]
