"""What is asked of an image: the parameters of the explainer's methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch_anchors.images.regions import region_words
from torch_anchors.perturb.mask_sampler import check_p_sample
from torch_anchors.settings import NO_SETTING, Contrast, ManyQuestion, OneQuestion


@dataclass(frozen=True)
class ImageContrast(Contrast):
    """What else may be asked of an image.

    Args:
        question: "sufficient" asks for the fewest superpixels that keep the label while they are shown, whatever the
            others show. "necessary" asks for the fewest that change it while they are hidden, each other one being
            hidden with probability `p_sample`.
        fixed: superpixels that are always shown, and so are in no anchor: their numbers; a region as a boolean mask
            (H, W), which means the superpixels of which more than half is in it; or a callable from an image (H, W, C)
            and its label map (H, W) to one of these, as images of several sizes need it.
        exclude: superpixels, in the same ways, that are shown or hidden like all others, but are in no anchor.
    """

    def parts_in_words(self, parts: Any) -> Any:
        """Numbers as they are; what tells a mask or a callable from others."""
        return region_words(parts)


@dataclass(frozen=True)
class _OneImage:
    """What `AnchorImage.explain` takes first.

    Args:
        image: (C, H, W) tensor, (H, W, C) or (H, W) array, or PIL image; bytes, other whole numbers or floating point.
            A PIL image is read in colour or, of mode "L", grey, its transparent parts white.
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
class ImageQuestion(ImageContrast, OneQuestion, _OneImage):
    """The parameters of `AnchorImage.explain`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_p_sample(self.p_sample)


@dataclass(frozen=True)
class ImagesQuestion(ImageContrast, ManyQuestion, _ManyImages):
    """The parameters of `AnchorImage.explain_batch` and `AnchorImage.explain_iter`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_p_sample(self.p_sample)
