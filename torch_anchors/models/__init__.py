"""Pretrained image classifiers by name, with the preprocessing and the class names that belong to them."""

from __future__ import annotations

import difflib
from os import PathLike, fspath
from pathlib import Path

import torch

from torch_anchors._checks import flag, said
from torch_anchors._devices import named_device, require_present
from torch_anchors.errors import ArgumentError
from torch_anchors.models import efficientnet_lite0, files, huggingface, zoos
from torch_anchors.models.loaded import IMAGENET_MEAN, IMAGENET_STD, LoadedModel, Preprocess

__all__ = ["DEFAULT_MODEL", "IMAGENET_MEAN", "IMAGENET_STD", "LoadedModel", "Preprocess", "load_image_model"]

DEFAULT_MODEL = efficientnet_lite0.NAME


def load_image_model(
    name: str | PathLike[str] = DEFAULT_MODEL, *, device: torch.device | str = "cpu", trust: bool = False
) -> LoadedModel:
    """The image classifier of that name, on the device, with its preprocessing and class names.

    Args:
        name: ``"efficientnet-lite0"`` (ImageNet; its weights come in a package, nothing is downloaded),
            ``"timm:NAME"`` or ``"torchvision:NAME"`` (weights from their own cache, or downloaded into it),
            ``"hf:DIR"`` (a folder in which a model of transformers and its processor were saved) or
            ``"hf:OWNER/NAME"`` (the same on Hugging Face's hub), or the path of an ONNX file (``.onnx``), a TorchScript
            file or a ``torch.export`` file (``.pt2``). A file says nothing about its preprocessing: ImageNet's mean and
            deviation are assumed, at 224 x 224 where the file does not fix a size. Where that is wrong, replace the
            `preprocess` of the result.
        device: where the network's weights are put.
        trust: load a file although it can run code: those of PyTorch hold a program, and reading one may already run
            what somebody put in. Only for files of people whom you trust.

    Raises:
        ArgumentError: there is no such model or file, its weights cannot be had, or it needs trust.
        ImportError: the package that defines the model is not installed.

    Example:
        >>> model = load_image_model("efficientnet-lite0")
        >>> model.class_names[967]
        'espresso'
    """
    flag("trust", trust)
    if not isinstance(name, (str, PathLike)):
        raise ArgumentError(f"name must be the name of a model or the path of a file, got {said(name)}.")
    name, device = fspath(name), named_device(device)
    require_present(device)
    zoo, _, name_in_zoo = name.partition(":")
    if name == DEFAULT_MODEL:
        return efficientnet_lite0.load_efficientnet_lite0(device)
    if zoo == "timm":
        return zoos.load_timm(name_in_zoo, device)
    if zoo == "torchvision":
        return zoos.load_torchvision(name_in_zoo, device)
    if zoo == "hf":
        return huggingface.load_huggingface(name_in_zoo, device)
    path = Path(name).expanduser()
    if not path.is_file():
        raise _unknown(name)
    return files.load_file(path, device, trust=trust)


def _unknown(name: str) -> ArgumentError:
    from torchvision import models

    names = {known: f"torchvision:{known}" for known in models.list_models(module=models)}
    names[DEFAULT_MODEL] = DEFAULT_MODEL
    if ":" in name:
        names = {known: known for known in (f"{zoo}:{name.partition(':')[2]}" for zoo in ("timm", "torchvision", "hf"))}
    names.update((found, found) for found in _files_beside(name))
    close = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.lower(), names, n=1)
    hint = f" Did you mean {names[close[0]]}?" if close else ""
    return ArgumentError(
        f"There is no model and no file called {name!r}.{hint} Expected {DEFAULT_MODEL}, timm:NAME, "
        "torchvision:NAME, hf:DIR, or the path of an ONNX, TorchScript or torch.export file."
    )


def _files_beside(name: str) -> list[str]:
    """What files there are in the folder that a path is in, spelled as the path is."""
    folder, slash, _ = name.rpartition("/")
    try:
        found = sorted(path.name for path in Path(folder + slash or ".").expanduser().iterdir() if path.is_file())
    except (OSError, ValueError):
        return []
    return [folder + slash + file for file in found if slash or Path(file).suffix in files.SUFFIXES]
