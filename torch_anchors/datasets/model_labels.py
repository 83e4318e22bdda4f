"""What a model says of the rows of a table, as a user gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._checks import said
from torch_anchors._shapes import Shaped
from torch_anchors.errors import ArgumentError

Labels = Callable[[Any], Any] | Sequence[Any] | NDArray[Any] | Tensor | None
"""One label for each row of a table, a function of the table that returns them, or None to ask the explained model."""


def model_labels(
    labels: Any, X: Any, n_rows: int, *, predict: Callable[[Any], Any] | None, named: bool
) -> Shaped[np.ndarray, " rows"]:
    """The model's labels of all rows of a table, of the kind that rules have.

    Args:
        labels: see `Labels`.
        X: the table.
        n_rows: how many rows it has.
        predict: asks the explained model; None if there is none to ask.
        named: whether labels are class names, and not numbers.

    Raises:
        ArgumentError: not one label for each row; numbers where the explained labels are names, or the reverse; or no
            model to ask.
    """
    if labels is None:
        if predict is None:
            raise ArgumentError(
                "labels must be given: the rules are of explanations that were pickled or loaded, and have no model to "
                "ask. AnchorTabular.predict gives them."
            )
        labels = predict
    given = labels(X) if callable(labels) else labels
    found = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if found.shape != (n_rows,):
        raise ArgumentError(f"labels must be one for each of the {n_rows:,} rows of X, got the shape {found.shape}.")
    wrong = [label for label in found.tolist() if not (isinstance(label, str) if named else _is_number(label))]
    if wrong:
        expected = "class names" if named else "numbers of classes"
        raise ArgumentError(f"labels must be {expected}, as the explained labels are, got {said(wrong[0])}.")
    return found


def _is_number(label: Any) -> bool:
    """Whether it is a whole number, of whatever type: 1.0 and True are 1."""
    return isinstance(label, Real) and float(label).is_integer()
