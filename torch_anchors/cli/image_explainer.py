"""The model and the explainer of pictures that the options describe."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_anchors.errors import ArgumentError
from torch_anchors.images.files import check_picture, pictures_in, read_picture

if TYPE_CHECKING:
    import torch

    from torch_anchors.images.anchor_image import AnchorImage
    from torch_anchors.models import LoadedModel

ENOUGH = 4
"""Times the size that the model takes: larger pictures are read at a fraction of their size."""


def device_of(name: str | None) -> torch.device:
    """The device of that name, or a GPU if there is one.

    Raises:
        ArgumentError: it cannot be used here.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device  # with its number, as a module's parameters have it
    except (RuntimeError, AssertionError) as error:  # as PyTorch says that it is not there
        reason = str(error).splitlines()[0]
        raise ArgumentError(f"--device {name} cannot be used here: {reason}") from error


def model_of(options: argparse.Namespace, device: torch.device) -> LoadedModel:
    """The model, with what the user knows better about its input and its classes."""
    from torch_anchors.models import load_image_model

    model = load_image_model(options.model, device=device, trust=options.trust)
    known: dict[str, Any] = {}
    if options.input_size:
        known["input_size"] = (options.input_size, options.input_size)
    if options.mean:
        known["mean"] = tuple(options.mean)
    if options.std:
        known["std"] = tuple(options.std)
    names = _class_names(options.class_names) if options.class_names else model.class_names
    preprocess = dataclasses.replace(model.preprocess, **known)
    return dataclasses.replace(model, preprocess=preprocess, class_names=names)


def enough_for(model: LoadedModel) -> int:
    """Length that the shorter side of a picture needs at most for the model."""
    preprocess = model.preprocess
    return ENOUGH * (preprocess.resize if preprocess.resize is not None else min(preprocess.input_size))


def explainer_of(options: argparse.Namespace, model: LoadedModel, device: torch.device) -> AnchorImage:
    """What explains pictures as the options say."""
    from torch_anchors.images.anchor_image import AnchorImage

    backgrounds = pictures_in(options.background) if options.background else []
    shown = [model.fit(read_picture(path, enough=enough_for(model))) for path in backgrounds]
    return AnchorImage(
        model.module,
        segmentation_fn=options.segments,
        segmentation_kwargs=_segmentation_settings(options.segments, options.n_segments),
        images_background=shown or None,
        seed=options.seed,
        fill="mean" if options.fill is None else options.fill,
        preprocess=model.preprocess,
        device=device,
        class_names=model.class_names,
        max_rows=options.max_rows,
    )


def checked_backgrounds(options: argparse.Namespace) -> list[Path]:
    """The pictures to show for hidden parts, after all that the options say of perturbed pictures was looked at.

    Raises:
        ArgumentError: an option cannot be used.
    """
    backgrounds = pictures_in(options.background) if options.background else []
    for path in backgrounds:
        check_picture(path)
    if backgrounds and options.fill is not None:
        raise ArgumentError("--fill and --background exclude each other: both say what hidden superpixels show")
    if options.std and not all(value > 0 for value in options.std):
        raise ArgumentError(f"--std must be numbers above 0, got {' '.join(map(str, options.std))}")
    _segmentation_settings(options.segments, options.n_segments)
    return backgrounds


def _class_names(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise ArgumentError(f"--class-names must be a text file in UTF-8, and {path} is not: {error}") from error


def _segmentation_settings(segments: str, n_segments: int | None) -> dict[str, int] | None:
    if n_segments is None:
        return None
    if segments == "grid":
        rows = max(1, round(math.sqrt(n_segments)))
        return {"rows": rows, "cols": math.ceil(n_segments / rows)}
    if segments in ("slic", "slic_torch", "hierarchy"):
        return {"n_segments": n_segments}
    raise ArgumentError(f"--n-segments is for slic, grid and hierarchy; {segments} finds out itself how many there are")
