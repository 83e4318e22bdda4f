"""Perturbed copies of an image: each superpixel is shown, or replaced by what stands in for an absent one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int, Shaped, UInt8
from torch_anchors.engine.device_copy import on_device
from torch_anchors.images.fills import FillFunction, mean
from torch_anchors.images.row_fill import RowFill
from torch_anchors.perturb.mask_sampler import MaskSampler, shown_together


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
        runs = [(self, codes)]
        weights, *numbers = on_device([shown_together(runs), *self._numbers(runs)], self.device)
        shown = weights.index_select(1, self._segments.flatten()).view(-1, 1, *self.segments.shape)
        out = self.empty(len(codes)) if out is None else out
        return _mixed(self._fill_of(shown, *numbers), self.image, shown, out)

    @property
    def joint_key(self) -> Hashable:
        """What images have in common whose rows are rendered jointly; see `JointSampler`.

        None with others where a copy of the image for each of its rows costs more than further operations, on a CPU,
        and where the fill is made for each row.
        """
        if self.device.type == "cpu" or isinstance(self.fill, RowFill):
            return id(self)
        backgrounds = None if self.n_backgrounds == 1 else id(self.fill)
        return type(self), self.row_shape(), self.dtype, self.image.dtype, self._layout, backgrounds

    def render_jointly(
        self, runs: Sequence[tuple[ImageSampler, Tensor]], out: Shaped[Tensor, "rows channels height width"]
    ) -> Shaped[Tensor, "rows channels height width"]:
        """The rows of several images, one run after the other, in as many operations whatever their number."""
        place = {sampler: i for i, sampler in enumerate(dict.fromkeys(sampler for sampler, _ in runs))}
        owners = np.repeat([place[sampler] for sampler, _ in runs], [len(codes) for _, codes in runs])
        host = [shown_together(runs), np.concatenate([owners, owners + len(place)]), *self._numbers(runs)]
        weights, sources, *numbers = on_device(host, self.device)
        of_row = sources[: len(out)]
        segments = torch.stack([sampler._segments for sampler in place]).flatten(1).index_select(0, of_row)
        shown = weights.gather(1, segments).view(-1, 1, *self.segments.shape)
        images = [sampler.image for sampler in place]
        if numbers:
            image, fill = self._selected(images, of_row), self._fill_of(shown, *numbers)
        else:
            fills = [sampler._fill_of(shown) for sampler in place]
            image, fill = self._selected(images + fills, sources).chunk(2)
        return _mixed(fill, image, shown, out)

    def _numbers(self, runs: Sequence[tuple[ImageSampler, Tensor]]) -> list[Int[np.ndarray, " rows"]]:
        """The background of each row, in a list; nothing where there is only one."""
        if self.n_backgrounds == 1:
            return []
        return [np.concatenate([sampler.background(codes.cpu()).numpy() for sampler, codes in runs])]

    def _fill_of(
        self, shown: Float[Tensor, "rows 1 height width"], numbers: Int[Tensor, " rows"] | None = None
    ) -> Float[Tensor, "#rows channels height width"]:
        """The only background, for all rows, or each row's own."""
        if isinstance(self.fill, RowFill):
            return self._in_dtype(self.fill.rows(shown, numbers))
        return self.fill if numbers is None else self._in_dtype(self.fill[numbers])

    def _selected(
        self, images: Sequence[Float[Tensor, "1 channels height width"]], numbers: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows channels height width"]:
        """The images of these numbers, laid out as they are."""
        if self._layout is torch.channels_last:
            return torch.cat([image.movedim(1, -1) for image in images]).index_select(0, numbers).movedim(-1, 1)
        return torch.cat(list(images)).index_select(0, numbers)

    def _laid_out(self, pixels: Tensor) -> Tensor:
        return self._in_dtype(pixels).contiguous(memory_format=self._layout)

    def _in_dtype(self, pixels: Tensor) -> Tensor:
        """Pixels as rows have them: rounded and clipped where rows are of an integer type."""
        if self.dtype.is_floating_point:
            return pixels
        range_ = torch.iinfo(self.dtype)
        return pixels.round().clamp(range_.min, range_.max)


def _mixed(
    fill: Float[Tensor, "#rows channels height width"],
    image: Float[Tensor, "#rows channels height width"],
    shown: Float[Tensor, "rows 1 height width"],
    out: Shaped[Tensor, "rows channels height width"],
) -> Shaped[Tensor, "rows channels height width"]:
    """The image where it is shown, else the fill, written into `out`.

    Interpolating is exact at weights 0 and 1, and several times faster than torch.where on a CPU.
    """
    if out.dtype == image.dtype:
        return torch.lerp(fill, image, shown, out=out)
    return out.copy_(torch.lerp(fill, image, shown))
