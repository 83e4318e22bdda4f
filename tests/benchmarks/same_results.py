"""Whether two checkouts explain alike, bit for bit: for a restructuring, which must change no result.

    PYTHONPATH=BEFORE python tests/benchmarks/same_results.py dump before.json
    PYTHONPATH=AFTER python tests/benchmarks/same_results.py dump after.json
    python tests/benchmarks/same_results.py compare before.json after.json

`dump` explains several hundred small images and table rows with many settings, by the public explainers alone, and
writes down everything that the explanations say, except how long they took and the version. BEFORE and AFTER are the
roots of the two checkouts, and the script is the same file in both runs. Numbers are kept in full, pictures and rows as
digests, and what a checkout does not have as "absent".

`compare` prints a table by group, with the fields that differ and a few examples, and exits with 1 if anything differs.
Batches have a given size, since the number of calls would otherwise depend on the clock; where max_rows is "auto" the
calls are left out. Compare on one machine with the same installation: other kernels round differently.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from torch.utils.data import DataLoader, TensorDataset

import torch_anchors
from torch_anchors import AnchorImage, AnchorTabular

ABSENT = "absent"
N_EXAMPLES = 3
"""Differences that are shown of each group."""
PACKAGES = ("torch", "torchvision", "numpy", "scikit-image", "scikit-learn", "pandas")


@dataclass(frozen=True, slots=True)
class Case:
    """Some explanations with the same settings.

    Args:
        group: the line of the table that they belong to.
        settings: what is special about them, in words; no other case of the group has the same.
        explain: makes them.
        timed: whether the number of their forward passes depends on the clock.
        said: whether what is written to standard error is a result, too.
        table: training rows on which the rules are tried as well.
    """

    group: str
    settings: str
    explain: Callable[[], Iterable[Any]]
    timed: bool = False
    said: bool = False
    table: Any = None


def each(name: str, *values: Any) -> list[dict[str, Any]]:
    """A setting with each of these values."""
    return [{name: value} for value in values]


SETTINGS = [
    *each("threshold", 0.7, 0.9, 0.99, 1.0),
    *each("delta", 0.01, 0.4),
    *each("tau", 0.03, 0.5),
    *each("batch_size", 25),
    *each("beam_size", 4),
    *each("stop_on_first", True),
    {"beam_size": 4, "stop_on_first": True},
    *each("max_anchor_size", 1, 2, 4),
    *each("min_samples_start", 5),
    *each("n_covered_ex", 0, 25),
    *each("max_rows_total", 1, 25, 80, 250),
    *each("seed", 7, 8),
]
"""Settings of both kinds of explanations."""


# ---------------------------------------------------------------------------------------------------------- pictures


def photograph(height: int = 32, width: int = 32, channels: int = 3, seed: int = 0) -> NDArray[np.float32]:
    """Patches of different colours (H, W, C) in [0, 1], a little noisy."""
    rng = np.random.default_rng([seed, height, width, channels])
    patches = rng.random((5, 5, channels))[np.arange(height) * 5 // height][:, np.arange(width) * 5 // width]
    return (patches + 0.06 * rng.normal(size=patches.shape)).clip(0, 1).astype(np.float32)


def tensor(*shape: int, seed: int = 0) -> Tensor:
    """A photograph as a tensor (C, H, W)."""
    return torch.from_numpy(photograph(*shape, seed=seed).transpose(2, 0, 1).copy())


def bytes_of(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    return (255 * picture).round().astype(np.uint8)


def half_hidden(channels: int, n: int = 96) -> Tensor:
    """Photographs (N, C, 32, 32) of which a random half is black."""
    rng = np.random.default_rng(channels)
    shown = np.kron(rng.random((n, 1, 4, 4)) < 0.6, np.ones((8, 8)))
    return torch.stack([tensor(32, 32, channels, seed=1000 + i) for i in range(n)]) * torch.from_numpy(shown).float()


class SmallNet(nn.Module):
    """A random convolutional network, whose classes are about equally likely on pictures half hidden."""

    def __init__(self, channels: int = 3, n_classes: int = 3, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(channels, 8, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(8, 8, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(3),
                nn.Flatten(),
                nn.Dropout(),
                nn.Linear(72, n_classes),
            )
        with torch.no_grad():
            usual = self.layers.eval()(half_hidden(channels))
        self.register_buffer("middle", usual.mean(0))
        self.register_buffer("spread", usual.std(0))
        self.train()  # the explainer is to evaluate it all the same

    def forward(self, rows: Tensor) -> Tensor:
        return (self.layers(rows) - self.middle) / self.spread


def scores(rows: Tensor) -> Tensor:
    """Scores (N, 3) of rows in [0, 1], of any size and with any number of channels."""
    pooled = adaptive_avg_pool2d(rows.mean(1, keepdim=True), 4).flatten(1)
    weights = torch.tensor([9, 1, 7, -2, 1, 8, -1, 2, 1, -6, 1, 2, 3, 1, -4, 5], dtype=rows.dtype)
    return torch.stack([pooled @ weights - 13, 13 - pooled @ weights, 6 * pooled[:, 5] - 3], dim=1)


def weighted(rows: Tensor) -> Tensor:
    """Labels that depend on many parts of the picture."""
    return scores(rows).argmax(1)


def planted(rows: Tensor) -> Tensor:
    """Label 1 while two places of the picture are not black."""
    height, width = rows.shape[2:]
    seen = rows[:, :, height // 6, width // 6].sum(1) * rows[:, :, height // 2, 5 * width // 6].sum(1)
    return (seen > 0.01).long()


def from_arrays(rows: NDArray[Any]) -> NDArray[np.floating]:
    """Probabilities for arrays (N, H, W, C)."""
    odds = np.exp(scores(torch.from_numpy(np.ascontiguousarray(np.moveaxis(rows, -1, 1)))).numpy())
    return odds / odds.sum(1, keepdims=True)


def class_names(rows: NDArray[Any]) -> NDArray[np.str_]:
    return np.array(["zebra", "apple", "mango"])[from_arrays(rows).argmax(1)]


IMAGE_MODELS: dict[str, Callable[[], Any]] = {
    "net": SmallNet,
    "other net": partial(SmallNet, seed=1),
    "grey net": partial(SmallNet, 1),
    "double net": lambda: SmallNet().double(),
    "scripted net": lambda: torch.jit.trace(SmallNet().eval(), torch.zeros(2, 3, 32, 32)),
    "net on channels_last": lambda: SmallNet().to(memory_format=torch.channels_last),
    "one logit": partial(SmallNet, n_classes=1),
    "weighted": lambda: weighted,
    "planted": lambda: planted,
    "scores": lambda: scores,
    "tuple": lambda: lambda rows: (scores(rows), rows),
    "mapping": lambda: lambda rows: {"features": rows, "logits": scores(rows)},
    "object": lambda: lambda rows: SimpleNamespace(logits=scores(rows)),
    "arrays": lambda: from_arrays,
    "labels of arrays": lambda: lambda rows: from_arrays(rows).argmax(1),
    "names of arrays": lambda: class_names,
}
OF_IMAGE_EXPLAINER = {
    *("image_shape", "dtype", "segmentation_fn", "segmentation_kwargs", "images_background", "seed", "fill"),
    *("preprocess", "device", "max_rows", "autocast", "channels_last"),
}
"""Settings of the explainer itself; all others are those of an explanation."""


def image_case(
    group: str, words: str, pictures: Iterable[Any], model: str = "net", how: str = "alone", **settings: Any
) -> Case:
    """Explanations of `pictures`, one by one ("alone"), by `explain_batch` ("batch") or by `explain_iter` ("iter")."""
    defaults: dict[str, Any] = {"seed": 0, "max_rows": 16}
    if "segmentation_fn" not in settings:
        defaults |= {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 3}}
    made, asked = split(defaults | settings, OF_IMAGE_EXPLAINER)

    def explain() -> Iterable[Any]:
        explainer = AnchorImage(IMAGE_MODELS[model](), **{"dtype": torch.float32, **made})
        if how == "alone":
            return [explainer.explain(picture, **asked) for picture in pictures]
        together = explainer.explain_batch if how == "batch" else explainer.explain_iter
        return together(pictures, **asked)

    return Case(
        group,
        in_words(words, model=model, how=how, **settings),
        explain,
        timed=settings.get("max_rows") == "auto",
        said=settings.get("verbose", False),
    )


PAIR = [tensor(seed=1), tensor(seed=2)]


def image_methods() -> Iterator[Case]:
    for model in ("net", "other net", "weighted", "planted"):
        for p_sample in (0.3, 0.5):
            for method in ("auto", "beam", "exact"):
                own = {"p_sample": p_sample, "method": method, "fill": "constant"}
                yield image_case("image methods", "pair", PAIR, model, **own)
    few = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 3}}
    for method in ("auto", "beam"):
        yield image_case("image methods", "few superpixels", PAIR, method=method, **few)


def inverted(image: Tensor, segments: Tensor) -> Tensor:
    return image.max() - image


def stripes_of_segments(image: Tensor, segments: Tensor) -> Tensor:
    """Two backgrounds."""
    light = (segments % 2).to(image.dtype).expand_as(image)
    return torch.stack([image.flip(2), light * image.max()])


def image_fills() -> Iterator[Case]:
    fills = ("mean", "blur", "noise", "constant", 0.4, 1, (0.9, 0.1, 0.4), inverted, stripes_of_segments)
    for p_sample in (0.3, 0.5):
        for fill in fills:
            yield image_case("image fills", "pair", PAIR, p_sample=p_sample, fill=fill)
    for fill in ("mean", "blur", "noise", 128.0):
        pair = [bytes_of(photograph(seed=seed)) for seed in (1, 2)]
        yield image_case("image fills", "bytes", pair, preprocess=unit, fill=fill)


def image_backgrounds() -> Iterator[Case]:
    others = [photograph(seed=seed) for seed in range(20, 25)]
    given = {
        "an array": np.stack(others),
        "a tensor": torch.from_numpy(np.stack(others).transpose(0, 3, 1, 2).copy()),
        "arrays": others,
        "one": others[:1],
        "other sizes": [photograph(20, 50, seed=30), others[0], tensor(48, 48, seed=31)],
    }
    for words, backgrounds in given.items():
        for p_sample in (0.3, 0.5):
            yield image_case("image backgrounds", words, PAIR, p_sample=p_sample, images_background=backgrounds)
    for method in ("beam", "exact"):
        yield image_case("image backgrounds", "methods", PAIR, "weighted", method=method, images_background=others)


def columns_of_pixels(image: NDArray[Any]) -> NDArray[np.int64]:
    """A segmentation whose labels have gaps."""
    height, width = image.shape[:2]
    return np.broadcast_to(np.arange(width) * 7 // width * 3 + 2, (height, width))


def image_segmentations() -> Iterator[Case]:
    height, width = 40, 36
    pictures = [
        tensor(height, width),
        bytes_of(photograph(height, width, seed=3)),
        photograph(height, width, 1)[..., 0],
    ]
    label_map = (np.arange(height)[:, None] * 3 // height) * 4 + np.arange(width) * 4 // width
    segmentations: list[tuple[Any, dict[str, Any] | None]] = [
        *[("slic", None), ("slic", {"n_segments": 14, "compactness": 1}), ("slic_torch", None)],
        *[("slic_torch", {"n_segments": 14, "compactness": 3}), ("felzenszwalb", {"scale": 50, "min_size": 60})],
        *[("quickshift", {"kernel_size": 5, "max_dist": 20}), ("grid", None), ("grid", {"rows": 5, "cols": 2})],
        *[(label_map, None), (torch.from_numpy(label_map), None), (columns_of_pixels, None)],
    ]
    for function, kwargs in segmentations:
        chosen = {"segmentation_fn": function, "segmentation_kwargs": kwargs}
        for model in ("weighted", "planted"):
            yield image_case("image segmentations", "kinds", pictures, model, fill="constant", **chosen)
    many = {"segmentation_fn": "slic_torch", "segmentation_kwargs": {"n_segments": 60, "compactness": 5}}
    for model in ("weighted", "planted"):
        yield image_case("image segmentations", "many superpixels", [tensor(64, 64), tensor(48, 64)], model, **many)


def image_searches() -> Iterator[Case]:
    exact = [
        {"method": "exact", **own} for own in ({"max_anchor_size": 1}, {"threshold": 0.8}, {"stop_on_first": True})
    ]
    pictures = [tensor(seed=4), tensor(36, 48, seed=5)]
    grid = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 4}, "fill": "constant"}
    for own in [*SETTINGS, *exact]:
        for model in ("net", "weighted"):
            yield image_case("image searches", "12 superpixels", pictures, model, **grid, **own)


def image_labels() -> Iterator[Case]:
    for label in (0, 1, 2, np.int64(1)):
        for method in ("beam", "exact"):
            yield image_case("image labels", "given", PAIR, label=label, method=method)
    for fill in ("mean", "constant"):
        yield Case("image labels", f"by name, {fill}", partial(by_name, fill))


def by_name(fill: str) -> list[Any]:
    """Explanations without and with the name of a label, which is known after the first ones."""
    explainer = AnchorImage(class_names, dtype=np.float32, segmentation_fn="grid", seed=0, max_rows=16, fill=fill)
    pictures = [tensor(seed=seed) for seed in range(6)]
    return explainer.explain_batch(pictures) + explainer.explain_batch(pictures[:2], label="mango")


def unit(rows: Tensor) -> Tensor:
    """Pixels 0 to 255 in [0, 1]."""
    return rows.float() / 255


def resized(rows: Tensor) -> Tensor:
    return interpolate(unit(rows), size=(28, 28), mode="bilinear", antialias=True)


def image_models() -> Iterator[Case]:
    for model in ("net", "scripted net", "net on channels_last", "one logit"):
        yield image_case("image models", "modules", PAIR, model)
    for model in ("scores", "tuple", "mapping", "object"):
        yield image_case("image models", "callables", PAIR, model)
    for model in ("arrays", "labels of arrays", "names of arrays"):
        for dtype in (np.float32, np.float64):
            yield image_case("image models", "NumPy", PAIR, model, dtype=dtype)
    yield image_case("image models", "float64", PAIR, "double net", dtype=torch.float64)
    yield image_case("image models", "autocast", PAIR, autocast=torch.bfloat16)
    yield image_case("image models", "memory format", PAIR, channels_last=True)
    yield image_case("image models", "device", PAIR, device="cpu", image_shape=(32, 32, 3))
    pictures = [bytes_of(photograph(seed=6)), 255 * photograph(seed=7), 255 * tensor(40, 40, seed=8)]
    for preprocess in (unit, resized):
        for fill in ("mean", "noise"):
            yield image_case("image models", "preprocess", pictures, preprocess=preprocess, fill=fill)
    yield image_case("image models", "preprocess", pictures, "arrays", preprocess=unit, dtype=np.float32)


def image_kinds() -> Iterator[Case]:
    grey, colour = photograph(channels=1, seed=9), photograph(seed=10)
    kinds = {
        "array (H, W)": ("grey net", grey[..., 0]),
        "array (H, W, 1)": ("grey net", grey),
        "array (H, W, 3)": ("net", colour),
        "array of float64": ("net", colour.astype(np.float64)),
        "array of float16": ("net", colour.astype(np.float16)),
        "tensor (H, W)": ("grey net", torch.from_numpy(grey[..., 0])),
        "tensor (1, H, W)": ("grey net", tensor(32, 32, 1, seed=9)),
        "tensor (3, H, W)": ("net", tensor(seed=10)),
        "tensor of float64": ("net", tensor(seed=10).double()),
        "tensor of bfloat16": ("net", tensor(seed=10).bfloat16()),
    }
    for words, (model, picture) in kinds.items():
        for fill in ("mean", "blur", "constant"):
            yield image_case("image kinds", words, [picture], model, fill=fill)
    raw = bytes_of(colour)
    of_bytes = {
        "bytes (H, W)": raw[..., 0],
        "bytes (H, W, 3)": raw,
        "byte tensor (3, H, W)": torch.from_numpy(raw.transpose(2, 0, 1).copy()),
        "PIL RGB": Image.fromarray(raw),
        "PIL L": Image.fromarray(raw).convert("L"),
    }
    for words, picture in of_bytes.items():
        for fill in ("mean", "noise"):
            yield image_case("image kinds", words, [picture], "weighted", preprocess=unit, fill=fill)


def image_batches() -> Iterator[Case]:
    shapes = [(32, 32), (40, 36), (32, 48), (64, 64), (40, 36), (32, 32), (33, 47)]
    mixed: list[Any] = [tensor(*shape, seed=40 + i) for i, shape in enumerate(shapes)]
    mixed[1], mixed[5] = photograph(40, 36, seed=41), photograph(32, 32, seed=45)
    same = torch.stack([tensor(seed=50 + i) for i in range(5)])
    slic = {"segmentation_fn": "slic"}
    for max_rows in (1, 7, 64):
        yield image_case("image batches", "several sizes", mixed, how="batch", max_rows=max_rows, **slic)
    yield image_case("image batches", "several sizes, exact", mixed, how="batch", method="exact", fill="constant")
    yield image_case("image batches", "several sizes", mixed, "weighted", how="batch", segmentation_fn="slic_torch")
    yield image_case("image batches", "others shown", mixed, how="batch", images_background=[same[0], same[1]])
    yield image_case("image batches", "(N, C, H, W)", same, how="batch", fill="constant", **slic)
    yield image_case("image batches", "(N, H, W, C)", same.permute(0, 2, 3, 1).numpy(), how="batch", **slic)
    yield image_case("image batches", "generator", (one for one in mixed), how="iter", n_workers=2, fill="blur", **slic)
    pairs = [(one, number) for number, one in enumerate(mixed)]
    yield image_case("image batches", "pairs", pairs, how="iter", beam_size=4, p_sample=0.3)
    loader = DataLoader(TensorDataset(same, torch.arange(5)), batch_size=2)
    yield image_case("image batches", "loader", loader, how="iter", segmentation_fn="slic_torch", fill="noise")
    many = [tensor(seed=60 + i) for i in range(20)]
    yield image_case("image batches", "20 together", many, how="batch", segmentation_fn="slic_torch", fill="constant")


def image_words() -> Iterator[Case]:
    for method in ("beam", "exact"):
        for every in (1, 3):
            yield image_case("image words", "verbose", PAIR, method=method, verbose=True, verbose_every=every)
    yield image_case("image words", "verbose", PAIR, "planted", how="batch", verbose=True)
    yield image_case("image words", "progress", PAIR, how="batch", progress=True)
    yield image_case("image words", "max_rows left", PAIR, "planted", how="batch", max_rows="auto", method="exact")
    yield image_case("image words", "max_rows left", PAIR, "weighted", how="batch", max_rows="auto", fill="constant")


# ------------------------------------------------------------------------------------------------------------ tables


@dataclass(frozen=True)
class Table:
    """A table of the test: its training rows in any form, the same as the model reads them, and rows to explain."""

    training: Any
    read: NDArray[np.float64]
    explained: Any
    names: Sequence[str] | None = None
    categories: Mapping[Any, Sequence[Any]] | None = None


JOBS, CITIES, ANSWERS = ["clerk", "cook", "nurse", "vet"], ["lima", "oslo", "rome"], ["no", "yes"]


def mixed_rows(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Rows of three categories and three numbers, some of which go together."""
    rng = np.random.default_rng(seed)
    job, age = rng.integers(0, 4, n), rng.normal(40, 10, n).round()
    city = (job + rng.integers(0, 2, n)) % 3
    pay = (rng.exponential(2, n) + 0.05 * age).round(3)
    smokes = rng.random(n) < 0.2 + 0.5 * (age > 45)
    return np.column_stack([job, age, city, pay, smokes, rng.normal(size=n)]).astype(float)


