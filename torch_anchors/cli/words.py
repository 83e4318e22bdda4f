"""Explanations as a few sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torch_anchors._shapes import Bool
from torch_anchors.explanation import Explanation
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.search.protocol import SUFFICIENT, Status
from torch_anchors.words import listed

_ALL = (
    " Those are all that there are to hide, which says no more than that it says so of the picture itself: other "
    "superpixels (--segments, --n-segments) or another --fill may tell more."
)
_MANY = 4  # superpixels of which each is worth saying where it is


def image_in_words(explanation: ImageExplanation, name: str) -> str:
    """What the model says of the picture, and what makes it say so."""
    label, takes = explanation.called(), explanation.is_about_classes
    says = f"The model takes {name} for {label}" if takes else f"For {name} the model answers {label}"
    return f"{says}. {_anchor(explanation) if is_plain(explanation) else explanation.found_in_words()}"


def is_plain(explanation: Explanation) -> bool:
    """Whether it is about what keeps the answer, and about one anchor."""
    return explanation.question == SUFFICIENT and explanation.params.get("n_anchors", 1) == 1


def cost_in_words(explanation: ImageExplanation, drawing: Path) -> str:
    """Where the explanation is drawn, and what it cost."""
    rows, calls, seconds = explanation.n_rows, explanation.n_calls, explanation.seconds
    return f"Drawn in {drawing}, after {rows} perturbed pictures in {calls} calls of the model and {seconds:.1f} s."


def _anchor(explanation: ImageExplanation) -> str:
    share = share_in_words(explanation)
    if explanation.success and not explanation.features:
        return (
            f"It says so in {share} of perturbed pictures whatever is hidden: no superpixel is needed, "
            "because what stands in for hidden ones is still like them. Hide more: with another --fill, or "
            "with --background and a folder of other pictures."
        )
    superpixels = _superpixels(explanation)
    if explanation.success:
        all_of_them = len(explanation.features) == explanation.n_superpixels - len(explanation.fixed)
        return f"It says so in {share} of perturbed pictures as long as {superpixels} visible.{_ALL * all_of_them}"
    reason = f"No anchor reached the threshold of {100 * explanation.threshold:g} %"
    if explanation.status is Status.ROW_BUDGET:
        reason = "The row budget was spent before an anchor was certified"
    return (
        f"{reason}. The best one found: in {share} of perturbed pictures it says so as long as {superpixels} "
        "visible. Try other superpixels (--segments, --n-segments), another --fill, or a lower --threshold."
    )


def share_in_words(explanation: Explanation) -> str:
    """The precision, and how sure it is: "98.1 % (95.2 to 99.6 % with 90 % confidence)"."""
    low, high = explanation.precision_interval
    share = f"{100 * explanation.precision:.1f} %"
    if low == high:
        return f"{share} (exactly)"
    confidence = f"{100 * (1 - explanation.delta):g} %"
    return f"{share} ({100 * low:.1f} to {100 * high:.1f} % with {confidence} confidence)"


def _superpixels(explanation: ImageExplanation) -> str:
    """Which superpixels they are, and the verb: "superpixels 3 (left) and 5 (top) of 9 stay"."""
    features, segments, n = explanation.features, explanation.segments, explanation.n_superpixels
    if not features:
        return "no superpixel need stay"
    if len(features) > _MANY:
        return f"{len(features)} of {n} superpixels ({100 * explanation.mask.mean():.0f} % of it) stay"
    places = listed([f"{feature} ({where(segments == feature)})" for feature in features])
    return f"superpixel {places} of {n} stays" if len(features) == 1 else f"superpixels {places} of {n} stay"


def where(mask: Bool[np.ndarray, "height width"]) -> str:
    """In which ninth of the picture the middle of the mask is, such as "upper left" or "centre"."""
    y, x = (float(np.mean(places) / size) for places, size in zip(np.nonzero(mask), mask.shape, strict=True))
    row = "upper" if y < 1 / 3 else "lower" if y > 2 / 3 else ""
    column = "left" if x < 1 / 3 else "right" if x > 2 / 3 else ""
    if row and column:
        return f"{row} {column}"
    return column or {"upper": "top", "lower": "bottom", "": "centre"}[row]
