"""Networks and other models saved as ONNX, run by onnxruntime."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from torch_anchors._extras import import_extra
from torch_anchors._shapes import Shaped
from torch_anchors.errors import AnchorsWarning, ArgumentError, words_of
from torch_anchors.models.loaded import LoadedModel, Preprocess

SUFFIX = ".onnx"

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
"""What an input may be made of. Into whole numbers, rows are rounded."""

_ASSUMED_SIZE = (224, 224)


class OnnxNetwork(nn.Module):
    """A model of an ONNX file as a module: rows in, scores or labels out, both on the module's device.

    A network of pictures takes rows (N, 3, H, W) whichever layout the file has, and one of a table rows (N, F). Where
    the file fixes the number of rows, they are handed over in parts of that size, the last of them padded. Of several
    outputs the scores (N, classes) are taken, of any others the first. Rows are copied to the host and outputs from it,
    wherever onnxruntime computes.

    Args:
        path: of the file.
        device: where rows are. On a GPU, onnxruntime computes there, too, if it can.

    Attributes:
        row_shape: of a row as the file has it, None for a length that may be any.
        class_names: of the columns of scores, where the file says what each score is called.

    Raises:
        ArgumentError: the file is damaged, or has no input of rows.
        ImportError: onnxruntime is not installed.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        super().__init__()
        self.path = path.resolve()
        self._device = device
        self.register_buffer("_place", torch.empty(0, device=device), persistent=False)  # where rows are to be made
        self._session = _session(path, device)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or inputs[0].type not in _TYPES or len(shape) not in (2, 4):
            found = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs) or "none"
            raise ArgumentError(
                f"{path} must have one input of rows, numbers (rows, columns) or pictures (rows, channels, height, "
                f"width), got {found}."
            )
        self._input, self._type = inputs[0].name, np.dtype(_TYPES[inputs[0].type])
        n_rows, *row_shape = [length if isinstance(length, int) else None for length in shape]
        self._n_rows, self.row_shape = n_rows, tuple(row_shape)
        self._channels_last = len(shape) == 4 and row_shape[0] not in (1, 3) and row_shape[2] in (1, 3)
        self._output = _scores_among(self._session.get_outputs())
        self._digest = _digest(self.path)
        self.class_names = self._names_of_scores()

    @property
    def in_whole_numbers(self) -> bool:
        """Whether it takes whole numbers, and so pixels as they are."""
        return bool(np.issubdtype(self._type, np.integer))

    @property
    def picture_shape(self) -> tuple[int | None, ...]:
        """(channels, height, width) of the pictures it takes; empty for one of tables."""
        if len(self.row_shape) != 3:
            return ()
        return (self.row_shape[2], *self.row_shape[:2]) if self._channels_last else self.row_shape

    def forward(self, rows: Shaped[Tensor, "rows ..."]) -> Tensor | NDArray[np.object_]:
        """Scores (N, classes), or whatever the file gives for each row: a tensor, or an array of class names."""
        given = rows.movedim(1, -1) if self._channels_last else rows
        given = (given.round() if self.in_whole_numbers and given.is_floating_point() else given).cpu()
        values = np.ascontiguousarray(given.numpy().astype(self._type, copy=False))
        output = self._run(values) if self._n_rows is None else self._run_in_parts(values, self._n_rows)
        if output.dtype.kind == "O":
            return output
        return torch.from_numpy(output).to(rows.device)

    def extra_repr(self) -> str:
        """Tells files apart, as the weights are none of the module's parameters."""
        return f"{self.path.name}, digest={self._digest}"

    def __reduce__(self) -> tuple[type[OnnxNetwork], tuple[Path, torch.device]]:
        return type(self), (self.path, self._device)  # a session cannot be pickled; the file is read again

    def _run_in_parts(self, values: NDArray[Any], size: int) -> NDArray[Any]:
        """What comes out for batches of the one size that the file allows."""
        n = len(values)
        padded = np.zeros((max(-(-n // size), 1) * size, *values.shape[1:]), dtype=values.dtype)
        padded[:n] = values
        return np.concatenate([self._run(padded[i : i + size]) for i in range(0, len(padded), size)])[:n]

    def _run(self, values: NDArray[Any]) -> NDArray[Any]:
        (output,) = self._session.run([self._output], {self._input: values})
        return _as_matrix(output) if isinstance(output, list) else np.asarray(output)

    def _names_of_scores(self) -> tuple[str, ...] | None:
        """The keys of scores that come as one mapping for each row, such as scikit-learn's."""
        (kind,) = [one.type for one in self._session.get_outputs() if one.name == self._output]
        lengths = [length for length in self.row_shape if length is not None]
        if not kind.startswith("seq(map(") or len(lengths) < len(self.row_shape):
            return None
        row = np.zeros((self._n_rows or 1, *lengths), dtype=self._type)
        (output,) = self._session.run([self._output], {self._input: row})
        return tuple(str(name) for name in output[0])


def load_onnx(path: Path, device: torch.device) -> LoadedModel:
    """The model of an ONNX file. Its preprocessing is ImageNet's, or none where it takes pixels in whole numbers.

    Raises:
        ArgumentError: the file is damaged, or takes something else than rows of numbers or colour pictures.
        ImportError: onnxruntime is not installed.
    """
    network = OnnxNetwork(path, device)
    channels, *size = network.picture_shape or (3, None, None)
    if channels not in (3, None):
        raise ArgumentError(f"{path} must take pictures of three channels, red, green and blue, got {channels}.")
    height, width = size
    input_size = _ASSUMED_SIZE if height is None or width is None else (height, width)
    if network.in_whole_numbers:
        preprocess = Preprocess(input_size, mean=(0.0,) * 3, std=(1 / 255,) * 3)  # which changes nothing
    else:
        preprocess = Preprocess(input_size)
    return LoadedModel(str(path), network.eval(), preprocess, network.class_names)


def _session(path: Path, device: torch.device) -> Any:
    """What runs the file, on the device if onnxruntime knows it."""
    runtime = import_extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors; they are raised as well
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type != "cpu":
        if device.type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers():
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
        else:
            warnings.warn(
                f"The installed onnxruntime cannot compute on {device}; {path.name} runs on the CPU, and rows are "
                "copied there. For an NVIDIA GPU install onnxruntime-gpu.",
                AnchorsWarning,
                stacklevel=2,
            )
    try:
        return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # of a type of onnxruntime's for each way in which a file can be damaged
        reason = " ".join(words_of(error).split())[:300]
        raise ArgumentError(f"{path} cannot be loaded as an ONNX file: {reason}") from error


def _scores_among(outputs: Sequence[Any]) -> str:
    """The name of the output that has a score for each class, or else of the first one."""
    for one in outputs:
        is_float = one.type in ("tensor(float)", "tensor(float16)", "tensor(double)")
        if one.type.startswith("seq(map(") or (is_float and len(one.shape) == 2):
            return str(one.name)
    return str(outputs[0].name)


def _as_matrix(rows: Sequence[dict[Any, float]]) -> NDArray[np.float32]:
    """Scores that come as one mapping for each row, in Python objects; all have the same keys in the same order."""
    return np.array([[*row.values()] for row in rows], dtype=np.float32)


def _digest(path: Path) -> str:
    """Of the file, and of those beside it that it names: there its weights may be."""
    content = path.read_bytes()
    digest = hashlib.blake2b(content, digest_size=16)
    for beside in sorted(path.parent.iterdir()):
        if beside != path and beside.is_file() and beside.name.encode() in content:
            digest.update(beside.read_bytes())
    return digest.hexdigest()