@cache
def mixed_table() -> Table:
    rows = mixed_rows(600)
    categories = {0: JOBS, 2: CITIES, 4: ANSWERS}
    return Table(rows, rows, rows[:40], ["job", "age", "city", "pay", "smokes", "rent"], categories)


@cache
def numeric_table() -> Table:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(600, 4))
    rows[:, 1] += rows[:, 0]
    rows[:, 3] = rows[:, 3].round()  # few different values
    return Table(rows, rows, rows[:40])


@cache
def categorical_table() -> Table:
    rng = np.random.default_rng(2)
    rows = rng.integers(0, [4, 3, 2, 3, 5], size=(600, 5)).astype(float)
    rows[:, 3] = (rows[:, 0] + rows[:, 3]) % 3
    categories = {i: [f"c{code}" for code in range(n)] for i, n in enumerate([4, 3, 2, 3, 5])}
    return Table(rows, rows, rows[:40], list("abcde"), categories)


def frame(rows: NDArray[np.float64]) -> pd.DataFrame:
    """The mixed rows with categories as text, as pandas' categories and as truth values."""
    job, age, city, pay, smokes, rent = rows.T
    return pd.DataFrame(
        {
            "job": np.array(JOBS)[job.astype(int)],
            "age": age.astype(int),
            "city": pd.Categorical.from_codes(city.astype(int), CITIES[::-1]),
            "pay": pay,
            "smokes": smokes.astype(bool),
            "rent": rent,
        }
    )


