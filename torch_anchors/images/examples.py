"""Perturbed images that an explanation shows, kept in little memory and composed when somebody looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.engine.aside import aside
from torch_anchors.engine.job import Examples
from torch_anchors.images.infill import Infill
from torch_anchors.images.row_fill import RowFill
from torch_anchors.images.row_noise import RowNoise
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.packing import Fields, pack_array, pack_labels
from torch_anchors.perturb.mask_sampler import MOST_BACKGROUNDS


@dataclass(frozen=True, slots=True)
class Example:
    """One perturbed image of the anchor: the image in the user's layout, its label, and whether that is a hit."""

    image: Any = field(repr=False)
    label: int | str
    hit: bool


@dataclass(frozen=True, slots=True)
class NearestMiss(Example):
    """Of all perturbed images that were tried, the one of another label with the fewest hidden superpixels.

    `changed` are the superpixels that it hides. It is a hit where it was asked what is necessary to change the label.
    """

    changed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """What perturbed images are composed from.

    Args:
        fill: what absent superpixels show, on the scale of the image: pixels (B, C, H, W) for B backgrounds; where each
            superpixel has one colour, colours (B, C, K); where it is made for each row, its keys: two of noise, none of
            an infill.
        keep: shown superpixels (n, K).
        background: number of each row's background (n,).
        labels: of the rows (n,), numbers or class names.
        hits: whether these are the explained label (n,).
        has_nearest: whether the last row is the nearest miss, and no example.
        of_hits: how many hits were predicted of which these are a few; None in what earlier versions have saved.
        of_misses: how many misses, likewise.
    """

    fill: Shaped[np.ndarray, "..."]
    keep: Bool[np.ndarray, "rows superpixels"]
    background: Int[np.ndarray, " rows"]
    labels: Shaped[np.ndarray, " rows"]
    hits: Bool[np.ndarray, " rows"]
    has_nearest: bool = False
    of_hits: int | None = None
    of_misses: int | None = None

    @classmethod
    def of(
        cls,
        examples: Examples,
        sampler: ImageSampler,
        *,
        in_bytes: bool,
        labels: Shaped[np.ndarray, " rows"] | None = None,
        has_nearest: bool = False,
    ) -> ExampleRows:
        """What the engine's examples are composed from; of several backgrounds, only those that they show.

        Args:
            examples: codes, labels and hits.
            sampler: which drew them.
            in_bytes: whether the user's image has bytes, so that a fill rounded to bytes looks the same.
            labels: of the examples as users know them; None for the examples' own numbers.
            has_nearest: whether the last of them is the nearest miss.
        """
        codes = torch.from_numpy(examples.codes)
        keep = sampler.shown(codes).numpy()
        shown = examples.labels if labels is None else labels
        background = sampler.background(codes).numpy()
        others = (shown, examples.hits, has_nearest, examples.of_hits, examples.of_misses)
        if isinstance(sampler.fill, RowFill):
            keys = np.array(sampler.fill.keys, dtype=np.int32)
            return cls(keys, keep, background, *others)
        with aside(sampler.device):  # the fill was there before the first batch
            used = sampler.fill
            if sampler.n_backgrounds > 1:
                numbers, background = np.unique(background, return_inverse=True) if len(codes) else ([0], background)
                used = used[torch.as_tensor(numbers).to(sampler.device)]
            fill = used.cpu().numpy()
        return cls(_compact(fill, sampler.segments, in_bytes), keep, background, *others)

    def __len__(self) -> int:
        """How many examples there are."""
        return len(self.labels) - self.has_nearest

    def to_fields(self) -> dict[str, Any]:
        """The rows in values that JSON knows."""
        arrays = {name: pack_array(getattr(self, name)) for name in ("fill", "keep", "background", "hits")}
        totals = {name: n for name in ("of_hits", "of_misses") if (n := getattr(self, name)) is not None}
        return {**arrays, "labels": pack_labels(self.labels), "has_nearest": self.has_nearest, **totals}

    @classmethod
    def read(cls, fields: Fields, shape: tuple[int, ...], n_superpixels: int) -> ExampleRows:
        """The rows that `to_fields` gave, of an image of the shape (C, H, W) with so many superpixels.

        Raises:
            ArgumentError: they are not rows of such an image.
        """
        fill = fields.array("fill", kinds="uif", ndim=(1, 3, 4))
        if fill.ndim == 1:  # keys
            fits, n_fills = fill.dtype == np.int32 and len(fill) in (0, 2), MOST_BACKGROUNDS if len(fill) else 1
        else:
            fits, n_fills = fill.shape[1:] in (shape, (shape[0], n_superpixels)) and len(fill) > 0, len(fill)
        fields.check(fits, "fill", f"of the shape of the image, {shape}, or of its {n_superpixels} superpixels")
        keep = fields.array("keep", kinds="b", ndim=(2,))
        fields.check(keep.shape[1] == n_superpixels, "keep", f"about {n_superpixels} superpixels")
        background, hits = fields.array("background", kinds="iu", ndim=(1,)), fields.array("hits", kinds="b", ndim=(1,))
        labels = fields.labels("labels")
        fields.check(len(background) == len(labels) == len(hits) == len(keep), "labels", f"of {len(keep)} rows")
        known = bool(((background >= 0) & (background < n_fills)).all())
        fields.check(known, "background", f"numbers of {n_fills} fills")
        has_nearest = "has_nearest" in fields and fields.truth("has_nearest")  # earlier versions had none
        fields.check(len(labels) >= has_nearest, "has_nearest", "false where there is no row")
        totals = {name: fields.whole(name, 0) for name in ("of_hits", "of_misses") if name in fields}
        return cls(fill, keep, background, labels, hits, has_nearest, **totals)

    def compose(
        self, i: int, pixels: Float[np.ndarray, "channels height width"], segments: Int[np.ndarray, "height width"]
    ) -> Float[np.ndarray, "channels height width"]:
        """Row i of the image with these pixels and superpixels."""
        if self.fill.ndim == 1:
            shown = torch.from_numpy(self.keep[i][segments][None, None]).float()
            numbers = torch.from_numpy(self.background[i : i + 1])
            fill = _made_again(torch.from_numpy(pixels), self.fill.tolist()).rows(shown, numbers)[0].numpy()
        else:
            fill = self.fill[self.background[i]]
        fill = fill[:, segments] if fill.ndim == 2 else fill
        return np.where(self.keep[i][segments], pixels, fill.astype(np.float32))


def _made_again(image: Float[Tensor, "channels height width"], keys: Sequence[int]) -> RowFill:
    """The fill that has these keys."""
    return RowNoise(image, (keys[0], keys[1])) if keys else Infill(image)


def _compact(fill: NDArray[np.floating], segments: NDArray[np.integer], in_bytes: bool) -> NDArray[Any]:
    """A copy of the fill: a colour of each superpixel where that is all there is to it, else bytes if these will do."""
    flat = segments.ravel()
    first = np.zeros(int(flat.max()) + 1, dtype=np.intp)  # pixel of each superpixel, the first one
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    colours = fill.reshape(*fill.shape[:2], -1)[..., first]
    if np.array_equal(colours[..., segments], fill):
        return colours
    return np.rint(fill).clip(0, 255).astype(np.uint8) if in_bytes else fill.copy()
