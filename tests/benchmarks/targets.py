"""Every target on models whose truth is known: is the planted region or column found, and is what is certified true?

    python tests/benchmarks/targets.py --cache DIR [--parts 1 2] [--instances 100] [--targets within bit ...]

1. Real models. A detector and a segmenter of torchvision look at drawn squares and discs (they are trained once, in
   some minutes, and kept in DIR); regressions of scikit-learn and XGBoost are trained on scikit-learn's diabetes table
   with a response that one column decides. Only squares that the detector finds are asked about. "found" is the share
   of instances whose anchor contains what was planted, "alone" that of anchors that are nothing else; "rows" and
   "seconds" are medians.
2. Oracles. An image of 16 pixels, each a superpixel, and a table of coins: of every mask it says whether the answer is
   the same, at a rate just below the threshold. Each target reads that from an output of its own kind. "false" is the
   share of explanations that are certified although the anchor's true precision is below the threshold, which is
   promised to be at most delta, with the 95 % interval of Clopper and Pearson.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import beta
from torch import Tensor, nn

from torch_anchors import AnchorImage, AnchorTabular, Explanation
from torch_anchors.search.exact import superset_precisions
from torch_anchors.targets.classes import Bit, NearestText, TopK
from torch_anchors.targets.regions import MaskOverlap, SameObject
from torch_anchors.targets.target import Target
from torch_anchors.targets.values import Between, Within

sys.path.insert(0, str(Path(__file__).parent))

import drawn_shapes
from drawn_shapes import DISC, SQUARE, drawn, in_cells

# ------------------------------------------------------------------------------------------------- 1. real models


@dataclass(frozen=True, slots=True)
class Planted:
    """An explanation of an instance beside what was planted in it.

    Args:
        found: whether the anchor contains what was planted.
        alone: whether it is nothing else.
        n_rows: that the model was asked for.
        seconds: that it took.
    """

    found: bool
    alone: bool
    n_rows: int
    seconds: float


class Presence(nn.Module):
    """A multi-label model: scores in 0..1 of there being a square, and of there being a disc."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, rows: Tensor) -> Tensor:
        smooth = nn.functional.avg_pool2d(self.segmenter(rows)["out"].softmax(1), 9)  # a single pixel is no shape
        return smooth.flatten(2).amax(2)[:, 1:]


class Embedding(nn.Module):
    """A stub of an image-text model: an embedding of what there is, nothing, a square or a disc."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.presence = Presence(segmenter)

    def forward(self, rows: Tensor) -> Tensor:
        present = self.presence(rows)
        return torch.cat([1 - present.amax(1, keepdim=True), present], dim=1)


TEXTS = NearestText(torch.eye(3), ["nothing", "a square", "a disc"])


def shapes_planted(target: Target, model: nn.Module, kinds: list[int], n: int) -> Iterator[Planted]:
    """Explanations of pictures with shapes of these kinds, of which the first, a square, is what is asked about."""
    cells = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 3}}
    explainer = AnchorImage(model, dtype=torch.float32, **cells, fill="infill", seed=0, max_rows=32)
    pictures = (pictured(np.random.default_rng(seed), kinds) for seed in count(1000))
    if isinstance(target, SameObject):
        found = ((shapes, picture, index_of(model, picture, shapes[0])) for shapes, picture in pictures)
        asked = ((shapes, picture, SameObject(index=index)) for shapes, picture, index in found if index is not None)
    else:
        asked = ((shapes, picture, target) for shapes, picture in pictures)
    for shapes, picture, about in islice(asked, n):
        started = time.perf_counter()
        explanation = explainer.explain(picture, target=about)
        seconds = time.perf_counter() - started
        features = {*explanation.features} if explanation.success else set()
        yield Planted(shapes[0].cell in features, features == {shapes[0].cell}, explanation.n_rows, seconds)


def pictured(rng: np.random.Generator, kinds: list[int]) -> tuple[list[drawn_shapes.Shape], Tensor]:
    """Shapes of these kinds, and a picture of them."""
    shapes = in_cells(rng, kinds)
    return shapes, drawn(shapes, rng)


def index_of(model: nn.Module, picture: Tensor, shape: drawn_shapes.Shape) -> int | None:
    """Which of the detections, counted from the surest one, is the square; None where the detector misses it."""
    from torchvision.ops import box_iou

    with torch.inference_mode():
        (found,) = model([picture])
    overlaps = box_iou(found["boxes"], torch.tensor([shape.box]))[:, 0]
    right = (overlaps >= 0.5) & (found["labels"] == SQUARE) & (found["scores"] >= 0.6)
    return int(right.nonzero()[0]) if right.any() else None


def diabetes(seed: int = 0) -> tuple[np.ndarray, list[str], int]:
    """The rows of scikit-learn's table in random order, their columns, and the one that will decide."""
    from sklearn.datasets import load_diabetes

    table = load_diabetes(scaled=False)
    rows = np.random.default_rng(seed).permutation(table.data).astype(np.float64)
    return rows, list(table.feature_names), list(table.feature_names).index("bmi")