def one_hot(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mixed rows with a column for each category."""
    sizes = {0: 4, 2: 3, 4: 2}
    blocks = [np.eye(sizes[i])[c.astype(int)] if i in sizes else c[:, None] for i, c in enumerate(rows.T)]
    return np.column_stack(blocks)


class TableNet(nn.Module):
    """A random network of two layers, whose classes are equally likely on the training rows."""

    def __init__(self, rows: NDArray[np.float64], seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(nn.Linear(rows.shape[1], 16), nn.Tanh(), nn.Linear(16, 3))
        rows = torch.from_numpy(rows).float()
        self.register_buffer("centre", rows.mean(0))
        self.register_buffer("scale", 0.5 * rows.std(0) + 1e-6)
        self.register_buffer("middle", torch.zeros(3))
        with torch.no_grad():
            self.middle = self(rows).median(0).values

    def forward(self, rows: Tensor) -> Tensor:
        return self.layers((rows - self.centre) / self.scale) - self.middle


def planted_rule(rows: Tensor) -> Tensor:
    """Label 1 where two columns are above their usual values."""
    return ((rows[:, 0] > 1) & (rows[:, 3] > 0.5)).long() + 2 * (rows[:, 1] > 45).long()


@cache
def forest(table: Callable[[], Table]) -> RandomForestClassifier:
    rows = table().read
    answers = np.array(["maybe", "never", "always"])[TableNet(rows, seed=3)(torch.from_numpy(rows).float()).argmax(1)]
    return RandomForestClassifier(5, max_depth=5, random_state=0).fit(rows, answers)


TABLE_MODELS: dict[str, tuple[Any, Callable[[Callable[[], Table]], Any]]] = {
    "net": (torch.float32, lambda table: TableNet(table().read)),
    "other net": (torch.float32, lambda table: TableNet(table().read, seed=1)),
    "double net": (torch.float64, lambda table: TableNet(table().read).double()),
    "planted": (torch.float64, lambda table: planted_rule),
    "forest": (float, lambda table: forest(table).predict_proba),
    "forest's names": (np.float32, lambda table: forest(table).predict),
}
"""The type of the rows and the model, made for a table."""

OF_TABLE_EXPLAINER = {"feature_names", "categorical_names", "dtype", "ohe", "seed", "device", "sampling", "max_rows"}


def table_case(
    group: str,
    table: Callable[[], Table],
    model: str = "net",
    how: str = "batch",
    *,
    of: Any = slice(2),
    words: str = "other",
    **settings: Any,
) -> Case:
    """Explanations of the rows `of`, together ("batch") or one by one ("alone").

    `of` is a slice of the table's own, or other rows, which `words` describe.
    """
    dtype, model_of = TABLE_MODELS[model]
    made, asked = split({"seed": 0, "max_rows": 256, "dtype": dtype, **settings}, OF_TABLE_EXPLAINER)
    fitted, asked = split(asked, {"disc_perc"})

    def explain() -> Iterable[Any]:
        own = table()
        named = {"feature_names": own.names, "categorical_names": own.categories}
        explainer = AnchorTabular(model_of(table), **({"dtype": torch.float32} | named | made)).fit(
            own.training, **fitted
        )
        explained = own.explained[of] if isinstance(of, slice) else of
        if how == "batch":
            return explainer.explain_batch(explained, **asked)
        by_place = explained.iloc if isinstance(explained, pd.DataFrame) else explained
        return [explainer.explain(by_place[i], **asked) for i in range(len(explained))]

    shown = f"rows {of.start or 0}:{of.stop}" if isinstance(of, slice) else f"{len(of)} {words} rows"
    return Case(
        group,
        in_words(shown, table=table, model=model, how=how, **settings),
        explain,
        timed=settings.get("max_rows") == "auto",
        said=settings.get("verbose", False),
        table=table,
    )


SEARCHES = [
    {"sampling": "interventional"},
    {"sampling": "interventional", "method": "beam"},
    {"sampling": "conditional"},
    {"sampling": "conditional", "method": "beam"},
]


def table_methods() -> Iterator[Case]:
    for table in (numeric_table, categorical_table, mixed_table):
        for model in ("net", "planted", "forest"):
            for search in SEARCHES:
                yield table_case("table methods", table, model, of=slice(3), **search)
        yield table_case("table methods", table, "other net", sampling="conditional", method="exact")
        for search in SEARCHES:
            yield table_case("table methods", table, how="alone", of=slice(5, 7), **search)


def table_searches() -> Iterator[Case]:
    for own in SETTINGS:
        for search in SEARCHES[:3]:
            yield table_case("table searches", mixed_table, of=slice(10, 12), **search, **own)


def table_labels() -> Iterator[Case]:
    for search in SEARCHES:
        for label in (0, 1, 2, np.int64(1)):
            yield table_case("table labels", mixed_table, label=label, **search)
        yield table_case("table labels", mixed_table, "forest's names", of=slice(4), **search)
        yield table_case("table labels", mixed_table, "forest's names", how="alone", label="never", **search)


@cache
def framed() -> Table:
    own = mixed_table()
    return Table(frame(own.read), own.read, frame(own.read[:10]))


@cache
def named_frame() -> Table:
    own = framed()
    return replace(own, names=["age", "smokes", "job"], read=own.read[:, [1, 4, 0]])


@cache
def renamed_frame() -> Table:
    return replace(framed(), categories={"job": JOBS[::-1], "smokes": [True, False]})


@cache
def one_hot_table() -> Table:
    own, blocks = mixed_table(), one_hot(mixed_table().read)
    return replace(own, training=blocks, read=blocks, explained=blocks[:10])


@cache
def one_hot_frame() -> Table:
    own, read = mixed_table(), frame(mixed_table().read)
    return replace(own, training=read, read=one_hot(own.read), explained=read[:10])


@cache
def tensor_table() -> Table:
    own = mixed_table()
    return replace(own, training=torch.from_numpy(own.read), explained=torch.from_numpy(own.read[:10]).float())


@cache
def object_table() -> Table:
    own, read = mixed_table(), frame(mixed_table().read).astype(object).to_numpy()
    return Table(read, own.read, read[:10], own.names)


def table_kinds() -> Iterator[Case]:
    for table in (framed, named_frame, renamed_frame, tensor_table, object_table):
        for search in SEARCHES[:3]:
            yield table_case("table kinds", table, of=slice(3), **search)
    for table in (one_hot_table, one_hot_frame):
        for search in SEARCHES:
            yield table_case("table kinds", table, ohe=True, of=slice(3), **search)
        yield table_case("table kinds", table, "forest", ohe=True, how="alone", sampling="interventional")
    for model in ("double net", "forest"):
        for search in SEARCHES[:3]:
            yield table_case("table kinds", framed, model, how="alone", of=slice(4, 6), **search)


def table_new_rows() -> Iterator[Case]:
    """Rows that are not in the training table: beyond its values, with unknown categories, on its cut points."""
    fresh = mixed_rows(3, seed=99)
    beyond = np.array([[1, 500.0, 2, -9.0, 0, 40.0], [3, -7.0, 0, 99.0, 1, -40.0]])
    unknown = np.array([[4, 41.0, 1, 2.5, 1, 0.3], [2, 38.0, 3, 4.5, 0, -0.2]])
    on_cuts = np.percentile(mixed_table().read, [25, 50, 75], axis=0, method="nearest")
    for words, own in {"fresh": fresh, "beyond": beyond, "unknown": unknown, "on cuts": on_cuts}.items():
        for search in SEARCHES[:3]:
            yield table_case("table new rows", mixed_table, of=own, words=words, **search)
        yield table_case("table new rows", mixed_table, "forest", of=own, words=words)
    strange = frame(fresh).assign(job=["smith", "vet", "cook"])
    for search in SEARCHES:
        yield table_case("table new rows", framed, of=strange, words="strange", **search)


@cache
def constant_table() -> Table:
    own = mixed_table()
    constant = own.read.copy()
    constant[:, [1, 4]] = 1.0
    return replace(own, training=constant, read=constant)


@cache
def wide_table() -> Table:
    """A few rows and more columns."""
    read = np.random.default_rng(5).normal(size=(80, 12)).round(1)
    return Table(read, read, read[:10])


@cache
def scaled_table() -> Table:
    """Numbers that are tiny, huge, or nearly the same, as rules must still tell them apart."""
    read = np.random.default_rng(6).normal(size=(400, 4)) * [1e-6, 1e17, 1e-4, 1.0] + [0, 0, 500, 0]
    return Table(read, read, read[:10])


@cache
def long_table() -> Table:
    """So many rows that some work is done on samples of them."""
    read = mixed_rows(33_000, seed=7)
    return replace(mixed_table(), training=read, read=read, explained=read[:10])


def table_sizes() -> Iterator[Case]:
    for max_rows in (1, 7, 1000):
        for search in (SEARCHES[0], SEARCHES[2]):
            yield table_case("table sizes", mixed_table, of=slice(20, 22), max_rows=max_rows, **search)
    for percentiles in ((), (50,), (10, 20, 50, 80, 90)):
        for search in SEARCHES[:3]:
            yield table_case("table sizes", mixed_table, disc_perc=percentiles, **search)
    for table in (constant_table, wide_table, scaled_table, long_table):
        for search in SEARCHES[:3]:
            yield table_case("table sizes", table, **search)
    yield table_case("table sizes", long_table, "planted", of=slice(5), sampling="conditional", max_anchor_size=4)
    for search in SEARCHES[2:]:
        yield table_case("table sizes", scaled_table, disc_perc=(30, 31, 60, 61), max_anchor_size=4, **search)
    more = mixed_rows(300, seed=98)
    yield table_case("table sizes", mixed_table, "planted", of=more, words="new", sampling="conditional")
    yield table_case("table sizes", mixed_table, of=more[:20], words="new", sampling="interventional")


def table_words() -> Iterator[Case]:
    for search in SEARCHES:
        for every in (1, 3):
            yield table_case("table words", mixed_table, verbose=True, verbose_every=every, **search)
        yield table_case("table words", mixed_table, "planted", progress=True, max_rows="auto", **search)


IMAGE_GROUPS = (
    *(image_methods, image_fills, image_backgrounds, image_segmentations, image_searches, image_labels),
    *(image_models, image_kinds, image_batches, image_words),
)
TABLE_GROUPS = (*(table_methods, table_searches, table_labels, table_kinds, table_new_rows, table_sizes, table_words),)


def split(settings: dict[str, Any], names: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings with these names, and the others."""
    own = {name: value for name, value in settings.items() if name in names}
    return own, {name: value for name, value in settings.items() if name not in names}


def in_words(words: str, **settings: Any) -> str:
    """A name for a case."""
    return ", ".join([words, *(f"{name}={described(value)}" for name, value in settings.items())])


def described(value: Any) -> str:
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{type(value).__name__} {tuple(value.shape)}"
    if isinstance(value, list):
        return f"{len(value)} of {type(value[0]).__name__}"
    return getattr(value, "__name__", repr(value))


# ------------------------------------------------------------------------------------------------------------ writing


COMMON = (
    *("features", "names", "precision", "precision_interval", "coverage", "status", "success", "label", "label_name"),
    *("label_words", "threshold", "delta", "n_rows", "n_calls", "path"),
)
OF_IMAGES = ("n_superpixels", "mask", "segments", "anchor", "image")
OF_TABLES = ("training_path", "instance", "anchor", "predicates", "sampling")


def tried(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, or why it fails."""
    try:
        return function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def taken(explanation: Any, name: str) -> Any:
    """An attribute, or what a method without arguments returns, or that it is absent, or why it fails."""
    value = tried(getattr, explanation, name, ABSENT)
    return tried(value) if callable(value) else value


def recorded(explanation: Any, case: Case) -> dict[str, Any]:
    """Everything that an explanation says, but the time it took."""
    of_kind = OF_IMAGES if case.table is None else OF_TABLES
    found = {name: plain(taken(explanation, name)) for name in (*COMMON, *of_kind, "raw")}
    found["meta"] = without(plain(taken(explanation, "meta")), "version")
    found["to_dict"] = plain(dictionary(explanation))
    found["data"] = without(plain(taken(explanation, "data")), "raw")
    found["examples"] = examples(taken(explanation, "examples"))
    found |= {name: taken(explanation, name) for name in ("__str__", "__repr__", "_repr_html_")}
    if case.table is not None:
        found["conditions"] = plain(taken(getattr(explanation, "rule", None), "conditions"))
        found |= on_table(explanation, case.table().training)
    return {name: untimed(value, case.timed, name) for name, value in found.items()}


def dictionary(explanation: Any) -> Any:
    """``to_dict()`` with the label map as an array, which is written as its digest."""
    found = taken(explanation, "to_dict")
    if not isinstance(found, dict):
        return found
    segments = {"segments": np.array(found["segments"])} if "segments" in found else {}
    return {**found, **segments, "meta": without(found.get("meta", ABSENT), "version")}


def without(value: Any, name: str) -> Any:
    return {k: v for k, v in value.items() if k != name} if isinstance(value, Mapping) else value


def examples(found: Any) -> Any:
    """Labels and hits of the examples, and a digest of their pixels or values."""
    if isinstance(found, str):
        return found
    shown = [plain(getattr(one, "image", getattr(one, "row", ABSENT))) for one in found]
    return {
        "labels": [plain(getattr(one, "label", ABSENT)) for one in found],
        "hits": [plain(getattr(one, "hit", ABSENT)) for one in found],
        "shown": digest(json.dumps(shown).encode()),
    }


def on_table(explanation: Any, table: Any) -> dict[str, Any]:
    """What the rule says of the training rows."""
    methods = {name: getattr(explanation, name, None) for name in ("applies", "coverage_on", "precision_on")}
    return {name: plain(tried(method, table) if method else ABSENT) for name, method in methods.items()}


def plain(value: Any) -> Any:
    """A value as JSON that is equal only if the value is the same to the last bit; arrays and tensors as digests."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and not isinstance(value, np.generic):
        return repr(value)
    if isinstance(value, np.generic):
        return f"{type(value).__name__} {value.item()!r}"
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (Tensor, np.ndarray)):
        return digest_of(value)
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Image.Image):
        return f"{type(value).__name__} {digest_of(np.array(value))}"
    return value.__name__ if isinstance(value, type) else type(value).__name__


