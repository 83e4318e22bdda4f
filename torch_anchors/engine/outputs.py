"""What is read from a model's output: a label for each row.

Where an output may mean something else than is read from it, a warning says so once. That is judged by the values of
the first rows only, so that a device is not waited for later; what its type and shape tell costs nothing and is an
error where no label can be meant. So which rows have an error never depends on what else is in their batch.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._locks import Lock
from torch_anchors._shapes import Int, Shaped
from torch_anchors.engine.reading import Reading
from torch_anchors.engine.score_values import ONE_LABEL, ScoreValues
from torch_anchors.errors import AnchorsWarning, ArgumentError, PredictorReturnTypeError

INVALID = torch.iinfo(torch.int64).min
"""Label of a row for which the predictor returned NaN; it never agrees with an explained label.

No user's own label: outlier detectors return -1. It is a power of two, which float32 holds exactly.
"""

_NAMES = ("logits", "probabilities", "probs", "scores", "out", "labels")
_EXPECTED = (
    "The predictor must return logits or probabilities (N, classes), integer labels (N,), class names (N,) or one "
    "logit (N, 1)"
)


class Outputs:
    """Labels of rows from a predictor's outputs, and the classes there are as far as they have shown.

    Args:
        device: where labels are wanted.
        may_wait: whether the device may be waited for during the first rows, to look at their values.

    Attributes:
        n_classes: number of classes, once an output had an axis of them; 2 for one logit. None for a predictor that
            returns labels.
    """

    def __init__(self, device: torch.device, *, may_wait: bool = True) -> None:
        self.n_classes: int | None = None
        self._device = device
        self._may_wait = may_wait
        self._names: dict[int, str] = {}  # by code
        self._kind = ""
        self._told: set[str] = set()
        self._values = ScoreValues()
        self._lock = Lock()

    def read(self, output: Any, n: int) -> Reading:
        """Labels and scores of `n` rows, on the device; the label is `INVALID` where scores have a NaN.

        Raises:
            PredictorReturnTypeError: the output has no labels; the message says what it should be and how to wrap the
                predictor.
        """
        found = self._unpacked(output)
        if isinstance(found, np.ndarray) and found.dtype.kind == "O":
            _require_rows(found.shape, n)
            self._must_be("class names")
            return Reading(self._codes(found))
        scores = _as_tensor(found, self._device)
        _require_rows(tuple(scores.shape), n)
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
            label = (scores[:, 0] > 0).to(torch.int64)
        else:
            label = (scores.byte() if scores.dtype == torch.bool else scores).argmax(dim=1)
        label = torch.where(scores.isnan().any(dim=1), INVALID, label).to(self._device)
        return Reading(label, scores.to(self._device) if is_float else None)

    def labels(self, output: Any, n: int) -> Int[Tensor, " rows"]:
        """The labels alone; see `read`."""
        return self.read(output, n).labels

    # --------------------------------------------------------------------------------------------- labels and names

    @property
    def known(self) -> bool:
        """Whether the predictor has returned anything, so that the kind of its labels is known."""
        return bool(self._kind)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names that the predictor has returned so far, sorted."""
        return tuple(sorted(self._names.values()))

    def code_of(self, name: str) -> int:
        """The number of a class name: a digest of it, so that it is the same in any order, thread and process."""
        n_bits = 24 if self._device.type == "mps" else 52  # numbers of a GPU of Apple's come back as float32
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % (1 << n_bits)

    def name_of(self, label: int) -> str | None:
        """The class name that has this number, if the predictor has returned it."""
        return self._names.get(label)

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
        if isinstance(label, str):
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
        if self.n_classes != n_classes:
            with self._lock:
                self.n_classes = self.n_classes or n_classes
            if self.n_classes != n_classes:
                raise PredictorReturnTypeError(
                    f"The predictor must return as many classes for every batch: it returned {self.n_classes} before "
                    f"and {n_columns} columns now. Wrap it so that each class has its own column in all batches."
                )

    def _judge(self, scores: Shaped[Tensor, "rows columns"]) -> None:
        """Tells once what is doubtful about scores, by the first of them."""
        if self._values.enough or not (scores.device.type == "cpu" or self._may_wait):
            return
        with self._lock:
            self._values.add(scores)
            doubt = self._values.doubt
        if doubt:
            self._tell(doubt)

    def _tell(self, doubt: str) -> None:
        with self._lock:
            if doubt in self._told:
                return
            self._told.add(doubt)
        warnings.warn(doubt, AnchorsWarning, stacklevel=3)

    def _unpacked(self, output: Any) -> Tensor | NDArray[Any]:
        """The tensor or array of scores or labels inside an output; class names as an object array of text."""
        if isinstance(output, (tuple, list)) and output and isinstance(output[0], (Tensor, np.ndarray)):
            if isinstance(output, list) and _several_outputs(output):
                self._tell(
                    f"The predictor returns a list of {len(output)} outputs of one shape, as models of several "
                    "targets do; the first is read. Wrap it so that it returns the one you mean, as in "
                    "lambda x: model(x)[0]."
                )
            output = output[0]
        elif isinstance(output, Mapping):
            output = _named(output)
        elif not isinstance(output, (Tensor, np.ndarray)) and hasattr(output, "logits"):
            output = output.logits
        if isinstance(output, Tensor):
            return output
        if isinstance(output, (np.ndarray, np.generic, list)) or hasattr(output, "__array__"):
            return _from_array(_array(output))
        remedy = "If it makes one row at a time, stack them." if hasattr(output, "__next__") else ""
        raise PredictorReturnTypeError(
            f"{_EXPECTED}, as a tensor or an array, which may be in a tuple, mapping or object with logits; got "
            f"{_type_of(output)}. Wrap it so that it does, as in lambda x: model(x)[0]. {remedy}".rstrip()
        )


