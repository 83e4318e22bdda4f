"""What a model returned, as the numbers or names in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Float
from torch_anchors.errors import PredictorReturnTypeError

_NAMES = ("logits", "probabilities", "probs", "scores", "out", "labels")
EXPECTED = (
    "The predictor must return logits or probabilities (N, classes), integer labels (N,), class names (N,) or one "
    "logit (N, 1)"
)
_OF_OBJECTS = " It looks like detections; pass target=SameObject() to explain one of the objects."


def unpacked(output: Any, tell: Callable[[str], None] = lambda doubt: None) -> Tensor | NDArray[Any]:
    """The tensor or array of scores or labels inside an output; class names as an object array of text.

    Args:
        output: as the model returned it: a tensor, an array, or these in a tuple, a mapping or an object with logits.
        tell: is told what is doubtful about that.

    Raises:
        PredictorReturnTypeError: there is nothing of the kind in it.
    """
    if isinstance(output, (tuple, list)) and output and isinstance(output[0], (Tensor, np.ndarray)):
        if isinstance(output, list) and _several_outputs(output):
            tell(
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
    remedy = " If it makes one row at a time, stack them." if hasattr(output, "__next__") else ""
    remedy = _OF_OBJECTS if is_detections(output) else remedy
    raise PredictorReturnTypeError(
        f"{EXPECTED}, as a tensor or an array, which may be in a tuple, mapping or object with logits; got "
        f"{_type_of(output)}. Wrap it so that it does, as in lambda x: model(x)[0].{remedy}"
    )


def numbers_of(output: Any, n: int, device: torch.device) -> Tensor:
    """The numbers in an output about `n` rows, (n, ...) on the device.

    Raises:
        PredictorReturnTypeError: there are none, or not one for each row.
    """
    found = unpacked(output)
    if isinstance(found, np.ndarray) and found.dtype.kind == "O":
        raise PredictorReturnTypeError("The predictor must return numbers for this target, and it returns class names.")
    numbers = as_tensor(found, device)
    require_rows(tuple(numbers.shape), n)
    return numbers.to(device)


def values_of(output: Any, n: int, device: torch.device) -> Float[Tensor, " rows"]:
    """The one number that a regression returns for each of `n` rows, (n,).

    Raises:
        PredictorReturnTypeError: there is more or less than one number for each row.
    """
    numbers = numbers_of(output, n, device)
    if numbers.numel() != n:
        raise PredictorReturnTypeError(
            f"The predictor must return one number per row for this target, (N,) or (N, 1), got shape "
            f"{tuple(numbers.shape)}. Wrap it so that it returns the one you mean, as in lambda x: model(x)[:, 0]."
        )
    values = numbers.reshape(n)
    return values if values.is_floating_point() else values.float()


def as_tensor(found: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """Numbers that can be compared, as a tensor where it is.

    Raises:
        PredictorReturnTypeError: a kind of tensor that cannot be read row by row.
    """
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
                f"{EXPECTED}, as real numbers in an ordinary tensor or array, got {what}. Wrap it, for example with "
                f"{remedy}."
            )
    if found.dtype in (torch.uint16, torch.uint32, torch.uint64):  # of which no largest can be taken
        return found.to(torch.int64)
    return found.float() if found.is_floating_point() and found.dtype.itemsize == 1 else found


def require_rows(shape: tuple[int, ...], n: int) -> None:
    """Raises a PredictorReturnTypeError unless an output of this shape is about `n` rows."""
    if not shape or shape[0] != n:
        raise PredictorReturnTypeError(
            f"The predictor must return one output per row: expected {n} rows, got shape {shape}. Wrap it so that it "
            "answers each row of a batch by itself, in the order of the rows."
        )


def is_detections(output: Any) -> bool:
    """Whether it is what detection models return: a list with a mapping of boxes for each row."""
    return isinstance(output, (list, tuple)) and bool(output) and all(
        isinstance(one, Mapping) and "boxes" in one for one in output
    )  # fmt: skip


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
        remedy = _OF_OBJECTS if is_detections(output.tolist()) else ""
        raise PredictorReturnTypeError(
            f"The predictor must return numbers (N, classes) or (N,), or class names (N,), got an array of "
            f"{output.dtype} with the shape {output.shape}. Wrap it so that it does, for example with .astype(float)."
            f"{remedy}"
        )
    if output.ndim == 1 and output.dtype.kind == "f" and np.array_equal(output, np.rint(output)):
        return output.astype(np.int64)
    return output


def _type_of(value: Any) -> str:
    """The type of a value in words; of a tuple or list with what is first in it."""
    name = type(value).__name__
    return f"{name} of {type(value[0]).__name__}" if isinstance(value, (tuple, list)) and value else name
