"""What is wrong is told: what was given, the error's class, the argument that it names, and a word of the remedy.

One table, attacked from outside: each row is a call that a user may make by mistake. `names` must be in the message,
and so must `remedy`, which says what to do instead or what was expected.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from torch_anchors import AnchorImage, AnchorImageSampler, AnchorTabular, Predictor, TabularSampler
from torch_anchors.errors import (
    AnchorsError,
    ArgumentError,
    NotFittedError,
    PredictorCallError,
    PredictorReturnTypeError,
)
from torch_anchors.images.fills import resolve_fill
from torch_anchors.images.segmentation import segment
from torch_anchors.models import load_image_model
from torch_anchors.search.protocol import SearchConfig
from torch_anchors.tables.discretizer import Discretizer

NAN, INF, HUGE = float("nan"), float("inf"), 10**30
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(PIXELS).permute(2, 0, 1)
ROWS = np.random.default_rng(0).normal(size=(80, 3))
ROWS_WITH_GAPS = np.where(np.arange(80)[:, None] % 4 == np.arange(3), np.nan, ROWS)
FRAME = pd.DataFrame({"age": ROWS[:, 0], "job": ["nurse", "clerk"] * 40, "old": [True, False] * 40})
GRID: dict[str, Any] = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 2}}


class Mute(Exception):
    """An error that cannot be said."""

    def __str__(self) -> str:
        raise ValueError


class Unspeakable:
    """A value that cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError


def bright(rows: Any) -> Any:
    """Two logits of a batch of images, whether tensors or arrays."""
    rows = torch.as_tensor(rows).float().flatten(1).mean(1)
    return torch.stack([rows - 60, 60 - rows], 1)


def first_column(rows: Any) -> Any:
    return (torch.as_tensor(rows)[:, 0] > 0).long()


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any, **settings: Any) -> Any:
        raise error

    return fail


def image_explainer(predictor: Any = bright, **settings: Any) -> AnchorImage:
    return AnchorImage(predictor, **{"seed": 0, "dtype": torch.float32, **GRID, **settings})


def explain_image(image: Any = PIXELS, predictor: Any = bright, *, made: Any = None, **settings: Any) -> Any:
    """An explanation of an image; `made` are settings of the explainer."""
    return image_explainer(predictor, **(made or {})).explain(image, **settings)


def made_image(**made: Any) -> Any:
    """An explanation by an explainer of some settings."""
    return explain_image(made=made)


def segmented(**made: Any) -> Any:
    """An explanation by an explainer of some segmentation."""
    return explain_image(made={"segmentation_kwargs": None, **made})


def explain_images(images: Any, **settings: Any) -> Any:
    return image_explainer().explain_batch(images, **settings)


def image_sampler(**settings: Any) -> AnchorImageSampler:
    given = {"segmentation_fn": "grid", "custom_segmentation": False, "image": PIXELS, **settings}
    return AnchorImageSampler(lambda rows: bright(rows).argmax(1), **given)


def fit(train_data: Any = ROWS, disc_perc: Any = (25, 50, 75), *, made: Any = None, **settings: Any) -> AnchorTabular:
    return AnchorTabular(first_column, **{"seed": 0, "dtype": torch.float32, **(made or {})}).fit(
        train_data, disc_perc, **settings
    )


def explain_row(row: Any = ROWS[0], *, made: Any = None, **settings: Any) -> Any:
    return fit(made=made).explain(row, **settings)


def fit_made(**made: Any) -> AnchorTabular:
    """A fitted explainer of some settings."""
    return fit(made=made)


def whole_explainer(rows: Any) -> AnchorTabular:
    """One whose model reads whole numbers."""
    return AnchorTabular(first_column, seed=0, dtype=torch.int64).fit(rows)


def frame_explainer() -> AnchorTabular:
    return fit(FRAME)


def tabular_sampler(**settings: Any) -> TabularSampler:
    given = {
        "predictor": first_column,
        "disc_perc": (50,),
        "numerical_features": [0, 1, 2],
        "categorical_features": [],
        "feature_names": list("abc"),
        "feature_values": {},
        **settings,
    }
    return TabularSampler(**given)


