"""Targets of models that find regions in images: the same object, the same mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from torch_anchors._checks import between, flag, whole
from torch_anchors._shapes import Float, Int
from torch_anchors.errors import PredictorReturnTypeError
from torch_anchors.targets.raw_output import is_detections, numbers_of
from torch_anchors.targets.target import Comparison, OfClasses

MOST_OBJECTS = 100
"""Detected objects of a row that are looked at, those with the best scores."""


@dataclass(frozen=True)
class SameObject(OfClasses, Comparison):
    """A detection model still finds the object: one of the same class that overlaps it enough.

    Args:
        iou: least intersection over union of the two boxes, in (0, 1].
        score: least score of a detection that counts, in [0, 1].
        index: which object of the instance is explained, by the order of the scores; 0 is the surest.
        as_list: whether the model takes a list of tensors (C, H, W), as those of torchvision do, not one (N, C, H, W).
        class_names: what the classes are called; None for the explainer's.

    The model returns a list with a mapping for each row: ``boxes`` (M, 4) as x1, y1, x2, y2 in pixels, ``labels`` (M,)
    and ``scores`` (M,).
    """

    iou: float | int = 0.5
    score: float | int = 0.5
    index: int = 0
    as_list: bool = True

    no_answer: ClassVar[str] = (
        "The predictor finds no such object in the {unit} itself, so there is nothing to explain. A lower score, or "
        "another index, in target=SameObject(...) may name one."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        between("iou", self.iou, "a share", closed="most")
        between("score", self.score, "a score", closed="both")
        whole("index", self.index, most=MOST_OBJECTS - 1)
        flag("as_list", self.as_list)

    def answers(self, output: Any, n: int, device: torch.device) -> Float[Tensor, "rows objects 6"]:
        """Box, class and score of each object, the surest first; NaN where there are fewer."""
        if not is_detections(output) or len(output) != n:
            got = f"{len(output)} of them" if is_detections(output) else type(output).__name__
            raise PredictorReturnTypeError(
                f"The predictor must return a list of {n} mappings with boxes, labels and scores for "
                f"target=SameObject, as torchvision's detection models do, got {got}."
            )
        try:
            found = [_objects(one, device) for one in output]
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise PredictorReturnTypeError(
                "The predictor must return boxes (M, 4), labels (M,) and scores (M,) for each row with "
                f"target=SameObject, and they cannot be put together: {error!r}."
            ) from error
        room = torch.zeros(MOST_OBJECTS, 6, device=device)  # so that every batch has the same width
        padded = pad_sequence([room, *found], batch_first=True, padding_value=torch.nan)[1:]
        surest = padded[..., 5].nan_to_num(-torch.inf).argsort(dim=1, descending=True, stable=True)[:, :MOST_OBJECTS]
        return padded.gather(1, surest[..., None].expand(-1, -1, 6))

    def explained(self, answers: Float[Tensor, "1 objects 6"]) -> Float[Tensor, "1 6"]:
        wanted = answers[:, self.index]
        return torch.where(wanted[:, 5:] >= self.score, wanted, torch.nan)

    def agreement(
        self, answers: Float[Tensor, "rows objects 6"], explained: Float[Tensor, "rows 6"]
    ) -> Float[Tensor, " rows"]:
        """The largest overlap with an object of the same class, less `iou`."""
        own = explained[:, None]
        counts = (answers[..., 4] == own[..., 4]) & (answers[..., 5] >= self.score)
        overlaps = torch.where(counts, _iou(answers[..., :4], own[..., :4]), 0.0)
        found = overlaps.nan_to_num(0.0).amax(dim=1) - self.iou
        return torch.where(explained.isnan().any(dim=1), torch.nan, found)

    def name_of(self, label: int, explained: Float[Tensor, "1 6"] | None = None) -> str:
        if explained is None:
            return "the same object" if label == 1 else "no such object"
        about = self.said(explained)
        this = f"{self.class_name(about['class'])} in the box {', '.join(f'{edge:.0f}' for edge in about['box'])}"
        return this if label == 1 else f"no {this}"

    def said(self, explained: Float[Tensor, "1 6"]) -> dict[str, Any]:
        *box, label, score = (float(value) for value in explained[0])
        return {"box": box, **self.said_of(int(label)), "score": score}


@dataclass(frozen=True)
class MaskOverlap(OfClasses, Comparison):
    """A segmentation model still gives the class to the same pixels.

    Args:
        iou: least intersection over union of the two masks, in (0, 1].
        label: the class; None for the one with most pixels in the instance, the background (0) left aside.
        class_names: what the classes are called; None for the explainer's.

    The model returns scores (N, classes, H, W), alone or as ``out`` of a mapping, one score (N, 1, H, W) of which
    what is above 0 is class 1, or classes (N, H, W).
    """

    iou: float | int = 0.7
    label: int | None = None

    no_answer: ClassVar[str] = (
        "The predictor gives no pixel of the {unit} itself the class, so there is nothing to explain. Name another one "
        "with target=MaskOverlap(label=...)."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        between("iou", self.iou, "a share", closed="most")
        whole("label", self.label, or_none=True)

    def answers(self, output: Any, n: int, device: torch.device) -> Int[Tensor, "rows height width"]:
        """The class of each pixel; -1 where a score is NaN."""
        scores = numbers_of(output, n, device)
        if scores.ndim == 4:
            classes = (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(dim=1)
            if scores.is_floating_point():
                classes = torch.where(scores.isnan().any(dim=1), -1, classes)
        elif scores.ndim == 3 and not scores.is_floating_point():
            classes = scores.long()
        else:
            raise PredictorReturnTypeError(
                "The predictor must return scores (N, classes, H, W), or whole numbers of classes (N, H, W), for "
                f"target=MaskOverlap, got shape {tuple(scores.shape)} of {scores.dtype}."
            )
        return classes.to(torch.int32)

    def explained(self, answers: Int[Tensor, "1 height width"]) -> Int[Tensor, "1 height width"]:
        """The class, plus 1, of the pixels that have it; 0 for the others, and everywhere where none has it."""
        own = _most_frequent(answers.flatten()) if self.label is None else self.label
        return torch.where(answers == own, answers + 1, 0)

    def agreement(
        self, answers: Int[Tensor, "rows height width"], explained: Int[Tensor, "rows height width"]
    ) -> Float[Tensor, " rows"]:
        """The overlap of the two masks, less `iou`."""
        own = explained.flatten(1)
        label = own.amax(dim=1, keepdim=True)
        theirs, mine = answers.flatten(1) + 1 == label, own > 0
        both, either = (theirs & mine).sum(dim=1), (theirs | mine).sum(dim=1)
        found = both / either - self.iou
        nothing = (label[:, 0] == 0) | (answers.flatten(1) < 0).any(dim=1)
        return torch.where(nothing, torch.nan, found)

    def name_of(self, label: int, explained: Int[Tensor, "1 height width"] | None = None) -> str:
        if explained is None:
            return "the same region" if label == 1 else "another region"
        name = self.class_name(int(explained.max()) - 1)
        return f"{name} {'in the same region' if label == 1 else 'elsewhere or nowhere'}"

    def said(self, explained: Int[Tensor, "1 height width"]) -> dict[str, Any]:
        return {**self.said_of(int(explained.max()) - 1), "share": float((explained > 0).float().mean())}


def _objects(found: Any, device: torch.device) -> Float[Tensor, "objects 6"]:
    boxes, labels, scores = (torch.as_tensor(found[name]).to(device) for name in ("boxes", "labels", "scores"))
    return torch.cat([boxes.float().reshape(-1, 4), labels.float()[:, None], scores.float()[:, None]], dim=1)


def _most_frequent(classes: Int[Tensor, " pixels"]) -> Int[Tensor, ""]:
    """The class, above 0, of most pixels; below -1 where there is none. The device is not waited for."""
    # Every pixel of the background is a class of its own, which is never the most frequent one.
    alone = -2 - torch.arange(len(classes), dtype=classes.dtype, device=classes.device)
    return torch.where(classes > 0, classes, alone).mode().values


def _iou(boxes: Float[Tensor, "rows objects 4"], own: Float[Tensor, "rows 1 4"]) -> Float[Tensor, "rows objects"]:
    """Intersection over union of the boxes of each row with its own one."""
    low, high = boxes[..., :2].maximum(own[..., :2]), boxes[..., 2:].minimum(own[..., 2:])
    both = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(dim=-1) for one in (boxes, own)]
    return both / (areas[0] + areas[1] - both)
