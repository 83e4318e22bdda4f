"""Several anchors, from the question to the picture: no part in common, certified together, and the same every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import Tensor

import torch_anchors
from tests.benchmarks.several import DELTA, NEAR, PLANTED
from tests.fuzz import facts
from torch_anchors import AnchorImage, AnchorTabular
from torch_anchors.errors import ArgumentError
from torch_anchors.explanation import Explanation
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.search.protocol import Status
from torch_anchors.tables.explanation import TabularExplanation

CHANCE = 0.001
"""That a promise which is just kept fails a test."""
ROWS = np.random.default_rng(0).normal(size=(2500, 7))
NAMES = list("abcdefg")
ROW = [2.0, 0.0, 2.1, 0.1, 2.2, 0.2, 2.3]


def any_of_three(rows: np.ndarray) -> np.ndarray:
    """1 where a is large, or c is, or e and g are."""
    return ((rows[:, 0] > 0.6) | (rows[:, 2] > 0.6) | ((rows[:, 4] > 0) & (rows[:, 6] > 0))).astype(int)


def of_table(**settings: Any) -> AnchorTabular:
    return AnchorTabular(any_of_three, NAMES, **{"seed": 0, **settings}).fit(ROWS, (50, 75, 90))


def bright_blocks(images: Tensor) -> Tensor:
    """1 where one of three blocks on the diagonal is bright."""
    blocks = [images[:, 0, i : i + 8, i : i + 8].mean((1, 2)) > 0.6 for i in (0, 8, 16)]
    return torch.stack(blocks).any(0).long()


def of_image(**settings: Any) -> AnchorImage:
    grid = {"rows": 4, "cols": 4}
    return AnchorImage(
        bright_blocks, **{"seed": 0, "segmentation_fn": "grid", "segmentation_kwargs": grid, "fill": 0.0, **settings}
    )


IMAGES = 0.7 + 0.3 * torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def all_facts(explanation: Explanation) -> Any:
    return facts(explanation), explanation.anchors


@pytest.mark.parametrize("method", ["auto", "beam", "guided"])
def test_blocks_of_an_image(method: str) -> None:
    found = of_image().explain(IMAGES[0], n_anchors=3, method=method)
    assert sorted(anchor.features for anchor in found.anchors) == [(0,), (5,), (10,)]
    assert found.anchors[0].features == found.features
    assert found.anchors[0].names == found.names
    assert all(anchor.success for anchor in found.anchors)
    assert found.params["n_anchors"] == 3


@pytest.mark.parametrize(
    ("sampling", "method"),
    [
        ("interventional", "auto"),
        ("interventional", "race"),
        ("interventional", "beam"),
        ("interventional", "guided"),
        ("conditional", "auto"),
        ("conditional", "exact"),
        ("conditional", "beam"),
    ],
)
def test_rules_of_a_table(sampling: str, method: str) -> None:
    found = of_table(sampling=sampling).explain(ROW, n_anchors=3, method=method)
    columns = [{predicate.name for predicate in anchor.rule.predicates} for anchor in found.anchors]  # type: ignore[attr-defined]
    assert sorted(map(sorted, columns)) == [["a"], ["c"], ["e", "g"]]
    for anchor in found.anchors:
        assert anchor.success or (sampling, method, anchor.status) == ("conditional", "beam", Status.COUNTED)
        assert anchor.coverage == pytest.approx(anchor.rule.applies(ROWS).mean())  # type: ignore[attr-defined]
        held = any_of_three(ROWS[anchor.rule.applies(ROWS)])  # type: ignore[attr-defined]
        assert anchor.on_training.precision == pytest.approx(held.mean())  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["image", "interventional", "conditional"])
def test_alone_and_in_a_batch_they_are_the_same(kind: str) -> None:
    if kind == "image":
        together: list[Any] = of_image().explain_batch(list(IMAGES), n_anchors=3)
        alone: list[Any] = [of_image().explain(image, n_anchors=3) for image in IMAGES]
    else:
        rows = np.array([ROW, np.negative(ROW), ROWS[5]])
        together = of_table(sampling=kind).explain_batch(rows, n_anchors=3)
        alone = [of_table(sampling=kind).explain(row, n_anchors=3) for row in rows]
    assert [all_facts(one) for one in together] == [all_facts(one) for one in alone]
    first = of_image().explain(IMAGES[0]) if kind == "image" else of_table(sampling=kind).explain(ROW)
    assert first.anchors == (first._own_anchor(),)
    assert "n_anchors" not in first.params


def test_all_of_them_share_one_row_budget() -> None:
    for most in (20, 120, 300):
        assert of_table().explain(ROW, n_anchors=3, max_rows_total=most).n_rows <= most
        assert of_image().explain(IMAGES[0], n_anchors=3, max_rows_total=most).n_rows <= most


@pytest.mark.parametrize("kind", ["image", "table"])
def test_words_pictures_and_files(kind: str, tmp_path: Path) -> None:
    found: Any = of_image().explain(IMAGES[0], n_anchors=4) if kind == "image" else of_table().explain(ROW, n_anchors=5)
    said, unit = str(found), "superpixel" if kind == "image" else "column"
    assert "2 others does the same" in said
    assert f"No two share a {unit}, and with 90 % confidence all of this holds together." in said
    assert f"{4 if kind == 'image' else 5} were asked for, and no other could be certified." in said
    for other in found.others:
        assert all(name in said for name in other.names)
    assert [other["names"] for other in found.to_dict()["others"]] == [list(other.names) for other in found.others]
    found.save(tmp_path / "several.json")
    again: Any = torch_anchors.load(tmp_path / "several.json")
    assert again.anchors == found.anchors
    assert str(again) == said
    assert isinstance(again, ImageExplanation if kind == "image" else TabularExplanation)
    figure = found.plot(path=tmp_path / "several.png")
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.get_yticklabels())
    assert kind == "image" or words.count("or: ") == len(found.others)
    assert kind == "image" or "or: " in found._repr_html_()
    alone = of_image().explain(IMAGES[0]) if kind == "image" else of_table().explain(ROW)
    assert alone.plot(path=tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "several.png").read_bytes()


def test_files_of_earlier_versions_have_one_anchor() -> None:
    document = of_table().explain(ROW)._document()
    del document.data["explanation"]["others"]
    assert TabularExplanation.of_document(document).others == ()


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "3", None, 10**6])
@pytest.mark.usefixtures("unchecked")
def test_a_number_of_anchors_must_be_one(n: Any) -> None:
    with pytest.raises(ArgumentError, match="n_anchors must be a whole number of at least 1"):
        of_table().explain(ROW, n_anchors=n)


@pytest.mark.parametrize("setting", PLANTED)
def test_planted_anchors_are_all_found(setting: str) -> None:
    """`tests/benchmarks/several.py` has more of them."""
    n = 6 if "exact" in setting or setting == "tables, interventional, auto" else 15
    assert sum(PLANTED[setting](seed).all_found for seed in range(n)) >= 0.95 * n


QUICK = ("tables, interventional, auto", "tables, conditional, auto")


@pytest.mark.parametrize(
    "setting", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NEAR]
)
def test_of_anchors_near_the_threshold_no_more_are_false_than_promised(setting: str) -> None:
    """Of all that are said to reach it, by all three together."""
    n = 15
    outcomes = [NEAR[setting](seed) for seed in range(n)]
    assert sum(one.false for one in outcomes) <= binom.isf(CHANCE, n, DELTA)
    assert (
        "conditional" in setting or sum(one.n_certified for one in outcomes) > n / 3
    )  # there is something to be false