def labelled(output: Any) -> Any:
    """An explanation by a model that returns `output`, whatever it is asked."""
    return explain_image(predictor=lambda rows: output(len(rows)) if callable(output) else output)


class Row(NamedTuple):
    """One mistake: its name, the call, and what the error must be."""

    name: str
    call: Callable[[], Any]
    names: str
    remedy: str
    error: type[AnchorsError] = ArgumentError


def each(setting: str, values: list[Any], call: Callable[..., Any], remedy: str) -> Iterator[Row]:
    """One mistake for each value of a setting."""
    for number, value in enumerate(values):
        yield Row(f"{setting} {number}", partial(call, **{setting: value}), setting, remedy)


NO_COUNT = [True, "5", 0, -1, 1.5, NAN, INF, [1], np.ones(2), Unspeakable()]
NO_SHARE = [True, "0.5", None, NAN, INF, -0.5, 0, 2, HUGE, [0.5], np.ones(2), 1j, Unspeakable()]
NO_FLAG = ["True", None, 2, np.ones(2), NAN]

SETTINGS = [
    *each("threshold", NO_SHARE, explain_image, "a precision in (0, 1]"),
    *each("delta", [*NO_SHARE, 1], explain_row, "a probability in (0, 1)"),
    *each("tau", [*NO_SHARE, 1], explain_image, "a difference of precisions in (0, 1)"),
    *each("batch_size", [*NO_COUNT, None, HUGE], explain_image, "a whole number of at least 1"),
    *each("beam_size", [*NO_COUNT, None, HUGE], explain_row, "a whole number of at least 1"),
    *each("min_samples_start", [*NO_COUNT, None, HUGE], explain_image, "a whole number of at least 1"),
    *each("max_anchor_size", NO_COUNT, explain_row, "None or a whole number of at least 1"),
    *each("max_rows_total", NO_COUNT, explain_image, "None or a whole number of at least 1"),
    *each("n_covered_ex", [True, "5", None, -1, 1.5, NAN, [1], HUGE], explain_row, "a whole number of at least 0"),
    *each("verbose_every", [True, "5", None, 0, -1, 1.5, NAN], explain_image, "a whole number of at least 1"),
    *each("coverage_samples", [True, "5", None, -1], explain_image, "a whole number of at least 0"),
    *each("binary_cache_size", [True, "5", None, -1], explain_row, "a whole number of at least 0"),
    *each("cache_margin", [True, "5", None, -1], explain_image, "a whole number of at least 0"),
    *each("stop_on_first", NO_FLAG, explain_row, "True or False"),
    *each("verbose", NO_FLAG, explain_image, "True or False"),
    *each("progress", NO_FLAG, explain_row, "True or False"),
    *each("method", ["greedy", None, 1, ["beam"], np.array(["beam"])], explain_image, "'beam'"),
    *each("n_workers", [True, "2", -1, 1.5, NAN, HUGE], partial(explain_images, [PIXELS]), "None or a whole number"),
    *each("on_error", ["ignore", None, True, ["skip"]], partial(explain_images, [PIXELS]), "'raise', 'skip'"),
    *each("max_rows_candidate", NO_COUNT, SearchConfig, "a whole number of at least 1"),
    *each("n_spent", ["1", -1, None], SearchConfig, "a whole number of at least 0"),
]

LABELS = [
    *each("label", [99, -1, 2, HUGE, -HUGE], explain_image, "class of the predictor, 0 to 1"),
    *each("label", [1.5, True, NAN, [1], np.ones(2), b"dog", Unspeakable()], explain_image, "or its name"),
    *each("label", ["nobody", ""], explain_image, "0 to 1"),
    *each("label", ["nobody", HUGE], explain_row, "number"),
    Row("a name that no row has", lambda: names(label="nobody"), "label", "light"),
    Row("a number among names", lambda: names(label=1), "label", "light"),
    Row(
        "a name that no training row has",
        lambda: (
            AnchorTabular(lambda x: np.where(x[:, 0] > 0, "yes", "no"), dtype=float, seed=0)
            .fit(ROWS)
            .explain(ROWS[0], label="maybe")
        ),
        "label",
        "no, yes",
    ),
]


