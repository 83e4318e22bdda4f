"""Anchor explanations of PyTorch models, certified, and batched on the model's device.

An anchor is a rule (superpixels that stay visible, or conditions on a table's row) such that the model almost always
gives the same answer while it holds. See `AnchorImage` and `AnchorTabular`.

Names are imported when they are first used, so that the command line answers at once where PyTorch is not needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch_anchors.engine.predictor import Predictor
    from torch_anchors.errors import (
        AnchorsError,
        AnchorsWarning,
        ArgumentError,
        NotFittedError,
        PredictorCallError,
        PredictorReturnTypeError,
    )
    from torch_anchors.explanation import Example, Explanation, ImageExplanation
    from torch_anchors.image import DEFAULT_DATA_ANCHOR_IMG, DEFAULT_META_ANCHOR, AnchorImage
    from torch_anchors.perturb.image import AnchorImageSampler
    from torch_anchors.perturb.segmentation import DEFAULT_SEGMENTATION_KWARGS
    from torch_anchors.perturb.tabular_sampler import TabularSampler
    from torch_anchors.pixels import scale_image
    from torch_anchors.rule import Predicate, Rule
    from torch_anchors.search.protocol import Status, Step
    from torch_anchors.settings import ExplainSettings
    from torch_anchors.tabular import AnchorTabular
    from torch_anchors.tabular_explanation import TabularExplanation

_HOMES = {
    "engine.predictor": ("Predictor",),
    "errors": (
        "AnchorsError",
        "AnchorsWarning",
        "ArgumentError",
        "NotFittedError",
        "PredictorCallError",
        "PredictorReturnTypeError",
    ),
    "explanation": ("Example", "Explanation", "ImageExplanation"),
    "image": ("DEFAULT_DATA_ANCHOR_IMG", "DEFAULT_META_ANCHOR", "AnchorImage"),
    "perturb.image": ("AnchorImageSampler",),
    "perturb.segmentation": ("DEFAULT_SEGMENTATION_KWARGS",),
    "pixels": ("scale_image",),
    "rule": ("Predicate", "Rule"),
    "search.protocol": ("Status", "Step"),
    "settings": ("ExplainSettings",),
    "tabular": ("AnchorTabular",),
    "tabular_explanation": ("TabularExplanation",),
    "perturb.tabular_sampler": ("TabularSampler",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DEFAULT_DATA_ANCHOR_IMG",
    "DEFAULT_META_ANCHOR",
    "DEFAULT_SEGMENTATION_KWARGS",
    "AnchorImage",
    "AnchorImageSampler",
    "AnchorTabular",
    "AnchorsError",
    "AnchorsWarning",
    "ArgumentError",
    "Example",
    "ExplainSettings",
    "Explanation",
    "ImageExplanation",
    "NotFittedError",
    "Predicate",
    "Predictor",
    "PredictorCallError",
    "PredictorReturnTypeError",
    "Rule",
    "Status",
    "Step",
    "TabularExplanation",
    "TabularSampler",
    "scale_image",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
