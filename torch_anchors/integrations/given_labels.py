"""Explanations of a batch whose labels to explain are given one by one, as other libraries ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from torch_anchors._checks import said
from torch_anchors.errors import ArgumentError
from torch_anchors.explainer import Explainer
from torch_anchors.explanation import Explanation


def explain_given(explainer: Explainer[Any, Any], instances: Any, labels: Any = None, **question: Any) -> list[Any]:
    """The explanation of each instance for its own label; those of one label share their batches.

    Instances whose label is the model's own answer are explained together, whatever it is: most share one batch.

    Args:
        explainer: explains them.
        instances: an array, a tensor or a table, as `explain_batch` takes it.
        labels: numbers (N,), one number for all, or None for the model's own answers.
        **question: other parameters of `explain_batch`.

    Raises:
        ArgumentError: `labels` are no such numbers, or an argument of `explain_batch` cannot be used.
    """
    if labels is None:
        return explainer.explain_batch(instances, **question)  # type: ignore[attr-defined]
    wanted = checked_labels(labels, len(instances))
    own = explainer.predictor(instances)
    groups: dict[int | None, list[int]] = {}
    for i, (label, answer) in enumerate(zip(wanted.tolist(), own.tolist(), strict=True)):
        groups.setdefault(None if label == answer else label, []).append(i)
    found: dict[int, Explanation] = {}
    for label, members in groups.items():
        made = explainer.explain_batch(instances[members], label=label, **question)  # type: ignore[attr-defined]
        found.update(zip(members, made, strict=True))
    return [found[i] for i in range(len(instances))]


def checked_labels(labels: Any, n: int, name: str = "targets") -> np.ndarray:
    """A label (n,) for each of `n` instances, from one for all or one for each.

    Raises:
        ArgumentError: they are neither.
    """
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    whole = array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool((array == np.round(array)).all()))
    if not whole or array.size not in (1, n) or array.ndim > 1:
        got = f"{said(labels)}" if isinstance(labels, (int, str, Sequence)) else f"an array of shape {array.shape}"
        raise ArgumentError(f"{name} must be the number of a class, or one for each of the {n} inputs, got {got}.")
    return np.broadcast_to(array.reshape(-1).astype(np.int64), n)