def names(**settings: Any) -> Any:
    return explain_image(
        predictor=lambda rows: np.where(rows.mean((1, 2, 3)) > 60, "light", "dark"),
        made={"dtype": np.float32},
        **settings,
    )


IMAGES = [
    *each("image", [None, "cat.png", 5, b"", [[1, 2]], {"a": 1}, object()], explain_image, "a tensor (C, H, W)"),
    Row("image batch", lambda: explain_image(PIXELS[None]), "image", "image[0]"),
    Row("image tensor batch", lambda: explain_image(TENSOR[None]), "image", "image[0]"),
    Row("image channels first", lambda: explain_image(PIXELS.transpose(2, 0, 1)), "image", "transpose(1, 2, 0)"),
    Row("image tensor channels last", lambda: explain_image(torch.from_numpy(PIXELS)), "image", "permute(2, 0, 1)"),
    Row("image five channels", lambda: explain_image(np.zeros((8, 8, 5))), "image", "(height, width, 1 to 4)"),
    Row("image without pixels", lambda: explain_image(np.zeros((0, 8, 3))), "image", "(height, width, 1 to 4)"),
    Row("image of text", lambda: explain_image(np.full((8, 8, 3), "a")), "image", "astype"),
    Row("image of objects", lambda: explain_image(np.full((8, 8, 3), None)), "image", "astype"),
    Row("image of bools", lambda: explain_image(np.zeros((8, 8, 3), dtype=bool)), "image", "astype"),
    Row("image complex", lambda: explain_image(np.zeros((8, 8, 3), dtype=complex)), "image", "astype"),
    Row("image sparse", lambda: explain_image(torch.zeros(3, 8, 8).to_sparse()), "image", "to_dense"),
    Row("image meta", lambda: explain_image(torch.zeros(3, 8, 8, device="meta")), "image", "values"),
    Row("image NaN", lambda: explain_image(np.full((8, 8, 3), NAN)), "image", "replace"),
    Row("image infinite", lambda: explain_image(torch.full((3, 8, 8), INF)), "image", "replace"),
    Row("image beyond float32", lambda: explain_image(np.full((8, 8, 3), 1e300)), "image", "replace"),
    Row(
        "image beyond float16",
        lambda: explain_image(np.full((8, 8, 3), 1e5, dtype=np.float32), made={"dtype": torch.float16}),
        "image",
        "float32",
    ),
    Row(
        "fill beyond float16",
        lambda: explain_image(PIXELS, made={"dtype": torch.float16, "fill": 1e5}),
        "fill",
        "float32",
    ),
    *each("images", [None, 5, PIXELS, TENSOR], explain_images, "explain(image)"),
    *each("p_sample", [True, "0.5", None, NAN, INF, -0.5, 0, 2, [0.5], np.ones(2)], explain_image, "a probability"),
    *each(
        "image_shape",
        [5, "24", (1,), (24, 32, 3, 1), (24, "32"), (24.0, 32), (-1, 2), (True, 2)],
        image_explainer,
        "(H, W, C)",
    ),
    Row("another image_shape", lambda: explain_image(made={"image_shape": (8, 8, 3)}), "image_shape", "Resize"),
    *each("seed", [True, "0", -1, 1.5, NAN, [0], np.ones(2)], image_explainer, "None or a whole number"),
    *each("max_rows", [True, "many", None, 0, -1, 1.5, NAN, [1], np.ones(2), HUGE], image_explainer, '"auto"'),
    *each("device", ["gpu", "cuda:99", 1.5, ["cpu"], "xla"], image_explainer, "device"),
    *each("autocast", [True, "bfloat16", torch.int64, np.float16], image_explainer, "torch.bfloat16"),
    *each("channels_last", ["yes", 1, np.ones(2)], image_explainer, "True or False"),
    *each("dtype", ["integer", 5, object, np.object_, [np.float32]], image_explainer, "np.float32"),
    *each("preprocess", ["resize", 5, [1]], image_explainer, "callable or None"),
    *each("predictor", [None, "resnet18", 5, {"a": 1}, object()], image_explainer, "callable"),
    *each("name", [None, 5, b"x", ["timm:a"]], load_image_model, "path of a file"),
    Row("no such model", lambda: load_image_model("resnet1"), "resnet1", "torchvision:resnet1"),
    *each("device", ["gpu", "cuda:99", 1.5], load_image_model, "device"),
    *each("trust", NO_FLAG, load_image_model, "True or False"),
    Row(
        "overlay scale",
        lambda: image_explainer().overlay_mask(PIXELS, PIXELS[..., 0], [0], (1, 0)),
        "scale",
        "ascending",
    ),
    Row(
        "overlay scale text",
        lambda: image_explainer().overlay_mask(PIXELS, PIXELS[..., 0], [0], "ab"),
        "scale",
        "two finite",
    ),
    Row(
        "overlay scale number",
        lambda: image_explainer().overlay_mask(PIXELS, PIXELS[..., 0], [0], 5),
        "scale",
        "two finite",
    ),
    Row(
        "overlay segments",
        lambda: image_explainer().overlay_mask(PIXELS, np.zeros((2, 2), int), [0]),
        "segments",
        "(24, 32)",
    ),
    Row(
        "overlay features",
        lambda: image_explainer().overlay_mask(PIXELS, PIXELS[..., 0], ["a"]),
        "mask_features",
        "numbers",
    ),
]

