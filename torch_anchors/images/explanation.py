"""The explanation of an image: superpixels, and the pictures that show what they do."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from torch_anchors import plot_style as style
from torch_anchors._checks import one_of
from torch_anchors._shapes import Bool, Float, Int, UInt
from torch_anchors.explanation import Explanation, reference_examples
from torch_anchors.images import sentences
from torch_anchors.images.examples import Example, ExampleRows, NearestMiss
from torch_anchors.images.grid import draw_grid
from torch_anchors.images.picture import draw_anchor_in, draw_image
from torch_anchors.images.pixels import Layout, as_picture, hwc, pack_image, read_image, to_chw
from torch_anchors.packing import Fields, pack_array, runs_of
from torch_anchors.search.protocol import NECESSARY, SearchResult
from torch_anchors.words import LabelNames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPES = ("hw", "chw")
"""Of an attribution: (H, W), or with the image's channels in front."""


def superpixel_names(found: SearchResult) -> tuple[str, ...]:
    """What the predicates of an anchor are called."""
    return tuple(f"superpixel {k}" for k in found.anchor)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ImageExplanation(Explanation):
    """Superpixels that, while they are shown, keep the model's label whatever the others show.

    Or, of the question "necessary", superpixels that, while they are hidden, change the label whatever the others show.

    Attributes:
        image: the explained image as it was given, copied.
        label_map: superpixel of each pixel (H, W), in as few bytes as will do; see `segments`.
        layout: how the user's image was laid out.
        rows: what the examples are composed from.
    """

    part: ClassVar[str] = "superpixel"

    image: Any
    label_map: UInt[np.ndarray, "height width"]
    layout: Layout
    rows: ExampleRows

    @property
    def segments(self) -> Int[np.ndarray, "height width"]:
        """Superpixel of each pixel (H, W), 0 .. K-1."""
        return self.label_map.astype(np.int64)

    @property
    def n_superpixels(self) -> int:
        """Number of superpixels, K."""
        return int(self.label_map.max()) + 1

    @property
    def mask(self) -> Bool[np.ndarray, "height width"]:
        """Which pixels belong to the anchor, (H, W)."""
        return np.isin(self.label_map, self.features)

    @property
    def anchor(self) -> Any:
        """The image with only the anchor shown and zeros elsewhere.

        Of an array or a PIL image it is an array in the same layout, on a scale on which ``imshow`` shows it right: its
        own, or 0..1 where its values are neither in 0..1 nor whole numbers in 0..255; see `as_picture`. Of a tensor it
        is a tensor of the same type and scale.
        """
        if self.layout.is_tensor:
            return self.restore(np.where(self.mask, to_chw(self.image).numpy(), 0.0))
        pixels = as_picture(hwc(self.image))
        return np.where(self.mask if pixels.ndim == 2 else self.mask[..., None], pixels, np.zeros_like(pixels))

    @property
    def examples(self) -> tuple[Example, ...]:
        """Perturbed images on which the anchor holds, hits first, with the model's labels; composed when asked for."""
        return tuple(Example(**self._row(i)) for i in range(len(self.rows)))

    @property
    def nearest_miss(self) -> NearestMiss | None:
        """Of all perturbed images that were tried, the one of another label with the fewest hidden superpixels.

        None where all had the explained label, or in a file of an earlier version.
        """
        if not self.rows.has_nearest:
            return None
        last = len(self.rows)
        return NearestMiss(**self._row(last), changed=tuple(np.flatnonzero(~self.rows.keep[last]).tolist()))

    def _row(self, i: int) -> dict[str, Any]:
        """A perturbed image, composed, its label, and whether it is a hit."""
        pixels = self.rows.compose(i, to_chw(self.image).numpy(), self.segments)
        return {
            "image": self.restore(pixels),
            "label": self.rows.labels[i : i + 1].tolist()[0],
            "hit": bool(self.rows.hits[i]),
        }

    def attribution(
        self, kind: str = "order", shape: str = "hw"
    ) -> Float[np.ndarray, "height width"] | Float[np.ndarray, "channels height width"]:
        """A picture of how much each superpixel matters, float32: each of its pixels has the superpixel's number.

        Numbers are not divided by the size of a superpixel, and are the same in all channels.

        Args:
            kind: "order" (the default) ranks all K superpixels: 1, (K - 1) / K, ... 1 / K, the anchor's first, from
                the one that the search added first, then the others by their effects; no two are equal, so that the
                picture is constant only where there is a single superpixel. "marginal" is each one's effect on
                precision, in about [-1, 1]: P(same label | it is shown) - P(same label | it is hidden), the others
                shown at random; 0 everywhere where no perturbed image changed the label. "member" is 1 in the anchor
                and 0 elsewhere.
            shape: "hw" for (H, W), "chw" for (C, H, W) with the channels of the image.

        Raises:
            ArgumentError: another kind or shape, or an explanation that was saved before there were effects.

        Effects are estimated from the rows that the search had predicted, by least squares, or, where it predicted all
        there are, exact; see `torch_anchors.engine.effects`.
        """
        one_of("shape", shape, SHAPES)
        picture = super().attribution(kind)[self.label_map]
        n_channels = to_chw(self.image).shape[0]
        return picture if shape == "hw" else np.repeat(picture[None], n_channels, axis=0)

    def restore(self, pixels: NDArray[np.floating]) -> Any:
        """Pixels (C, H, W) in the layout and type of the user's image."""
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
        """As `Explanation.raw`; ``examples`` has the perturbed images that show each partial anchor."""
        examples = self.examples
        covered = reference_examples(
            [example.image for example in examples if example.hit],
            [example.image for example in examples if not example.hit],
        )
        return {
            **self._raw_numbers(),
            "examples": [dict(covered) for _ in range(max(len(self._partial()), 1))],
            "instance": self.image,
            "instances": [self.image],
        }

    def to_dict(self) -> dict[str, Any]:
        """As `Explanation.to_dict`, with the label map."""
        return {**super().to_dict(), "n_superpixels": self.n_superpixels, "segments": self.segments.tolist()}

    def to_fields(self) -> dict[str, Any]:
        """As `Explanation.to_fields`, with the image, its superpixels and what the examples are made of."""
        own = {"image": pack_image(self.image), "segments": pack_array(self.label_map), "rows": self.rows.to_fields()}
        return {**super().to_fields(), **own}

    @classmethod
    def read_fields(cls, fields: Fields) -> dict[str, Any]:
        """As `Explanation.read_fields`."""
        image = read_image(fields.fields("image"))
        shape = tuple(to_chw(image).shape)
        label_map = fields.array("segments", kinds="u", ndim=(2,))
        fields.check(label_map.shape == shape[1:], "segments", f"of the shape of the image, {shape[1:]}")
        rows = ExampleRows.read(fields.fields("rows"), shape, int(label_map.max()) + 1)
        common = super().read_fields(fields)
        effects, n_superpixels = common["effects"], int(label_map.max()) + 1
        fits = effects is None or len(effects) == n_superpixels
        fields.check(fits, "effects", f"of {n_superpixels} superpixels")
        return {**common, "image": image, "label_map": label_map, "layout": Layout.of(image), "rows": rows}

    def _reference_data(self) -> dict[str, Any]:
        mask = {"shape": list(self.mask.shape), "runs": runs_of(self.mask.ravel())}
        return {**super()._reference_data(), "anchor": mask, "segments": pack_array(self.label_map)}

    def plot(self, label_names: LabelNames = None, *, path: str | Path | None = None) -> Figure:
        """Figure of the photograph, its superpixels, the anchor, and a few hits and misses. Needs matplotlib.

        Args:
            label_names: the name of each class.
            path: where the figure is also saved; the suffix chooses the format.
        """
        return draw_image(
            hwc(self.image),
            self.segments,
            self.features,
            self.examples,
            nearest=self.nearest_miss,
            hides=self.question == NECESSARY,
            others=[other.features for other in self.others],
            fixed=self.fixed,
            excluded=self.excluded,
            box=self.said.get("box"),
            headline=self._headline(label_names),
            figures=self._figures(),
            notes=" ".join(filter(None, (sentences.colours(self), sentences.constraints(self), self._answer_words()))),
            of_all=(self.rows.of_hits, self.rows.of_misses),
            label_names=self.names_of_labels(label_names),
            is_about_classes=self.is_about_classes,
            path=path,
        )

    def plot_anchor(self, *, ax: Any = None, path: str | Path | None = None) -> Figure:
        """Figure of the photograph alone, its anchor outlined and the rest faded, for a paper. Needs matplotlib.

        Args:
            ax: axes of a figure of yours to draw into; None for a new figure, 3.3 inches wide.
            path: where the figure is also saved; the suffix chooses the format.
        """
        height, width = self.label_map.shape
        axes = style.picture_axes(height / width) if ax is None else ax
        draw_anchor_in(axes, hwc(self.image), self.segments, [one.features for one in self.anchors], self.fixed)
        axes.set(xticks=[], yticks=[])
        return style.saved(axes.figure, path)

    @classmethod
    def plot_many(
        cls, explanations: Sequence[ImageExplanation], *, columns: int = 4, path: str | Path | None = None
    ) -> Figure:
        """Figure of several images with their anchors, `columns` side by side."""
        return draw_grid(explanations, columns=columns, path=path)

    def _repr_html_(self) -> str:
        """The picture and what was found, for notebooks; the words alone where matplotlib is not installed."""
        picture = self._repr_png_()
        words = f"<p>{escape(self.found_in_words())}</p>"
        if picture is None:
            return words
        data = base64.b64encode(picture).decode("ascii")
        return f'{words}<img alt="{escape(self._headline(None))}" src="data:image/png;base64,{data}">'

    def _repr_png_(self) -> bytes | None:
        """The picture, for notebooks; None where matplotlib is not installed."""
        try:
            figure = self.plot()
        except ImportError:
            return None
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=100, facecolor=figure.get_facecolor())
        return file.getvalue()

    def _headline(self, label_names: LabelNames) -> str:
        line = sentences.headline(self, textwrap.shorten(self.called(label_names), 48, placeholder="…"))
        return line[0].upper() + line[1:]

    def _figures(self) -> str:
        precision = self._precision_words()
        found = precision[0].upper() + precision[1:] if self.success else f"The best one found has {precision}"
        covers = f"covers {100 * self.coverage:.3g} % of all perturbed copies"
        return f"{found}; {covers}; {self.n_rows:,} were tried"

    @property
    def remark(self) -> str:
        """Says so where every superpixel is needed: that is the picture itself."""
        return sentences.remark(self)

    def __str__(self) -> str:
        return f"{self.found_in_words()} {self._cost_words()}"

    def found_in_words(self) -> str:
        """What was found, in a few sentences."""
        said = [
            sentences.first_sentence(self, self._precision_words()),
            self._others_words("superpixel"),
            self.remark,
            sentences.constraints(self),
            self._answer_words(),
            sentences.nearest_miss(self),
            self._remedy("segments"),
        ]
        return " ".join(part for part in said if part)
