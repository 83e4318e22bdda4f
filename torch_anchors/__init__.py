"""Anchor explanations of PyTorch models, certified, and batched on the model's device.

An anchor is a rule (superpixels that stay visible, or conditions on a table's row) such that the model almost always
gives the same answer while it holds. See `AnchorImage` and `AnchorTabular`.
"""

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
from torch_anchors.pixels import scale_image
from torch_anchors.search.protocol import Status, Step
from torch_anchors.settings import ExplainSettings

__all__ = [
    "DEFAULT_DATA_ANCHOR_IMG",
    "DEFAULT_META_ANCHOR",
    "DEFAULT_SEGMENTATION_KWARGS",
    "AnchorImage",
    "AnchorImageSampler",
    "AnchorsError",
    "AnchorsWarning",
    "ArgumentError",
    "Example",
    "ExplainSettings",
    "Explanation",
    "ImageExplanation",
    "NotFittedError",
    "Predictor",
    "PredictorCallError",
    "PredictorReturnTypeError",
    "Status",
    "Step",
    "scale_image",
]
