"""Perturbed images that an explanation shows, kept in little memory and composed when somebody looks at them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.engine.job import Examples
from torch_anchors.images.sampler import ImageSampler


@dataclass(frozen=True, slots=True)
class Example:
    """One perturbed image of the anchor: the image in the user's layout, its label, and whether that is a hit."""

    image: Any
    label: int
    hit: bool


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """What perturbed images are composed from.

    Args:
        fill: what absent superpixels show, on the scale of the image: pixels (B, C, H, W) for B backgrounds or, where
            each superpixel has one colour, colours (B, C, K).
        keep: shown superpixels (n, K).
        background: number of each row's background (n,).
        labels: of the rows (n,).
        hits: whether these are the explained label (n,).
    """

    fill: Shaped[np.ndarray, "backgrounds channels ..."]
    keep: Bool[np.ndarray, "rows superpixels"]
    background: Int[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]
    hits: Bool[np.ndarray, " rows"]

    @classmethod
    def of(cls, examples: Examples, sampler: ImageSampler, *, in_bytes: bool) -> ExampleRows:
        """What the engine's examples are composed from; of several backgrounds, only those that they show.

        Args:
            examples: codes, labels and hits.
            sampler: which drew them.
            in_bytes: whether the user's image has bytes, so that a fill rounded to bytes looks the same.
        """
        codes = torch.from_numpy(examples.codes)
        used, background = np.zeros(1, dtype=np.int64), np.zeros(len(codes), dtype=np.int64)
        if sampler.n_backgrounds > 1 and len(codes):
            used, background = np.unique(sampler.background(codes).numpy(), return_inverse=True)
        fill = sampler.fill[torch.from_numpy(used).to(sampler.device)].cpu().numpy()
        keep = sampler.keep(codes).numpy()
        return cls(_compact(fill, sampler.segments, in_bytes), keep, background, examples.labels, examples.hits)

    def __len__(self) -> int:
        return len(self.labels)

    def compose(
        self, i: int, pixels: Float[np.ndarray, "channels height width"], segments: Int[np.ndarray, "height width"]
    ) -> Float[np.ndarray, "channels height width"]:
        """Row i of the image with these pixels and superpixels."""
        fill = self.fill[self.background[i]]
        fill = fill[:, segments] if fill.ndim == 2 else fill
        return np.where(self.keep[i][segments], pixels, fill.astype(np.float32))


def _compact(fill: NDArray[np.floating], segments: NDArray[np.integer], in_bytes: bool) -> NDArray[Any]:
    """The fill as one colour for each superpixel where that is all there is to it, else in bytes if these will do."""
    _, first = np.unique(segments, return_index=True)
    colours = fill.reshape(*fill.shape[:2], -1)[..., first]
    if np.array_equal(colours[..., segments], fill):
        return colours
    return np.rint(fill).clip(0, 255).astype(np.uint8) if in_bytes else fill
