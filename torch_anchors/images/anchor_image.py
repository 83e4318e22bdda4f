"""AnchorImage: which superpixels of an image keep the model's answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_anchors._checks import is_whole, said
from torch_anchors._shapes import Int, Shaped
from torch_anchors.engine.digest import digest_of
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.runner import Finished
from torch_anchors.errors import AnchorsWarning, ArgumentError
from torch_anchors.explainer import Explainer
from torch_anchors.explanations import Explanations
from torch_anchors.found_anchor import FoundAnchor
from torch_anchors.images.batch_transforms import for_batches
from torch_anchors.images.cases import ImageCase, ImagePreparer, SizeHint, instances_of
from torch_anchors.images.examples import ExampleRows
from torch_anchors.images.explanation import ImageExplanation, superpixel_names
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.pixels import hwc, scale_image, to_chw
from torch_anchors.images.question import ImageQuestion, ImagesQuestion
from torch_anchors.search.protocol import SearchSpace
from torch_anchors.settings import ExplainSettings, takes


class AnchorImage(Explainer[ImageCase, ImageExplanation]):
    """Explains an image classifier: the superpixels that keep its answer, whatever the others show.

    Ribeiro, Singh and Guestrin, "Anchors: High-Precision Model-Agnostic Explanations" (AAAI 2018). The precision of
    a returned anchor is certified: the chance that it is below `threshold` is at most `delta`.

    Args:
        predictor: an ``nn.Module``, which gets (N, C, H, W) tensors on its device, in eval and inference mode, or a
            callable; see `Predictor`. A callable gets (N, H, W, C) arrays of an array or PIL image, and (N, C, H, W)
            tensors of a tensor or of what `preprocess` makes, unless `dtype` says which.
        image_shape: (H, W, C) that images must have; None to take any.
        dtype: type of the values that the predictor gets: a torch dtype, then always in tensors, or a NumPy type, then
            always in arrays. None for float32 in either, as above.
        segmentation_fn: "slic", "felzenszwalb", "quickshift", "grid", "slic_torch", "hierarchy", a callable from an
            image to a label map (H, W), or a ready label map. "hierarchy" cuts the image into about 8 superpixels,
            each of these into 4, and again: the search learns from the large ones where to look, and the anchor is one
            of the about 128 small ones, certified as of any segmentation.
        segmentation_kwargs: settings of a built-in segmentation, over `DEFAULT_SEGMENTATION_KWARGS`; of "hierarchy"
            these are `n_segments` (of the coarsest level, 8), `n_children` (4), `n_levels` (3), `compactness` (30) and
            `sigma` (0.5), see `torch_anchors.images.hierarchy`. Beside a callable or a label map they say nothing, of
            which a warning tells.
        images_background: images of which each perturbed row shows one in place of absent superpixels.
        seed: same seed, same explanation. None draws one from the system when the explainer is made.
        fill: what stands in for an absent superpixel without `images_background`: "mean" (its mean colour), "blur",
            "infill" (from what is shown around it), "noise", "constant", a value, or a callable; see
            `torch_anchors.images.fills`.
        preprocess: from perturbed pixels to what the predictor takes, on the device, such as torchvision's
            ``weights.transforms()``, transforms of its v2, or ``timm.data.create_transform(...)``; see `for_batches`.
            It gets rows of the image's own type: a uint8 image is perturbed in uint8.
        device: where rows are made; None for the module's device, or the CPU.
        class_names: what the classes are called, a name for each or by their numbers: in words, pictures and files.
        max_rows: rows of a forward pass; "auto" finds the fastest size during the first batches.
        autocast: dtype of ``torch.autocast`` around the predictor; None for none.
        channels_last: memory format of the rows; None to follow the module's own convolution weights.

    Raises:
        ArgumentError: an argument cannot be used; the message says which, and what to do.

    Example:
        >>> explainer = AnchorImage(lambda x: (x[:, 0, :4].mean((1, 2)) > 0.5).long(), seed=0, segmentation_fn="grid",
        ...                         segmentation_kwargs={"rows": 2, "cols": 2}, fill=0.0)
        >>> explainer.explain(torch.ones(3, 8, 8)).features
        (0, 1)
    """

    unit = "image"

    def __init__(
        self,
        predictor: nn.Module | Callable[[Any], Any],
        image_shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | type | np.dtype | None = None,
        segmentation_fn: str | Callable[[NDArray[Any]], Any] | NDArray[Any] | Tensor = "slic",
        segmentation_kwargs: dict[str, Any] | None = None,
        images_background: Any = None,
        seed: int | None = None,
        *,
        fill: str | float | Sequence[float] | Callable[..., Any] = "mean",
        preprocess: Callable[[Tensor], Tensor] | None = None,
        device: torch.device | str | None = None,
        class_names: Sequence[str] | Mapping[int, str] | None = None,
        max_rows: int | str = "auto",
        autocast: torch.dtype | None = None,
        channels_last: bool | None = None,
    ) -> None:
        sizes = isinstance(image_shape, Sequence) and all(is_whole(size) and size > 0 for size in image_shape)
        if image_shape is not None and not (sizes and len(image_shape) in (2, 3)):
            raise ArgumentError(f"image_shape must be (H, W, C), (H, W) or None, got {said(image_shape)}.")
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.segmentation_fn = segmentation_fn
        self.segmentation_kwargs = segmentation_kwargs
        if segmentation_kwargs and not isinstance(segmentation_fn, str):
            self.segmentation_kwargs = None
            warnings.warn(
                "segmentation_kwargs are for the built-in segmentations; they are ignored beside a segmentation_fn "
                "of your own. Bind them to your function with functools.partial.",
                AnchorsWarning,
                stacklevel=2,
            )
        self._size_hint = SizeHint()
        self._fill = resolve_fill(fill, images_background)
        super().__init__(
            predictor,
            wrap=partial(
                Predictor,
                dtype=dtype,
                device=device,
                preprocess=for_batches(preprocess),
                autocast=autocast,
                channels_last=channels_last,
                check_repeats=True,
                class_names=class_names,
            ),
            max_rows=max_rows,
            seed=seed,
            params={
                "image_shape": self.image_shape,
                "segmentation_fn": segmentation_fn if isinstance(segmentation_fn, str) else "custom",
                "segmentation_kwargs": segmentation_kwargs,
                "custom_segmentation": not isinstance(segmentation_fn, str),
                "images_background": images_background is not None,
                "fill": fill if isinstance(fill, (str, int, float)) else "custom",
            },
        )

    def generate_superpixels(self, image: Any) -> Int[np.ndarray, "height width"]:
        """Label map (H, W) of the image's superpixels, 0 .. K-1."""
        return self._preparer().segment(image)

    def overlay_mask(
        self,
        image: Any,
        segments: Int[np.ndarray, "height width"],
        mask_features: Sequence[int],
        scale: tuple[int | float, int | float] = (0, 255),
    ) -> Shaped[np.ndarray, "height width *channels"]:
        """The image, scaled to `scale`, with only the superpixels `mask_features` shown and 0 elsewhere.

        On a scale of bytes, such as 0..255, pixels are bytes, and on another one floats, as ``imshow`` wants them.
        """
        pixels = scale_image(hwc(image), scale)
        if scale[0] >= 0 and 1 < scale[1] <= 255:
            pixels = np.rint(pixels).astype(np.uint8)
        if np.shape(segments) != pixels.shape[:2]:
            raise ArgumentError(
                f"segments must be a label map of the image's {pixels.shape[:2]} pixels, got {np.shape(segments)}."
            )
        try:
            features = np.asarray(mask_features, dtype=np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(f"mask_features must be numbers of superpixels, got {said(mask_features)}.") from error
        shown = np.isin(segments, features)
        return np.where(shown if pixels.ndim == 2 else shown[..., None], pixels, np.zeros_like(pixels))

    @takes(ImageQuestion)
    def explain(self, question: ImageQuestion) -> ImageExplanation:
        """The explanation of one image.

        Raises:
            ArgumentError: an argument cannot be used.
            PredictorCallError, PredictorReturnTypeError: the predictor failed, or returned no labels.
        """
        return self.explain_one(question.image, question)

    @takes(ImagesQuestion)
    def explain_batch(self, question: ImagesQuestion) -> Explanations[ImageExplanation]:
        """The explanations of `images`, in their order; each is what `explain` gives for the image alone.

        The rows of all images share the forward passes, so that the batches are full. If the work is interrupted, by an
        error or from the keyboard, all finished explanations are the exception's ``finished``, by the image's number.
        """
        return self.explain_many(question.images, question)

    @takes(ImagesQuestion)
    def explain_iter(self, question: ImagesQuestion) -> Iterator[ImageExplanation]:
        """The explanations of `images`, in their order, each as soon as it is ready, in bounded memory.

        The images are read a little ahead of the explanations.
        """
        return self.explain_each(question.images, question)

    # ------------------------------------------------------------------------------------------------- the wing

    @property
    def together(self) -> int:  # type: ignore[override]
        """How many images are best made ready in one call of `cases`."""
        return self._preparer().together

    def instances(self, given: Any) -> tuple[Iterator[Any], int | None]:
        """The single images of `given`, and how many they are if that is known."""
        total = len(given) if isinstance(given, (Sequence, np.ndarray, Tensor)) else None
        return instances_of(given), total

    def cases(self, instances: Sequence[Any], question: ImageQuestion | ImagesQuestion) -> list[ImageCase]:
        """The images, checked, segmented and filled."""
        return self._preparer()(instances, question.p_sample, question)

    def spaces(
        self, cases: Sequence[ImageCase], labels: Sequence[int | None], settings: ExplainSettings
    ) -> list[SearchSpace]:
        """All sets of superpixels of each image."""
        return [case.sampler.space() for case in cases]

    def explanations(
        self, finished: Sequence[Finished[ImageCase]], settings: ExplainSettings
    ) -> Iterator[ImageExplanation]:
        """What was found for each image."""
        for one in finished:
            one, case = one.renumbered(one.case.sampler.numbers), one.case
            result, miss = one.found.result, one.found.nearest_miss
            segments = case.sampler.segments
            examples = one.found.examples.followed_by(miss, hit=case.changes)
            yield ImageExplanation(
                **self.common(one, settings),
                names=superpixel_names(result),
                others=tuple(FoundAnchor.of(other, superpixel_names(other)) for other in result.others),
                fixed=case.fixed,
                excluded=case.excluded,
                image=case.image,
                label_map=segments.astype(np.min_scalar_type(int(segments.max()))),
                layout=case.layout,
                rows=ExampleRows.of(
                    examples,
                    case.sampler,
                    in_bytes=case.layout.in_bytes,
                    labels=self._predictor.outputs.all_shown(examples.labels),
                    has_nearest=miss is not None,
                ),
            )

    def row_of(self, explanation: ImageExplanation) -> Tensor:
        """The explained image as a row (1, C, H, W)."""
        dtype = self._preparer().row_dtype(explanation.layout)
        return to_chw(explanation.image)[None].to(self._predictor.device, dtype)

    def rows_of(self, instances: Any) -> Tensor:
        """Several images of one size as rows (N, C, H, W)."""
        return self._preparer().rows(list(instances_of(instances)))

    def predictor_of(self, explanation: ImageExplanation) -> Predictor:
        """The predictor, given arrays or tensors as the image is."""
        return self._predictor.taking(not explanation.layout.is_tensor)

    def digests(self) -> dict[str, str]:
        """As of every explainer, with the superpixels and the fill."""
        return {
            **super().digests(),
            "segmentation_fn": digest_of(self.segmentation_fn),
            "fill": digest_of(self._fill),
            "autocast": str(self._predictor.autocast),
        }

    def _preparer(self) -> ImagePreparer:
        return ImagePreparer(
            self._predictor,
            self.segmentation_fn,
            self.segmentation_kwargs,
            self._fill,
            self.image_shape,
            self._seed,
            self._size_hint,
        )
