"""Items of data sets, loaders, Hugging Face data sets and iterables."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torch_anchors.datasets.items import Items, Stream
from torch_anchors.datasets.sources import Source
from torch_anchors.errors import ArgumentError

IMAGES = torch.rand(5, 3, 4, 4)
LABELS = torch.tensor([1, 0, 1, 1, 0])


def read(source: Source) -> list[tuple[str, float, str | None]]:
    """Id, first pixel and true label of each item."""
    found = []
    for entry in source.entries():
        inputs = source.read([entry])
        (given,), (true_label,) = inputs.given, inputs.true_labels
        found.append((entry.id, round(float(np.asarray(given).ravel()[0]), 5), true_label))
    return found


def expected(ids: Any = range(5), names: Any = ("no", "yes")) -> list[tuple[str, float, str | None]]:
    labels = [None if names is None else names[label] for label in LABELS]
    first = [round(float(image[0, 0, 0]), 5) for image in IMAGES]
    return list(zip(map(str, ids), first, labels, strict=True))


class Mappings(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 5

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"id": f"n{i}", "image": IMAGES[i], "label": LABELS[i], "weight": 1.0}


class Streaming(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(IMAGES, LABELS, strict=True))


class HuggingFace:
    """What a data set of Hugging Face has, as far as it is looked at."""

    def __init__(self, names: tuple[str, ...] = ("photo", "label")) -> None:
        image, label = type("Image", (), {})(), SimpleNamespace(names=["no", "yes"])
        self.features = {names[0]: image, names[1]: label}
        self.column_names = [*names, "key"]
        self._names = names

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(5))

    def __getitem__(self, key: Any) -> Any:
        if key == "key":
            return [f"k{i}" for i in range(5)]
        return {self._names[0]: IMAGES[key], self._names[1]: int(LABELS[key]), "key": f"k{key}"}


PAIRS = TensorDataset(IMAGES, LABELS)
WITH_NAMES = {"label_names": ("no", "yes")}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (Items(PAIRS, **WITH_NAMES), expected()),
        (Items(PAIRS), expected(names="01")),
        (Items(PAIRS, ids=list("abcde"), **WITH_NAMES), expected("abcde")),
        (Items(list(IMAGES)), expected(names=None)),
        (Items(IMAGES), expected(names=None)),
        (Items(Mappings(), **WITH_NAMES), expected()),
        (Items(HuggingFace()), expected()),
        (Items(HuggingFace(("photo", "kind")), true_label="kind", ids="key"), expected([f"k{i}" for i in range(5)])),
        (Stream(DataLoader(PAIRS, batch_size=2), **WITH_NAMES), expected()),
        (Stream(DataLoader(PAIRS, batch_size=None), **WITH_NAMES), expected()),
        (Stream(DataLoader(Mappings(), batch_size=2), **WITH_NAMES), expected([f"n{i}" for i in range(5)])),
        (Stream(DataLoader(Mappings(), batch_size=3), ids="id", **WITH_NAMES), expected([f"n{i}" for i in range(5)])),
        (Stream(DataLoader(IMAGES, batch_size=2)), expected(names=None)),
        (Stream(DataLoader(Streaming(), batch_size=2), **WITH_NAMES), expected()),
        (Stream(Streaming(), **WITH_NAMES), expected()),
        (Stream((pair for pair in PAIRS), ids=list("vwxyz"), **WITH_NAMES), expected("vwxyz")),
        (Stream(HuggingFace(), ids=list("vwxyz")), expected("vwxyz")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_items_of_all_kinds(source: Source, found: list[Any]) -> None:
    assert read(source) == found


def test_ids_that_are_texts_name_a_part() -> None:
    assert [entry.id for entry in Stream(DataLoader(Mappings()), ids="id").entries()] == [f"n{i}" for i in range(5)]
    with pytest.raises(ArgumentError, match="ids must name a part of each item; item 0 has id, image"):
        list(Stream(DataLoader(Mappings()), ids="key").entries())
    with pytest.raises(ArgumentError, match=r"ids='key' needs items that are mappings, got (list|tuple)"):
        list(Stream(DataLoader(PAIRS), ids="key").entries())
    with pytest.raises(ArgumentError, match="there is no column 'key'"):
        Items(PAIRS, ids="key")


def test_a_loader_that_shuffles_is_refused_unless_its_items_have_ids() -> None:
    with pytest.raises(ArgumentError, match=r"this DataLoader shuffles.*shuffle=False"):
        Stream(DataLoader(PAIRS, shuffle=True))
    torch.manual_seed(0)
    loader = DataLoader(Mappings(), shuffle=True, batch_size=2)
    assert sorted(entry.id for entry in Stream(loader, ids="id").entries()) == [f"n{i}" for i in range(5)]


def test_rows_of_tables() -> None:
    rows = torch.rand(5, 3)
    for source in (
        Items(TensorDataset(rows, LABELS), is_table=True),
        Stream(DataLoader(TensorDataset(rows, LABELS), batch_size=2), is_table=True),
    ):
        given = [source.read([entry]).given for entry in source.entries()]
        np.testing.assert_array_equal(np.concatenate(given), rows.numpy())
        assert given[0].shape == (1, 3)


def test_pictures_as_the_content_of_their_files() -> None:
    """As Parquet files and Hugging Face's undecoded features have them; an array is what it is."""
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    content = file.getvalue()
    items = [{"bytes": content}, {"image": {"bytes": content, "path": None}}, {"image": pixels}, (content, 1)]
    source = Items(items)
    for given in source.read(list(source.entries())).given:
        np.testing.assert_array_equal(given, pixels)
    for item, name in (({"image": {"bytes": content[:50], "path": "a/b.png"}}, "a/b.png"), (content[:50], "image")):
        source = Items([item])
        with pytest.raises(ArgumentError, match=f"^{name} (cannot be read as|is not) a picture"):
            source.read(list(source.entries()))


@pytest.mark.parametrize("n", [4, 6])
def test_ids_must_be_as_many_as_items(n: int) -> None:
    with pytest.raises(ArgumentError, match="ids must have one id for each"):
        list(Stream(DataLoader(PAIRS), ids=list(range(n))).entries())
    with pytest.raises(ArgumentError, match="ids must have one id for each"):
        Items(PAIRS, ids=list(range(n)))


def test_items_without_what_is_asked_for() -> None:
    source = Items([{"picture": IMAGES[0]}])
    with pytest.raises(ArgumentError, match=r"an item must have an instance as one of image, .*it has \['picture'\]"):
        source.read(list(source.entries()))
    source = Items([{"image": IMAGES[0]}], true_label="kind")
    with pytest.raises(ArgumentError, match="true_label must name a part of each item, got 'kind'"):
        source.read(list(source.entries()))


def test_several_labels_are_no_label_of_one_class() -> None:
    assert read(Items([(IMAGES[0], torch.tensor([0, 1, 1]))]))[0][2] is None
