"""Any user's model as one thing: rows on a device in, integer labels on the same device out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torch_anchors._locks import Lock
from torch_anchors._shapes import Int, Shaped
from torch_anchors.engine.eval_mode import eval_mode
from torch_anchors.engine.max_rows import is_out_of_memory
from torch_anchors.engine.repeats import RepeatCheck
from torch_anchors.errors import (
    AnchorsError,
    AnchorsWarning,
    ArgumentError,
    PredictorCallError,
    PredictorReturnTypeError,
)

logger = logging.getLogger(__name__)

INVALID = torch.iinfo(torch.int64).min
"""Label of a row for which the predictor returned NaN; it never agrees with an explained label.

No user's own label: outlier detectors return -1. It is a power of two, which float32 holds exactly.
"""

_ENOUGH_PROBABILITIES = 4
"""Rows of one column, all in [0, 1], that are taken for probabilities: one logit may be there by chance."""

_OUTPUT_NAMES = ("logits", "probabilities", "probs", "scores", "out", "labels")


class Predictor:
    """Labels of rows, whatever the user's model takes and returns.

    Args:
        model: an ``nn.Module``, called with tensors in eval and inference mode, or a callable. A callable gets
            tensors, or NumPy arrays when `dtype` is a NumPy type: images as (N, H, W, C), table rows as (N, features).
            It returns logits or probabilities (N, classes), integer labels (N,), one logit (N, 1), or these inside a
            tuple (its first item), a mapping or an object (its ``logits``). An array callable may also return class
            names (N,).
        dtype: what rows are cast to before the call. A torch dtype, or a NumPy type to be called with arrays.
        device: where rows live; None for the device of the module's parameters, or the CPU.
        preprocess: applied to the rows on the device before the cast.
        autocast: dtype of ``torch.autocast`` around the call, such as ``torch.bfloat16``; None for none.
        channels_last: memory format of image rows; None to follow the module's own convolution weights.
        check_repeats: whether some rows of the first batches are predicted twice, to learn whether the model repeats
            its answers; see `repeats`.

    Raises:
        ArgumentError: the model is not callable, or `device` is not where the module's parameters are.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Any], Any],
        *,
        dtype: torch.dtype | type[np.generic] | np.dtype = torch.float32,
        device: torch.device | str | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        autocast: torch.dtype | None = None,
        channels_last: bool | None = None,
        check_repeats: bool = False,
    ) -> None:
        if not callable(model):
            raise ArgumentError(
                f"predictor must be a torch.nn.Module or a callable, got {type(model).__name__}. "
                "For an object with a method, pass the method (for example model.predict_proba)."
            )
        if preprocess is not None and not callable(preprocess):
            raise ArgumentError(f"preprocess must be a callable or None, got {type(preprocess).__name__}.")
        self.model = model
        self.preprocess = preprocess
        self.autocast = autocast
        self.takes_arrays = not isinstance(dtype, torch.dtype)
        self.dtype: torch.dtype | np.dtype = dtype if isinstance(dtype, torch.dtype) else _numpy_dtype(dtype)
        if self.takes_arrays and isinstance(model, nn.Module):
            raise ArgumentError(
                f"dtype must be a torch dtype for an nn.Module, got {self.dtype!r}. Use for example torch.float32."
            )
        self.device = _device_of(model, device)
        self.memory_format = _memory_format(model, channels_last)
        self.class_names: list[Any] = []
        self._warned = False
        self._naming = Lock()
        self._repeat_check = RepeatCheck() if check_repeats else None
        # TorchScript that has run with gradients before cannot run in inference mode.
        modules = model.modules() if isinstance(model, nn.Module) else ()
        scripted = any(isinstance(module, torch.jit.ScriptModule) for module in modules)
        self._without_grad = torch.no_grad if scripted else torch.inference_mode

    @property
    def static_shapes(self) -> bool:
        """Whether batches should come in few sizes: kernels and compiled modules are chosen by shape."""
        return self.device.type != "cpu" or hasattr(self.model, "_orig_mod")

    @property
    def repeats(self) -> bool:
        """Whether equal rows get equal labels, as far as is known."""
        return self._repeat_check is None or self._repeat_check.repeats

    @property
    def row_dtype(self) -> torch.dtype:
        """Type of the rows that the model takes; of the tensors that its rows are made from, if it takes arrays."""
        return self.dtype if isinstance(self.dtype, torch.dtype) else torch.from_numpy(np.zeros(0, self.dtype)).dtype

    @contextmanager
    def session(self) -> Iterator[None]:
        """Eval mode and no gradients for the time of the block; see `eval_mode`. Sessions may be nested."""
        eval_ = eval_mode(self.model) if isinstance(self.model, nn.Module) else nullcontext()
        with eval_, self._without_grad():
            yield

    def __call__(self, rows: Shaped[Tensor, "rows ..."]) -> Int[Tensor, " rows"]:
        """Labels (N,) int64 on the device for rows (N, ...); `INVALID` where the output has a NaN.

        Raises:
            PredictorCallError: the model or `preprocess` raised; running out of memory is passed on as it is.
            PredictorReturnTypeError: no labels can be read from what came back, or `preprocess` returned no tensor.
        """
        with self.session():
            return self.labels_of_prepared(self.prepare(rows))

    def labels_of_prepared(self, prepared: Tensor) -> Int[Tensor, " rows"]:
        """Labels of prepared rows; some of the first are asked for twice, where the model's repeating is checked."""
        labels = self._labels_once(prepared)
        check = self._repeat_check
        if check is not None and not check.done:
            check.compare(prepared, labels, self._labels_once, same_shape=self.static_shapes)
        return labels

    def _labels_once(self, prepared: Tensor) -> Int[Tensor, " rows"]:
        return self.labels(self.forward(prepared), prepared.shape[0])

    def prepare(self, rows: Tensor) -> Tensor:
        """Rows as the model takes them: preprocessed, in its dtype and memory format."""
        if self.preprocess is not None:
            with _wrapped("preprocess", rows):
                rows = self.preprocess(rows)
            if not isinstance(rows, Tensor):
                raise PredictorReturnTypeError(
                    f"preprocess must return a tensor of the rows, got {type(rows).__name__}."
                )
        if isinstance(self.dtype, torch.dtype) and rows.dtype != self.dtype:
            rows = rows.to(self.dtype)
        if rows.ndim == 4 and not self.takes_arrays:
            rows = rows.contiguous(memory_format=self.memory_format)
        return rows

    def forward(self, rows: Tensor) -> Any:
        """The model's own output for prepared rows."""
        with _wrapped("predictor", rows), ExitStack() as stack:
            if self.autocast is not None:
                stack.enter_context(torch.autocast(self.device.type, dtype=self.autocast))
            return self.model(self._as_array(rows) if self.takes_arrays else rows)

    def _as_array(self, rows: Tensor) -> np.ndarray:
        array = rows.movedim(1, -1) if rows.ndim == 4 else rows  # (N, H, W, C)
        return np.ascontiguousarray(array.cpu().numpy().astype(self.dtype, copy=False))  # type: ignore[arg-type]

    def labels(self, output: Any, n: int) -> Int[Tensor, " rows"]:
        """Labels of `n` rows from any supported output of the model."""
        scores = self.scores(output)
        if scores.ndim == 0 or scores.shape[0] != n:
            raise PredictorReturnTypeError(
                f"The predictor must return one output per row: expected {n} rows, got shape {tuple(scores.shape)}."
            )
        if scores.ndim == 1 and not scores.dtype.is_floating_point and not scores.dtype.is_complex:
            return scores.to(self.device, torch.int64)
        if scores.ndim != 2 or scores.shape[1] == 0 or scores.dtype.is_complex:
            raise PredictorReturnTypeError(
                "The predictor must return logits or probabilities (N, classes), integer labels (N,) or one logit "
                f"(N, 1); got shape {tuple(scores.shape)} of {scores.dtype}. Wrap it so that it does, for example "
                "with lambda x: model(x).argmax(1), or .unsqueeze(1) for a single logit."
            )
        if scores.shape[1] == 1:
            self._warn_if_probability(scores)
            label = (scores[:, 0] > 0).to(torch.int64)
        else:
            label = (scores.byte() if scores.dtype == torch.bool else scores).argmax(dim=1)
        return torch.where(scores.isnan().any(dim=1), INVALID, label).to(self.device)

    def scores(self, output: Any) -> Tensor:
        """The tensor of scores or labels inside a model's output."""
        if isinstance(output, (tuple, list)) and output and isinstance(output[0], (Tensor, np.ndarray)):
            output = output[0]
        elif isinstance(output, Mapping):
            named = [output[name] for name in _OUTPUT_NAMES if name in output]
            if not named and len(output) != 1:
                raise PredictorReturnTypeError(
                    f"The predictor returned a mapping without any of the keys {', '.join(_OUTPUT_NAMES)}; it has "
                    f"{', '.join(map(str, output))}. Wrap the predictor so that it returns the logits."
                )
            output = named[0] if named else next(iter(output.values()))
        elif not isinstance(output, (Tensor, np.ndarray)) and hasattr(output, "logits"):
            output = output.logits
        if isinstance(output, Tensor):
            return output
        if isinstance(output, (np.ndarray, np.generic, list)) or hasattr(output, "__array__"):
            try:
                array = np.asarray(output)
            except ValueError as error:
                raise PredictorReturnTypeError(
                    f"The predictor must return one output of the same length per row; its {type(output).__name__} "
                    f"is no array: {error}."
                ) from error
            return self._from_array(array)
        raise PredictorReturnTypeError(
            "The predictor must return a tensor, an array, or a tuple, mapping or object with logits; "
            f"got {type(output).__name__}."
        )

    def _from_array(self, output: np.ndarray) -> Tensor:
        """Scores or labels of an array callable; class names and whole floats in one dimension are labels."""
        if output.dtype.kind in "OSU" and output.ndim == 1:
            return torch.tensor(self._codes(output.tolist()), dtype=torch.int64)
        if output.dtype.kind not in "biuf":
            raise PredictorReturnTypeError(f"The predictor must return numbers or names, got {output.dtype}.")
        if output.ndim == 1 and output.dtype.kind == "f" and np.array_equal(output, np.rint(output)):
            output = output.astype(np.int64)
        return torch.from_numpy(np.ascontiguousarray(output)).to(self.device)

    def _codes(self, names: list[Any]) -> list[int]:
        """A label for each name: its place among all names so far, to which new ones are added in their order."""
        with self._naming:
            self.class_names += sorted(set(names) - set(self.class_names), key=str)
            code = {name: i for i, name in enumerate(self.class_names)}
        return [code[name] for name in names]

    def label_of(self, label: int | np.integer | str) -> int:
        """The label that a user means by its number or, where the predictor returns names, by its name.

        Raises:
            ArgumentError: no row so far had that name.
        """
        if not isinstance(label, str):
            return int(label)
        names = [str(name) for name in self.class_names]
        if label not in names:
            known = f"the names that the predictor returned so far are {', '.join(names)}" if names else "it has none"
            raise ArgumentError(f"label must be a number or a class name of the predictor, got {label!r}; {known}.")
        return names.index(label)

    def name_of(self, label: int) -> str | None:
        """The class name that an array callable returned for this label, if it returns names."""
        return str(self.class_names[label]) if 0 <= label < len(self.class_names) else None

    def _warn_if_probability(self, scores: Tensor) -> None:
        """One column of values in [0, 1] is probably a probability, whose logit should decide; told once."""
        if self._warned or scores.device.type != "cpu" or scores.shape[0] < _ENOUGH_PROBABILITIES:
            return
        self._warned = True
        if bool((scores >= 0).all()) and bool((scores <= 1).all()) and bool((scores > 0).any()):
            warnings.warn(
                "The predictor returns one column with values in [0, 1]. It is read as a logit, so the label is 1 "
                "wherever it is positive. If it is a probability, wrap the predictor with torch.logit.",
                AnchorsWarning,
                stacklevel=2,
            )