def columns_planted(target: Target, model: Any, n: int) -> Iterator[Planted]:
    """Explanations of rows of a table, by a model of which one column decides the answer."""
    rows, names, column = diabetes()
    explainer = AnchorTabular(model, names, seed=0).fit(rows)
    for row in rows[:n]:
        started = time.perf_counter()
        explanation = explainer.explain(row, target=target)
        seconds = time.perf_counter() - started
        features = {one.column for one in explanation.rule.predicates} if explanation.success else set()
        yield Planted(column in features, features == {column}, explanation.n_rows, seconds)


def regressor(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """A regression of a response that is 60 or 200, as the body mass index is below or above its median, and noise."""
    rows, _, column = diabetes()
    high = rows[:, column] > np.median(rows[:, column])
    response = np.where(high, 200.0, 60.0) + np.random.default_rng(1).normal(0, 10, len(rows))
    if kind == "xgboost":
        from xgboost import XGBRegressor

        model: Any = XGBRegressor(n_estimators=60, max_depth=3, n_jobs=1, random_state=0)
    else:
        from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

        models = {"forest": RandomForestRegressor(60, n_jobs=1), "boosting": HistGradientBoostingRegressor()}
        model = models[kind].set_params(random_state=0)
    return model.fit(rows, response).predict


def classifier() -> Callable[[np.ndarray], np.ndarray]:
    """Probabilities of three classes, the thirds of the body mass index."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, _, column = diabetes()
    thirds = np.digitize(rows[:, column], np.quantile(rows[:, column], [1 / 3, 2 / 3]))
    return make_pipeline(StandardScaler(), LogisticRegression(C=100, max_iter=2000)).fit(rows, thirds).predict_proba


def planted(options: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Iterator[Planted]]]]:
    """Each target with a model, by what it is called; nothing is trained before it is asked for."""
    n = options.instances

    def of_shapes(target: Target, wrap: Callable[[nn.Module], nn.Module], kinds: list[int]) -> Iterator[Planted]:
        return shapes_planted(target, wrap(segmenter(options)).eval(), kinds, n)

    both = [SQUARE, DISC, DISC]
    yield "MaskOverlap, LR-ASPP", lambda: of_shapes(MaskOverlap(label=SQUARE), lambda net: net, both)
    yield "Bit, multi-label", lambda: of_shapes(Bit(0), Presence, both)
    yield "NearestText, stub", lambda: of_shapes(TEXTS, Embedding, [SQUARE])
    yield "SameObject, Faster R-CNN", lambda: shapes_planted(SameObject(), detector(options), both, n)
    for kind in ("forest", "boosting", "xgboost"):
        yield f"Within, {kind}", lambda kind=kind: columns_planted(Within(40), regressor(kind), n)
    yield "Between, xgboost", lambda: columns_planted(Between(low=130), regressor("xgboost"), n)
    yield "TopK, logistic", lambda: columns_planted(TopK(2, label=0), classifier(), n)


def detector(options: argparse.Namespace) -> nn.Module:
    """The detector, from the cache or trained."""
    return drawn_shapes.trained(
        lambda: drawn_shapes.detector(segmenter(options).backbone),
        drawn_shapes.detector_loss,
        options.steps,
        options.cache / "detector.pt",
    )


def segmenter(options: argparse.Namespace) -> nn.Module:
    """The segmenter, likewise."""
    return drawn_shapes.trained(
        drawn_shapes.segmenter, drawn_shapes.segmenter_loss, options.steps, options.cache / "segmenter.pt"
    )


def show_planted(options: argparse.Namespace) -> None:
    """The table of part 1."""
    print(f"{'target, model':>28}{'instances':>10}{'found':>8}{'alone':>8}{'rows':>7}{'seconds':>9}")
    for name, explained in planted(options):
        if asked_for(name, options):
            outcomes = list(explained())
            share = {key: np.mean([getattr(one, key) for one in outcomes]) for key in ("found", "alone")}
            rows, seconds = (statistics.median(getattr(one, key) for one in outcomes) for key in ("n_rows", "seconds"))
            numbers = f"{share['found']:>8.1%}{share['alone']:>8.1%}{rows:>7.0f}{seconds:>9.2f}"
            print(f"{name:>28}{len(outcomes):>10}{numbers}", flush=True)


# ----------------------------------------------------------------------------------------------------- 2. oracles

N_PIXELS = 16
RATE, THRESHOLD, DELTA = 0.745, 0.75, 0.3
"""Share of masks that have the same answer, just below the threshold; few rows tell the two from each other."""


class Oracle(nn.Module):
    """An image of pixels that are shown (1) or hidden (0), and for every mask whether the answer is the instance's.

    Args:
        same: of each mask (2^K,), where bit k is pixel k.
        say: the output for a batch, from which rows have the same answer.
    """

    def __init__(self, same: np.ndarray, say: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.register_buffer("same", torch.from_numpy(same))
        self.register_buffer("places", 2 ** torch.arange(same.size.bit_length() - 1))
        self.say = say

    def forward(self, rows: Any) -> Any:
        rows = torch.stack(rows) if isinstance(rows, list) else rows
        return self.say(self.same[(rows.flatten(1).round().long() * self.places).sum(1)])


def regression(same: Tensor) -> Tensor:
    """A value of 100, or one that is as much too small as too large for both targets of values."""
    return torch.where(same, 100.0, 60.0)


def several_labels(same: Tensor) -> Tensor:
    return torch.stack([torch.full_like(same, 0.25, dtype=torch.float32), torch.where(same, 0.875, 0.125)], dim=1)


def classes(same: Tensor) -> Tensor:
    """Class 1 is the second of four, or the third."""
    row = torch.tensor([[9.0, 5.0, 7.0, 1.0], [9.0, 5.0, 2.0, 1.0]])
    return row[same.long()]


def detections(same: Tensor) -> list[dict[str, Tensor]]:
    """A box in its place, or beside it."""
    boxes = torch.tensor([[[40.0, 0.0, 60.0, 20.0]], [[0.0, 0.0, 20.0, 20.0]]])
    one = torch.ones(1)
    return [{"boxes": boxes[int(stays)], "labels": one.long(), "scores": one} for stays in same]


def regions(same: Tensor) -> dict[str, Tensor]:
    """Half of the pixels, or a quarter of them, are of class 1."""
    scores = torch.zeros(len(same), 2, 4, 4)
    scores[:, 1] = -1.0
    scores[:, 1, :2] = 1.0
    scores[~same, 1, :1] = -1.0
    return {"out": scores}


def embeddings(same: Tensor) -> Tensor:
    return torch.where(same[:, None], torch.tensor([0.8, 0.6]), torch.tensor([0.6, 0.8]))


ORACLES: dict[str, tuple[Target, Callable[[Tensor], Any]]] = {
    "Within": (Within(10), regression),
    "Between": (Between(90, 110), regression),
    "Bit": (Bit(1), several_labels),
    "TopK": (TopK(2, label=1), classes),
    "SameObject": (SameObject(), detections),
    "MaskOverlap": (MaskOverlap(), regions),
    "NearestText": (NearestText(torch.eye(2)), embeddings),
}


def explained(name: str, same: np.ndarray, seed: int, **settings: Any) -> Explanation:
    """The anchor of an image of which every mask (2^K,) has the same answer or another one."""
    target, say = ORACLES[name]
    n_pixels = same.size.bit_length() - 1
    pixels = np.arange(n_pixels)[None]
    model = Oracle(same, say)
    explainer = AnchorImage(model, dtype=torch.float32, segmentation_fn=pixels, fill=0.0, seed=seed, max_rows=256)
    return explainer.explain(torch.ones(1, 1, n_pixels), target=target, **settings)


def false_certificates(name: str, n: int) -> tuple[int, int]:
    """How many of `n` explanations are certified although that is false, and how many are certified."""
    false = certified = 0
    for seed in range(n):
        same = np.random.default_rng(seed).random(2**N_PIXELS) < RATE
        same[-1] = True  # the instance itself
        found = explained(name, same, seed, threshold=THRESHOLD, delta=DELTA, max_anchor_size=2, max_rows_total=2000)
        truth = superset_precisions(same.astype(np.float64))[sum(1 << k for k in found.features)]
        certified += found.success
        false += found.success and truth < THRESHOLD - 1e-9
    return false, certified


def show_oracles(options: argparse.Namespace) -> None:
    """The table of part 2."""
    print(f"{'target':>28}{'tables':>10}{'certified':>11}{'false':>8}{'95 % interval':>16}{'promised':>11}")
    for name in ORACLES:
        if asked_for(name, options):
            n = options.tables
            false, certified = false_certificates(name, n)
            low = beta.ppf(0.025, false, n - false + 1) if false else 0.0
            interval = f"{low:.1%} to {beta.ppf(0.975, false + 1, n - false):.1%}"
            print(f"{name:>28}{n:>10}{certified:>11}{false / n:>8.1%}{interval:>16}{DELTA:>11.0%}", flush=True)


def asked_for(name: str, options: argparse.Namespace) -> bool:
    """Whether one of the targets that the user named is meant."""
    return not options.targets or any(name.lower().startswith(one.lower()) for one in options.targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/targets"), help="folder of the trained networks")
    parser.add_argument("--parts", type=int, nargs="+", default=[1, 2], choices=[1, 2])
    parser.add_argument("--targets", nargs="+", help="such as Within; all unless given")
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--steps", type=int, default=300, help="of training")
    options = parser.parse_args()
    warnings.simplefilter("error")
    if 1 in options.parts:
        show_planted(options)
    if 2 in options.parts:
        show_oracles(options)


if __name__ == "__main__":
    main()
