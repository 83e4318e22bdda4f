"""Images made ready for a search: everything that does not need the model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Shaped
from torch_anchors.engine.job import Case
from torch_anchors.engine.predictor import Predictor, require_in_range
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.images.fills import FillFunction
from torch_anchors.images.hierarchy import Superpixels
from torch_anchors.images.pixels import Layout, copied, hwc, to_chw
from torch_anchors.images.question import ImageContrast
from torch_anchors.images.regions import superpixels_of
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.images.segmentation import in_colour, segment, segment_batch, superpixels, unit_range
from torch_anchors.perturb.mask_sampler import check_p_sample
from torch_anchors.search.protocol import NECESSARY
from torch_anchors.seeds import stream

SEGMENTED_TOGETHER = 16
"""Images in one call of the batched segmentation: its working memory is several megabytes an image."""


_AS_WIDE = (torch.float32, torch.float64)
"""Types of rows that hold every pixel."""

LARGE = 4_000_000
"""Pixels of an image of which a hint says that it should be smaller."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageCase(Case):
    """An image with its superpixels, its fill and its random stream; and the superpixels that are fixed or excluded."""

    sampler: ImageSampler
    image: Any
    layout: Layout
    fixed: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()


@dataclass(slots=True)
class SizeHint:
    """Tells once that an image is much larger than what models look at."""

    told: bool = False

    def tell_of(self, height: int, width: int) -> None:
        """Warns of an image of this size, if it is large and the first such."""
        if height * width > LARGE and not self.told:
            self.told = True
            warnings.warn(
                f"An image of {height} x {width} pixels takes minutes to segment, and each perturbed copy is as large. "
                "Explain it at the size that the model looks at: resize it first, for example with "
                "skimage.transform.resize or, for a model of load_image_model, model.fit(image).",
                AnchorsWarning,
                stacklevel=2,
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
    size_hint: SizeHint

    @property
    def together(self) -> int:
        """How many images are best prepared in one call."""
        return SEGMENTED_TOGETHER if self._segments_together else 1

    @property
    def _segments_together(self) -> bool:
        return isinstance(self.segmentation_fn, str) and self.segmentation_fn == "slic_torch"

    def __call__(
        self, images: Sequence[Any], p_sample: float, contrast: ImageContrast | None = None
    ) -> list[ImageCase]:
        """The images, ready to be explained; each is what it would be alone."""
        check_p_sample(p_sample)
        contrast = ImageContrast() if contrast is None else contrast
        pixels = [to_chw(image) for image in images]
        for own in pixels:
            self._check_shape(*own.shape)
            self.size_hint.tell_of(*own.shape[1:])
        arrays = [hwc(image) for image in images]
        segmented = self._segmented(arrays, pixels)
        each = zip(images, arrays, pixels, segmented, strict=True)
        return [self._case(*one, p_sample, contrast) for one in each]

    def segment(self, image: Any) -> NDArray[np.int64]:
        """Label map (H, W) of one image."""
        return segment(hwc(image), self.segmentation_fn, self.segmentation_kwargs)

    def rows(self, images: Sequence[Any]) -> Shaped[Tensor, "images channels height width"]:
        """Images of one size as the rows that the predictor reads."""
        pixels = [to_chw(image, name="images") for image in images]
        if len({own.shape for own in pixels}) != 1:
            sizes = ", ".join(sorted({str(tuple(own.shape[1:])) for own in pixels})) or "no image"
            raise ArgumentError(
                f"images must be some, all of one size, got {sizes}. Ask about one at a time, images[:1]."
            )
        return torch.stack(pixels).to(self.predictor.device, self.row_dtype(Layout.of(images[0])))

    def _check_shape(self, channels: int, height: int, width: int) -> None:
        shapes = [(height, width, channels)] + [(height, width)] * (channels == 1)
        if self.image_shape is not None and self.image_shape not in shapes:
            raise ArgumentError(
                f"image must have the image_shape given to AnchorImage, {self.image_shape} (H, W, C), "
                f"got {(height, width, channels)}. Resize it, or leave image_shape=None to take any."
            )

    def _segmented(self, arrays: Sequence[NDArray[Any]], pixels: Sequence[Tensor]) -> list[Superpixels]:
        """The superpixels of the images; "slic_torch" makes those of one size together, on the predictor's device."""
        if not self._segments_together:
            return [superpixels(array, self.segmentation_fn, self.segmentation_kwargs) for array in arrays]
        by_size: dict[tuple[int, ...], list[int]] = {}
        for i, own in enumerate(pixels):
            by_size.setdefault(tuple(own.shape), []).append(i)
        labels: dict[int, NDArray[np.int64]] = {}
        for members in by_size.values():
            stacked = torch.stack([to_chw(in_colour(unit_range(arrays[i]))) for i in members])
            found = segment_batch(stacked.to(self.predictor.device), self.segmentation_kwargs).cpu().numpy()
            labels.update(zip(members, found, strict=True))
        return [superpixels(array, labels[i]) for i, array in enumerate(arrays)]  # checks and numbers the labels

    def _case(
        self,
        image: Any,
        array: NDArray[Any],
        pixels: Tensor,
        found: Superpixels,
        p_sample: float,
        contrast: ImageContrast,
    ) -> ImageCase:
        layout, segments = Layout.of(image), found.labels
        predictor = self.predictor
        row_dtype = self.row_dtype(layout)
        if row_dtype.is_floating_point and row_dtype not in _AS_WIDE:  # pixels are clipped to the range of integers
            require_in_range(pixels, row_dtype, "image")
        fixed, excluded = (
            superpixels_of(region, array, segments, name=name)
            for name, region in (("fixed", contrast.fixed), ("exclude", contrast.exclude))
        )
        if fixed and len(fixed) > segments.max():
            raise ArgumentError(f"fixed must leave a superpixel that may be hidden, got all {len(fixed)} of them.")
        rng = stream(self.seed, pixels.numpy().tobytes(), segments.tobytes())
        sampler = ImageSampler(
            pixels,
            segments,
            self.fill,
            rng=rng,
            p_sample=float(p_sample),
            fixed=fixed,
            exclude=excluded,
            hides=contrast.question == NECESSARY,
            levels=found.levels,
            repeatable=predictor.repeats,
            device=predictor.device,
            dtype=row_dtype,
            channels_last=predictor.preprocess is None and predictor.memory_format is torch.channels_last,
        )
        if row_dtype is torch.float16 and isinstance(sampler.fill, Tensor):  # no other type has less range than pixels
            require_in_range(sampler.fill, row_dtype, "fill or images_background")
        as_array = not layout.is_tensor
        return ImageCase(
            sampler=sampler,
            rng=rng,
            changes=sampler.hides,
            as_array=as_array,
            image=copied(image),
            layout=layout,
            fixed=fixed,
            excluded=excluded,
        )

    def row_dtype(self, layout: Layout) -> torch.dtype:
        """Type of perturbed rows: what the predictor takes or, before `preprocess`, the image's own."""
        if self.predictor.preprocess is not None:
            return torch.uint8 if layout.in_bytes else torch.float32
        return self.predictor.row_dtype


def instances_of(images: Any) -> Iterator[Any]:
    """The single images of a data set or any iterable of images, of (image, target) pairs, or of batches of either."""
    single = isinstance(images, (np.ndarray, Tensor)) and images.ndim != 4
    if single or not (isinstance(images, Iterable) or hasattr(images, "__getitem__")):
        shape = f" of shape {tuple(images.shape)}" if single else ""
        raise ArgumentError(
            "images must be several: an iterable of images, a tensor (N, C, H, W) or an array (N, H, W, C), got "
            f"{type(images).__name__}{shape}. For one image call explain(image)."
        )
    return _unbatched(images)


def _unbatched(images: Any) -> Iterator[Any]:
    for item in images:
        first = item[0] if isinstance(item, (tuple, list)) and len(item) else item
        if getattr(first, "ndim", 0) == 4:
            yield from first
        else:
            yield first