SEGMENTATIONS = [
    *each("segmentation_fn", ["watershed", "", None, 5, NAN, {"a": 1}, b"slic"], segmented, "segmentation_fn must"),
    *each(
        "segmentation_fn", [raising(ValueError("no")), raising(Mute()), raising(StopIteration())], segmented, "raised"
    ),
    *each(
        "segmentation_fn",
        [
            np.zeros((24, 32)) + 0.5,
            np.zeros((2, 2), dtype=int),
            np.full((24, 32), -1),
            np.full((24, 32), NAN),
            np.full((24, 32), "a"),
            lambda image: None,
            lambda image: "grid",
            lambda image: [[1], [1, 2]],
            lambda image: np.zeros((24, 32, 1), dtype=int),
            lambda: 0,
        ],
        segmented,
        "segmentation_fn",
    ),
    *each("segmentation_kwargs", ["rows", 5, [1], {1: 2}, {"sides": 4}], made_image, "segmentation_kwargs"),
    *each(
        "rows", ["2", 0, -1, 1.5, None, True, 100, HUGE], lambda rows: segment(PIXELS, "grid", {"rows": rows}), "rows"
    ),
    *each(
        "n_segments",
        ["2", 0, -1, 1.5, None, True, NAN, HUGE],
        lambda n_segments: segment(PIXELS, "slic_torch", {"n_segments": n_segments}),
        "n_segments",
    ),
    *each(
        "compactness",
        ["2", 0, -1, None, True, NAN, INF],
        lambda compactness: segment(PIXELS, "slic_torch", {"compactness": compactness}),
        "compactness",
    ),
    *each(
        "n_segments",
        ["2", -1, None, [1]],
        lambda n_segments: segment(PIXELS, "slic", {"n_segments": n_segments}),
        "slic",
    ),
    *each("scale", ["2", None, [1]], lambda scale: segment(PIXELS, "felzenszwalb", {"scale": scale}), "felzenszwalb"),
]

