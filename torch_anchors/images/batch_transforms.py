"""Transforms that were made for one picture of Pillow's, such as timm's, for batches of pixels on a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_anchors._shapes import Shaped


def for_batches(preprocess: Any) -> Any:
    """The same steps, of which those that make a tensor of a picture take a batch that is one already.

    Only a ``Compose`` of torchvision is looked into, as ``timm.data.create_transform`` makes it, and only steps are
    replaced with which it would fail on bytes: ``ToTensor``, ``PILToTensor``, and what passes tensors through ahead of
    a ``Normalize``, which takes no bytes. Anything else is given back as it is.

    Example:
        >>> from torchvision import transforms
        >>> steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
        >>> for_batches(steps)(torch.full((2, 1, 1, 1), 255, dtype=torch.uint8)).flatten()
        tensor([1., 1.])
    """
    if not _is_of("torchvision.transforms", "Compose", preprocess):
        return preprocess
    steps = list(preprocess.transforms)
    made = [_for_batches(step, after) for step, after in zip(steps, [*steps[1:], None], strict=True)]
    same = all(new is old for new, old in zip(made, steps, strict=True))
    return preprocess if same else type(preprocess)(made)


def unit_floats(pixels: Shaped[Tensor, "rows channels height width"]) -> Shaped[Tensor, "rows channels height width"]:
    """Bytes 0..255 as floats 0..1, all else as it is: what ``ToTensor`` does to the values of a picture."""
    return pixels.to(torch.get_default_dtype()).div_(255) if pixels.dtype == torch.uint8 else pixels


def as_it_is(pixels: Tensor) -> Tensor:
    """The pixels: what ``PILToTensor`` does to the values of a picture."""
    return pixels


def _for_batches(step: Any, after: Any) -> Callable[[Tensor], Tensor]:
    if _is_of("torchvision.transforms.transforms", "ToTensor", step):
        return unit_floats
    if _is_of("torchvision.transforms.transforms", "PILToTensor", step):
        return as_it_is
    passes_tensors = type(step).__name__ in ("ToTensor", "MaybeToTensor")  # v2's and timm's
    if passes_tensors and _is_of("torchvision.transforms", "Normalize", after):
        return unit_floats
    return for_batches(step)


def _is_of(package: str, name: str, thing: Any) -> bool:
    """Whether it is of a class of this name in a package, which need not be imported for that."""
    return type(thing).__name__ == name and type(thing).__module__.startswith(package)
