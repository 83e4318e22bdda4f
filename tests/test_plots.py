"""Pictures of explanations: what they show, and that nothing overlaps."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from PIL import Image

from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import ExampleRows, ImageExplanation
from torch_anchors.pixels import Layout, to_chw
from torch_anchors.plots import label_name, plot_image, plot_rules
from torch_anchors.search.protocol import Status, Step

NAMES = [f"a class with a rather long name, number {k}" for k in range(9)]


def quarters(height: int, width: int) -> np.ndarray:
    return (np.arange(height) * 2 // height)[:, None] * 2 + np.arange(width) * 2 // width


def explained(
    image: Any,
    features: tuple[int, ...] = (0, 3),
    status: Status = Status.CERTIFIED,
    n_hits: int = 4,
    n_misses: int = 4,
    interval: tuple[float, float] = (0.951, 0.998),
) -> ImageExplanation:
    """An explanation of the image cut into quarters, whose examples hide all quarters in turn with zeros."""
    pixels = to_chw(image).numpy()
    n = n_hits + n_misses
    keep = np.ones((n, 4), dtype=bool)
    keep[np.arange(n), np.arange(n) % 4] = False
    hits = np.arange(n) < n_hits
    rows = ExampleRows(
        pixels=pixels,
        fill=np.zeros_like(pixels)[None],
        keep=keep,
        background=np.zeros(n, dtype=np.int64),
        labels=np.where(hits, 7, 2).astype(np.int64),
        hits=hits,
    )
    return ImageExplanation(
        features=features,
        names=tuple(f"superpixel {k}" for k in features),
        precision=0.983,
        precision_interval=interval,
        coverage=0.5 ** len(features),
        status=status,
        label=7,
        threshold=0.95,
        delta=0.1,
        n_rows=12345,
        n_calls=100,
        seconds=123.4,
        path=(),
        image=image,
        segments=quarters(*pixels.shape[1:]),
        layout=Layout.of(image),
        rows=rows,
    )


def photograph(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def words(figure: Any) -> list[str]:
    """All that is written on the figure, in no order."""
    return [text.get_text() for text in texts(figure)]


def texts(figure: Any) -> list[Any]:
    owned = [*figure.texts]
    for axes in figure.axes:
        owned += [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        owned += [label for label in [*axes.get_xticklabels(), *axes.get_yticklabels()] if label.get_visible()]
    return [text for text in owned if text.get_text()]


def shown(axes: Any) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def check_legible(figure: Any) -> None:
    """Every text is on the page, and none covers another."""
    FigureCanvasAgg(figure).draw()
    page = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for text, box in boxes:
        inside = page.x0 <= box.x0 <= box.x1 <= page.x1 and page.y0 <= box.y0 <= box.y1 <= page.y1
        assert inside, f"{text!r} leaves the page"
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} covers {other!r}"


CASES = {
    "certified": explained(photograph()),
    "one superpixel": explained(photograph(), features=(1,)),
    "empty": explained(photograph(), features=(), status=Status.EMPTY_HOLDS, n_misses=0),
    "not found": explained(photograph(), status=Status.NOT_FOUND, n_hits=1),
    "budget": explained(photograph(), status=Status.ROW_BUDGET, n_hits=0),
    "exact": explained(photograph(), status=Status.EXACT, interval=(0.983, 0.983)),
    "no examples": explained(photograph(), n_hits=0, n_misses=0),
    "grey": explained(photograph()[..., 0]),
    "floats": explained(photograph() / 255),
    "tensor": explained(torch.from_numpy(photograph()).permute(2, 0, 1)),
    "standardised": explained(torch.randn(3, 48, 64)),
    "one colour": explained(np.zeros((48, 64, 3), dtype=np.float32) - 1),
    "tall": explained(photograph(200, 40)),
    "wide": explained(photograph(40, 200)),
}


class TestPlotImage:
    @pytest.mark.parametrize("case", CASES)
    def test_is_legible(self, case: str) -> None:
        check_legible(plot_image(CASES[case], NAMES))

    def test_shows_photograph_superpixels_and_anchor(self) -> None:
        explanation = CASES["certified"]
        picture, superpixels, anchor = plot_image(explanation).axes[:3]
        unit = explanation.image / 255
        np.testing.assert_allclose(shown(picture), unit)
        inside = explanation.mask
        np.testing.assert_allclose(shown(superpixels)[inside], unit[inside])
        assert (np.abs(shown(superpixels) - unit)[~inside] > 1e-3).any(axis=-1).mean() > 0.95  # faded
        np.testing.assert_allclose(shown(anchor)[inside], unit[inside])
        assert len(np.unique(shown(anchor)[~inside])) == 1  # nothing else is there

    def test_borders_run_between_superpixels(self) -> None:
        thin, *outline = (c for c in plot_image(CASES["certified"]).axes[1].collections)
        segments = np.concatenate([line.T for line in thin.get_segments()], axis=1)
        assert len(thin.get_segments()) == 48 + 64  # a cross
        assert set(segments[0][segments[1] == 23.5]) >= {31.5}
        assert all(isinstance(collection, LineCollection) for collection in outline)
        # Two opposite quarters: the cross, and half of the frame.
        assert all(len(collection.get_segments()) == 2 * (48 + 64) for collection in outline)

    def test_examples_come_with_their_labels(self) -> None:
        explanation = CASES["certified"]
        figure = plot_image(explanation, NAMES)
        thumbnails = figure.axes[3:]
        assert len(thumbnails) == 6
        examples = explanation.examples
        for axes, example in zip(thumbnails, [*examples[:3], *examples[4:7]], strict=True):
            np.testing.assert_allclose(shown(axes), example.image / 255)
            assert axes.xaxis.label.get_text() == "“a class with a…"
        titles = [axes._left_title.get_text() for axes in thumbnails]
        assert titles == ["Label kept", "", "", "Label changed", "", ""]

    @pytest.mark.parametrize(
        ("n_hits", "n_misses", "expected"),
        [(9, 0, (6, 0)), (0, 9, (0, 6)), (9, 1, (5, 1)), (1, 9, (1, 5)), (9, 9, (3, 3)), (2, 1, (2, 1))],
    )
    def test_room_goes_to_what_there_is(self, n_hits: int, n_misses: int, expected: tuple[int, int]) -> None:
        figure = plot_image(explained(photograph(), n_hits=n_hits, n_misses=n_misses))
        labels = [axes.xaxis.label.get_text() for axes in figure.axes[3:]]
        assert (labels.count("label 7"), labels.count("label 2")) == expected
        titles = [axes._left_title.get_text() for axes in figure.axes[3:]]
        assert titles.count("Label kept") == bool(expected[0])
        assert titles.count("Label changed") == bool(expected[1])

    @pytest.mark.parametrize(
        ("case", "headline", "figures"),
        [
            ("certified", "these 2 of 4 superpixels stay visible", "0.983 (0.951 to 0.998 with 90 % confidence)"),
            ("one superpixel", "this one of 4 superpixels stays visible", "coverage 0.5;"),
            ("empty", "whatever is hidden", "coverage 1;"),
            ("not found", "no anchor reached the threshold of 0.95", "The best one found has precision 0.983"),
            ("budget", "row budget was spent", "The best one found has precision 0.983"),
            ("exact", "these 2 of 4", "Precision 0.983 (exact)"),
        ],
    )
    def test_says_in_words_how_it_ended(self, case: str, headline: str, figures: str) -> None:
        first, second = (text.get_text() for text in plot_image(CASES[case], {7: "cat"}).texts)
        assert first.startswith("“cat”")
        assert headline in first
        assert figures in second
        assert "12345 perturbed pictures in 123.4 s" in second

    def test_an_empty_anchor_says_so(self) -> None:
        (text,) = plot_image(CASES["empty"]).axes[2].texts
        assert "no superpixel" in text.get_text()
        assert not plot_image(CASES["certified"]).axes[2].texts

    def test_the_explanation_may_know_the_name(self) -> None:
        headline = plot_image(replace(CASES["certified"], label_name="cat")).texts[0].get_text()
        assert headline.startswith("“cat”")

    @pytest.mark.parametrize("case", ["grey", "floats", "tensor"])
    def test_all_layouts_look_alike(self, case: str) -> None:
        colours = shown(plot_image(CASES[case]).axes[0])
        expected = photograph() / 255
        expected = expected[..., :1].repeat(3, axis=2) if case == "grey" else expected
        np.testing.assert_allclose(colours, expected)

    def test_any_scale_fits_the_screen(self) -> None:
        colours = shown(plot_image(CASES["standardised"]).axes[0])
        assert colours.min() == 0
        assert colours.max() == 1

    def test_is_saved(self, tmp_path: Path) -> None:
        plot_image(CASES["certified"], path=tmp_path / "anchor.png")
        with Image.open(tmp_path / "anchor.png") as picture:
            assert picture.width == 1500
        with pytest.raises(ArgumentError, match=r"anchor\.xyz.*xyz"):
            plot_image(CASES["certified"], path=tmp_path / "anchor.xyz")

    def test_belongs_to_nobody(self) -> None:
        plot_image(CASES["certified"])
        assert not pyplot.get_fignums()

    def test_the_explanation_plots_itself(self) -> None:
        assert words(CASES["certified"].plot(label_names=NAMES)) == words(plot_image(CASES["certified"], NAMES))

    def test_needs_matplotlib(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r'pip install "torch-anchors\[plot\]"'):
            plot_image(CASES["certified"])


class TestPlotRules:
    STEPS = (
        Step((), 0.61, 1.0, 100),
        Step((3,), 0.83, 0.31, 100),
        Step((3, 7), 0.912, 0.004, 100),
        Step((3, 7, 9), 1.0, 0.0, 140),
    )
    CONDITIONS = (
        "no condition",
        "Marital Status = Never-Married",
        "37.00 < Age <= 48.00",
        "a condition whose name is so very long that it must be broken into several lines to be read",
    )

    def test_shows_both_figures_of_each_step(self) -> None:
        figure = plot_rules(self.STEPS, self.CONDITIONS, threshold=0.95, title="income > 50K")
        precision, coverage = figure.axes
        assert [bar.get_width() for bar in precision.patches] == [step.precision for step in self.STEPS]
        assert [bar.get_width() for bar in coverage.patches] == [step.coverage for step in self.STEPS]
        names = [label.get_text().replace("\n", " ") for label in precision.get_yticklabels()]
        assert names == list(self.CONDITIONS)
        assert precision.yaxis_inverted()  # the first condition is on top
        assert {"income > 50K", "Precision (line: threshold 0.95)", "0.912", "0.004"} <= set(words(figure))

    @pytest.mark.parametrize("n", [1, 2, 4])
    @pytest.mark.parametrize("threshold", [None, 0.5, 1.0])
    def test_is_legible(self, n: int, threshold: float | None) -> None:
        check_legible(plot_rules(self.STEPS[:n], self.CONDITIONS[:n], threshold=threshold, title="income > 50K " * n))

    def test_is_saved(self, tmp_path: Path) -> None:
        plot_rules(self.STEPS, self.CONDITIONS, path=tmp_path / "rule.svg")
        assert "<svg" in (tmp_path / "rule.svg").read_text()

    @pytest.mark.parametrize("conditions", [("no condition",), ()])
    def test_each_step_needs_its_words(self, conditions: tuple[str, ...]) -> None:
        with pytest.raises(ArgumentError, match=rf"4 partial anchors.*got {len(conditions)}"):
            plot_rules(self.STEPS, conditions)
        with pytest.raises(ArgumentError, match="at least one"):
            plot_rules((), ())


def test_label_name() -> None:
    assert label_name(3) == "label 3"
    assert label_name(3, ["a", "b"]) == "label 3"
    assert label_name(1, ["a", "b"]) == "“b”"
    assert label_name(1, {1: "b"}) == "“b”"
    assert label_name(2, {1: "b"}) == "label 2"
