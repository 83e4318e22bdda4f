"""What is read from a model's output: a label for each row.

Where an output may mean something else than is read from it, a warning says so once. That is judged by the values of
the first rows only, so that a device is not waited for later; what its type and shape tell costs nothing and is an
error where no label can be meant. So which rows have an error never depends on what else is in their batch.
"""

from __future__ import annotations

import difflib
import hashlib
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._locks import Lock
from torch_anchors._shapes import Int, Shaped
from torch_anchors.engine.reading import Reading
from torch_anchors.engine.score_values import ONE_LABEL, ScoreValues
from torch_anchors.errors import (
    AnchorsError,
    AnchorsWarning,
    ArgumentError,
    PredictorCallError,
    PredictorReturnTypeError,
    words_of,
)
from torch_anchors.targets.raw_output import EXPECTED, as_tensor, require_rows, unpacked
from torch_anchors.targets.target import ARGMAX, Argmax, Comparison, Function, Labelling, Target

INVALID = torch.iinfo(torch.int64).min
"""Label of a row for which the predictor returned NaN; it never agrees with an explained label.

No user's own label: outlier detectors return -1.
"""


class Outputs:
    """Labels of rows from a predictor's outputs, and the classes there are as far as they have shown.

    Args:
        device: where labels are wanted.
        target: what is asked of an output.
        may_wait: whether the device may be waited for during the first rows, to look at their values.

    Attributes:
        n_classes: number of classes, once an output had an axis of them; 2 for one logit. None for a predictor that
            returns labels.
    """

    def __init__(self, device: torch.device, target: Target = ARGMAX, *, may_wait: bool = True) -> None:
        self.target = target
        self.n_classes: int | None = None
        self._device = device
        self._may_wait = may_wait
        self._names: dict[int, str] = {}  # by code
        self._kind = ""
        self._told: set[str] = set()
        self._values = ScoreValues()
        self._lock = Lock()

    def read(self, output: Any, n: int) -> Reading:
        """What the target reads of `n` rows, on the device; the label is `INVALID` where scores have a NaN.

        Raises:
            PredictorReturnTypeError: the output has no labels; the message says what it should be and how to wrap the
                predictor.
            PredictorCallError: the target, a user's function, raised.
        """
        if isinstance(self.target, Comparison):
            answers = self.target.answers(output, n, self._device)
            self._must_be("answers")
            return Reading(torch.zeros(n, dtype=torch.int64, device=self._device), answers=answers)
        found = unpacked(self._asked(output, n), self._tell)
        if isinstance(found, np.ndarray) and found.dtype.kind == "O":
            require_rows(found.shape, n)
            self._must_be("class names")
            return Reading(self._codes(found))
        scores = as_tensor(found, self._device)
        require_rows(tuple(scores.shape), n)
        is_float = scores.dtype.is_floating_point
        if not is_float and (scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1)):
            self._must_be("labels")
            return Reading(scores.reshape(n).to(self._device, torch.int64))
        if scores.ndim != 2 or scores.shape[1] == 0:
            raise PredictorReturnTypeError(_no_labels(scores))
        self._must_be("scores")
        self._must_have(scores.shape[1])
        self._judge(scores)
        if scores.shape[1] == 1:
            largest = scores[:, 0]
            label = (largest > 0).to(torch.int64)
        else:
            largest, label = (scores.byte() if scores.dtype == torch.bool else scores).max(dim=1)
        label.masked_fill_(largest.isnan(), INVALID)  # NaN is taken for the largest
        return Reading(label.to(self._device), scores.to(self._device) if is_float else None)

    def labels(self, output: Any, n: int) -> Int[Tensor, " rows"]:
        """The labels alone; see `read`."""
        return self.read(output, n).labels

    def _asked(self, output: Any, n: int) -> Any:
        """What the target makes of an output."""
        assert isinstance(self.target, Labelling)
        try:
            return self.target.labels(output, n, self._device)
        except AnchorsError:
            raise
        except Exception as error:
            raise PredictorCallError(
                f"The target raised {words_of(error)} (called with the predictor's output, "
                f"{type(output).__name__}{f' of shape {tuple(output.shape)}' if hasattr(output, 'shape') else ''})."
            ) from error

    # --------------------------------------------------------------------------------------------- labels and names

    @property
    def known(self) -> bool:
        """Whether the predictor has returned anything, so that the kind of its labels is known."""
        return bool(self._kind)

    @property
    def are_probabilities(self) -> bool:
        """Whether scores are probabilities of the classes, by the first of them; logits otherwise."""
        return self._values.are_probabilities

    @property
    def names(self) -> tuple[str, ...]:
        """The class names that the predictor has returned so far, sorted."""
        return tuple(sorted(self._names.values()))

    def code_of(self, name: str) -> int:
        """The number of a class name: a digest of it, so that it is the same in any order, thread and process."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % (1 << 52)

    def name_of(self, label: int) -> str | None:
        """What the target, or the predictor where it returns class names, calls this label."""
        return self._names.get(label) or self.target.name_of(label)

    def shown(self, label: int) -> int | str:
        """A label as users know it: its class name if it has one, otherwise its number."""
        return self._names.get(label, label)

    def all_shown(self, labels: Int[np.ndarray, " rows"]) -> Shaped[np.ndarray, " rows"]:
        """Labels as users know them: class names if there are any, otherwise the numbers."""
        if not self._names:
            return labels
        shown = np.empty(len(labels), dtype=object)
        shown[:] = [self.shown(label) for label in labels.tolist()]
        return shown

    def checked(self, label: int | str) -> int:
        """The number of the label that a user means by its number or its name.

        A name that has not been returned yet may be one, and so may any number as long as there are labels only.

        Raises:
            ArgumentError: there is no such class among those that are known.
        """
        if isinstance(self.target, Comparison):
            raise ArgumentError(
                f"label must be None with target={self.target!r}, which explains what the predictor says of the "
                f"instance itself, got {label!r}."
            )
        if isinstance(label, str):
            numbers = [number for number, name in self.target.names.items() if name == label]
            if numbers:
                return numbers[0]
            if self.target.names:
                close = difflib.get_close_matches(label, self.target.names.values(), n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                raise ArgumentError(f"label must be a class by its number or name; none is called {label!r}.{hint}")
            if self._kind in ("scores", "labels"):
                classes = "" if self.n_classes is None else f", of classes 0 to {self.n_classes - 1}"
                raise ArgumentError(
                    f"label must be a number, as the predictor returns no class names but {self._kind}{classes}, got "
                    f"{label!r}."
                )
            return self.code_of(label)
        if self._kind == "class names":
            raise ArgumentError(
                f"label must be a class name, as the predictor returns names such as {', '.join(self.names[:10])}, got "
                f"{label}."
            )
        if self.n_classes is not None and not 0 <= label < self.n_classes:
            raise ArgumentError(f"label must be a class of the predictor, 0 to {self.n_classes - 1}, got {label}.")
        if self.known and not -(2**53) <= label <= 2**53:
            raise ArgumentError(f"label must be the number of a class, between -2**53 and 2**53, got {label}.")
        return int(label)

    def _codes(self, names: NDArray[np.object_]) -> Int[Tensor, " rows"]:
        code_of = {name: self.code_of(name) for name in set(names.tolist())}
        with self._lock:
            for name, code in code_of.items():
                if self._names.setdefault(code, name) != name:
                    raise PredictorReturnTypeError(
                        f"The predictor returned the class names {name!r} and {self._names[code]!r}, whose digests are "
                        "the same by a rare chance. Call one of them otherwise."
                    )
        return torch.tensor([code_of[name] for name in names.tolist()], dtype=torch.int64, device=self._device)

    # ------------------------------------------------------------------------------------------- what it may mean

    def _must_be(self, kind: str) -> None:
        """Remembers what kind of output the predictor has; another one later is an error."""
        if self._kind != kind:
            with self._lock:
                self._kind = self._kind or kind
            if self._kind != kind:
                raise PredictorReturnTypeError(
                    f"The predictor must return the same kind of output for every batch: it returned {self._kind} "
                    f"before and {kind} now. Wrap it so that it always returns one of them, such as {ONE_LABEL}."
                )

    def _must_have(self, n_columns: int) -> None:
        """Remembers the number of classes; another one later is an error."""
        n_classes = max(n_columns, 2)
        names = self.target.class_names if isinstance(self.target, Argmax) else None
        if isinstance(names, tuple) and len(names) != n_classes:
            raise ArgumentError(
                f"class_names must be one for each of the predictor's {n_classes} classes, got {len(names)}."
            )
        if self.n_classes != n_classes:
            with self._lock:
                self.n_classes = self.n_classes or n_classes
            if self.n_classes != n_classes:
                raise PredictorReturnTypeError(
                    f"The predictor must return as many classes for every batch: it returned {self.n_classes} before "
                    f"and {n_columns} columns now. Wrap it so that each class has its own column in all batches."
                )

    def _judge(self, scores: Shaped[Tensor, "rows columns"]) -> None:
        """Looks at the first scores, and tells once what is doubtful about them."""
        if self._values.enough or not (scores.device.type == "cpu" or self._may_wait):
            return
        with self._lock:
            self._values.add(scores)
            doubt = self._values.doubt
        if doubt and isinstance(self.target, (Argmax, Function)):
            self._tell(doubt)

    def _tell(self, doubt: str) -> None:
        with self._lock:
            if doubt in self._told:
                return
            self._told.add(doubt)
        warnings.warn(doubt, AnchorsWarning, stacklevel=3)


def _no_labels(scores: Tensor) -> str:
    remedy = f"Wrap it so that it does, for example with {ONE_LABEL}."
    if scores.ndim == 1:
        remedy = (
            "If these are the values of a regression, say what counts as the same answer: target=Within(tolerance) or "
            "target=Between(low, high). If they are probabilities of one label, pass target=Between(low=0.5)."
        )
    if scores.ndim == 4:
        remedy += " If it is a segmentation, pass target=MaskOverlap()."
    return f"{EXPECTED}; got shape {tuple(scores.shape)} of {scores.dtype}. {remedy}"
