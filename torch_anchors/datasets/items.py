"""Items of a PyTorch Dataset or DataLoader, of a Hugging Face data set, or of any iterable.

An item is an instance, a pair of it and its true label, or a mapping such as ``{"image": ..., "label": ...}``.
A picture may be the content of its file, as bytes or as a mapping ``{"bytes": ..., "path": ...}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, SequentialSampler

from torch_anchors.datasets.sources import Entry, Inputs, ids_of, label_words
from torch_anchors.errors import ArgumentError
from torch_anchors.images.files import read_picture
from torch_anchors.words import LabelNames

INSTANCES = ("image", "img", "pixel_values", "features", "inputs", "x", "bytes")
LABELS = ("label", "labels", "target", "y")
IDS = ("id", "ids")
"""What mappings call the instance, the true label and the id, if nobody says otherwise."""


class Items:
    """A source of the items of a data set that has a length and gives its items by number.

    Args:
        dataset: a PyTorch Dataset, a Hugging Face data set of pictures, a list or tuple of instances, or an array or
            tensor of images.
        ids: an id for each item, or what mappings call it; None for the number of each item, from 0.
        true_label: what mappings call the true label; None for the usual names.
        label_names: what the classes are called, where true labels are numbers; of a Hugging Face data set, what its
            own feature says, unless they are given.
        is_table: whether the instances are rows of a table.
        instance: what mappings call the instance; None for the usual names.
    """

    together, readers = 1, 1

    def __init__(
        self,
        dataset: Any,
        ids: str | Sequence[Any] | None = None,
        true_label: str | None = None,
        label_names: LabelNames = None,
        *,
        is_table: bool = False,
        instance: str | None = None,
    ) -> None:
        self._dataset, self._reading = dataset, _Reading(dataset, true_label, label_names, is_table, instance)
        self.n: int | None = len(dataset)
        self.words = f"{self.n:,} items of a {type(dataset).__name__}"
        if isinstance(ids, str):
            ids = _ids_named(dataset, ids)
        self._ids = None if ids is None else ids_of(ids, self.n)

    def entries(self) -> Iterator[Entry]:
        """The items, by their numbers."""
        assert self.n is not None
        return (Entry(str(i) if self._ids is None else self._ids[i], i) for i in range(self.n))

    def read(self, entries: Sequence[Entry]) -> Inputs:
        """The items' instances and true labels."""
        return self._reading([self._dataset[entry.key] for entry in entries])

    def digest(self) -> None:
        """None: what is in a data set is not known before it is read."""
        return None


class Stream:
    """A source that is gone through once: an iterable, or a DataLoader, whose batches are taken apart.

    Args:
        items: of instances, of pairs or of mappings, or of batches of either. The order must be the same in every run.
        ids: what mappings call the id, or an id for each item; None for an item's own ``id`` or its number, from 0.
        true_label: what mappings call the true label; None for the usual names.
        label_names: what the classes are called, where true labels are numbers.
        is_table: whether the instances are rows of a table.

    Raises:
        ArgumentError: a DataLoader that shuffles, so that numbers would mean other items in every run.
    """

    together, readers = 1, 1

    def __init__(
        self,
        items: Iterable[Any],
        ids: str | Sequence[Any] | None = None,
        true_label: str | None = None,
        label_names: LabelNames = None,
        *,
        is_table: bool = False,
    ) -> None:
        self._items, self._reading = (
            items,
            _Reading(getattr(items, "dataset", items), true_label, label_names, is_table),
        )
        self._id_name = ids if isinstance(ids, str) else None
        self._ids = None if ids is None or isinstance(ids, str) else [str(id) for id in ids]
        self._n_axes = 2 if is_table else 4
        self.n: int | None = None
        self.words = f"items of a {type(items).__name__}"
        if self._ids is None and self._id_name is None and _shuffles(items):
            raise ArgumentError(
                "source must give its items in the same order in every run, and this DataLoader shuffles, so that "
                "the number of an item would be the id of another one; make it with shuffle=False, or have its items "
                'say their "id" and pass ids="id".'
            )

    def entries(self) -> Iterator[Entry]:
        """The items as they come, each as the key of its entry."""
        number = 0
        for batch in self._items:
            for item in self._taken_apart(batch):
                yield Entry(self._id(item, number), item)
                number += 1
        if self._ids is not None and number != len(self._ids):
            raise ArgumentError(f"ids must have one id for each of the {number:,} items, got {len(self._ids):,}.")

    def read(self, entries: Sequence[Entry]) -> Inputs:
        """The items' instances and true labels."""
        return self._reading([entry.key for entry in entries])

    def digest(self) -> None:
        """None: what is in a stream is not known before it is read."""
        return None

    def _taken_apart(self, batch: Any) -> Iterator[Any]:
        """The items of a batch: each has its own part of what has as many parts as there are instances."""
        instances = self._reading.instance_of(batch)
        if getattr(instances, "ndim", 0) != self._n_axes:
            yield batch
            return
        for i in range(len(instances)):
            if isinstance(batch, Mapping):
                yield {name: values[i] for name, values in batch.items()}
            elif isinstance(batch, (tuple, list)):
                yield tuple(values[i] for values in batch)
            else:
                yield batch[i]

    def _id(self, item: Any, number: int) -> str:
        if self._ids is not None:
            if number >= len(self._ids):
                raise ArgumentError(f"ids must have one id for each item, got {len(self._ids):,}, and there are more.")
            return self._ids[number]
        if isinstance(item, Mapping):
            if self._id_name is not None and self._id_name not in item:
                raise ArgumentError(f"ids must name a part of each item; item {number} has {', '.join(item)}.")
            named = self._id_name or next((name for name in IDS if name in item), None)
            if named is not None:
                return str(_plain(item[named]))
        elif self._id_name is not None:
            raise ArgumentError(f"ids={self._id_name!r} needs items that are mappings, got {type(item).__name__}.")
        return str(number)


