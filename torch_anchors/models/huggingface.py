"""Image classifiers of Hugging Face's transformers, each with the processor and the class names saved beside it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torch_anchors._extras import import_extra
from torch_anchors._shapes import Float
from torch_anchors.errors import AnchorsError, ArgumentError
from torch_anchors.models.downloads import loaded_in_time
from torch_anchors.models.loaded import LoadedModel
from torch_anchors.models.processor import Processor, ProcessorPreprocess, short
from torch_anchors.words import listed


def load_huggingface(name: str, device: torch.device) -> LoadedModel:
    """The image classifier of a folder, or of that name on the hub.

    Args:
        name: a folder that a model and its processor were saved in, both by ``save_pretrained``; or OWNER/NAME on the
            hub, from its cache, or downloaded into it.
        device: where the network's weights are put. They are in single precision, however they were saved.

    Raises:
        ArgumentError: there is no such classifier, its weights cannot be had or are not those of a classifier, or its
            processor does something else than resize, crop and normalise colour pictures.
        ImportError: transformers is not installed.
    """
    transformers = import_extra("transformers", "huggingface")
    folder = Path(name).expanduser()
    is_here = bool(name) and folder.is_dir()
    if not is_here and not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise ArgumentError(f"There is no folder {name}, of which hf:{name} would be the classifier.")
    source = str(folder) if is_here else name
    try:
        with _quiet(transformers):
            if is_here:
                network, processor = _read(transformers, source, local_files_only=True)
            else:
                network, processor = loaded_in_time(
                    lambda: _read(transformers, source), _hub_address(), lambda: _in_cache(source)
                )
    except AnchorsError:
        raise
    except Exception as error:  # as many kinds as there are models, and ways of a download to fail
        raise ArgumentError(
            f"hf:{name} cannot be loaded as an image classifier with its processor: {short(error)}. "
            + (_FOLDER if is_here else "Download it once with a network, or give a folder: hf:DIR.")
        ) from error
    preprocess = ProcessorPreprocess.by(Processor.of(processor, f"hf:{name}"))
    return LoadedModel(f"hf:{name}", Logits(network).eval().to(device), preprocess, _class_names(network.config))


_FOLDER = "Save both into the folder: model.save_pretrained(DIR) and processor.save_pretrained(DIR)."


class Logits(nn.Module):
    """The scores (N, classes) of a classifier of transformers for its input (N, 3, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Float[Tensor, "rows channels height width"]) -> Float[Tensor, "rows classes"]:
        """The network's logits."""
        logits: Tensor = self.network(pixel_values=pixel_values).logits
        return logits


def _read(transformers: Any, source: str, **where: Any) -> tuple[Any, Any]:
    """The network in single precision, and the processor.

    Raises:
        ArgumentError: weights of the network are missing, in whose place there are random ones.
    """
    processor = transformers.AutoImageProcessor.from_pretrained(source, **where)
    network, found = transformers.AutoModelForImageClassification.from_pretrained(
        source, output_loading_info=True, **where
    )
    missing = sorted(found["missing_keys"]) + sorted(str(key) for key in found["mismatched_keys"])
    if missing:
        raise ArgumentError(
            f"{source} has no weights for {listed(missing[:4])}: it is no image classifier, or was not trained as one."
        )
    return network.float(), processor


def _class_names(config: Any) -> tuple[str, ...] | None:
    """The names in the order of the classes; None where they are only numbered."""
    names = {int(label): str(name) for label, name in config.id2label.items()}
    if set(names) != set(range(len(names))) or all(name == f"LABEL_{label}" for label, name in names.items()):
        return None
    return tuple(names[label] for label in range(len(names)))


def _hub_address() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _in_cache(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    files = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Within it, transformers shows no bars and tells nothing but errors."""
    said = transformers.utils.logging
    level, had_bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity(logging.ERROR)
    said.disable_progress_bar()
    try:
        yield
    finally:
        said.set_verbosity(level)
        if had_bars:
            said.enable_progress_bar()
