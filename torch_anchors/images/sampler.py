"""Perturbed copies of an image: each superpixel is shown, or replaced by what stands in for an absent one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int, Shaped, UInt8
from torch_anchors.images.fills import FillFunction, mean
from torch_anchors.images.row_fill import RowFill
from torch_anchors.perturb.mask_sampler import MaskSampler


class ImageSampler(MaskSampler):
    """Draws perturbed copies of one image, whose parts are its superpixels.

    Args:
        image: pixels, on any scale.
        segments: superpixel of each pixel, 0 .. K-1.
        fill: what stands in for an absent superpixel; see `torch_anchors.images.fills`.
        rng: source of the fill's randomness; not looked at by most fills.
        p_sample: probability that a superpixel outside the anchor is absent, in (0, 1].
        fixed: superpixels that are always shown.
        exclude: superpixels that are in no anchor.
        hides: whether a predicate says that its superpixel is hidden, not that it is shown.
        levels: coarser views of the superpixels, the coarsest first: the larger superpixel that each is part of (K,).
        repeatable: whether equal codes have equal answers.
        device: where rows are made.
        dtype: what rows are made of. Values are rounded, and clipped to its range, when it is an integer type.
        channels_last: whether rows are laid out channels-last in memory.
    """

    def __init__(
        self,
        image: Float[Tensor, "channels height width"],
        segments: Int[np.ndarray, "height width"],
        fill: FillFunction = mean,
        *,
        rng: np.random.Generator | None = None,
        p_sample: float = 0.5,
        fixed: Sequence[int] = (),
        exclude: Sequence[int] = (),
        hides: bool = False,
        levels: Sequence[Int[np.ndarray, " superpixels"]] = (),
        repeatable: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        pixels = image.to(device)
        labels = torch.from_numpy(segments.astype(np.int64)).to(device)
        filled = fill(pixels, labels, np.random.default_rng() if rng is None else rng)
        super().__init__(
            int(segments.max()) + 1,
            p_sample=p_sample,
            fixed=fixed,
            exclude=exclude,
            hides=hides,
            levels=levels,
            n_backgrounds=filled.shape[0],
            repeatable=repeatable,
            device=device,
            dtype=dtype,
        )
        self.segments = segments
        self._segments = labels
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self.image = self._laid_out(pixels[None])  # (1, C, H, W)
        # (B, C, H, W). Many backgrounds are shared by all images of a size: no copy of them, rows gather theirs anyway.
        self.fill = self._laid_out(filled) if isinstance(filled, Tensor) and self.n_backgrounds == 1 else filled

    def row_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.image.shape[1:])

    def empty(self, n: int) -> Shaped[Tensor, "rows channels height width"]:
        """Room for `n` rows."""
        return torch.empty((n, *self.row_shape()), dtype=self.dtype, device=self.device, memory_format=self._layout)

    def render(
        self,
        codes: UInt8[Tensor, "rows bytes"],
        out: Shaped[Tensor, "rows channels height width"] | None = None,
    ) -> Shaped[Tensor, "rows channels height width"]:
        """Rows (n, C, H, W) on the device: the image where the superpixel is shown, the fill elsewhere."""
        codes = codes.to(self.device, non_blocking=True)
        height, width = self._segments.shape
        shown = torch.index_select(self.shown(codes).float(), 1, self._segments.flatten()).view(-1, 1, height, width)
        fill = self._fill_of(codes, shown)
        out = self.empty(len(codes)) if out is None else out
        # Interpolating is exact at weights 0 and 1, and several times faster than torch.where on a CPU.
        if out.dtype == self.image.dtype:
            return torch.lerp(fill, self.image, shown, out=out)
        return out.copy_(torch.lerp(fill, self.image, shown))

    def _fill_of(self, codes: UInt8[Tensor, "rows bytes"], shown: Float[Tensor, "rows 1 height width"]) -> Tensor:
        """The only background, for all rows, or each row's own."""
        if isinstance(self.fill, RowFill):
            return self._in_dtype(self.fill.rows(shown, self.background(codes)))
        return self.fill if self.n_backgrounds == 1 else self._in_dtype(self.fill[self.background(codes)])

    def _laid_out(self, pixels: Tensor) -> Tensor:
        return self._in_dtype(pixels).contiguous(memory_format=self._layout)

    def _in_dtype(self, pixels: Tensor) -> Tensor:
        """Pixels as rows have them: rounded and clipped where rows are of an integer type."""
        if self.dtype.is_floating_point:
            return pixels
        range_ = torch.iinfo(self.dtype)
        return pixels.round().clamp(range_.min, range_.max)
