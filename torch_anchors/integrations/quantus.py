"""Quantus: anchors as an explanation function that its metrics can judge.

Quantus (Hedström et al., JMLR 24, 2023) gives a model, a batch and labels to an ``explain_func``, and wants an array of
attributions back. It asks again for noisy inputs and for models with random weights.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from torch_anchors._checks import said
from torch_anchors._shapes import Float, Shaped
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.images.anchor_image import AnchorImage
from torch_anchors.integrations.given_labels import explain_given
from torch_anchors.search.choose import SEARCHES
from torch_anchors.tables.anchor_tabular import AnchorTabular


def explain_func(
    model: nn.Module,
    inputs: Shaped[np.ndarray, "inputs ..."],
    targets: Any = None,
    *,
    explainer: Any = None,
    kind: str = "order",
    method: str = "auto",
    device: torch.device | str | None = None,
    **question: Any,
) -> Float[np.ndarray, "inputs 1 height width"] | Float[np.ndarray, "inputs features"]:
    """Attributions of a batch, as Quantus asks for them; what else it is to do goes into ``explain_func_kwargs``.

    Args:
        model: reads a batch of inputs as they are.
        inputs: images (N, C, H, W), or rows of a table (N, features).
        targets: the labels (N,) to explain; None for the model's own answers.
        explainer: an `AnchorImage`, or an `AnchorTabular` that was fitted, whose settings (and training rows) are used
            to explain `model`; it stays as it is. None for `AnchorImage(model, seed=0)`; for rows there must be one.
        kind: "order", "marginal" or "member", as of `torch_anchors.ImageExplanation.attribution`. Where the numbers of
            an input are all equal, as "member" is for an empty anchor, they are replaced by those of "order", as
            Quantus refuses such inputs or divides by zero.
        method: the search. `quantus.evaluate` gives every function the name that its user gave the explanation; what is
            no search's name is taken as "auto".
        device: where rows are made, if there is no explainer; Quantus has moved the model there, and an explainer that
            has no device of its own follows it.
        **question: other parameters of `explain_batch`, such as `threshold`.

    Returns:
        Float32, (N, 1, H, W) for images and (N, features) for rows; each column of a one-hot block has the number of
        its feature.

    Raises:
        ArgumentError: an argument cannot be used.

    Example:
        >>> metrics = {"Pixel-Flipping": quantus.PixelFlipping()}  # doctest: +SKIP
        >>> quantus.evaluate(metrics, {"anchors": explain_func}, model, x_batch, y_batch,
        ...                  explain_func_kwargs={"explainer": explainer, "kind": "marginal"})  # doctest: +SKIP
    """
    batch = np.asarray(inputs)
    explaining = _explaining(model, batch, explainer, device)
    given = torch.from_numpy(batch) if isinstance(explaining, AnchorImage) else batch
    known = method if method in SEARCHES else "auto"
    explanations = explain_given(explaining, given, targets, method=known, **question)
    values = np.stack([_graded(explanation, kind) for explanation in explanations])
    if isinstance(explaining, AnchorImage):
        return values[:, None]
    n_categories, ohe = explaining.schema.n_categories, explaining.schema.ohe
    return np.repeat(values, [n or 1 for n in n_categories] if ohe else 1, axis=1)


def _explaining(
    model: nn.Module, batch: np.ndarray, explainer: Any, device: torch.device | str | None
) -> AnchorImage | AnchorTabular:
    """An explainer of this model and of such inputs, which shares nothing with the user's that either changes."""
    if explainer is not None and not isinstance(explainer, (AnchorImage, AnchorTabular)):
        raise ArgumentError(f"explainer must be an AnchorImage or an AnchorTabular, got {said(explainer)}.")
    if explainer is None:
        if batch.ndim != 4:
            raise ArgumentError(
                f"explainer must be given for inputs of shape {batch.shape}: an AnchorTabular, fitted, for rows of a "
                "table (N, features). Only images (N, C, H, W) are explained without one."
            )
        return AnchorImage(model, seed=0, device=device)
    is_image = isinstance(explainer, AnchorImage)
    if batch.ndim != (4 if is_image else 2):
        expected = "images (N, C, H, W)" if is_image else "rows (N, features)"
        raise ArgumentError(f"inputs must be {expected} for {type(explainer).__name__}, got the shape {batch.shape}.")
    if explainer.predictor.model is model:  # its labels of the training rows are known
        return explainer
    explaining: AnchorImage | AnchorTabular = copy.copy(explainer)
    explaining.reset_predictor(model)
    return explaining


def _graded(explanation: Explanation, kind: str) -> Float[np.ndarray, "..."]:
    """The attribution, or the ranking where all its numbers are equal."""
    values = explanation.attribution(kind)
    return explanation.attribution("order") if values.min() == values.max() else values
