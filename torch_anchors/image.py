"""AnchorImage: which superpixels of an image keep the model's answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_anchors import batching
from torch_anchors._shapes import Int, Shaped
from torch_anchors.engine.batch_size import BatchSize
from torch_anchors.engine.job import Job
from torch_anchors.engine.predictor import INVALID, Predictor
from torch_anchors.engine.runner import Runner
from torch_anchors.errors import ArgumentError, PredictorReturnTypeError
from torch_anchors.explanation import ImageExplanation
from torch_anchors.perturb.fills import resolve_fill
from torch_anchors.pixels import hwc, scale_image
from torch_anchors.preparation import ImagePreparer, PreparedImage
from torch_anchors.search.beam import beam_search
from torch_anchors.search.exact import exact_search
from torch_anchors.search.narrate import narrated
from torch_anchors.search.protocol import Search, SearchConfig, SearchSpace
from torch_anchors.settings import ExplainSettings

DEFAULT_META_ANCHOR: dict[str, Any] = {
    "name": None,
    "type": ["blackbox"],
    "explanations": ["local"],
    "params": {},
    "version": None,
}
"""Keys of `ImageExplanation.meta`, as in the reference."""

DEFAULT_DATA_ANCHOR_IMG: dict[str, Any] = {
    "anchor": [],
    "segments": None,
    "precision": None,
    "coverage": None,
    "raw": None,
}
"""Keys of `ImageExplanation.data`, as in the reference."""

EXACT_ROWS = 128
"""``method="auto"`` enumerates when there are at most this many distinct rows: sampling would take about as many."""

MOST_EXACT_ROWS = 1 << 22
"""``method="exact"`` refuses more rows than this; nobody waits for them."""


class AnchorImage:
    """Explains an image classifier: the superpixels that keep its answer, whatever the others show.

    Ribeiro, Singh and Guestrin, "Anchors: High-Precision Model-Agnostic Explanations" (AAAI 2018). The precision of
    a returned anchor is certified: the chance that it is below `threshold` is at most `delta`.

    Args:
        predictor: an ``nn.Module``, which gets (N, C, H, W) tensors on its device, in eval and inference mode, or a
            callable; see `Predictor`. A callable gets tensors too, or (N, H, W, C) arrays if `dtype` is a NumPy type.
        image_shape: (H, W, C) that images must have; None to take any.
        dtype: type of the values that the predictor gets, a torch dtype or a NumPy type.
        segmentation_fn: "slic", "felzenszwalb", "quickshift", "grid", "slic_torch", a callable from an image to a
            label map (H, W), or a ready label map.
        segmentation_kwargs: settings of a built-in segmentation, over `DEFAULT_SEGMENTATION_KWARGS`.
        images_background: images of which each perturbed row shows one in place of absent superpixels.
        seed: same seed, same explanation. None draws one from the system when the explainer is made.
        fill: what stands in for an absent superpixel without `images_background`: "mean" (its mean colour), "blur",
            "noise", "constant", a value, or a callable; see `torch_anchors.perturb.fills`.
        preprocess: from perturbed pixels to what the predictor takes, on the device, such as torchvision's
            ``weights.transforms()``. It gets rows of the image's own type: a uint8 image is perturbed in uint8.
        device: where rows are made; None for the module's device, or the CPU.
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

    def __init__(
        self,
        predictor: nn.Module | Callable[[Any], Any],
        image_shape: tuple[int, ...] | None = None,
        dtype: torch.dtype | type[np.generic] | np.dtype = torch.float32,
        segmentation_fn: str | Callable[[NDArray[Any]], Any] | NDArray[Any] | Tensor = "slic",
        segmentation_kwargs: dict[str, Any] | None = None,
        images_background: Any = None,
        seed: int | None = None,
        *,
        fill: str | float | Sequence[float] | Callable[..., Any] = "mean",
        preprocess: Callable[[Tensor], Tensor] | None = None,
        device: torch.device | str | None = None,
        max_rows: int | str = "auto",
        autocast: torch.dtype | None = None,
        channels_last: bool | None = None,
    ) -> None:
        if image_shape is not None and (not isinstance(image_shape, Sequence) or len(image_shape) not in (2, 3)):
            raise ArgumentError(f"image_shape must be (H, W, C), (H, W) or None, got {image_shape!r}.")
        self.image_shape = None if image_shape is None else tuple(image_shape)
        self.segmentation_fn = segmentation_fn
        self.segmentation_kwargs = segmentation_kwargs
        self.max_rows = max_rows
        self._fill = resolve_fill(fill, images_background)
        self._seed = batching.checked_seed(seed)
        self._wrap = partial(
            Predictor,
            dtype=dtype,
            device=device,
            preprocess=preprocess,
            autocast=autocast,
            channels_last=channels_last,
        )
        self.reset_predictor(predictor)
        self.meta: dict[str, Any] = {
            **DEFAULT_META_ANCHOR,
            "name": type(self).__name__,
            "version": batching.version(),
            "params": {
                "seed": seed,
                "image_shape": self.image_shape,
                "segmentation_fn": segmentation_fn if isinstance(segmentation_fn, str) else "custom",
                "segmentation_kwargs": segmentation_kwargs,
                "custom_segmentation": not isinstance(segmentation_fn, str),
                "images_background": images_background is not None,
                "fill": fill if isinstance(fill, (str, int, float)) else "custom",
                "max_rows": max_rows,
            },
        }

    @property
    def predictor(self) -> nn.Module | Callable[[Any], Any]:
        """The model that is explained, as it was given."""
        return self._predictor.model

    def reset_predictor(self, predictor: nn.Module | Callable[[Any], Any]) -> None:
        """Explains `predictor` from now on, with all other settings as they are."""
        self._predictor = self._wrap(predictor)
        self._batch_size = BatchSize(self.max_rows)

    def generate_superpixels(self, image: Any) -> Int[np.ndarray, "height width"]:
        """Label map (H, W) of the image's superpixels, 0 .. K-1."""
        return self._preparer().segment(image)

    def overlay_mask(
        self,
        image: Any,
        segments: Int[np.ndarray, "height width"],
        mask_features: Sequence[int],
        scale: tuple[float, float] = (0, 255),
    ) -> Shaped[np.ndarray, "height width *channels"]:
        """The image, scaled to `scale`, with only the superpixels `mask_features` shown and 0 elsewhere."""
        pixels = scale_image(hwc(image), scale)
        shown = np.isin(segments, np.asarray(mask_features, dtype=np.int64))
        return np.where(shown if pixels.ndim == 2 else shown[..., None], pixels, np.zeros_like(pixels))

    def explain(
        self,
        image: Any,
        p_sample: float = 0.5,
        threshold: float = 0.95,
        delta: float = 0.1,
        tau: float = 0.15,
        batch_size: int = 100,
        coverage_samples: int = 10000,
        beam_size: int = 1,
        stop_on_first: bool = False,
        max_anchor_size: int | None = None,
        min_samples_start: int = 100,
        n_covered_ex: int = 10,
        binary_cache_size: int = 10000,
        cache_margin: int = 1000,
        verbose: bool = False,
        verbose_every: int = 1,
        *,
        method: str = "auto",
        label: int | str | None = None,
        max_rows_total: int | None = None,
        progress: bool = False,
    ) -> ImageExplanation:
        """The explanation of one image.

        Args:
            image: (C, H, W) tensor, (H, W, C) or (H, W) array, or PIL image; uint8 or floating point.
            p_sample: probability that a superpixel outside the anchor is absent, in (0, 1).
            threshold: the precision that the anchor must reach, in (0, 1].
            progress: show a progress bar.

        The other parameters are those of `ExplainSettings`, where they are documented.

        Raises:
            ArgumentError: an argument cannot be used.
            PredictorCallError, PredictorReturnTypeError: the predictor failed, or returned no labels.
        """
        settings = ExplainSettings(
            threshold=threshold,
            delta=delta,
            tau=tau,
            batch_size=batch_size,
            coverage_samples=coverage_samples,
            beam_size=beam_size,
            stop_on_first=stop_on_first,
            max_anchor_size=max_anchor_size,
            min_samples_start=min_samples_start,
            n_covered_ex=n_covered_ex,
            binary_cache_size=binary_cache_size,
            cache_margin=cache_margin,
            verbose=verbose,
            verbose_every=verbose_every,
            method=method,
            label=label,
            max_rows_total=max_rows_total,
        )
        return batching.collected(self._explained([image], p_sample, settings, progress, total=1, n_workers=0))[0]

    def explain_batch(
        self,
        images: Iterable[Any],
        p_sample: float = 0.5,
        *,
        progress: bool = False,
        n_workers: int | None = None,
        **settings: Any,
    ) -> list[ImageExplanation]:
        """The explanations of `images`, in their order; each is what `explain` gives for the image alone.

        The rows of all images share the forward passes, so that the batches are full. If the work is interrupted,
        by an error or from the keyboard, the explanations finished so far are the exception's ``finished``, a list, and
        ``finished_later``, those behind an image that was not finished, by the image's number.

        Args:
            images: images as for `explain`, of any sizes; a tensor (N, C, H, W) or an array (N, H, W, C) too.
            p_sample: as for `explain`.
            progress: show a progress bar, with images and model rows a second and how full the batches are.
            n_workers: threads that decode and segment images ahead of the model; 0 for none, None for 4 beside a
                GPU and none on a CPU, which the model keeps busy.
            **settings: any other parameter of `explain`, by name.
        """
        return batching.collected(
            self.explain_iter(images, p_sample, progress=progress, n_workers=n_workers, **settings)
        )

    def explain_iter(
        self,
        images: Iterable[Any],
        p_sample: float = 0.5,
        *,
        progress: bool = False,
        n_workers: int | None = None,
        **settings: Any,
    ) -> Iterator[ImageExplanation]:
        """The explanations of `images`, in their order, each as soon as it is ready, in bounded memory.

        Args:
            images: any iterable of images as for `explain`, or of (image, target) pairs, or a ``DataLoader`` of
                batches of either. It is read a little ahead of the explanations.
            p_sample, progress, n_workers, **settings: as for `explain_batch`.
        """
        if n_workers is None:
            n_workers = 0 if self._predictor.device.type == "cpu" else 4
        total = len(images) if isinstance(images, (Sequence, np.ndarray, Tensor)) else None
        single = batching.instances_of(images)
        return self._explained(single, p_sample, ExplainSettings.of(settings), progress, total, n_workers)

    def _explained(
        self,
        images: Iterable[Any],
        p_sample: float,
        settings: ExplainSettings,
        progress: bool,
        total: int | None,
        n_workers: int,
    ) -> Iterator[ImageExplanation]:
        prepare = self._preparer()
        prepared = batching.ahead(images, partial(prepare, p_sample=p_sample), chunk=prepare.chunk, n_workers=n_workers)
        jobs = (self._job(one, settings) for one in prepared)
        runner = Runner(self._predictor, self._batch_size)
        return batching.in_order(runner, jobs, self._explanations, progress=progress, total=total, unit="image")

    def _preparer(self) -> ImagePreparer:
        return ImagePreparer(
            self._predictor,
            self.segmentation_fn,
            self.segmentation_kwargs,
            self._fill,
            self.image_shape,
            self._seed,
        )

    def _job(self, prepared: PreparedImage, settings: ExplainSettings) -> Job:
        config = settings.config(self._predictor.device)
        search = _search(prepared.sampler.space(), config, settings.method)
        return Job(
            search=narrated(search, batching.say, settings.verbose_every) if settings.verbose else search,
            sampler=prepared.sampler,
            rng=prepared.sampler.rng,
            label=None if settings.label is None else self._predictor.label_of(settings.label),
            n_examples=settings.n_covered_ex,
            tag=(prepared, settings),
        )

    def _explanations(self, jobs: Sequence[Job]) -> Iterator[ImageExplanation]:
        return map(self._explanation, jobs)

    def _explanation(self, job: Job) -> ImageExplanation:
        number, (prepared, settings) = job.tag
        sampler, (result, examples) = prepared.sampler, job.found
        if job.explained_label == INVALID:
            raise PredictorReturnTypeError(
                f"The predictor returned NaN for the image itself (number {number} of those given, from 0); there is "
                "no label to explain. Leave it out, or pass the label to explain."
            )
        return ImageExplanation(
            features=result.anchor,
            names=tuple(f"superpixel {k}" for k in result.anchor),
            precision=result.precision,
            precision_interval=result.precision_interval,
            coverage=result.coverage,
            status=result.status,
            label=job.explained_label,
            label_name=self._predictor.name_of(job.explained_label),
            threshold=settings.threshold,
            delta=settings.delta,
            n_rows=job.n_rows,
            n_calls=job.n_calls,
            seconds=job.seconds,
            path=result.path,
            meta={
                **self.meta,
                "params": {**self.meta["params"], "p_sample": sampler.p_sample, **settings.params()},
            },
            image=prepared.image,
            segments=sampler.segments,
            layout=prepared.layout,
            rows=prepared.example_rows(examples),
        )


def _search(space: SearchSpace, config: SearchConfig, method: str) -> Search:
    """The search that `method` names; "auto" enumerates where that costs about as many rows as sampling."""
    n_rows = space.n_rows(()) or 0
    budget = MOST_EXACT_ROWS if config.max_rows_total is None else config.max_rows_total
    if method == "exact" and n_rows > budget:
        name = "max_rows_total" if config.max_rows_total is not None else "the limit of method='exact'"
        raise ArgumentError(
            f"method must be 'beam' or 'auto' for this image: 'exact' needs {n_rows:,} rows, more than {name} "
            f"({budget:,}). Use fewer superpixels or background images, or sample."
        )
    exact = method == "exact" or (method == "auto" and n_rows <= min(EXACT_ROWS, budget))
    return exact_search(space, config) if exact else beam_search(space, config)
