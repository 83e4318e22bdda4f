"""Any user's model as one thing: rows on a device in, integer labels on the same device out."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from torch_anchors._checks import flag, said
from torch_anchors._devices import named_device, require_present
from torch_anchors._shapes import Bool, Int, Shaped
from torch_anchors.engine.eval_mode import eval_mode, keep_eval
from torch_anchors.engine.max_rows import is_out_of_memory
from torch_anchors.engine.outputs import Outputs
from torch_anchors.engine.reading import Reading
from torch_anchors.engine.repeats import RepeatCheck
from torch_anchors.errors import (
    AnchorsError,
    ArgumentError,
    PredictorCallError,
    PredictorReturnTypeError,
    words_of,
)
from torch_anchors.targets.target import Argmax, Comparison, Target, checked_names

logger = logging.getLogger(__name__)

Made = TypeVar("Made")


class Predictor:
    """Labels of rows, whatever the user's model takes and returns.

    Args:
        model: an ``nn.Module``, called with tensors in eval and inference mode, or a callable. A callable gets
            tensors, or NumPy arrays when `dtype` is a NumPy type: images as (N, H, W, C), table rows as (N, features).
            It returns logits or probabilities (N, classes), integer labels (N,) or (N, 1), class names (N,) in an
            array or list, one logit (N, 1), or these inside a tuple (its first item), a mapping or an object (its
            ``logits``); see `torch_anchors.engine.outputs`.
        dtype: what rows are cast to before the call. A torch dtype, or a NumPy type to be called with arrays. None for
            float32 in what the callable is to take, tensors unless `taking` says otherwise.
        device: where rows live; None for the device of the module's parameters, or the CPU.
        preprocess: applied to the rows on the device before the cast.
        autocast: dtype of ``torch.autocast`` around the call, such as ``torch.bfloat16``; None for none.
        channels_last: memory format of image rows; None to follow the module's own convolution weights.
        check_repeats: whether some rows of the first batches are predicted twice, to learn whether the model repeats
            its answers; see `repeats`.
        class_names: what the classes are called, a name for each or by their numbers; None where nobody says.

    Raises:
        ArgumentError: the model is not callable, or `device` is not where the module's parameters are.
    """

    def __init__(
        self,
        model: nn.Module | Callable[[Any], Any],
        *,
        dtype: torch.dtype | type | np.dtype | None = torch.float32,
        device: torch.device | str | None = None,
        preprocess: Callable[[Tensor], Tensor] | None = None,
        autocast: torch.dtype | None = None,
        channels_last: bool | None = None,
        check_repeats: bool = False,
        class_names: Sequence[str] | Mapping[int, str] | None = None,
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
        if autocast is not None and not (isinstance(autocast, torch.dtype) and autocast.is_floating_point):
            raise ArgumentError(f"autocast must be a dtype such as torch.bfloat16, or None, got {said(autocast)}.")
        if channels_last is not None:
            flag("channels_last", channels_last)
        self.autocast = autocast
        self.takes_either = dtype is None and preprocess is None and not isinstance(model, nn.Module)
        dtype = torch.float32 if dtype is None else dtype
        self.takes_arrays = not isinstance(dtype, torch.dtype)
        self.dtype: torch.dtype | np.dtype = dtype if isinstance(dtype, torch.dtype) else _numpy_dtype(dtype)
        if self.takes_arrays and isinstance(model, nn.Module):
            raise ArgumentError(
                f"dtype must be a torch dtype for an nn.Module, got {self.dtype!r}. Use for example torch.float32."
            )
        self._plain: Predictor | None = None
        self._make: Callable[[np.ndarray], Any] | None = None
        self._remedy = ""
        self.device = _device_of(model, device)
        self.memory_format = _memory_format(model, channels_last)
        self._check_repeats = check_repeats
        self._ask(Argmax(checked_names(class_names)))
        # TorchScript that has run with gradients before cannot run in inference mode.
        modules = model.modules() if isinstance(model, nn.Module) else ()
        scripted = any(isinstance(module, torch.jit.ScriptModule) for module in modules)
        self._without_grad = torch.no_grad if scripted else torch.inference_mode

    def taking(self, arrays: bool) -> Predictor:
        """This predictor, its callable given arrays of float32 or tensors; itself where its model decides that.

        That is so for a module, a `dtype` that was given, and a `preprocess`, which makes tensors. What is learned of
        the model is learned for both.
        """
        if not self.takes_either or arrays == self.takes_arrays:
            return self
        other = copy.copy(self)
        other.takes_arrays = arrays
        other.dtype = np.dtype(np.float32) if arrays else torch.float32
        return other

    def handing(self, make: Callable[[np.ndarray], Any] | None, remedy: str = "") -> Predictor:
        """This predictor, its callable given what `make` makes of rows; `plain` is as it was before.

        Args:
            make: from an array (N, features) of doubles to what the callable takes; None for rows as before.
            remedy: what error messages advise where the callable fails.

        Raises:
            ArgumentError: the model is an ``nn.Module``, which takes tensors.
        """
        other = copy.copy(self)
        other._plain, other._make, other._remedy = self.plain, make, remedy
        if make is None:
            return other
        if isinstance(self.model, nn.Module):
            raise ArgumentError(
                "rows_as must be None or 'tensor' for an nn.Module, got 'dataframe'. Pass a function that makes a "
                "tensor of a DataFrame and calls the module."
            )
        other.takes_arrays, other.takes_either = True, False
        other.dtype = np.dtype(np.float32 if self.device.type == "mps" else np.float64)  # Apple's GPUs lack doubles
        return other

    @property
    def plain(self) -> Predictor:
        """This predictor, its callable given rows as it was before `handing`."""
        return self if self._plain is None else self._plain

    def asking(self, target: Target) -> Predictor:
        """This model, of whose output something else is asked. What is learned of its answers is learned apart."""
        other = copy.copy(self)
        other._ask(target.named(self.target.class_names))
        return other

    def _ask(self, target: Target) -> None:
        self.target = target
        self.outputs = Outputs(self.device, target, may_wait=self._check_repeats)
        self._repeat_check = RepeatCheck() if self._check_repeats else None

    @property
    def static_shapes(self) -> bool:
        """Whether batches should come in few sizes: kernels and compiled modules are chosen by shape."""
        return self.device.type != "cpu" or hasattr(self.model, "_orig_mod")

    @property
    def n_classes(self) -> int | None:
        """Number of classes, once an output had an axis of them; None for a predictor that returns labels or names."""
        return self.outputs.n_classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names that the predictor has returned so far, sorted; none if it returns numbers."""
        return self.outputs.names

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

        A class name's label is a number that stands for it; `Outputs.shown` gives the name.

        Raises:
            PredictorCallError: the model or `preprocess` raised; running out of memory is passed on as it is.
            PredictorReturnTypeError: no labels can be read from what came back, or `preprocess` returned no tensor.
        """
        with self.session():
            return self.read(self.prepare(rows)).kept().labels

    def read(self, prepared: Tensor) -> Reading:
        """Labels and scores of prepared rows; some of the first are asked for twice, where repeating is checked."""
        check = self._repeat_check
        if check is None or check.done:
            return self._read_once(prepared)
        reading = self._read_and_kept(prepared.clone())  # which a model may write to
        check.compare(prepared, reading, self._read_and_kept, self._same, same_shape=self.static_shapes)
        return reading

    def _same(self, first: Reading, second: Reading) -> Bool[Tensor, " rows"]:
        """Whether the answers to some rows are the same as those before; no answer twice is the same, too.

        Where the target compares, each is compared with its own answer before, and with that to the first row: as rows
        are with the instance, so that what is close to the border shows.
        """
        if first.answers is None or second.answers is None:
            return first.labels == second.labels
        assert isinstance(self.target, Comparison)
        own = torch.cat([self.target.explained(answer[None]) for answer in first.answers])
        same = torch.ones_like(first.labels, dtype=torch.bool)
        for explained in (own, own[:1].expand_as(own)):
            again, before = (self.target.agreement(answers, explained) for answers in (second.answers, first.answers))
            same &= ((again >= 0) == (before >= 0)) & (again.isnan() == before.isnan())
        return same

    def _read_and_kept(self, prepared: Tensor) -> Reading:
        return self._read_once(prepared).kept()

    def _read_once(self, prepared: Tensor) -> Reading:
        return self.outputs.read(self.forward(prepared), prepared.shape[0])

    def prepare(self, rows: Tensor) -> Tensor:
        """Rows as the model takes them: preprocessed, in its dtype and memory format."""
        if self.preprocess is not None:
            n = rows.shape[0]
            rows = _called("preprocess", self.preprocess, rows, _ROWS)
            if not isinstance(rows, Tensor) or rows.ndim == 0 or rows.shape[0] != n:
                got = f"shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
                remedy = " Return its ['pixel_values'], as a tensor." if hasattr(rows, "pixel_values") else ""
                raise PredictorReturnTypeError(f"preprocess must return a tensor of the {n} rows, got {got}.{remedy}")
        if isinstance(self.dtype, torch.dtype) and rows.dtype != self.dtype:
            rows = rows.to(self.dtype)
        if rows.ndim == 4 and not self.takes_arrays:
            rows = rows.contiguous(memory_format=self.memory_format)
        return rows

    def forward(self, rows: Tensor) -> Any:
        """The model's own output for prepared rows."""
        if isinstance(self.model, nn.Module):
            keep_eval(self.model)  # a forward pass may have called train()
        given: Any = self._as_array(rows) if self.takes_arrays else rows
        if self.target.as_list and not self.takes_arrays and rows.ndim == 4:
            given = list(rows.unbind())
        remedy = (_OTHERWISE[self.takes_arrays] if self.takes_either else "") + self._remedy
        if self.autocast is None:
            return _called("predictor", self.model, given, remedy)
        with torch.autocast(self.device.type, dtype=self.autocast):
            return _called("predictor", self.model, given, remedy)

    def _as_array(self, rows: Tensor) -> Any:
        last = rows.movedim(1, -1) if rows.ndim == 4 else rows  # (N, H, W, C)
        array = np.ascontiguousarray(last.cpu().numpy().astype(self.dtype, copy=False))  # type: ignore[arg-type]
        return array if self._make is None else self._make(array)


