"""Pretrained classifiers of timm and torchvision by name; each keeps the weights in its own cache."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torchvision.transforms import InterpolationMode

from torch_anchors._extras import import_extra
from torch_anchors.errors import ArgumentError
from torch_anchors.models.downloads import loaded_in_time
from torch_anchors.models.loaded import LoadedModel, Preprocess


def load_timm(name: str, device: torch.device) -> LoadedModel:
    """The pretrained classifier of timm, with the preprocessing of its configuration.

    Raises:
        ArgumentError: timm has no such model, or its weights cannot be had.
        ImportError: timm is not installed.
    """
    timm = import_extra("timm", "demo")
    base, dot, _ = name.partition(".")  # what follows a dot chooses among sets of weights
    if not timm.is_model(base):
        raise _unknown("timm", name, timm.list_models())
    if dot and name not in (trained := timm.list_pretrained(f"{base}.*")):
        raise _unknown("timm", name, trained)
    try:
        network = loaded_in_time(
            lambda: timm.create_model(name, pretrained=True), _hub_address(), lambda: _in_hub_cache(timm, name)
        )
    except Exception as error:  # a download may fail in many ways that have no common type
        raise _no_weights("timm", name, error) from error
    config = timm.data.resolve_model_data_config(network)
    height, width = config["input_size"][-2:]
    preprocess = Preprocess(
        (height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        resize=int(min(height, width) / config["crop_pct"]),
        interpolation=InterpolationMode(config["interpolation"]),
    )
    return LoadedModel(f"timm:{name}", network.eval().to(device), preprocess, _timm_names(timm, network))


def _hub_address() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _in_hub_cache(timm: Any, name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    files = ("model.safetensors", "pytorch_model.bin")
    return bool(config.hf_hub_id) and any(
        isinstance(try_to_load_from_cache(config.hf_hub_id, file), str) for file in files
    )


def _timm_names(timm: Any, network: Any) -> tuple[str, ...] | None:
    subset = timm.data.infer_imagenet_subset(network)
    if subset is None:
        return None
    synonyms = timm.data.ImageNetInfo(subset).label_descriptions()
    return tuple(text.partition(",")[0] for text in synonyms)


def load_torchvision(name: str, device: torch.device) -> LoadedModel:
    """The pretrained classifier of torchvision, with the preprocessing of its best weights.

    Raises:
        ArgumentError: torchvision has no such classifier, or its weights cannot be had.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise _unknown("torchvision", name, known)
    weights: Any = models.get_model_weights(name)["DEFAULT"]
    address = urlsplit(weights.url)
    cached = Path(torch.hub.get_dir(), "checkpoints", Path(address.path).name)
    watched = sys.stderr.isatty()  # else nobody would see a bar
    try:
        network = loaded_in_time(
            lambda: models.get_model(name, weights=weights, progress=watched),
            f"{address.scheme}://{address.netloc}",
            cached.exists,
        )
    except Exception as error:  # a download may fail in many ways that have no common type
        raise _no_weights("torchvision", name, error) from error
    transform = weights.transforms()
    preprocess = Preprocess(
        (transform.crop_size[0], transform.crop_size[0]),
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        resize=transform.resize_size[0],
        interpolation=transform.interpolation,
    )
    names = tuple(weights.meta["categories"])
    return LoadedModel(f"torchvision:{name}", network.eval().to(device), preprocess, names)


def _unknown(zoo: str, name: str, known: Iterable[str]) -> ArgumentError:
    close = difflib.get_close_matches(name, list(known), n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"{zoo}.models lists the names."
    return ArgumentError(f"{zoo} has no image classifier called {name!r}. {hint}")


def _no_weights(zoo: str, name: str, error: Exception) -> ArgumentError:
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return ArgumentError(
        f"The weights of {zoo}:{name} are not in {zoo}'s cache, and downloading them failed: {reason}. "
        "Connect to the network once, or use efficientnet-lite0, whose weights come with the installation."
    )
