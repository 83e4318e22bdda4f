"""Pictures of images' anchors: what they show, and that nothing overlaps."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.collections import LineCollection
from PIL import Image

from tests.figures import check_legible, shown, words
from tests.grids import grid_explainer
from tests.images.explained import explanation_of_quarters as explained
from tests.images.explained import photograph
from torch_anchors.errors import ArgumentError
from torch_anchors.images.picture import draw_image
from torch_anchors.search.protocol import Status
from torch_anchors.targets.classes import TopK
from torch_anchors.targets.values import Within
from torch_anchors.words import LabelNames

NAMES = [f"a class with a rather long name, number {k}" for k in range(9)]

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


def picture(case: str, names: LabelNames = None, *, path: Path | None = None) -> Any:
    return CASES[case].plot(names, path=path)


class TestPicture:
    @pytest.mark.parametrize("case", CASES)
    def test_is_legible(self, case: str) -> None:
        check_legible(picture(case, NAMES))

    def test_shows_photograph_superpixels_and_anchor(self) -> None:
        explanation = CASES["certified"]
        picture, superpixels, anchor = explanation.plot().axes[:3]
        unit = explanation.image / 255
        np.testing.assert_allclose(shown(picture), unit)
        inside = explanation.mask
        np.testing.assert_allclose(shown(superpixels)[inside], unit[inside])
        assert (np.abs(shown(superpixels) - unit)[~inside] > 1e-3).any(axis=-1).mean() > 0.95  # faded
        np.testing.assert_allclose(shown(anchor)[inside], unit[inside])
        assert len(np.unique(shown(anchor)[~inside])) == 1  # nothing else is there

    def test_borders_run_between_superpixels(self) -> None:
        thin, *outline = (c for c in picture("certified").axes[1].collections)
        segments = np.concatenate([line.T for line in thin.get_segments()], axis=1)
        assert len(thin.get_segments()) == 48 + 64  # a cross
        assert set(segments[0][segments[1] == 23.5]) >= {31.5}
        assert all(isinstance(collection, LineCollection) for collection in outline)
        # Two opposite quarters: the cross, and half of the frame.
        assert all(len(collection.get_segments()) == 2 * (48 + 64) for collection in outline)

    def test_examples_come_with_their_labels(self) -> None:
        explanation = CASES["certified"]
        figure = explanation.plot(NAMES)
        thumbnails = figure.axes[3:]
        assert len(thumbnails) == 6
        examples = explanation.examples
        for axes, example in zip(thumbnails, [*examples[:3], *examples[4:7]], strict=True):
            np.testing.assert_allclose(shown(axes), example.image / 255)
            assert axes.xaxis.label.get_text() == "“a class with a rather…"
        titles = [axes._left_title.get_text() for axes in thumbnails]
        assert titles == ["Kept", "", "", "Changed", "", ""]

    @pytest.mark.parametrize(
        ("n_hits", "n_misses", "expected"),
        [(9, 0, (6, 0)), (0, 9, (0, 6)), (9, 1, (5, 1)), (1, 9, (1, 5)), (9, 9, (3, 3)), (2, 1, (2, 1))],
    )
    def test_room_goes_to_what_there_is(self, n_hits: int, n_misses: int, expected: tuple[int, int]) -> None:
        figure = explained(photograph(), n_hits=n_hits, n_misses=n_misses).plot()
        labels = [axes.xaxis.label.get_text() for axes in figure.axes[3:]]
        assert (labels.count("label 7"), labels.count("label 2")) == expected
        titles = [axes._left_title.get_text() for axes in figure.axes[3:]]
        assert titles.count("Kept") == bool(expected[0])
        assert titles.count("Changed") == bool(expected[1])

    @pytest.mark.parametrize(
        ("case", "headline", "figures"),
        [
            (
                "certified",
                "these 2 of 4 superpixels stay visible",
                "Precision at least 0.951 with 90 % confidence (the estimate is 0.983)",
            ),
            ("one superpixel", "this one of 4 superpixels stays visible", "covers 50 % of all perturbed copies;"),
            ("empty", "whatever is hidden", "covers 100 % of all"),
            (
                "not found",
                "no anchor reached the threshold of 0.95",
                "The best one found has precision between 0.951 and",
            ),
            ("budget", "row budget was spent", "between 0.951 and 0.998 with 90 % confidence (the estimate is 0.983)"),
            ("exact", "these 2 of 4", "Precision 0.983 (exact)"),
        ],
    )
    def test_says_in_words_how_it_ended(self, case: str, headline: str, figures: str) -> None:
        first, second = (text.get_text() for text in picture(case, {7: "cat"}).texts)
        assert first.startswith("“cat”")
        assert headline in first
        assert figures in second
        assert second.endswith("12,345 were tried")

    def test_an_empty_anchor_says_so(self) -> None:
        (text,) = picture("empty").axes[2].texts
        assert "no superpixel" in text.get_text()
        assert not picture("certified").axes[2].texts

    def test_the_explanation_may_know_the_name(self) -> None:
        headline = replace(CASES["certified"], label_name="cat").plot().texts[0].get_text()
        assert headline.startswith("“cat”")

    @pytest.mark.parametrize("case", ["grey", "floats", "tensor"])
    def test_all_layouts_look_alike(self, case: str) -> None:
        colours = shown(picture(case).axes[0])
        expected = photograph() / 255
        expected = expected[..., :1].repeat(3, axis=2) if case == "grey" else expected
        np.testing.assert_allclose(colours, expected)

    def test_any_scale_fits_the_screen(self) -> None:
        colours = shown(picture("standardised").axes[0])
        assert colours.min() == 0
        assert colours.max() == 1

    def test_is_saved(self, tmp_path: Path) -> None:
        picture("certified", path=tmp_path / "anchor.png")
        with Image.open(tmp_path / "anchor.png") as saved:
            assert saved.width == 1500
        with pytest.raises(ArgumentError, match=r"anchor\.xyz.*xyz"):
            picture("certified", path=tmp_path / "anchor.xyz")

    def test_belongs_to_nobody(self) -> None:
        picture("certified")
        assert not pyplot.get_fignums()

    def test_is_drawn_of_plain_arrays_with_the_words_given(self, tmp_path: Path) -> None:
        explanation, path = CASES["certified"], tmp_path / "drawn.png"
        parts = (explanation.image, explanation.segments, explanation.features, explanation.examples)
        figure = draw_image(*parts, headline="Cats!", figures="all of them", label_names={7: "cat"}, path=path)
        assert [text.get_text() for text in figure.texts] == ["Cats!", "all of them"]
        assert {"Photograph", "Superpixels", "Anchor alone", "“cat”", "label 2"} <= set(words(figure))
        assert path.exists()
        for ours, its in zip(figure.axes, explanation.plot().axes, strict=True):
            np.testing.assert_array_equal(shown(ours), shown(its))
        alone = draw_image(*parts[:3], ())
        assert len(alone.axes) == 3
        assert not {"label 7", "Kept"} & set(words(alone))

    def test_needs_matplotlib(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r'pip install "torch-anchors\[plot\]"'):
            picture("certified")


def test_the_box_of_an_explained_object_is_drawn_around_it() -> None:
    photograph = np.zeros((20, 30, 3), dtype=np.uint8)
    segments = np.arange(20)[:, None] // 10 * np.ones((1, 30), dtype=int)
    figure = draw_image(photograph, segments, [0], [], box=[2.0, 3.0, 12.0, 8.0])
    original = figure.axes[0]
    assert "Photograph and object" in words(figure)
    for line in original.lines:
        assert np.array(line.get_data()).min(1).tolist() == [1.5, 2.5]
        assert np.array(line.get_data()).max(1).tolist() == [11.5, 7.5]
    assert len(original.lines) == 2
    assert original.get_xlim() == (-0.5, 29.5)
    assert not draw_image(photograph, segments, [0], []).axes[0].lines


def test_a_question_of_several_words_is_the_headline_and_few_words_stand_below_the_copies() -> None:
    explainer = grid_explainer(lambda rows: rows[:, 0].mean((1, 2)) * 100, 2)
    image = torch.zeros(1, 8, 8)
    image[:, :4, :4] = 1.0
    shown = words(explainer.explain(image, target=Within(5), method="exact").plot())
    assert "A value within 5 of 25, as long as this one of 4 superpixels stays visible" in shown
    assert "within 5" in shown


def test_a_few_copies_are_shown_of_how_many_there_were() -> None:
    explainer = grid_explainer(lambda rows: (rows[:, 0, 0, 0] > 0.5).long(), 4)
    explanation = explainer.explain(torch.ones(1, 8, 8), threshold=0.7)
    rows = explanation.rows
    assert rows.of_hits is not None
    assert rows.of_misses is not None
    assert rows.of_hits >= rows.hits.sum()
    figure = explanation.plot()
    check_legible(figure)
    assert f"Kept: 5 of {rows.of_hits:,}" in words(figure)
    loaded = type(explanation).from_json(explanation.to_json())
    assert (loaded.rows.of_hits, loaded.rows.of_misses) == (rows.of_hits, rows.of_misses)
    assert set(words(loaded.plot())) == set(words(figure))


class TestNumbers:
    """Superpixels have the numbers by which sentences and options name them."""

    def numbers(self, explanation: Any) -> dict[str, tuple[float, float]]:
        superpixels = explanation.plot().axes[1]
        return {text.get_text(): text.get_position() for text in superpixels.texts}

    def test_stand_inside_their_superpixels(self) -> None:
        explanation = CASES["certified"]
        numbers = self.numbers(explanation)
        assert sorted(numbers) == ["0", "1", "2", "3"]
        for number, (x, y) in numbers.items():
            assert explanation.segments[int(y), int(x)] == int(number)

    def test_are_left_out_where_there_is_no_room(self) -> None:
        narrow = np.zeros((48, 64), dtype=np.uint8)
        narrow[20], narrow[22], narrow[24] = 1, 2, 3
        assert sorted(self.numbers(replace(CASES["certified"], label_map=narrow))) == ["0"]


def test_an_anchor_alone_is_as_wide_as_a_column(tmp_path: Path) -> None:
    explanation = CASES["wide"]
    figure = explanation.plot_anchor(path=tmp_path / "anchor.pdf")
    width, height = figure.get_size_inches()
    assert (width, round(height / width, 6)) == (3.3, 0.2)
    assert (tmp_path / "anchor.pdf").read_bytes().startswith(b"%PDF")
    (axes,) = figure.axes
    assert len(axes.collections) >= 3  # borders of all superpixels, and the outline of the anchor in two colours


def test_answers_to_a_target_are_written_whole_and_without_quotation_marks() -> None:
    image = torch.zeros(1, 4, 4)
    image[0, :2, :2] = 1.0
    explainer = grid_explainer(
        lambda rows: torch.stack([rows[:, 0, 0, 0], 0.5 - rows[:, 0, 3, 3]], dim=1), 2, class_names=["cup", "dog"]
    )
    figure = explainer.explain(image, target=TopK(1)).plot()
    check_legible(figure)
    assert {"among its first 1", "not among its first 1"} < set(words(figure))
    assert "Cup among its first 1, as long as this one of 4 superpixels stays visible" in words(figure)
