"""Classifiers saved whole in a file: TorchScript, ``torch.export`` and ONNX."""

from __future__ import annotations

import logging
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch.export.passes import move_to_device_pass

from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.models import onnx_network
from torch_anchors.models.loaded import LoadedModel, Preprocess

SUFFIXES = (".pt", ".pt2", ".pth", ".ts", onnx_network.SUFFIX)
"""What the names of such files usually end in."""

_ASSUMED_SIZE = (224, 224)


def load_file(path: Path, device: torch.device, *, trust: bool = False) -> LoadedModel:
    """The network saved in a file; a file says nothing of its preprocessing, so ImageNet's is assumed.

    Both kinds of PyTorch's hold a program, and reading one may run code: ``torch.export.load`` unpickles objects and
    evaluates expressions, and TorchScript can read and write files. Nothing but the list of members is read before
    somebody said that the file is to be trusted.

    Raises:
        ArgumentError: the file holds no network, or one that takes batches of one size only; it is damaged; or it is
            not trusted.
    """
    if path.suffix.lower() == onnx_network.SUFFIX:  # data for known operations, and no program
        return onnx_network.load_onnx(path, device)
    members = _archive_members(path)
    if members & {"archive_format", "serialized_exported_program.json"}:  # of torch >= 2.6, and older
        kind, load = "torch.export", _load_exported
    elif "constants.pkl" in members:
        kind, load = "TorchScript", _load_torchscript
    else:
        raise ArgumentError(_no_network(path))
    if not trust:
        raise ArgumentError(
            f"{path} is a {kind} file, and such a file can run any code of whoever made it. If you trust them, add "
            "--trust (in Python: trust=True)."
        )
    with _quiet():
        try:
            return load(path, device)
        except AnchorsError:
            raise
        except Exception as error:  # there is no end of ways in which a file can be damaged
            raise ArgumentError(
                f"{path} cannot be loaded as a {kind} file: it is damaged, of another version of PyTorch, or not what "
                f"its list of contents says ({_first_line(error)})."
            ) from error


def _archive_members(path: Path) -> set[str]:
    """Names of the files inside an archive; none when the file is not an archive, or a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {PurePosixPath(member).name for member in archive.namelist()}
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError, EOFError):
        return set()


def _no_network(path: Path) -> str:
    with path.open("rb") as file:
        is_torn = file.read(4) == b"PK\x03\x04" and not zipfile.is_zipfile(path)
    if is_torn:
        return (
            f"{path} is neither a TorchScript nor a torch.export file that can be read: its end is missing or damaged. "
            "Save it again, or copy it again."
        )
    return (
        f"{path} is neither a TorchScript nor a torch.export file, and does not end in .onnx. If it holds weights "
        "alone, build their network in Python and give it to AnchorImage, or save it whole with torch.export.save."
    )


def _load_torchscript(path: Path, device: torch.device) -> LoadedModel:
    network = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    return LoadedModel(str(path), network.eval(), Preprocess(_ASSUMED_SIZE))


def _load_exported(path: Path, device: torch.device) -> LoadedModel:
    program = torch.export.load(path)
    n_rows, *size = _input_shape(program, path)
    if isinstance(n_rows, int):
        raise ArgumentError(
            f"{path} was exported for batches of exactly {n_rows} rows, and an explanation needs batches "
            'of several sizes. Export it again with dynamic_shapes=({0: torch.export.Dim("batch")},).'
        )
    height, width = size[-2:] if len(size) == 3 else _ASSUMED_SIZE
    fixed = isinstance(height, int) and isinstance(width, int)
    network = move_to_device_pass(program, device).module()
    return LoadedModel(str(path), network, Preprocess((height, width) if fixed else _ASSUMED_SIZE))


def _input_shape(program: Any, path: Path) -> tuple[Any, ...]:
    """The shape of the first input; sizes that are not fixed are no whole numbers."""
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    value = inputs[0].meta["val"] if inputs else None
    if not isinstance(value, torch.Tensor) or value.ndim == 0:
        raise ArgumentError(f"{path} holds a program whose first input is no tensor of rows.")
    return tuple(value.shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it, PyTorch says nothing of its own of what goes wrong, nor of what is out of date."""
    logger = logging.getLogger("torch.export")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():  # whoever uses a file that is given cannot mend how it was saved
            warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "This version of file is deprecated")
            yield
    finally:
        logger.disabled = before


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
