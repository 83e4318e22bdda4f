"""Perturbed copies of an image: each superpixel is shown, or replaced by what stands in for an absent one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Int, Shaped, UInt8
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb.fills import FillFunction, resolve_fill
from torch_anchors.perturb.masks import every_mask, pack, unpack
from torch_anchors.perturb.protocol import Order
from torch_anchors.perturb.segmentation import segment
from torch_anchors.pixels import hwc, to_chw
from torch_anchors.search.protocol import Anchor, EnumerateRequest, SampleRequest, SearchSpace

_MOST_BACKGROUNDS = 1 << 16  # a background's number is two bytes of a row's code


class AnchorImageSampler:
    """Draws perturbed copies of one image, as D(. | anchor) of the anchors paper (its section 4 for images).

    A superpixel of the anchor is always shown; each other one is shown with probability ``1 - p_sample``,
    independently, and replaced by the fill otherwise. With several background images one is drawn per row.

    Args:
        predictor: maps rows (N, C, H, W) on `device` to integer labels (N,), for `compare_labels` and calls of the
            sampler itself; a `torch_anchors.Predictor` for example. None if only perturbations are wanted.
        segmentation_fn: a segmentation's name, a callable or a label map (H, W); see `segment`.
        custom_segmentation: whether `segmentation_fn` is the user's own, which `segmentation_kwargs` do not concern.
        image: (C, H, W) tensor, (H, W, C) or (H, W) array, or PIL image.
        images_background: images to show where superpixels are absent, instead of `fill`.
        p_sample: probability that a superpixel outside the anchor is absent, in (0, 1).
        n_covered_ex: how many examples of hits and of misses a call of the sampler returns.
        segmentation_kwargs: keyword arguments of a built-in segmentation.
        fill: what stands in for an absent superpixel; see `resolve_fill`.
        fill_function: a fill resolved before, for many images; `fill` and `images_background` are then not looked at.
        rng: source of all randomness of this image; a generator seeded from the system if None.
        device: where rows are made.
        dtype: what rows are made of. Values are rounded, and clipped to its range, when it is an integer type.
        channels_last: whether rows are laid out channels-last in memory.
        segments: the label map, if it is known already.
    """

    shares_rows = True

    def __init__(
        self,
        predictor: Callable[[Tensor], Tensor] | None,
        segmentation_fn: Any,
        custom_segmentation: bool,
        image: Any,
        images_background: Any = None,
        p_sample: float = 0.5,
        n_covered_ex: int = 10,
        *,
        segmentation_kwargs: dict[str, Any] | None = None,
        fill: Any = "mean",
        fill_function: FillFunction | None = None,
        rng: np.random.Generator | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        segments: NDArray[np.integer] | None = None,
    ) -> None:
        if not 0 < p_sample < 1:
            raise ArgumentError(f"p_sample must be a probability in (0, 1), got {p_sample!r}.")
        self.predictor = predictor
        self.segmentation_fn = segmentation_fn
        self.segmentation_kwargs = None if custom_segmentation else segmentation_kwargs
        self.p_sample = p_sample
        self.n_covered_ex = n_covered_ex
        self.rng = np.random.default_rng() if rng is None else rng
        self.device, self.dtype, self.channels_last = torch.device(device), dtype, channels_last
        self.segments = self.generate_superpixels(image) if segments is None else np.asarray(segments)
        self.n_superpixels = int(self.segments.max()) + 1
        self._instance_label: Tensor | None = None
        pixels = to_chw(image).to(self.device)
        self._segments = torch.from_numpy(self.segments.astype(np.int64)).to(self.device)
        fill_function = fill_function or resolve_fill(fill, images_background)
        filled = fill_function(pixels, self._segments, self.rng)
        if not dtype.is_floating_point:
            range_ = torch.iinfo(dtype)
            pixels, filled = (rows.round().clamp(range_.min, range_.max) for rows in (pixels, filled))
        self.n_backgrounds = filled.shape[0]
        if self.n_backgrounds > _MOST_BACKGROUNDS:
            raise ArgumentError(
                f"images_background must have at most {_MOST_BACKGROUNDS} images, got {self.n_backgrounds}."
            )
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.image: Tensor = pixels[None].contiguous(memory_format=layout)  # (1, C, H, W)
        # (B, C, H, W). Many backgrounds are shared by all images of a size: no copy of them, rows gather theirs anyway.
        self.fill: Tensor = filled if self.n_backgrounds > 1 else filled.contiguous(memory_format=layout)

    # ------------------------------------------------------------------------------------------ for the engine

    def n_predicates(self, instance: Any = None) -> int:
        """Number of superpixels, K."""
        return self.n_superpixels

    def row_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.image.shape[1:])

    def empty(self, n: int) -> Shaped[Tensor, "rows channels height width"]:
        """Room for `n` rows."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        return torch.empty((n, *self.row_shape()), dtype=self.dtype, device=self.device, memory_format=layout)

    def space(self) -> SearchSpace:
        """The anchors of this image: coverage (1 - p)^size is exact, and so is the number of distinct rows."""
        return SearchSpace(
            n_predicates=self.n_superpixels,
            coverage=lambda anchor: (1 - self.p_sample) ** len(anchor),
            n_rows=lambda anchor: 2 ** (self.n_superpixels - len(anchor)) * self.n_backgrounds,
            shares_rows=True,
            p_keep=1 - self.p_sample,
        )

    def instance_code(self, instance: Any = None) -> UInt8[Tensor, "1 bytes"]:
        """The code of the image itself: every superpixel shown."""
        return self._codes(np.ones((1, self.n_superpixels), dtype=bool), np.zeros(1, dtype=np.uint16))

    def draw(self, orders: Sequence[Order]) -> list[Tensor]:
        """Codes (n, bytes) uint8 on the CPU of the masks of each order, from the order's own random stream.

        The bits are drawn on the host so that an explanation is the same on every device, and so that the number
        of rows not seen before is known without asking the device; everything larger than a bit is made there.
        """
        codes = []
        for order in orders:
            request = order.request
            if isinstance(request, EnumerateRequest):
                keep = every_mask(request.anchor, self.n_superpixels)
                codes.append(
                    self._codes(
                        np.repeat(keep, self.n_backgrounds, axis=0),
                        np.tile(np.arange(self.n_backgrounds, dtype=np.uint16), len(keep)),
                    )
                )
            else:
                codes.append(self._draw(request, order.rng))
        return codes

    def _draw(self, request: SampleRequest, rng: np.random.Generator) -> Tensor:
        keep = rng.random((request.n, self.n_superpixels), dtype=np.float32) >= self.p_sample
        keep[:, list(request.anchor)] = True
        if self.n_backgrounds == 1:
            return self._codes(keep, None)
        return self._codes(keep, rng.integers(self.n_backgrounds, size=request.n, dtype=np.uint16))

    def _codes(self, keep: NDArray[np.bool_], background: NDArray[np.uint16] | None) -> Tensor:
        """Packed masks and, where there are several backgrounds, the number of one; all alike where all is shown."""
        packed = pack(keep)
        if self.n_backgrounds == 1 or background is None:
            return torch.from_numpy(packed)
        background = np.where(keep.all(axis=1), 0, background).astype("<u2")
        return torch.from_numpy(np.hstack([packed, background[:, None].view(np.uint8)]))

    def keep(self, codes: UInt8[Tensor, "rows bytes"]) -> Bool[Tensor, "rows superpixels"]:
        """Which superpixels are shown in each row."""
        return unpack(codes, self.n_superpixels)

    def background(self, codes: UInt8[Tensor, "rows bytes"]) -> Int[Tensor, " rows"]:
        """The number of the background image of each row."""
        low, high = codes[:, -2].long(), codes[:, -1].long()
        return low + 256 * high

    def render(
        self,
        codes: UInt8[Tensor, "rows bytes"],
        out: Shaped[Tensor, "rows channels height width"] | None = None,
    ) -> Shaped[Tensor, "rows channels height width"]:
        """Rows (n, C, H, W) on the device: the image where the superpixel is kept, the fill elsewhere."""
        codes = codes.to(self.device, non_blocking=True)
        height, width = self._segments.shape
        keep = self.keep(codes).float()
        shown = torch.index_select(keep, 1, self._segments.flatten()).view(-1, 1, height, width)
        fill = self.fill if self.n_backgrounds == 1 else self.fill[self.background(codes)]
        if out is not None and out.dtype == self.image.dtype:
            return torch.lerp(fill, self.image, shown, out=out)
        # Interpolating is exact at weights 0 and 1, and several times faster than torch.where on a CPU.
        rows = torch.lerp(fill, self.image, shown)
        return rows.to(self.dtype) if out is None else out.copy_(rows)

    # --------------------------------------------------------------------------------------- for a user's eyes

    def generate_superpixels(self, image: Any) -> Int[np.ndarray, "height width"]:
        """Label map (H, W) of the image's superpixels, 0 .. K-1."""
        return segment(hwc(image), self.segmentation_fn, self.segmentation_kwargs)

    def perturbation(
        self, anchor: Anchor, num_samples: int
    ) -> tuple[Shaped[Tensor, "rows channels height width"], Bool[Tensor, "rows superpixels"]]:
        """`num_samples` perturbed images given `anchor`, and which superpixels each of them shows."""
        anchor = self._checked(anchor)
        (codes,) = self.draw([Order(SampleRequest(anchor, num_samples), self.rng)])
        return self.render(codes), self.keep(codes.to(self.device))

    def compare_labels(self, samples: Shaped[Tensor, "rows channels height width"]) -> Bool[Tensor, " rows"]:
        """Which of the images have the label of the explained image."""
        if self.predictor is None:
            raise ArgumentError("predictor must be given to compare labels, got None.")
        if self._instance_label is None:
            self._instance_label = self.predictor(self.render(self.instance_code()))
        return self.predictor(samples) == self._instance_label

    def __call__(self, anchor: tuple[int, Anchor], num_samples: int, compute_labels: bool = True) -> list[Any]:
        """Perturbed images of an anchor, sorted into hits and misses.

        Args:
            anchor: the position of the anchor in a list of requests, and the anchor itself.
            num_samples: how many images to draw.
            compute_labels: whether to predict them.

        Returns:
            ``[covered_true, covered_false, labels, data, coverage, position]``: up to `n_covered_ex` images that have
            the explained label and that do not, hits (n,), shown superpixels (n, K), the coverage of the anchor,
            and its position; or ``[data]`` alone without labels.
        """
        position, members = anchor
        rows, data = self.perturbation(members, num_samples)
        if not compute_labels:
            return [data]
        hits = self.compare_labels(rows)
        covered_true, covered_false = rows[hits][: self.n_covered_ex], rows[~hits][: self.n_covered_ex]
        return [covered_true, covered_false, hits, data, self.space().coverage(members), position]

    def _checked(self, anchor: Anchor) -> Anchor:
        if any(not 0 <= k < self.n_superpixels for k in anchor):
            raise ArgumentError(f"anchor must have superpixels 0 .. {self.n_superpixels - 1}, got {tuple(anchor)}.")
        return tuple(sorted(set(anchor)))