@contextmanager
def _wrapped(name: str, rows: Tensor) -> Iterator[None]:
    """Adds to a failure of the user's code what it was called with, once."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, AnchorsError):
            raise
        raise PredictorCallError(
            f"The {name} raised {type(error).__name__}: {error} (called with rows of shape {tuple(rows.shape)}, "
            f"{rows.dtype}, on {rows.device})."
        ) from error


def _numpy_dtype(dtype: Any) -> np.dtype:
    """The NumPy type that a user means, one whose values PyTorch can make."""
    try:
        if dtype is None:  # which NumPy takes for float64
            raise TypeError
        found = np.dtype(dtype)
        torch.from_numpy(np.zeros(0, dtype=found))
    except TypeError as error:
        raise ArgumentError(
            "dtype must be a torch dtype such as torch.float32, or a NumPy type of numbers such as np.float32, "
            f"got {dtype!r}."
        ) from error
    return found


def _device_of(model: Any, device: torch.device | str | None) -> torch.device:
    """The device rows are made on; the module is never moved."""
    own = None
    if isinstance(model, nn.Module):
        own = next((t.device for t in (*model.parameters(), *model.buffers())), None)
    if device is None:
        return own or torch.device("cpu")
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ArgumentError(f'device must be a torch device such as "cpu" or "cuda:0", got {device!r}.') from error
    if wanted.index is None and own is not None and own.type == wanted.type:
        wanted = own
    if own is not None and wanted != own:
        raise ArgumentError(
            f"device must be where the predictor's parameters are ({own}), got {wanted}. Move the model first, "
            f"with model.to({str(wanted)!r}), or leave device=None."
        )
    return wanted


def _memory_format(model: Any, channels_last: bool | None) -> torch.memory_format:
    if channels_last is None:
        weights = model.parameters() if isinstance(model, nn.Module) else ()
        channels_last = any(
            w.ndim == 4 and w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous()
            for w in weights
        )
    return torch.channels_last if channels_last else torch.contiguous_format
