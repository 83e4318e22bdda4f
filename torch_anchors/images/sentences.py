"""What an explanation of an image says: one sentence after another, and the headline of its picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_anchors.search.protocol import NECESSARY, Status
from torch_anchors.words import listed

FEW = 8
"""Superpixels that are named one by one where they are not the anchor."""

if TYPE_CHECKING:
    from torch_anchors.images.explanation import ImageExplanation


def headline(explanation: ImageExplanation, label: str) -> str:
    """What was found, in one line, with the label as a picture calls it."""
    if not explanation.success and explanation.status is Status.ROW_BUDGET:
        return f"{label}: the row budget was spent before an anchor was certified"
    if not explanation.success:
        return f"{label}: no anchor reached the threshold of {explanation.threshold:g}"
    n, of_all = len(explanation.features), f"of {explanation.n_superpixels} superpixels"
    one = n == 1
    these = "this one" if one else f"these {n}"
    if explanation.question == NECESSARY:
        return (
            f"No longer {label}, once {these} {of_all} {'is' if one else 'are'} hidden"
            if n
            else f"No longer {label}, once superpixels are hidden at random"
        )
    return (
        f"{label}, as long as {these} {of_all} {'stays' if one else 'stay'} visible"
        if n
        else f"{label}, whatever is hidden"
    )


def first_sentence(explanation: ImageExplanation, precision: str) -> str:
    """What was found, given how sure that is in words."""
    necessary, n = explanation.question == NECESSARY, explanation.n_superpixels
    what = explanation.label_words
    if explanation.status is Status.EMPTY_HOLDS:
        return _on_empty(explanation, precision)
    if not explanation.features:
        found = f"change {what} while they are hidden: with none in particular hidden, the change" if necessary else ""
        found = found or f"keep {what}: without any, it"
        return f"No superpixels were found that {found} has {precision}."
    one = len(explanation.features) == 1
    these = f"superpixel{'' if one else 's'} {listed(explanation.features)} of {n} {'is' if one else 'are'}"
    does = f"hidden, the model answers something else than {what}" if necessary else f"shown, the model answers {what}"
    return (
        f"While {these} {does} with {precision}, whatever the other superpixels show; that covers "
        f"{100 * explanation.coverage:.3g} % of all perturbed images."
    )


def _on_empty(explanation: ImageExplanation, precision: str) -> str:
    """What it means that the empty anchor is enough."""
    what, n = explanation.label_words, explanation.n_superpixels
    params = explanation.meta.get("params", {})
    if explanation.question == NECESSARY:
        chance = f" (each with probability {params['p_sample']:g})" if "p_sample" in params else ""
        return (
            f"While superpixels are hidden at random{chance}, the model answers something else than {what} anyway, "
            f"with {precision}: none of the {n} needs to be hidden in particular. A smaller p_sample hides fewer at a "
            "time."
        )
    shown = f"whichever of the {n} superpixels are shown"
    first = f"The model answers {what} {shown}: no superpixel is needed, with {precision}."
    advice = (
        "Fills of the image's own colours may give it away; images_background with other pictures ask a harder "
        "question."
    )
    return first if params.get("images_background", False) else f"{first} {advice}"


def colours(explanation: ImageExplanation) -> str:
    """What the picture of several anchors shows; "" of one."""
    n = 1 + len(explanation.others)
    if n == 1:
        return ""
    does = "changes" if explanation.question == NECESSARY else "keeps"
    sure = f"{100 * (1 - explanation.delta):g} % confidence"
    return f"Each of the {n} anchors, in colours of their own, {does} the label by itself, with {sure} in all together."


def constraints(explanation: ImageExplanation) -> str:
    """Which superpixels always stayed visible and which no anchor may have; "" where there are none."""
    fixed, excluded = explanation.fixed, explanation.excluded
    said = []
    if fixed:
        said.append(f"{_these(fixed)} always {'stays' if len(fixed) == 1 else 'stay'} visible.")
    if excluded:
        said.append(f"{_these(excluded)} may not be in an anchor.")
    if len({*fixed, *excluded}) == explanation.n_superpixels:
        said.append("That leaves none for an anchor.")
    return " ".join(said)


def nearest_miss(explanation: ImageExplanation) -> str:
    """Which image with another label is nearest; "" where none was tried."""
    miss = explanation.nearest_miss
    if miss is None or (not miss.changed and explanation.answer != explanation.label):  # the image itself
        return ""
    n = len(miss.changed)
    hides = f"superpixel{'' if n == 1 else 's'} {listed(miss.changed)} alone" if n <= FEW else f"{n} superpixels"
    label = explanation.in_words(miss.label)
    return f"Of all images tried, the nearest one with another label hides {hides if n else 'none'}: {label}."


def remark(explanation: ImageExplanation) -> str:
    """Says so where the anchor is every superpixel that varies: the picture itself, or all that may change."""
    n_varying = explanation.n_superpixels - len(explanation.fixed)
    if not explanation.success or len(explanation.features) < n_varying:
        return ""
    all_of_them = "That is all of them" if not explanation.fixed else "That is all that were hidden at all"
    says = (
        "which says no more than that the model answers otherwise where all of it is hidden"
        if explanation.question == NECESSARY
        else "which says no more than that the model answers so for the picture itself"
    )
    return (
        f"{all_of_them}, {says}. Other superpixels (segmentation_fn, fewer n_segments) or another fill may tell more."
    )


def _these(superpixels: tuple[int, ...]) -> str:
    return f"Superpixel{'' if len(superpixels) == 1 else 's'} {listed(superpixels)}"