class _Reading:
    """Instances and true labels of items."""

    def __init__(
        self, dataset: Any, true_label: str | None, label_names: LabelNames, is_table: bool, instance: str | None = None
    ) -> None:
        self._true_label, self._is_table, self._instance = true_label, is_table, instance
        features = getattr(dataset, "features", None)
        self._features = features if isinstance(features, Mapping) else {}
        self._label_names = label_names if label_names is not None else self._own_label_names()

    def __call__(self, items: Sequence[Any]) -> Inputs:
        instances = [_decoded(self.instance_of(item)) for item in items]
        given = np.stack([np.asarray(one) for one in instances]) if self._is_table else instances
        return Inputs(given, [label_words(_plain(self._label_of(item)), self._label_names) for item in items])

    def instance_of(self, item: Any) -> Any:
        """The instance of an item, or the instances of a batch."""
        if isinstance(item, (tuple, list)) and len(item):
            return item[0]
        if not isinstance(item, Mapping):
            return item
        pictures = [name for name, kind in self._features.items() if type(kind).__name__ == "Image"]
        names = [self._instance] if self._instance else [*pictures, *INSTANCES]
        name = next((name for name in names if name in item), None)
        if name is None:
            raise ArgumentError(f"an item must have an instance as one of {', '.join(names)}; it has {list(item)}.")
        return item[name]

    def _label_of(self, item: Any) -> Any:
        if isinstance(item, (tuple, list)):
            return item[1] if len(item) > 1 else None
        if not isinstance(item, Mapping):
            return None
        if self._true_label is not None and self._true_label not in item:
            raise ArgumentError(
                f"true_label must name a part of each item, got {self._true_label!r}; it has {list(item)}."
            )
        return next((item[name] for name in ([self._true_label] if self._true_label else LABELS) if name in item), None)

    def _own_label_names(self) -> Sequence[str] | None:
        """The names that a Hugging Face data set has for its labels."""
        for name in [self._true_label] if self._true_label else LABELS:
            names = getattr(self._features.get(name), "names", None)
            if names:
                return list(names)
        return None


def _decoded(instance: Any) -> Any:
    """A picture that came as the content of its file; any other instance as it is."""
    encoded = instance if isinstance(instance, Mapping) else {"bytes": instance}
    if not isinstance(encoded.get("bytes"), bytes):
        return instance
    return read_picture(Path(encoded.get("path") or "image"), content=encoded["bytes"])


def _ids_named(dataset: Any, name: str) -> Sequence[Any]:
    """The ids in a column of a Hugging Face data set."""
    if name not in getattr(dataset, "column_names", ()):
        raise ArgumentError(f"ids must be an id for each item, or the name of a column; there is no column {name!r}.")
    return list(dataset[name])


def _shuffles(items: Any) -> bool:
    if not isinstance(items, DataLoader) or isinstance(items.dataset, IterableDataset):
        return False
    sampler = getattr(items.batch_sampler, "sampler", items.sampler)
    return not isinstance(sampler, SequentialSampler)


def _plain(value: Any) -> Any:
    """A scalar of an array or tensor as a number; None for several of them, which are no label of one class."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return value.item() if np.asarray(value).size == 1 else None
    return value
