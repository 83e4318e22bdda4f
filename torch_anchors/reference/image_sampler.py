"""Perturbed copies of an image, step by step, with the reference's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._checks import MOST, is_whole, said, whole
from torch_anchors._devices import named_device, require_present
from torch_anchors._shapes import Bool, Int, Shaped
from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import ArgumentError
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.pixels import hwc, to_chw
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.images.segmentation import segment
from torch_anchors.perturb.mask_sampler import check_p_sample
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import Anchor, SampleRequest

Images = Shaped[Tensor, "rows channels height width"] | Shaped[np.ndarray, "rows height width channels"]
"""Several images of one size."""


class AnchorImageSampler:
    """Draws perturbed copies of one image, as `AnchorImage` does, with a hand on each step.

    A superpixel of the anchor is always shown; each other one is shown with probability ``1 - p_sample``,
    independently, and replaced by the fill otherwise. With several background images one is drawn per row.

    Images are handed out and taken as the image is given: as arrays (N, H, W, C) of an array or a PIL image, with
    arrays of what goes with them, and as tensors (N, C, H, W) of a tensor.

    Args:
        predictor: a module, a function of such images, or a `torch_anchors.Predictor`, for `compare_labels` and calls
            of the sampler itself. None if only perturbations are wanted.
        segmentation_fn: a segmentation's name, a callable or a label map (H, W); see `segment`.
        custom_segmentation: whether `segmentation_fn` is the user's own, which `segmentation_kwargs` do not concern.
        image: (C, H, W) tensor, (H, W, C) or (H, W) array, or PIL image.
        images_background: images to show where superpixels are absent, instead of `fill`.
        p_sample: probability that a superpixel outside the anchor is absent, in (0, 1].
        n_covered_ex: how many examples of hits and of misses a call of the sampler returns.
        segmentation_kwargs: keyword arguments of a built-in segmentation.
        fill: what stands in for an absent superpixel; see `resolve_fill`.
        rng: source of all randomness of this image; a generator seeded from the system if None.
        device: where rows are made.
        dtype: what rows are made of. Values are rounded, and clipped to its range, when it is an integer type.
        channels_last: whether rows are laid out channels-last in memory.

    Attributes:
        segments: superpixel of each pixel (H, W), 0 .. K-1.
        n_superpixels: number of superpixels, K.
    """

    def __init__(
        self,
        predictor: Callable[[Any], Any] | None,
        segmentation_fn: Any,
        custom_segmentation: bool,
        image: Any,
        images_background: Any = None,
        p_sample: float = 0.5,
        n_covered_ex: int = 10,
        *,
        segmentation_kwargs: dict[str, Any] | None = None,
        fill: Any = "mean",
        rng: np.random.Generator | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        check_p_sample(p_sample)
        whole("n_covered_ex", n_covered_ex)
        require_present(named_device(device))
        self.predictor = predictor
        self.segmentation_fn = segmentation_fn
        self.segmentation_kwargs = None if custom_segmentation else segmentation_kwargs
        self.p_sample = p_sample
        self.n_covered_ex = n_covered_ex
        self.rng = np.random.default_rng() if rng is None else rng
        self.segments: NDArray[np.int64] = self.generate_superpixels(image)
        self._instance_label: Tensor | None = None
        self._as_array = not isinstance(image, Tensor)
        if predictor is not None:
            wrapped = predictor if isinstance(predictor, Predictor) else Predictor(predictor, dtype=None, device=device)
            self._labels = wrapped.taking(self._as_array)
        self._draws = ImageSampler(
            to_chw(image),
            self.segments,
            resolve_fill(fill, images_background),
            rng=self.rng,
            p_sample=p_sample,
            device=device,
            dtype=dtype,
            channels_last=channels_last,
        )
        self.n_superpixels = self._draws.n_predicates

    def generate_superpixels(self, image: Any) -> Int[np.ndarray, "height width"]:
        """Label map (H, W) of the image's superpixels, 0 .. K-1."""
        return segment(hwc(image), self.segmentation_fn, self.segmentation_kwargs)

    def perturbation(
        self, anchor: Anchor, num_samples: int
    ) -> tuple[Images, Bool[Tensor, "rows superpixels"] | Bool[np.ndarray, "rows superpixels"]]:
        """`num_samples` perturbed images given `anchor`, and which superpixels each of them shows."""
        anchor = self._checked(anchor)
        whole("num_samples", num_samples, most=MOST)
        (codes,) = self._draws.draw([Order(SampleRequest(anchor, num_samples), self.rng)])
        rows, keep = self._draws.render(codes), self._draws.keep(codes.to(self._draws.device))
        if not self._as_array:
            return rows, keep
        return np.ascontiguousarray(rows.movedim(1, -1).cpu().numpy()), keep.cpu().numpy()

    def compare_labels(self, samples: Images) -> Bool[Tensor, " rows"] | Bool[np.ndarray, " rows"]:
        """Which of the images have the label of the explained image."""
        if self.predictor is None:
            raise ArgumentError("predictor must be given to compare labels, got None.")
        if self._instance_label is None:
            self._instance_label = self._labels(self._draws.render(self._draws.instance_code()))
        if isinstance(samples, Tensor):
            return self._labels(samples) == self._instance_label
        rows = torch.from_numpy(np.moveaxis(samples, -1, 1).copy()).to(self._draws.device)
        return (self._labels(rows) == self._instance_label).cpu().numpy()

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
        return [covered_true, covered_false, hits, data, self._draws.space().coverage(members), position]

    def _checked(self, anchor: Anchor) -> Anchor:
        given = anchor if isinstance(anchor, Iterable) else [anchor]
        if not all(is_whole(k) and 0 <= k < self.n_superpixels for k in given):
            raise ArgumentError(f"anchor must have superpixels 0 .. {self.n_superpixels - 1}, got {said(anchor)}.")
        return tuple(sorted(set(given)))