_ROWS = (
    " It is given tensors (rows, channels, height, width) of the image's type, on the predictor's device: leave out "
    "steps that take a PIL image or an array, as torchvision.transforms.v2 works without them."
)
"""What to do where a preprocess that was made for single pictures fails."""

_OTHERWISE = {
    True: " It was given NumPy arrays, as what is explained is one; pass dtype=torch.float32 to give it tensors.",
    False: " It was given tensors, as what is explained is one; pass dtype=np.float32 to give it NumPy arrays.",
}
"""What to do where a function was given arrays, or was not, because nobody said which."""


def _called(name: str, function: Callable[[Any], Made], rows: Any, remedy: str = "") -> Made:
    """What the user's code makes of rows; to its failure is added what it was called with, once."""
    try:
        return function(rows)
    except Exception as error:
        if is_out_of_memory(error) or isinstance(error, AnchorsError):
            raise
        raise PredictorCallError(
            f"The {name} raised {words_of(error)} (called with {_in_words(rows)}).{remedy}{_hint_at_missing(rows)}"
        ) from error


def _in_words(rows: Any) -> str:
    """What a model was called with."""
    if not isinstance(rows, (list, Tensor, np.ndarray)):
        return f"a {type(rows).__name__} of shape {tuple(rows.shape)}"
    given, how_many = (rows[0], f"a list of {len(rows)} rows") if isinstance(rows, list) else (rows, "rows")
    where = f", on {given.device}" if isinstance(given, Tensor) else ""
    return f"{how_many} of shape {tuple(given.shape)}, {given.dtype}{where}"