FILLS = [
    *each(
        "fill",
        ["median", "", None, True, NAN, INF, 1e39, [0.5, "a"], [[1, 2]], {"a": 1}, object()],
        resolve_fill,
        '"mean"',
    ),
    *each("fill", [[1.0, 2.0], (), np.ones(4)], made_image, "channels"),
    *each(
        "fill",
        [
            raising(ValueError("no")),
            raising(Mute()),
            raising(StopIteration()),
            lambda image: image,
            lambda image, segments: None,
            lambda image, segments: image.numpy(),
            lambda image, segments: image.long(),
            lambda image, segments: image[:1],
            lambda image, segments: image[None][:0],
            lambda image, segments: image.mean(),
            lambda image, segments: image * NAN,
            lambda image, segments: image.double() + 1e300,
        ],
        made_image,
        "fill",
    ),
    *each("images_background", [5, "white", [], np.zeros((0, 8, 8, 3)), ["a"], [None], {"a": 1}], made_image, "images"),
    Row(
        "backgrounds of other channels",
        lambda: explain_image(made={"images_background": [np.zeros((8, 8))]}),
        "images_background",
        "3 channels",
    ),
    Row(
        "backgrounds with NaN",
        lambda: explain_image(made={"images_background": [PIXELS * NAN]}),
        "images_background[0]",
        "replace",
    ),
    Row(
        "a fill and backgrounds",
        lambda: explain_image(made={"images_background": [PIXELS], "fill": "blur"}),
        "fill",
        "only one",
    ),
]

OUTPUTS = [
    Row(name, partial(labelled, output), "predictor", remedy, PredictorReturnTypeError)
    for name, output, remedy in [
        ("None", None, "Wrap"),
        ("text", "cat", "Wrap"),
        ("a number", 3.5, "Wrap"),
        ("floats (N,)", lambda n: torch.rand(n) + 0.1, "regression"),
        ("array of floats (N,)", lambda n: np.random.default_rng(0).random(n), "regression"),
        ("no rows", lambda n: torch.zeros(0, 2), "expected"),
        ("too many rows", lambda n: torch.zeros(n + 1, 2), "expected"),
        ("one row", lambda n: torch.zeros(1, 2)[0], "expected"),
        ("no classes", lambda n: torch.zeros(n, 0), "argmax"),
        ("images", lambda n: torch.zeros(n, 2, 3, 3), "argmax"),
        ("sparse", lambda n: torch.eye(n, 2).to_sparse(), "to_dense"),
        ("meta", lambda n: torch.zeros(n, 2, device="meta"), "meta"),
        ("complex", lambda n: torch.zeros(n, 2, dtype=torch.complex64), "abs"),
        ("complex array", lambda n: np.zeros((n, 2), dtype=complex), "abs"),
        ("ragged", lambda n: [[1.0] * (1 + i % 2) for i in range(n)] + [[1.0, 2.0]], "Wrap"),
        ("objects", lambda n: np.full(n, None), "astype"),
        ("objects of numbers", lambda n: np.full((n, 2), 1.5, dtype=object), "astype"),
        ("mixed names", lambda n: np.array([*["a"] * (n - 1), 5], dtype=object) if n > 1 else [None], "astype"),
        ("dates", lambda n: np.full(n, "2020-01-01", dtype="datetime64[D]"), "names"),
        ("nested tuples", lambda n: ((torch.zeros(n, 2),), None), "model(x)[0]"),
        ("a generator", lambda n: (row for row in torch.zeros(n, 2)), "stack"),
        ("an empty tuple", lambda n: (), "Wrap"),
        ("an empty mapping", lambda n: {}, "Wrap"),
        ("a foreign mapping", lambda n: {"a": 1, "b": 2}, "Wrap"),
        ("a set", lambda n: {1, 2}, "Wrap"),
        ("a module", lambda n: nn.Linear(1, 1), "Wrap"),
        ("a changing number of classes", lambda n: torch.zeros(n, 2 + n), "its own column"),
        ("NaN alone", lambda n: torch.full((n, 2), NAN), "label"),
    ]
]

