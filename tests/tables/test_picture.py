"""Pictures of tables' rules: what they show, and that nothing overlaps."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import pyplot

from tests.figures import check_legible, words
from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Step
from torch_anchors.tables.picture import accumulated, plot_rules


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

    @pytest.mark.parametrize("threshold", [None, 0.5])
    def test_the_threshold_is_a_line(self, threshold: float | None) -> None:
        precision, coverage = plot_rules(self.STEPS, self.CONDITIONS, threshold=threshold).axes
        assert [line.get_xdata()[0] for line in precision.lines] == [threshold] * (threshold is not None)
        assert not coverage.lines

    def test_notes_have_room_below_the_title(self) -> None:
        notes = "Of all rows tried, the nearest one with another label differs in " + ", ".join(["age = 52.00"] * 16)
        figure = plot_rules(self.STEPS, self.CONDITIONS, title="income > 50K", notes=notes)
        check_legible(figure)
        assert notes in " ".join(words(figure)).replace("\n", " ")
        assert figure.get_figheight() > plot_rules(self.STEPS, self.CONDITIONS, title="income > 50K").get_figheight()

    def test_bars_are_on_white_whatever_the_users_style(self) -> None:
        with pyplot.style.context("dark_background"):
            figure = plot_rules(self.STEPS, self.CONDITIONS)
        assert {axes.get_facecolor() for axes in figure.axes} == {(1, 1, 1, 1)}


def test_conditions_add_up() -> None:
    assert accumulated("no condition", ["a", "b", "c"]) == ["no condition", "a", "and b", "and c"]
    assert accumulated("no condition", []) == ["no condition"]
