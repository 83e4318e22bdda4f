"""What is asked of an image: the parameters of the explainer's methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch_anchors.perturb.mask_sampler import check_p_sample
from torch_anchors.settings import NO_SETTING, ManyQuestion, OneQuestion


@dataclass(frozen=True)
class _OneImage:
    """What `AnchorImage.explain` takes first.

    Args:
        image: (C, H, W) tensor, (H, W, C) or (H, W) array, or PIL image; bytes, other whole numbers or floating point.
        p_sample: probability that a superpixel outside the anchor is absent, in (0, 1].
    """

    image: Any = field(metadata=NO_SETTING)
    p_sample: float = 0.5


@dataclass(frozen=True)
class _ManyImages:
    """What `AnchorImage.explain_batch` and `explain_iter` take first.

    Args:
        images: any iterable of images as for `explain`, of any sizes, or of (image, target) pairs; a tensor
            (N, C, H, W) or an array (N, H, W, C); or a ``DataLoader`` of batches of either.
        p_sample: probability that a superpixel outside the anchor is absent, in (0, 1].
    """

    images: Any = field(metadata=NO_SETTING)
    p_sample: float = 0.5


@dataclass(frozen=True)
class ImageQuestion(OneQuestion, _OneImage):
    """The parameters of `AnchorImage.explain`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_p_sample(self.p_sample)


@dataclass(frozen=True)
class ImagesQuestion(ManyQuestion, _ManyImages):
    """The parameters of `AnchorImage.explain_batch` and `AnchorImage.explain_iter`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_p_sample(self.p_sample)
