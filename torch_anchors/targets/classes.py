"""Targets of classifiers: a class among the first, one label of several, the nearest text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torch_anchors._checks import is_number, said, whole
from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.errors import ArgumentError, PredictorReturnTypeError
from torch_anchors.targets.raw_output import numbers_of
from torch_anchors.targets.target import Comparison, Labelling, OfClasses


@dataclass(frozen=True)
class TopK(OfClasses, Comparison):
    """The instance's class is among the `k` with the largest scores.

    Args:
        k: how many classes count, at least 1 and fewer than there are.
        label: the class; None for the one with the instance's largest score.
        class_names: what the classes are called; None for the explainer's.

    Example:
        >>> target = TopK(2)
        >>> scores = torch.tensor([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [1.0, 2.0, 3.0]])
        >>> target.agreement(scores, target.explained(scores[:1]).expand(3))
        tensor([ 2.,  1., -1.])
    """

    k: int
    label: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("k", self.k, least=1)
        whole("label", self.label, or_none=True)

    def answers(self, output: Any, n: int, device: torch.device) -> Float[Tensor, "rows classes"]:
        scores = _scores(output, n, device, f"{self!r}")
        if scores.shape[1] <= max(self.k, self.label or 0):
            what = f"k={self.k}" if scores.shape[1] <= self.k else f"label={self.label}"
            raise ArgumentError(f"target must be about some of the predictor's {scores.shape[1]} classes, got {what}.")
        return scores

    def explained(self, answers: Float[Tensor, "1 classes"]) -> Int[Tensor, " 1"]:
        if self.label is not None:
            return torch.full_like(answers[:, 0], self.label, dtype=torch.int64)
        return answers.argmax(dim=1)

    def agreement(
        self, answers: Float[Tensor, "rows classes"], explained: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        """The score of the class less the k-th largest of the others."""
        place = explained[:, None]
        others = answers.scatter(1, place, -torch.inf).topk(self.k, dim=1).values[:, -1]
        found = answers.gather(1, place)[:, 0] - others
        return torch.where(answers.isnan().any(dim=1), torch.nan, found.nan_to_num())

    def name_of(self, label: int, explained: Int[Tensor, " 1"] | None = None) -> str:
        place = f"{'among' if label == 1 else 'not among'} its first {self.k}"
        return place if explained is None else f"{self.class_name(int(explained))} {place}"

    def said(self, explained: Int[Tensor, " 1"]) -> dict[str, Any]:
        return self.said_of(int(explained))


@dataclass(frozen=True)
class Bit(OfClasses, Labelling):
    """One label of a multi-label model holds: its score is above the threshold.

    Args:
        j: number of the label.
        threshold: of its score, in the units that the model returns: 0.5 for sigmoids, 0 for logits.
        class_names: what the labels are called; None for the explainer's.

    Example:
        >>> Bit(1).labels(torch.tensor([[0.9, 0.2], [0.1, 0.75]]), 2, torch.device("cpu"))
        tensor([[-0.3000],
                [ 0.2500]])
    """

    j: int
    threshold: float | int = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("j", self.j)
        if not is_number(self.threshold):
            raise ArgumentError(f"threshold must be a finite number, got {said(self.threshold)}.")

    def labels(self, output: Any, n: int, device: torch.device) -> Float[Tensor, "rows 1"]:
        scores = _scores(output, n, device, f"{self!r}")
        if self.j >= scores.shape[1]:
            raise ArgumentError(f"j must be one of the predictor's labels, 0 to {scores.shape[1] - 1}, got {self.j}.")
        return scores[:, self.j : self.j + 1] - self.threshold

    def name_of(self, label: int, explained: Tensor | None = None) -> str:
        return f"{'yes' if label == 1 else 'no'} for {self.class_name(self.j, 'label')}"


@dataclass(frozen=True, eq=False)
class NearestText(Labelling):
    """The text whose embedding is nearest to that of the image, by the cosine of their angle.

    Args:
        embeddings: of the texts, (C, D): a tensor or an array.
        texts: what explanations call them; None for their numbers.

    The model returns embeddings (N, D) of images, alone, or as ``image_embeds`` or ``pooler_output`` of an object.

    Example:
        >>> target = NearestText([[1.0, 0.0], [0.0, 2.0]], ["a cat", "a dog"])
        >>> target.labels(torch.tensor([[0.3, 0.4]]), 1, torch.device("cpu"))
        tensor([[0.6000, 0.8000]])
    """

    embeddings: Any
    texts: Sequence[str] | None = None
    _on_device: dict[torch.device, Tensor] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            texts = torch.as_tensor(self.embeddings).detach().float()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentError(f"embeddings must be numbers (C, D), got {said(self.embeddings)}.") from error
        if texts.ndim != 2 or len(texts) < 2 or not bool(texts.isfinite().all()):
            raise ArgumentError(
                f"embeddings must be finite numbers (C, D) of at least 2 texts, got shape {tuple(texts.shape)}."
            )
        if self.texts is not None and (isinstance(self.texts, str) or len(self.texts) != len(texts)):
            raise ArgumentError(f"texts must be one for each of the {len(texts)} embeddings, got {said(self.texts)}.")
        object.__setattr__(self, "embeddings", torch.nn.functional.normalize(texts, dim=1).cpu())
        object.__setattr__(self, "_on_device", {})

    def labels(self, output: Any, n: int, device: torch.device) -> Float[Tensor, "rows classes"]:
        for name in ("image_embeds", "pooler_output"):
            output = getattr(output, name, output)
        images = numbers_of(output, n, device).float()
        if images.ndim != 2 or images.shape[1] != self.embeddings.shape[1]:
            raise PredictorReturnTypeError(
                f"The predictor must return embeddings of images (N, {self.embeddings.shape[1]}), as those of the "
                f"texts are, got shape {tuple(images.shape)}. Pass the texts' embeddings of the same model."
            )
        on_device: dict[torch.device, Tensor] = self._on_device
        if device not in on_device:
            on_device[device] = self.embeddings.to(device)
        return torch.nn.functional.normalize(images, dim=1) @ on_device[device].T

    def name_of(self, label: int, explained: Tensor | None = None) -> str | None:
        if self.texts is None or not 0 <= label < len(self.texts):
            return None
        return str(self.texts[label])

    @property
    def names(self) -> Mapping[int, str]:
        return dict(enumerate(map(str, self.texts or ())))

    def __repr__(self) -> str:
        return f"NearestText({len(self.embeddings)} texts)"


def _scores(output: Any, n: int, device: torch.device, target: str) -> Shaped[Tensor, "rows columns"]:
    scores = numbers_of(output, n, device)
    if scores.ndim != 2:
        raise PredictorReturnTypeError(
            f"The predictor must return scores (N, classes) for target={target}, got shape {tuple(scores.shape)}."
        )
    return scores if scores.is_floating_point() else scores.float()