FAILURES = [
    Row(
        name,
        lambda error=error: explain_image(predictor=raising(error)),
        "predictor",
        "called with",
        PredictorCallError,
    )
    for name, error in [
        ("ValueError", ValueError("bad shape")),
        ("StopIteration", StopIteration()),
        ("broken __str__", Mute()),
        ("AssertionError", AssertionError()),
    ]
] + [
    Row(
        "preprocess raises",
        lambda: explain_image(made={"preprocess": raising(KeyError("x"))}),
        "preprocess",
        "called with",
        PredictorCallError,
    ),
    Row(
        "preprocess returns an array",
        lambda: explain_image(made={"preprocess": lambda x: x.numpy()}),
        "preprocess",
        "tensor",
        PredictorReturnTypeError,
    ),
    Row(
        "preprocess drops rows",
        lambda: explain_image(made={"preprocess": lambda x: x[:0]}),
        "preprocess",
        "tensor of the",
        PredictorReturnTypeError,
    ),
    Row("a module for arrays", lambda: AnchorImage(nn.Flatten(), dtype=np.float32), "dtype", "torch.float32"),
    Row(
        "a module elsewhere",
        lambda: AnchorImage(nn.Linear(2, 2), dtype=torch.float32, device="meta"),
        "device",
        "model.to",
    ),
    Row("a predictor's own device", lambda: Predictor(bright, device="cuda:99"), "device", "device"),
]