def _hint_at_missing(rows: Any) -> str:
    """What may be the matter where rows of a table have missing values."""
    if isinstance(rows, list) or rows.ndim != 2:
        return ""
    if not (np.asarray(rows.isna()) if hasattr(rows, "isna") else rows != rows).any():
        return ""
    return (
        " Some of the rows have missing values, which are NaN: fill them in before fit, or explain a pipeline that "
        "does, such as one with scikit-learn's SimpleImputer."
    )


def require_in_range(values: Tensor, dtype: torch.dtype, argument: str) -> None:
    """Raises an ArgumentError where a cast would make infinities, or other numbers, of finite values or of NaN."""
    if not values.numel():
        return
    least, greatest = values.aminmax()  # NaN where one is
    if bool(least.isnan()):
        if not dtype.is_floating_point:
            raise ArgumentError(
                f"{argument} must have no missing values, that {dtype} cannot hold, got some. Pass "
                "dtype=torch.float32, or fill them in."
            )
        return require_in_range(values[~values.isnan()], dtype, argument)
    if dtype is torch.bool:
        return
    range_ = torch.finfo(dtype) if dtype.is_floating_point else torch.iinfo(dtype)
    if least.item() < range_.min or greatest.item() > range_.max:
        raise ArgumentError(
            f"{argument} must have values from {range_.min:g} to {range_.max:g}, that {dtype} can hold, got "
            f"{least.item():g} to {greatest.item():g}. Pass dtype=torch.float32, or scale the values."
        )


def _numpy_dtype(dtype: Any) -> np.dtype:
    """The NumPy type that a user means, one whose values PyTorch can make."""
    try:
        found = np.dtype(dtype)
        torch.from_numpy(np.zeros(0, dtype=found))
    except TypeError as error:
        raise ArgumentError(
            "dtype must be a torch dtype such as torch.float32, or a NumPy type of numbers such as np.float32, "
            f"got {said(dtype)}."
        ) from error
    return found


def _device_of(model: Any, device: torch.device | str | None) -> torch.device:
    """The device rows are made on; the module is never moved."""
    own = None
    if isinstance(model, nn.Module):
        own = next((t.device for t in (*model.parameters(), *model.buffers())), None)
    if device is None:
        return own or torch.device("cpu")
    wanted = named_device(device)
    if wanted.index is None and own is not None and own.type == wanted.type:
        wanted = own
    if own is not None and wanted != own:
        raise ArgumentError(
            f"device must be where the predictor's parameters are ({own}), got {wanted}. Move the model first, "
            f"with model.to({str(wanted)!r}), or leave device=None."
        )
    if own is None:
        require_present(wanted)
    return wanted


def _memory_format(model: Any, channels_last: bool | None) -> torch.memory_format:
    if channels_last is None:
        weights = model.parameters() if isinstance(model, nn.Module) else ()
        channels_last = any(
            w.ndim == 4 and w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous()
            for w in weights
        )
    return torch.channels_last if channels_last else torch.contiguous_format