def _several_outputs(outputs: Sequence[Any]) -> bool:
    """Whether a list has several matrices of one shape."""
    shapes = {tuple(getattr(one, "shape", ())) for one in outputs}
    return len(outputs) > 1 and len(shapes) == 1 and len(next(iter(shapes))) == 2


def _named(output: Mapping[Any, Any]) -> Any:
    """What a mapping has under a name that we know, or its only value."""
    named = [output[name] for name in _NAMES if name in output]
    if not named and len(output) != 1:
        raise PredictorReturnTypeError(
            f"The predictor returned a mapping without any of the keys {', '.join(_NAMES)}; it has "
            f"{', '.join(map(str, output)) or 'none'}. Wrap the predictor so that it returns the logits, as in "
            'lambda x: model(x)["name"].'
        )
    return named[0] if named else next(iter(output.values()))


def _array(output: Any) -> NDArray[Any]:
    try:
        return np.asarray(output)
    except Exception as error:  # of a ragged list, or of a foreign __array__
        raise PredictorReturnTypeError(
            f"The predictor must return one output of the same length per row; its {_type_of(output)} is no array: "
            f"{error}. Wrap it so that it returns an array (N, classes) or (N,)."
        ) from error


def _from_array(output: NDArray[Any]) -> NDArray[Any]:
    """Scores, labels, or class names as an object array of text; whole floats in one dimension are labels."""
    if output.ndim == 1 and output.dtype.kind in "OSU":
        values = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in output.tolist()]
        if values and all(isinstance(value, str) for value in values):
            names = np.empty(len(values), dtype=object)
            names[:] = [str(value) for value in values]
            return names
        if values and all(isinstance(value, Integral) for value in values):
            return np.array(values, dtype=np.int64)
    if output.dtype.kind not in "biufc":
        raise PredictorReturnTypeError(
            f"The predictor must return numbers (N, classes) or (N,), or class names (N,), got an array of "
            f"{output.dtype} with the shape {output.shape}. Wrap it so that it does, for example with .astype(float)."
        )
    if output.ndim == 1 and output.dtype.kind == "f" and np.array_equal(output, np.rint(output)):
        return output.astype(np.int64)
    return output


def _as_tensor(found: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """Numbers that can be compared, as a tensor where it is."""
    if isinstance(found, np.ndarray):
        native = found.astype(found.dtype.newbyteorder("="), copy=False)
        native = native.astype(np.float64) if native.dtype.kind == "f" and native.dtype.itemsize > 8 else native
        found = torch.from_numpy(np.require(native, requirements=["C", "W"]))
        if not (device.type == "mps" and found.dtype in (torch.float64, torch.complex128)):  # which it lacks
            found = found.to(device)
    for unreadable, what, remedy in (
        (found.is_nested, "a nested tensor, whose rows may differ in length", "torch.stack its rows"),
        (not found.is_nested and found.layout is not torch.strided, "a sparse tensor", "model(x).to_dense()"),
        (found.is_quantized, "a quantised tensor", "model(x).dequantize()"),
        (
            found.device.type == "meta" and device.type != "meta",
            "a meta tensor, which has no values",
            "model.to(x.device)",
        ),
        (found.is_complex(), f"a tensor of {found.dtype}", "model(x).abs()"),
    ):
        if unreadable:
            raise PredictorReturnTypeError(
                f"{_EXPECTED}, as real numbers in an ordinary tensor or array, got {what}. Wrap it, for example with "
                f"{remedy}."
            )
    if found.dtype in (torch.uint16, torch.uint32, torch.uint64):  # of which no largest can be taken
        return found.to(torch.int64)
    return found.float() if found.is_floating_point() and found.dtype.itemsize == 1 else found


def _require_rows(shape: tuple[int, ...], n: int) -> None:
    if not shape or shape[0] != n:
        raise PredictorReturnTypeError(
            f"The predictor must return one output per row: expected {n} rows, got shape {shape}. Wrap it so that it "
            "answers each row of a batch by itself, in the order of the rows."
        )


def _no_labels(scores: Tensor) -> str:
    remedy = f"for example with {ONE_LABEL}"
    if scores.ndim == 1:
        remedy = (
            "with .unsqueeze(1) if that is a logit, or as in lambda x: (model(x) > 0.5).long() if it is a probability, "
            "or a regression about which such a question is asked"
        )
    return f"{_EXPECTED}; got shape {tuple(scores.shape)} of {scores.dtype}. Wrap it so that it does, {remedy}."


def _type_of(value: Any) -> str:
    """The type of a value in words; of a tuple or list with what is first in it."""
    name = type(value).__name__
    return f"{name} of {type(value[0]).__name__}" if isinstance(value, (tuple, list)) and value else name