TABLES = [
    *each(
        "train_data",
        [None, 5, "rows", [], [[]], np.zeros((0, 3)), np.zeros((2, 2, 2)), object(), {}],
        fit,
        "train_data",
    ),
    Row("whole numbers that are missing", lambda: whole_explainer(ROWS_WITH_GAPS), "train_data", "no missing values"),
    Row("a missing whole number", lambda: whole_explainer(ROWS).explain([NAN, 1, 2]), "X", "no missing values"),
    *each("train_data", [np.full((4, 3), INF), FRAME.assign(age=-INF)], fit, "finite"),
    *each("train_data", [[[1, 2], [1]], np.full((4, 3), "a")], fit, "train_data"),
    Row("complex numbers", lambda: fit(np.full((4, 3), 1j)), "x0", "numbers"),
    Row("dates", lambda: fit(FRAME.assign(age=pd.Timestamp("2020-01-01"))), "age", "days since"),
    Row("a column of lists", lambda: fit(FRAME.assign(age=[[1]] * 80)), "age", "numbers, text"),
    Row("columns of one name", lambda: fit(pd.DataFrame(ROWS, columns=["a", "b", "a"])), "train_data", "Rename"),
    Row("features of one name", lambda: fit(made={"feature_names": ["a", "b", "a"]}), "feature_names", "once"),
    Row(
        "features of an unknown name",
        lambda: fit(FRAME, made={"feature_names": ["age", "pay"]}),
        "pay",
        "feature_names",
    ),
    *each("feature_names", [5, "abc", b"abc", {"a": 1}], fit_made, "feature_names"),
    *each("feature_names", [["a", "b"], []], fit_made, "columns"),
    *each(
        "categorical_names",
        [5, "abc", ["a"], {5: ["a"]}, {"z": ["a"]}, {1.5: ["a"]}, {True: ["a"]}, {-1: ["a"]}],
        fit_made,
        "categorical_names",
    ),
    *each(
        "categorical_names",
        [{0: 5}, {0: "abc"}, {0: None}, {0: []}, {0: ["a", "a"]}, {0: [["a"]]}],
        lambda **s: fit(np.zeros((4, 3)), made=s),
        "categorical_names",
    ),
    Row(
        "codes without a category",
        lambda: fit(np.full((4, 3), 2.0), made={"categorical_names": {0: ["a", "b"]}}),
        "train_data",
        "Name all",
    ),
    Row(
        "codes that are none",
        lambda: fit(np.full((4, 3), 0.5), made={"categorical_names": {0: ["a", "b"]}}),
        "train_data",
        "Name all",
    ),
    *each(
        "disc_perc",
        [None, 5, "25", True, [True], ["25"], [NAN], [INF], [-1], [101], [[25]], {25: 1}, np.ones((2, 2))],
        fit,
        "percentiles",
    ),
    *each("sampling", ["observational", None, 1, ["conditional"], np.array(["a"])], fit_made, "'conditional'"),
    *each("ohe", NO_FLAG, fit_made, "True or False"),
    *each("seed", [True, "0", -1, 1.5, NAN, [0]], fit_made, "None or a whole number"),
    *each("max_rows", [True, "many", None, 0, -1, 1.5, HUGE], fit_made, '"auto"'),
    *each("device", ["gpu", "cuda:99", 1.5], fit_made, "device"),
    *each("unlabelled", [5, np.zeros((2, 2)), np.full((2, 3), INF), "rows"], fit, "unlabelled"),
    Row(
        "no one-hot columns",
        lambda: fit(
            np.full((4, 3), 0.5), made={"ohe": True, "categorical_names": {0: ["a", "b"]}, "feature_names": ["j", "x"]}
        ),
        "train_data",
        "one-hot",
    ),
    Row("too large for the type", lambda: fit(ROWS + 1e6, made={"dtype": torch.float16}), "train_data", "float32"),
    Row(
        "a row too large for the type",
        lambda: explain_row(ROWS[0] + 1e6, made={"dtype": torch.float16}),
        "X",
        "float32",
    ),
    Row("below an unsigned type", lambda: fit(ROWS - 10, made={"dtype": np.uint8}), "train_data", "float32"),
    Row(
        "before fit",
        lambda: AnchorTabular(first_column, seed=0).explain(ROWS[0]),
        "fit",
        "training rows",
        NotFittedError,
    ),
    Row(
        "many before fit",
        lambda: AnchorTabular(first_column, seed=0).explain_batch(ROWS),
        "fit",
        "training rows",
        NotFittedError,
    ),
    *[
        Row(f"a row {n}", lambda row=row: explain_row(row), "X", "must")
        for n, row in enumerate([None, 5, "row", [], ROWS[0][:2], object()])
    ],
    Row("several rows", lambda: explain_row(ROWS[:2]), "X", "explain_batch"),
    Row("a row with infinity", lambda: explain_row([INF, 1, 2]), "X", "finite"),
    Row("a row with text", lambda: explain_row(np.array(["a", 1, 2], dtype=object)), "X", "numbers"),
    Row("a frame that lacks a column", lambda: frame_explainer().explain(FRAME[["age", "job"]][:1]), "old", "Rename"),
    Row("rows of another width", lambda: fit().explain_batch(ROWS[:, :2]), "rows", "columns"),
    Row("rows that are a number", lambda: fit().explain_batch(5), "rows", "table"),
    Row("rows that are none", lambda: fit().explain_batch(None), "rows", "table"),
    Row("numbers beyond floats", lambda: fit([[10**400, 1, 2]]), "train_data", "numbers"),
    Row(
        "names of no predicate",
        lambda: fit().add_names_to_exp({"predicates": [99], "instance": ROWS[0]}),
        "predicates",
        "0 to",
    ),
    Row("names of nothing", lambda: fit().add_names_to_exp({}), "explanation", "entries"),
    Row("labels of other rows", lambda: explain_row().precision_on(ROWS, [1, 2]), "labels", "80"),
]

