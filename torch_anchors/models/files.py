"""Classifiers saved whole in a file: TorchScript and ``torch.export``."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path, PurePosixPath

import torch
from torch.export.passes import move_to_device_pass

from torch_anchors.errors import ArgumentError
from torch_anchors.models.loaded import LoadedModel, Preprocess

_ASSUMED_SIZE = (224, 224)


def load_file(path: Path, device: torch.device) -> LoadedModel:
    """The network saved in a file; a file says nothing of its preprocessing, so ImageNet's is assumed.

    Raises:
        ArgumentError: the file holds no network, or one that takes batches of one size only.
    """
    members = _archive_members(path)
    if members & {"archive_format", "serialized_exported_program.json"}:  # of torch >= 2.6, and older
        return _load_exported(path, device)
    if "constants.pkl" in members:
        return _load_torchscript(path, device)
    raise ArgumentError(
        f"{path} is neither a TorchScript nor a torch.export file. If it holds weights alone, build their "
        "network in Python and give it to AnchorImage, or save it whole with torch.export.save."
    )


def _archive_members(path: Path) -> set[str]:
    """Names of the files inside an archive; none when the file is not an archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {PurePosixPath(member).name for member in archive.namelist()}
    except zipfile.BadZipFile:
        return set()


def _load_torchscript(path: Path, device: torch.device) -> LoadedModel:
    with warnings.catch_warnings():  # whoever uses a file that is given cannot mend how it was saved
        warnings.filterwarnings("ignore", "`torch.jit.load` is deprecated", FutureWarning)
        network = torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    return LoadedModel(str(path), network.eval(), Preprocess(_ASSUMED_SIZE))


def _load_exported(path: Path, device: torch.device) -> LoadedModel:
    program = torch.export.load(path)
    inputs = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    n_rows, *_, height, width = inputs[0].meta["val"].shape
    if isinstance(n_rows, int):
        raise ArgumentError(
            f"{path} was exported for batches of exactly {n_rows} images, and an explanation needs batches "
            'of several sizes. Export it again with dynamic_shapes=({0: torch.export.Dim("batch")},).'
        )
    fixed = isinstance(height, int) and isinstance(width, int)
    network = move_to_device_pass(program, device).module()
    return LoadedModel(str(path), network, Preprocess((height, width) if fixed else _ASSUMED_SIZE))
