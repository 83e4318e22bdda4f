"""Images made ready for a search: everything that does not need the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors import batching
from torch_anchors.engine.job import Examples
from torch_anchors.engine.predictor import Predictor
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import ExampleRows
from torch_anchors.perturb.fills import FillFunction
from torch_anchors.perturb.image import AnchorImageSampler
from torch_anchors.perturb.segmentation import segment, segment_batch, unit_range
from torch_anchors.pixels import Layout, hwc, to_chw

SEGMENTED_TOGETHER = 16
"""Images in one call of the batched segmentation: its working memory is several megabytes an image."""


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """An image with its superpixels, its fill and its random stream."""

    image: Any
    layout: Layout
    sampler: AnchorImageSampler

    def example_rows(self, examples: Examples) -> ExampleRows:
        """What the examples are composed from; of several backgrounds, only those that they show."""
        sampler, codes = self.sampler, torch.from_numpy(examples.codes)
        used, background = np.zeros(1, dtype=np.int64), np.zeros(len(codes), dtype=np.int64)
        if sampler.n_backgrounds > 1 and len(codes):
            used, background = np.unique(sampler.background(codes).numpy(), return_inverse=True)
        return ExampleRows(
            pixels=sampler.image[0].cpu().numpy(),
            fill=sampler.fill[torch.from_numpy(used).to(sampler.device)].cpu().numpy(),
            keep=sampler.keep(codes).numpy(),
            background=background,
            labels=examples.labels,
            hits=examples.hits,
        )


@dataclass(frozen=True, slots=True)
class ImagePreparer:
    """Checks, segments and fills images, as `AnchorImage` was told to."""

    predictor: Predictor
    segmentation_fn: Any
    segmentation_kwargs: dict[str, Any] | None
    fill: FillFunction
    image_shape: tuple[int, ...] | None
    seed: int

    @property
    def chunk(self) -> int:
        """How many images are best prepared in one call."""
        return SEGMENTED_TOGETHER if self._segments_together else 1

    @property
    def _segments_together(self) -> bool:
        return isinstance(self.segmentation_fn, str) and self.segmentation_fn == "slic_torch"

    def __call__(self, images: Sequence[Any], p_sample: float) -> list[PreparedImage]:
        """The images, ready to be explained; each is what it would be alone."""
        pixels = [to_chw(image) for image in images]
        for own in pixels:
            self._check_shape(*own.shape)
        segmented = self._segmented(images, pixels)
        return [self._prepared(*one, p_sample) for one in zip(images, pixels, segmented, strict=True)]

    def segment(self, image: Any) -> NDArray[np.int64]:
        """Label map (H, W) of one image."""
        return segment(hwc(image), self.segmentation_fn, self.segmentation_kwargs)

    def _check_shape(self, channels: int, height: int, width: int) -> None:
        shapes = [(height, width, channels)] + [(height, width)] * (channels == 1)
        if self.image_shape is not None and self.image_shape not in shapes:
            raise ArgumentError(
                f"image must have the image_shape given to AnchorImage, {self.image_shape} (H, W, C), "
                f"got {(height, width, channels)}. Resize it, or leave image_shape=None to take any."
            )

    def _segmented(self, images: Sequence[Any], pixels: Sequence[Tensor]) -> list[NDArray[np.int64]]:
        """Label maps of the images; "slic_torch" makes those of one size together, on the predictor's device."""
        if not self._segments_together:
            return [self.segment(image) for image in images]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, own in enumerate(pixels):
            by_size.setdefault(tuple(own.shape), []).append(i)
        labels: dict[int, NDArray[np.int64]] = {}
        for members in by_size.values():
            stacked = torch.stack([to_chw(unit_range(hwc(images[i]))) for i in members])
            found = segment_batch(stacked.to(self.predictor.device), self.segmentation_kwargs).cpu().numpy()
            labels.update(zip(members, found, strict=True))
        return [segment(hwc(image), labels[i]) for i, image in enumerate(images)]  # checks and numbers the labels

    def _prepared(self, image: Any, pixels: Tensor, segments: NDArray[np.int64], p_sample: float) -> PreparedImage:
        layout = Layout.of(image)
        plain = self.predictor.preprocess is None
        sampler = AnchorImageSampler(
            self.predictor,
            segments,
            custom_segmentation=True,
            image=pixels,
            p_sample=p_sample,
            fill_function=self.fill,
            rng=batching.stream(self.seed, pixels.numpy().tobytes(), segments.tobytes()),
            device=self.predictor.device,
            dtype=self._row_dtype(layout),
            channels_last=plain and self.predictor.memory_format is torch.channels_last,
            segments=segments,
        )
        return PreparedImage(image, layout, sampler)

    def _row_dtype(self, layout: Layout) -> torch.dtype:
        """Type of perturbed rows: what the predictor takes or, before `preprocess`, the image's own."""
        if self.predictor.preprocess is not None:
            return torch.uint8 if str(layout.dtype).endswith("uint8") else torch.float32
        dtype = self.predictor.dtype
        return dtype if isinstance(dtype, torch.dtype) else torch.from_numpy(np.zeros(0, dtype=dtype)).dtype
