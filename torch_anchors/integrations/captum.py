"""captum: anchors as an attribution method, which captum's metrics take like its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_anchors._checks import is_number, said
from torch_anchors._extras import import_extra
from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.errors import ArgumentError
from torch_anchors.images.anchor_image import AnchorImage
from torch_anchors.integrations.given_labels import checked_labels, explain_given

Attribution: Any = import_extra("captum.attr", "captum").Attribution


class AnchorAttribution(Attribution):  # type: ignore[misc]
    """Attributions of a classifier's inputs by anchors: numbers for superpixels, or for the features of a mask.

    Args:
        forward_func: an ``nn.Module``, or a function of a batch of inputs that returns scores (N, classes) or labels.
        **settings: parameters of `AnchorImage`, such as `segmentation_fn`, `fill` and `max_rows`. The seed is 0 unless
            it is given, so that equal inputs have equal attributions.

    Example:
        >>> anchors = AnchorAttribution(model, segmentation_fn="grid")  # doctest: +SKIP
        >>> attributions = anchors.attribute(images, target=labels)  # doctest: +SKIP
        >>> captum.metrics.sensitivity_max(anchors.attribute, images, target=labels)  # doctest: +SKIP
    """

    def __init__(self, forward_func: nn.Module | Callable[..., Any], **settings: Any) -> None:
        super().__init__(forward_func)
        self._settings = {"seed": 0, **settings}

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        baselines: Any = None,
        feature_mask: Any = None,
        additional_forward_args: Any = None,
        kind: str = "marginal",
        **question: Any,
    ) -> Tensor | tuple[Tensor]:
        """A number for each value of the inputs, the same for all values of a feature and not divided by their number.

        Inputs (N, C, H, W) are images. Without a mask their features are superpixels. Other inputs, and images whose
        mask tells channels apart, are taken as rows of single values, each a feature unless a mask joins some.

        Args:
            inputs: a tensor (N, ...) in floating point; or a tuple of one such tensor, of which the result is one too.
            target: the number of the label to explain, one for all or a list or tensor (N,) of one for each input; None
                for the model's own answers.
            baselines: what hidden features show: a number, or a tensor that broadcasts to the inputs. None for the
                setting `fill` (by default a superpixel's mean colour) of images, and for 0 of other inputs.
            feature_mask: whole numbers that broadcast to the inputs; equal numbers are one feature. None as above.
            additional_forward_args: what else `forward_func` takes, the same for all rows: no tensors.
            kind: "marginal" (by default: effects on precision), "order" or "member"; see
                `torch_anchors.ImageExplanation.attribution`.
            **question: other parameters of `AnchorImage.explain_batch`, such as `threshold` and `method`.

        Returns:
            A tensor like the inputs: shape, type and device.

        Raises:
            ArgumentError: an argument cannot be used; the message says which, and what to do.
        """
        values = _only(inputs, "inputs")
        if values.ndim < 2 or not values.is_floating_point():
            raise ArgumentError(f"inputs must be floating point (N, ...), got {values.dtype} {tuple(values.shape)}.")
        values = values.detach()
        labels = None if target is None else checked_labels(target, len(values), "target")
        mask = None if feature_mask is None else _broadcast(feature_mask, values, "feature_mask")
        attributions = torch.empty_like(values)
        for members, own_mask, baseline in _alike(mask, _baselines(baselines, values), len(values)):
            view = _View.of(values, own_mask)
            explainer = self._explainer(view, own_mask, baseline, values.device, additional_forward_args)
            given = None if labels is None else labels[members]
            found = explain_given(explainer, view.images(values[members]), given, **question)
            numbers = np.stack([explanation.attribution(kind, "chw") for explanation in found])
            attributions[members] = torch.from_numpy(numbers).to(values).view(-1, *values.shape[1:])
        return (attributions,) if isinstance(inputs, tuple) else attributions

    def _explainer(
        self, view: _View, mask: Tensor | None, baseline: float | Tensor | None, device: torch.device, args: Any
    ) -> AnchorImage:
        """An explainer of inputs that share their mask and their baseline."""
        settings = {"device": device, **self._settings}
        if not isinstance(self.forward_func, nn.Module):
            settings = {"dtype": torch.float32, **settings}
        if (segments := view.segments(mask)) is not None:
            settings |= {"segmentation_fn": segments, "segmentation_kwargs": None}
        if isinstance(baseline, Tensor):
            settings |= {"images_background": view.images(baseline[None]), "fill": "mean"}
        elif baseline is not None or view.is_flat:
            settings |= {"fill": float(baseline or 0.0)}
        return AnchorImage(view.function(self.forward_func, _same_for_all(args)), **settings)


class _Viewed(nn.Module):
    """The model of inputs of a shape, as a model of what they are viewed as."""

    def __init__(self, function: Callable[..., Any], shape: tuple[int, ...], args: tuple[Any, ...]) -> None:
        super().__init__()
        self.function, self.shape, self.args = function, shape, args

    def forward(self, rows: Tensor) -> Any:
        return self.function(rows.reshape(-1, *self.shape), *self.args)


@dataclass(frozen=True, slots=True)
class _View:
    """Inputs of a shape (without N) as images: as they are or, `is_flat`, as a single line of grey pixels."""

    shape: tuple[int, ...]
    is_flat: bool

    @classmethod
    def of(cls, values: Tensor, mask: Tensor | None) -> _View:
        """As images what looks like some and has a mask, if any, that is the same in all channels."""
        shape = tuple(values.shape[1:])
        across = mask is None or (len(shape) == 3 and bool((mask == mask[:1]).all()))
        return cls(shape, not (len(shape) == 3 and across))

    def images(self, values: Float[Tensor, "inputs ..."]) -> Float[Tensor, "inputs channels height width"]:
        return values.reshape(len(values), 1, 1, -1) if self.is_flat else values

    def segments(self, mask: Int[Tensor, "..."] | None) -> Int[np.ndarray, "height width"] | None:
        """The feature of each pixel; None where that is for the explainer to find."""
        if mask is not None:
            return (mask.reshape(1, -1) if self.is_flat else mask[0]).cpu().numpy()
        return np.arange(int(np.prod(self.shape)))[None] if self.is_flat else None

    def function(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[..., Any]:
        return _Viewed(function, self.shape, args) if self.is_flat or args else function


def _only(given: Any, name: str) -> Tensor:
    """The one tensor that is given, alone or in a tuple."""
    one = given[0] if isinstance(given, tuple) and len(given) == 1 else given
    if not isinstance(one, Tensor):
        raise ArgumentError(f"{name} must be one tensor, or a tuple of one, got {said(given)}.")
    return one


def _broadcast(given: Any, values: Tensor, name: str) -> Shaped[Tensor, "..."]:
    """A tensor that is given for the inputs, of their shape or with 1 in place of N."""
    one = _only(given, name).to(values.device)
    n = one.shape[0] if one.ndim == values.ndim else 1
    try:
        return one.expand(n, *values.shape[1:])
    except RuntimeError:
        raise ArgumentError(
            f"{name} must broadcast to the inputs {tuple(values.shape)}, got the shape {tuple(one.shape)}."
        ) from None


def _baselines(given: Any, values: Tensor) -> float | Tensor | None:
    """What hidden features show: None, a number for all, or a tensor as `_broadcast` gives it."""
    one = given[0] if isinstance(given, tuple) and len(given) == 1 else given
    if one is None or is_number(one):
        return one
    return _broadcast(one, values, "baselines").to(values.dtype)


def _alike(
    mask: Tensor | None, baselines: float | Tensor | None, n: int
) -> list[tuple[list[int], Tensor | None, float | Tensor | None]]:
    """The inputs that have mask and baseline in common, by their numbers, with these."""

    def own(given: Any, i: int) -> Any:
        return given[i if len(given) > 1 else 0] if isinstance(given, Tensor) else given

    for given, name in ((mask, "feature_mask"), (baselines, "baselines")):
        if isinstance(given, Tensor) and len(given) not in (1, n):
            raise ArgumentError(f"{name} must be one for all inputs or one for each of the {n}, got {len(given)}.")
    groups: dict[bytes, list[int]] = {}
    for i in range(n):
        parts = [one.cpu().numpy().tobytes() for one in (own(mask, i), own(baselines, i)) if isinstance(one, Tensor)]
        groups.setdefault(b"|".join(parts), []).append(i)
    return [(members, own(mask, members[0]), own(baselines, members[0])) for members in groups.values()]


def _same_for_all(args: Any) -> tuple[Any, ...]:
    """What else the model is given with each batch of rows."""
    several = () if args is None else args if isinstance(args, tuple) else (args,)
    if any(isinstance(arg, Tensor) and arg.ndim for arg in several):
        raise ArgumentError(
            "additional_forward_args must be the same for all rows, got a tensor. Bind it to forward_func instead, "
            "for example with functools.partial."
        )
    return several