SAMPLERS = [
    *each("p_sample", [True, "0.5", None, NAN, 0, -1, 2], image_sampler, "a probability"),
    *each("n_covered_ex", [True, "5", None, -1, 1.5], image_sampler, "a whole number"),
    *each("image", [None, "cat.png", np.zeros((8, 8, 5))], image_sampler, "image"),
    *each("segmentation_fn", ["watershed", None, np.zeros((2, 2), int)], image_sampler, "segmentation_fn"),
    *each("device", ["gpu", "cuda:99", 1.5], image_sampler, "device"),
    Row("an anchor of no superpixel", lambda: image_sampler().perturbation((99,), 3), "anchor", "superpixels"),
    Row("an anchor of text", lambda: image_sampler().perturbation(("a",), 3), "anchor", "superpixels"),
    *[
        Row(
            f"image num_samples {n!r}",
            lambda n=n: image_sampler().perturbation((0,), n),
            "num_samples",
            "a whole number",
        )
        for n in (-1, 1.5, "3", True, HUGE)
    ],
    Row(
        "no predictor to compare",
        lambda: AnchorImageSampler(None, "grid", False, PIXELS).compare_labels(TENSOR[None].float()),
        "predictor",
        "given",
    ),
    *each("disc_perc", [5, "25", None, [101], [NAN]], tabular_sampler, "percentiles"),
    *each("n_covered_ex", [True, "5", None, -1, 1.5], tabular_sampler, "a whole number"),
    *each("seed", [True, "0", -1, 1.5], tabular_sampler, "None or a whole number"),
    *each("sampling", ["observational", None], tabular_sampler, "'conditional'"),
    *each("device", ["gpu", "cuda:99"], tabular_sampler, "device"),
    *each("numerical_features", [[0, 1], [0, 0, 1, 2], 5, ["a", 1, 2]], tabular_sampler, "numerical_features"),
    Row(
        "categories without values",
        lambda: tabular_sampler(numerical_features=[0, 1], categorical_features=[2]),
        "feature_values",
        "categories",
    ),
    Row(
        "call before deferred_init",
        lambda: tabular_sampler().build_lookups(ROWS[0]),
        "deferred_init",
        "training rows",
        NotFittedError,
    ),
    Row(
        "call before build_lookups",
        lambda: tabular_sampler().deferred_init(ROWS)((0, ()), 3),
        "build_lookups",
        "instance",
        NotFittedError,
    ),
    Row(
        "training rows of another width",
        lambda: tabular_sampler().deferred_init(ROWS[:, :2]),
        "train_data",
        "3 columns",
    ),
    Row("training rows of text", lambda: tabular_sampler().deferred_init([["a", "b", "c"]]), "train_data", "numbers"),
    Row("training rows with infinity", lambda: tabular_sampler().deferred_init(ROWS * INF), "train_data", "finite"),
    Row("instances", lambda: tabular_sampler().deferred_init(ROWS).build_lookups(ROWS[:2]), "X", "one row"),
    Row("unknown predicates", lambda: ready_sampler()((0, (99,)), 3), "anchor", "0 to 2"),
    Row("no predicates", lambda: ready_sampler()((0, ("a",)), 3), "anchor", "0 to 2"),
    *[
        Row(f"table num_samples {n!r}", lambda n=n: ready_sampler()((0, (0,)), n), "num_samples", "a whole number")
        for n in (-1, 1.5, "3", True, HUGE)
    ],
    *[
        Row(f"set_n_covered {n!r}", lambda n=n: ready_sampler().set_n_covered(n), "n_covered", "a whole number")
        for n in (-1, 1.5, "3", None)
    ],
    *each(
        "percentiles",
        [[101], [-1], ["a"], None, 5],
        lambda percentiles: Discretizer.fit(ROWS, [None] * 3, percentiles),
        "percentiles",
    ),
]


def ready_sampler() -> TabularSampler:
    sampler = tabular_sampler().deferred_init(ROWS)
    sampler.build_lookups(ROWS[0])
    return sampler


TABLE = {
    "settings": SETTINGS,
    "labels": LABELS,
    "images": IMAGES,
    "segmentations": SEGMENTATIONS,
    "fills": FILLS,
    "outputs": OUTPUTS,
    "failures": FAILURES,
    "tables": TABLES,
    "samplers": SAMPLERS,
}


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=f"{group}: {row.name}") for group in TABLE for row in TABLE[group]]
)
def test_what_is_wrong_is_told(row: Row, unchecked: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an error may come after a warning
        with pytest.raises(row.error) as caught:
            row.call()
    message = str(caught.value)
    assert row.names in message
    assert row.remedy in message
    assert len(message) < 1000


def test_there_are_many() -> None:
    assert sum(map(len, TABLE.values())) >= 150
