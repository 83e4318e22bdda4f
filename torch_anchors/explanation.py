"""Explanations: frozen results, and their words, dictionaries and files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._shapes import Bool, Float, Int
from torch_anchors.pixels import Layout
from torch_anchors.search.protocol import Status, Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REMEDIES = {
    Status.NOT_FOUND: "No anchor reached the threshold; this is the best that was found. A larger max_anchor_size, "
    "a lower threshold or other {predicates} may help.",
    Status.ROW_BUDGET: "The row budget was spent before an anchor was certified; this is the best so far. A larger "
    "max_rows_total continues the search.",
}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Explanation:
    """What is common to the explanations of images and of table rows.

    Attributes:
        features: ids of the anchor's predicates (superpixels, or conditions of the row), sorted.
        names: the same in words.
        precision: estimate of P(same label | anchor holds), in [0, 1]; exact if `status` is EXACT.
        precision_interval: bounds that hold the true precision with probability 1 - `delta`, however long the search
            was and whenever it stopped.
        coverage: P(anchor holds), in [0, 1].
        status: how the search ended.
        label: the explained label.
        label_name: the label in words where these are known.
        threshold: the precision that was asked for.
        delta: 1 - confidence.
        n_rows: rows that were sent to the model for this explanation.
        n_calls: forward passes in which they were; other explanations of a batch may have shared them.
        seconds: from the first row drawn to the end of the search, shared with the other explanations of a batch.
        path: partial anchors from the empty one to this, each with its precision and coverage.
        meta: name and parameters of the explainer, as in the reference.
    """

    features: tuple[int, ...]
    names: tuple[str, ...]
    precision: float
    precision_interval: tuple[float, float]
    coverage: float
    status: Status
    label: int
    label_name: str | None = None
    threshold: float
    delta: float
    n_rows: int
    n_calls: int
    seconds: float
    path: tuple[Step, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the precision reaches the threshold with the promised confidence."""
        return self.status in (Status.CERTIFIED, Status.EXACT, Status.EMPTY_HOLDS)

    @property
    def label_words(self) -> str:
        """The label's name, or "label 3" where it has none."""
        return self.label_name if self.label_name is not None else f"label {self.label}"

    def _precision_words(self) -> str:
        low, high = self.precision_interval
        if low == high:
            return f"precision {self.precision:.3f} (exact)"
        confidence = f"{100 * (1 - self.delta):g} %"
        return f"precision {self.precision:.3f} (between {low:.3f} and {high:.3f} with {confidence} confidence)"

    def _cost_words(self) -> str:
        rows, calls = _plural(self.n_rows, "model row"), _plural(self.n_calls, "call")
        return f"It took {rows} in {calls} and {self.seconds:.2f} s."

    def _remedy(self, predicates: str) -> str:
        return _REMEDIES.get(self.status, "").format(predicates=predicates)

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain Python values; pictures and tables of rows are left out."""
        return {
            "anchor": list(self.features),
            "names": list(self.names),
            "precision": self.precision,
            "precision_interval": list(self.precision_interval),
            "coverage": self.coverage,
            "status": self.status.value,
            "success": self.success,
            "label": self.label,
            "label_name": self.label_name,
            "threshold": self.threshold,
            "delta": self.delta,
            "n_rows": self.n_rows,
            "n_calls": self.n_calls,
            "seconds": self.seconds,
            "path": [
                {"anchor": list(s.anchor), "precision": s.precision, "coverage": s.coverage, "n": s.n}
                for s in self.path
            ],
            "meta": _plain(self.meta),
        }

    def to_json(self, path: str | Path | None = None) -> str:
        """The dictionary as JSON text, with null for NaN and infinity; also written to `path` if one is given."""
        text = json.dumps(_plain(self.to_dict()), indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def _raw_numbers(self) -> dict[str, Any]:
        """The entries of the reference's ``raw`` that need no rows."""
        steps = [step for step in self.path if step.anchor]
        order = [next(iter(set(b.anchor) - set(a.anchor))) for a, b in _pairs(self.path)]
        return {
            "feature": order,
            "mean": [step.precision for step in steps],
            "precision": [step.precision for step in steps],
            "coverage": [step.coverage for step in steps],
            "all_precision": self.path[0].precision if self.path else float("nan"),
            "num_preds": self.n_rows,
            "success": self.success,
            "names": list(self.names),
            "prediction": np.array([self.label]),
        }

    def __repr__(self) -> str:
        low, high = self.precision_interval
        return (
            f"{type(self).__name__}(anchor={list(self.names)}, label={self.label_words!r}, "
            f"precision={self.precision:.3f} [{low:.3f}, {high:.3f}], coverage={self.coverage:.3f}, "
            f"status={self.status.value!r})"
        )