def digest_of(values: Tensor | NDArray[Any]) -> Any:
    """Type, shape and digest of an array's bytes; of an array of objects, what they are."""
    kind = f"{type(values).__name__} of {values.dtype} {tuple(values.shape)}"
    if isinstance(values, Tensor):
        values = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    if values.dtype == object:
        return {kind: plain(values.tolist())}
    return f"{kind} {digest(np.ascontiguousarray(values).tobytes())}"


def digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=10).hexdigest()


def untimed(value: Any, calls_too: bool, name: str = "") -> Any:
    """The value without seconds; with `calls_too`, without the number of calls."""
    if name == "seconds" or (calls_too and name == "n_calls"):
        return "left out"
    if isinstance(value, dict):
        return {key: untimed(item, calls_too, key) for key, item in value.items()}
    if isinstance(value, str):
        value = re.sub(r" and [\d.,]+ s\b", "", value)
        return re.sub(r" in [\d,]+ calls?\b", "", value) if calls_too else value
    return value


def records(case: Case) -> list[dict[str, Any]]:
    """What the explanations of a case say; the error, if they fail."""
    heard = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, redirect_stderr(heard):
        warnings.simplefilter("always")
        try:
            explanations = list(case.explain())
            found = [recorded(explanation, case) for explanation in explanations]
        except Exception as error:
            found = [{"error": f"{type(error).__name__}: {error}"}]
    own = [str(w.message) for w in warned if w.category.__module__.startswith(torch_anchors.__name__)]
    lines = [untimed(line, case.timed) for line in heard.getvalue().splitlines()] if case.said else []
    for record in found[:1]:
        record |= {"warnings": own, "said": lines}
    where = {"group": case.group, "settings": case.settings}
    return [{**where, "number": number, **record} for number, record in enumerate(found)]


