"""Which source a user's data set is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from torch_anchors.datasets.image_files import ImageFiles
from torch_anchors.datasets.items import Items, Stream
from torch_anchors.datasets.sources import Source
from torch_anchors.datasets.table_rows import TableRows
from torch_anchors.errors import ArgumentError
from torch_anchors.words import LabelNames


def source_of(
    given: Any, ids: Any = None, true_label: Any = None, label_names: LabelNames = None, *, is_table: bool
) -> Source:
    """The source that a user's data set is; see `evaluate` for what that may be.

    Args:
        given: the data set, or a source.
        ids: what the inputs are called; see `evaluate`.
        true_label: where the true labels are; see `evaluate`.
        label_names: what classes are called.
        is_table: whether its inputs are rows of a table, rather than images.

    Raises:
        ArgumentError: it is none, or `ids` or `true_label` do not fit it.
    """
    if isinstance(given, Source):
        if ids is not None or true_label is not None:
            raise ArgumentError("ids and true_label must be given to the source itself, as source is one already.")
        return given
    ids, true_label = _as_list(ids), _as_list(true_label)
    names = {"ids": ids, "true_label": true_label, "label_names": label_names}
    if _is_file(given) or (_has_several(given) and all(map(_is_file, given))):
        if is_table:
            return TableRows(_one_file(given), **names)
        _refuse(true_label=true_label, why="the true label of a picture is the folder that it is in")
        if isinstance(ids, str):
            raise ArgumentError(f"ids must be an id for each picture, or None for their paths, got {ids!r}.")
        return ImageFiles(given, ids)
    if is_table and _has_rows(given):
        return TableRows(_without_torch(given), **names)
    if true_label is not None and not isinstance(true_label, str):
        raise ArgumentError(
            f"true_label must be what the items call their true label, got {type(true_label).__name__}; give pairs of "
            "instance and label instead."
        )
    return _of_items(given, names, is_table)


def _of_items(given: Any, names: dict[str, Any], is_table: bool) -> Source:
    if isinstance(given, (DataLoader, IterableDataset)):
        return Stream(given, **names, is_table=is_table)
    if hasattr(given, "with_format") and hasattr(given, "features"):  # of Hugging Face
        if is_table and hasattr(given, "__len__"):
            feature = given.features.get(names["true_label"]) if isinstance(names["true_label"], str) else None
            if names["label_names"] is None:
                names = {**names, "label_names": getattr(feature, "names", None)}
            return TableRows(given.with_format("arrow")[:], **names)
        return (Items if hasattr(given, "__len__") else Stream)(given, **names, is_table=is_table)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, (Mapping, str, bytes)):
        if isinstance(given, (np.ndarray, Tensor)) and given.ndim != 4:
            raise ArgumentError(f"source must be several images, got an array of shape {tuple(given.shape)}.")
        return Items(given, **names, is_table=is_table)
    if isinstance(given, Iterable) and not isinstance(given, (Mapping, str, bytes, Image.Image)):
        return Stream(given, **names, is_table=is_table)
    raise ArgumentError(
        "source must be a folder of pictures, a list of files, a table or its CSV or Parquet file, a Dataset or "
        f"DataLoader, or another iterable of instances, got {type(given).__name__}."
    )


def _as_list(values: Any) -> Any:
    """An array or a column of a data frame as a list; a name, or nothing, as it is."""
    return values.tolist() if hasattr(values, "tolist") else values if isinstance(values, str | None) else list(values)


def _is_file(value: Any) -> bool:
    return isinstance(value, (str, Path))


def _has_several(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, (str, bytes)) and len(given) > 0


def _one_file(given: Any) -> str | Path:
    if _is_file(given):
        return given
    if len(given) != 1:
        raise ArgumentError(f"source must be one table, got {len(given)} files; put their rows together first.")
    return given[0]


def _has_rows(given: Any) -> bool:
    """Whether it is a table: a data frame, an Arrow table, or an array or tensor."""
    frame = hasattr(given, "columns") and hasattr(given, "__getitem__")
    return frame or hasattr(given, "to_batches") or isinstance(given, (np.ndarray, Tensor))


def _without_torch(given: Any) -> Any:
    return given.detach().cpu().numpy() if isinstance(given, Tensor) else given


def _refuse(*, true_label: Any, why: str) -> None:
    if true_label is not None:
        raise ArgumentError(f"true_label must be None for files of pictures, got {true_label!r}: {why}.")