@dataclass(frozen=True, slots=True)
class Example:
    """One perturbed image of the anchor: the image in the user's layout, its label, and whether that is a hit."""

    image: Any
    label: int
    hit: bool


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """What perturbed images are composed from when somebody looks at them.

    Kept instead of the images themselves, which would be far larger: `pixels` (C, H, W) and `fill` (B, C, H, W) on the
    user's value scale, shown superpixels (n, K), the number of the background (n,), labels (n,) and hits (n,).
    """

    pixels: Float[np.ndarray, "channels height width"]
    fill: Float[np.ndarray, "backgrounds channels height width"]
    keep: Bool[np.ndarray, "rows superpixels"]
    background: Int[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]
    hits: Bool[np.ndarray, " rows"]


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ImageExplanation(Explanation):
    """Superpixels that, while they are shown, keep the model's label whatever the others show.

    Attributes:
        image: the explained image as it was given (a tensor or an array).
        segments: superpixel of each pixel (H, W), 0 .. K-1.
        layout: how the user's image was laid out.
        rows: what the examples are composed from.
    """

    image: Any
    segments: Int[np.ndarray, "height width"]
    layout: Layout
    rows: ExampleRows

    @property
    def n_superpixels(self) -> int:
        """Number of superpixels, K."""
        return int(self.segments.max()) + 1

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """Which pixels belong to the anchor, (H, W)."""
        return np.isin(self.segments, self.features)

    @property
    def anchor(self) -> Any:
        """The image with only the anchor shown and zeros elsewhere, in the layout and on the scale of the input."""
        return self.restore(np.where(self.mask, self.rows.pixels, 0.0))

    @property
    def examples(self) -> tuple[Example, ...]:
        """Perturbed images that show the anchor, hits first, with the model's labels; composed when asked for."""
        return tuple(self._example(i) for i in range(self.rows.labels.size))

    def _example(self, i: int) -> Example:
        rows = self.rows
        shown = rows.keep[i][self.segments]
        pixels = np.where(shown, rows.pixels, rows.fill[rows.background[i]])
        return Example(self.restore(pixels), int(rows.labels[i]), bool(rows.hits[i]))

    def restore(self, pixels: NDArray[np.floating]) -> Any:
        """Pixels (C, H, W) in the layout and type of the user's image."""
        import torch

        return self.layout.restore(torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)))

    @property
    def data(self) -> dict[str, Any]:
        """The entries of the reference's ``data``."""
        return {
            "anchor": self.anchor,
            "segments": self.segments,
            "precision": self.precision,
            "coverage": self.coverage,
            "raw": self.raw,
        }

    @property
    def raw(self) -> dict[str, Any]:
        """The entries of the reference's ``raw``."""
        hits = [example.image for example in self.examples if example.hit]
        misses = [example.image for example in self.examples if not example.hit]
        examples = {
            "covered_true": hits,
            "covered_false": misses,
            "uncovered_true": [],
            "uncovered_false": [],
        }
        return {
            **self._raw_numbers(),
            "examples": [examples],
            "instance": self.image,
            "instances": [self.image],
        }

    def to_dict(self) -> dict[str, Any]:
        """As `Explanation.to_dict`, with the label map."""
        return {**super().to_dict(), "n_superpixels": self.n_superpixels, "segments": self.segments.tolist()}

    def plot(self, label_names: Sequence[str] | None = None, *, path: str | Path | None = None) -> Figure:
        """Figure of the photograph, its superpixels, the anchor, and a few hits and misses. Needs matplotlib.

        Args:
            label_names: the name of each class.
            path: where the figure is also saved; the suffix chooses the format.
        """
        from torch_anchors.plots import plot_image

        return plot_image(self, label_names=label_names, path=path)

    def __str__(self) -> str:
        what, n = self.label_words, self.n_superpixels
        if self.status is Status.EMPTY_HOLDS:
            first = (
                f"The model answers {what} whichever of the {n} superpixels are shown: no superpixel is needed, with "
                f"{self._precision_words()}."
            )
            advice = (
                "Fills of the image's own colours may give it away; images_background with other pictures ask a "
                "harder question."
            )
            asked = self.meta.get("params", {}).get("images_background", False)
            return " ".join([first, *([] if asked else [advice]), self._cost_words()])
        if not self.features:
            first = f"No superpixels were found that keep {what}: without any, it has {self._precision_words()}."
            return f"{first} {self._remedy('segments')} {self._cost_words()}"
        listed = _listed(self.features)
        one = len(self.features) == 1
        shown = f"superpixel {listed} of {n} is shown" if one else f"superpixels {listed} of {n} are shown"
        first = (
            f"While {shown}, the model answers {what} with {self._precision_words()}, "
            f"whatever the other superpixels show; that covers {100 * self.coverage:.3g} % of all perturbed images."
        )
        return " ".join(part for part in (first, self._remedy("segments"), self._cost_words()) if part)


def _listed(items: Sequence[Any]) -> str:
    """ "1", "1 and 2", "1, 2 and 3"."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _pairs(path: Sequence[Step]) -> list[tuple[Step, Step]]:
    return [(a, b) for a, b in pairwise(path) if set(a.anchor) < set(b.anchor)]


def _plain(value: Any) -> Any:
    """Nested containers of values that JSON knows; anything else by its name."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, type) or not hasattr(value, "shape") else f"array{tuple(value.shape)}"