def sources() -> str:
    """A digest of the package that was imported."""
    root = Path(torch_anchors.__file__).parent
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    return digest(b"".join(name.encode() + (root / name).read_bytes() for name in files))


def dump(path: Path) -> None:
    """Explains everything and writes it down."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    cases = [case for group in (*IMAGE_GROUPS, *TABLE_GROUPS) for case in group()]
    repeated = [name for name, n in Counter((case.group, case.settings) for case in cases).items() if n > 1]
    if repeated:
        raise SystemExit(f"Cases must have different names: {repeated}")
    found: list[dict[str, Any]] = []
    for group, own in by(cases, lambda case: case.group).items():
        start = time.perf_counter()
        new = [record for case in own for record in records(case)]
        found += new
        print(f"{group:<22}{len(new):>6} explanations {time.perf_counter() - start:>8.1f} s", flush=True)
    written = {"sources": sources(), "versions": {name: version(name) for name in PACKAGES}, "explanations": found}
    path.write_text(json.dumps(written, indent=0) + "\n", encoding="utf-8")
    for status, n in Counter(record.get("status", record.get("error", ABSENT)) for record in found).most_common():
        print(f"{n:>6} {status}")
    print(f"{len(found)} explanations in {time.perf_counter() - started:.0f} s, sources {written['sources']}")


# ---------------------------------------------------------------------------------------------------------- comparing


def by(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """The items by their key, in the order in which the keys come."""
    found: dict[Any, list[Any]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def name_of(record: dict[str, Any]) -> tuple[str, str, int]:
    return record["group"], record["settings"], record["number"]


def differences(before: dict[str, Any] | None, after: dict[str, Any] | None) -> dict[str, str]:
    """For each field that differs, the first difference in it."""
    if before is None or after is None:
        return {"explanation": "only in the second file" if before is None else "only in the first file"}
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name, ABSENT), after.get(name, ABSENT)) for name in names}
    return {name: first_difference(*pair, name) for name, pair in pairs.items() if differ(*pair)}


def differ(before: Any, after: Any) -> bool:
    """Whether two values are not the same, in type neither (True is no 1); the order of keys does not count."""
    return before != after or json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)


def first_difference(before: Any, after: Any, where: str) -> str:
    """Where two different values begin to differ, and how."""
    if isinstance(before, dict) and isinstance(after, dict):
        before, after = ({name: one.get(name, ABSENT) for name in {**before, **after}} for one in (before, after))
        pairs = [(before[name], after[name], f"{where}.{name}") for name in before]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = [(*pair, f"{where}[{i}]") for i, pair in enumerate(zip(before, after, strict=True))]
    else:
        return f"{where}: {shortened(before)} -> {shortened(after)}"
    return next(first_difference(*pair) for pair in pairs if differ(*pair[:2]))


def shortened(value: Any, most: int = 160) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else f"{text[:most]}..."


def compare(first: Path, second: Path) -> bool:
    """Prints what differs; whether nothing does."""
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (first, second))
    if before["versions"] != after["versions"]:
        print(f"Other packages: {first_difference(before['versions'], after['versions'], 'versions')}")
    if before["sources"] == after["sources"]:
        print("Both are of the same sources.")
    old, new = ({name_of(record): record for record in one["explanations"]} for one in (before, after))
    groups = by({**old, **new}, lambda name: name[0])
    print(f"{'group':<22}{'explanations':>13}{'identical':>11}  fields that differ")
    examples_of: dict[str, list[str]] = {}
    n_same = 0
    for group, names in groups.items():
        found = {name: differences(old.get(name), new.get(name)) for name in names}
        same = sum(not own for own in found.values())
        counted = Counter(field for own in found.values() for field in own)
        told = ", ".join(f"{field} ({n})" for field, n in counted.most_common())
        print(f"{group:<22}{len(names):>13}{same:>11}  {told}".rstrip())
        n_same += same
        examples_of[group] = shown_examples(found)
    total = sum(map(len, groups.values()))
    print(f"{'all':<22}{total:>13}{n_same:>11}")
    for group, lines in examples_of.items():
        print("".join(f"\n{group}: {line}" for line in lines), end="\n" if lines else "")
    errors = sum("error" in record for record in new.values())
    if errors:
        print(f"{errors} of the second file's are errors.")
    return n_same == total > 0


def shown_examples(found: dict[tuple[str, str, int], dict[str, str]]) -> list[str]:
    """The differences of a few explanations, in words."""
    different = [(name, own) for name, own in found.items() if own][:N_EXAMPLES]
    return [
        "\n  ".join([f"{settings}, number {number}", *list(own.values())[:6]])
        for (_, settings, number), own in different
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("dump", help="explain and write down").add_argument("file", type=Path)
    comparing = commands.add_parser("compare", help="compare two files")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    options = parser.parse_args()
    if options.command == "dump":
        dump(options.file)
    else:
        sys.exit(0 if compare(options.first, options.second) else 1)


if __name__ == "__main__":
    main()
