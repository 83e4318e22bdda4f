"""Explanations as SHAP has them, and SHAP's pictures of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.images.explained import explanation_of as image_explanation
from tests.integrations.planted import FEW, Quarters, explainer_of, pictures
from torch_anchors import AnchorTabular, ArgumentError

shap = pytest.importorskip("shap")

from torch_anchors.integrations.shap import to_shap  # noqa: E402

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {"age": RNG.normal(40, 10, 400).round(), "job": RNG.choice(["clerk", "cook", "nurse"], 400), "pay": RNG.random(400)}
)


def of_images(**settings: Any) -> list[Any]:
    return explainer_of(Quarters()).explain_batch(torch.from_numpy(pictures()), **FEW, **settings)


def of_rows(n: int = 6) -> list[Any]:
    explainer = AnchorTabular(lambda x: ((x[:, 0] > 40) & (x[:, 1] == 1)).astype(int), seed=0).fit(TABLE)
    return explainer.explain_batch(TABLE[:n])


def test_images_have_their_pictures_and_numbers_that_add_up_over_channels() -> None:
    explanations = of_images()
    found = to_shap(explanations)
    assert isinstance(found, shap.Explanation)
    assert found.values.shape == found.data.shape == (3, 16, 16, 3)
    assert found.base_values is None
    for one, values, picture in zip(explanations, found.values, found.data, strict=True):
        np.testing.assert_allclose(values.sum(-1), one.attribution("marginal"), atol=1e-6)
        np.testing.assert_array_equal(picture, one.image.permute(1, 2, 0))
    assert list(found.instance_names) == ["label 1", "label 0", "label 2"]
    named = to_shap(explanations[:1], label_names=["dark", "left", "lower"])
    assert list(named.instance_names) == ["“left”"]


def test_one_explanation_is_a_batch_of_one_and_grey_pictures_have_one_channel() -> None:
    grey = image_explanation(np.array([[0, 9, 3], [4, 5, 6]], dtype=np.uint8), effects=np.array([0.5, 0.0, 1.0]))
    found = to_shap(grey, kind="member")
    assert found.values.shape == found.data.shape == (1, 2, 3, 1)
    assert found.values[0, :, :, 0].tolist() == [[1, 1, 0], [1, 1, 0]]


def test_rows_have_their_columns_and_values_in_words() -> None:
    explanations = of_rows()
    found = to_shap(explanations)
    assert found.values.shape == found.data.shape == found.display_data.shape == (6, 3)
    assert list(found.feature_names) == ["age", "job", "pay"]
    assert found.display_data[:, 1].tolist() == TABLE["job"][:6].tolist()
    assert found.data[:, 0].tolist() == TABLE["age"][:6].tolist()
    for one, values in zip(explanations, found.values, strict=True):
        np.testing.assert_allclose(values, one.attribution("marginal"))
    ranks = to_shap(explanations, kind="order").values
    assert np.sort(ranks, axis=1) == pytest.approx(np.tile([1 / 3, 2 / 3, 1], (6, 1)))


@pytest.mark.filterwarnings("ignore")  # of matplotlib and of SHAP themselves
def test_shap_draws_them(tmp_path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    images, rows = to_shap(of_images()), to_shap(of_rows())
    drawings = {
        "image": lambda: shap.image_plot(images, labels=images.instance_names, show=False),
        "bar": lambda: shap.plots.bar(rows, show=False),
        "bar of one": lambda: shap.plots.bar(rows[0], show=False),
        "beeswarm": lambda: shap.plots.beeswarm(rows, show=False),
        "scatter": lambda: shap.plots.scatter(rows[:, 0], show=False),
    }
    for name, draw in drawings.items():
        pyplot.close("all")
        draw()
        pyplot.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000, name
    pyplot.close("all")
    with pytest.raises(TypeError):
        shap.plots.waterfall(rows[0], show=False)  # there is no sum to show


def test_coded_categories_and_missing_values_are_shown_in_words() -> None:
    codes = np.column_stack([RNG.normal(size=300), RNG.integers(0, 2, 300)])
    codes[5, 0] = codes[6, 1] = np.nan
    explainer = AnchorTabular(lambda x: (x[:, 1] == 1).astype(int), ["a", "b"], {1: ["no", "yes"]}, seed=0).fit(codes)
    found = to_shap(explainer.explain_batch(codes[[5, 6, 7]]))
    assert found.display_data[:, 0].tolist() == ["missing", *codes[[6, 7], 0].tolist()]
    expected = [["no", "yes"][int(code)] for code in codes[[5, 7], 1]]
    assert found.display_data[:, 1].tolist() == [expected[0], "missing", expected[1]]


@pytest.mark.parametrize(
    ("explanations", "complaint"),
    [
        ([], r"explanations must be of images, or of rows of one table, at least one, got \[\]"),
        ([image_explanation(), 3], "got ImageExplanation, int"),
        (
            [image_explanation(effects=np.zeros(3)), image_explanation(torch.rand(2, 3), effects=np.zeros(3))],
            r"explanations must be of images of one size, got \(2, 3, 1\), \(2, 3, 3\)",
        ),
        (image_explanation(), "explanation must have effects for an attribution"),
    ],
)
def test_errors_say_what_to_do(explanations: Any, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        to_shap(explanations)


def test_rows_of_two_tables_are_refused() -> None:
    other = TABLE.rename(columns={"age": "years"})
    explainer = AnchorTabular(lambda x: (x[:, 0] > 40).astype(int), seed=0).fit(other)
    with pytest.raises(ArgumentError, match="of rows of one table, got several with other columns"):
        to_shap([of_rows(1)[0], explainer.explain_batch(other[:1])[0]])
