"""What code written for the reference relies on, as its documentation says it; see docs/migrating.md."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torch import nn

from torch_anchors import AnchorImage, AnchorsWarning, AnchorTabular, ArgumentError

QUARTERS: dict[str, Any] = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 2, "cols": 2}, "seed": 0}
PICTURE = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
ROWS = np.random.default_rng(1).normal(size=(400, 3))


class Seen:
    """A function of anything that keeps what it was given, and finds the first pixel or number large."""

    def __init__(self, least: float = 0) -> None:
        self.least = least
        self.given: list[Any] = []

    def __call__(self, rows: Any) -> Any:
        self.given.append(rows)
        first = rows.reshape(len(rows), -1)[:, 0]
        return (first > self.least).astype(int) if isinstance(rows, np.ndarray) else (first > self.least).long()

    @property
    def kinds(self) -> set[tuple[type, Any, tuple[int, ...]]]:
        return {(type(rows), rows.dtype, tuple(rows.shape[1:])) for rows in self.given}


# ------------------------------------------------------------------------------ a function gets what is explained

ARRAYS = (np.ndarray, np.dtype(np.float32), (16, 20, 3))
TENSORS = (torch.Tensor, torch.float32, (3, 16, 20))
TENSOR = torch.from_numpy(PICTURE).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("image", "dtype", "expected"),
    [
        (PICTURE, None, ARRAYS),
        (Image.fromarray(PICTURE), None, ARRAYS),
        (TENSOR, None, TENSORS),
        (PICTURE, torch.float32, TENSORS),
        (TENSOR, np.float32, ARRAYS),
        (PICTURE[..., 0], None, (np.ndarray, np.dtype(np.float32), (16, 20, 1))),
    ],
)
def test_a_function_gets_arrays_of_an_array_and_tensors_of_a_tensor(image: Any, dtype: Any, expected: Any) -> None:
    model = Seen()
    AnchorImage(model, dtype=dtype, **QUARTERS).explain(image, label=1)
    assert model.kinds == {expected}


def test_images_of_both_kinds_may_be_explained_together_as_they_are_alone() -> None:
    model = Seen(100)
    images = [PICTURE, TENSOR, Image.fromarray(255 - PICTURE), TENSOR.flip(2)]
    together = AnchorImage(model, **QUARTERS).explain_batch(images)
    assert model.kinds == {ARRAYS, TENSORS}
    for image, found in zip(images, together, strict=True):
        alone = AnchorImage(model, **QUARTERS).explain(image)
        assert (found.features, found.label, found.precision) == (alone.features, alone.label, alone.precision)


def test_a_module_gets_tensors_and_so_does_what_preprocess_leads_to() -> None:
    class Module(nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            assert rows.shape[1:] == (3, 16, 20)
            return rows.mean((2, 3))

    AnchorImage(Module(), **QUARTERS).explain(PICTURE)
    model = Seen()
    AnchorImage(model, preprocess=lambda rows: rows / 255, **QUARTERS).explain(PICTURE)
    assert model.kinds == {TENSORS}


def test_a_model_of_flattened_arrays_explains_the_label_that_it_gives() -> None:
    """The order of flattened pixels is the arrays', not the tensors'."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(PICTURE.size, 5))

    def model(images: NDArray[Any]) -> NDArray[Any]:
        return images.reshape(len(images), -1) @ weights

    for picture in rng.integers(0, 256, (10, *PICTURE.shape), dtype=np.uint8):
        found = AnchorImage(model, picture.shape, **QUARTERS).explain(picture, threshold=0.6)
        assert found.label == model(picture[None].astype(np.float32)).argmax()


@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
@pytest.mark.parametrize(
    ("table", "dtype", "kind"),
    [
        (ROWS, None, np.ndarray),
        (ROWS.tolist(), None, np.ndarray),
        (torch.from_numpy(ROWS), None, torch.Tensor),
        (ROWS, torch.float32, torch.Tensor),
        (torch.from_numpy(ROWS), np.float32, np.ndarray),
    ],
)
def test_a_function_of_rows_gets_what_it_is_fitted_on(table: Any, dtype: Any, kind: type, sampling: str) -> None:
    model = Seen()
    explainer = AnchorTabular(model, dtype=dtype, seed=0, sampling=sampling).fit(table)
    explainer.explain(ROWS[0])
    dtypes = {torch.float32} if kind is torch.Tensor else {np.dtype(np.float32)}
    assert {type(rows) for rows in model.given} == {kind}
    assert {rows.dtype for rows in model.given} == dtypes
    other = Seen()
    explainer.reset_predictor(other)
    explainer.explain_batch(ROWS[:3])
    assert {type(rows) for rows in other.given} == {kind}


def test_another_table_may_be_of_another_kind() -> None:
    model = Seen()
    explainer = AnchorTabular(model, seed=0).fit(ROWS)
    explainer.fit(torch.from_numpy(ROWS)).explain(ROWS[0])
    assert {type(rows) for rows in model.given} == {torch.Tensor}


def test_scores_are_asked_for_in_the_same_way() -> None:
    def model(images: NDArray[Any]) -> NDArray[Any]:
        assert images.shape[1:] == PICTURE.shape
        share = images.mean((1, 2, 3)) / 255
        return np.stack([1 - share, share], axis=1)

    explainer = AnchorImage(model, **QUARTERS)
    found = explainer.explain_batch([PICTURE, 255 - PICTURE])
    expected = [max(share, 1 - share) for share in (PICTURE.mean() / 255, 1 - PICTURE.mean() / 255)]
    assert explainer.scores(found) == pytest.approx(expected)


# ----------------------------------------------------------------------------------------- the predictor of labels


def test_the_predictor_returns_labels_of_arrays_and_of_tensors() -> None:
    model = Seen(100)
    explainer = AnchorImage(model, **QUARTERS)
    images = np.stack([PICTURE, 255 - PICTURE])
    labels = explainer.predictor(images)
    assert isinstance(labels, np.ndarray)
    assert labels.tolist() == [int(image[0, 0, 0] > 100) for image in images]
    assert torch.equal(explainer.predictor(torch.from_numpy(images).movedim(-1, 1)), torch.from_numpy(labels))
    assert model.kinds == {ARRAYS, TENSORS}
    with pytest.raises(ArgumentError, match="all of one size"):
        explainer.predictor([PICTURE, PICTURE[:8]])


def test_the_predictor_of_a_table_reads_tables() -> None:
    explainer = AnchorTabular(lambda rows: np.stack([-rows[:, 1], rows[:, 1]], axis=1), ["a", "b", "c"], seed=0)
    explainer.fit(ROWS)
    expected = (ROWS[:9, 1] > 0).astype(int).tolist()
    assert explainer.predictor(ROWS[:9]).tolist() == expected
    assert explainer.predictor({"b": ROWS[:9, 1], "a": ROWS[:9, 0], "c": ROWS[:9, 2]}).tolist() == expected


def test_another_predictor_may_be_assigned() -> None:
    explainer = AnchorTabular(lambda rows: (rows[:, 0] > 0).astype(int), seed=0, sampling="conditional").fit(ROWS)
    assert explainer.explain(ROWS[0]).rule.predicates[0].column == 0
    explainer.predictor = lambda rows: (rows[:, 1] > 0).astype(int)
    assert explainer.explain(ROWS[0]).rule.predicates[0].column == 1


# ------------------------------------------------------------------------------------------------------ explanations


def three_of_four(rows: NDArray[Any]) -> NDArray[Any]:
    return ((rows[:, 3] > 0) & (rows[:, 0] > 0) & (rows[:, 2] < 0.5)).astype(int)


@pytest.mark.parametrize("method", ["auto", "beam"])
@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_raw_features_are_columns_and_figures_end_in_the_explanations_own(sampling: str, method: str) -> None:
    rows = np.random.default_rng(5).normal(size=(2000, 4))
    explainer = AnchorTabular(three_of_four, list("abcd"), seed=0, sampling=sampling).fit(rows)
    found = explainer.explain(np.array([1.5, 0, -1.5, 1.5]), threshold=0.9, method=method)
    raw = found.raw
    columns = np.array(raw["feature"])
    assert {"abcd"[column] for column in columns} == {"a", "c", "d"}
    assert [name.split()[0] for name in raw["names"]] == ["abcd"[column] for column in columns]
    assert (raw["precision"][-1], raw["coverage"][-1]) == (found.precision, found.coverage)
    assert len(raw["mean"]) == len(raw["precision"]) == len(raw["coverage"]) == len(raw["examples"]) == len(columns)
    assert sorted(raw["predicates"]) == list(found.features)
    for entry in raw["examples"]:
        assert list(entry) == ["covered_true", "covered_false", "uncovered_true", "uncovered_false"]
        assert found.applies(entry["covered_true"]).all()
    assert (found.name, found["anchor"], found["precision"]) == ("AnchorTabular", found.anchor, found.precision)
    assert found.params["threshold"] == 0.9


def test_raw_of_an_image_has_superpixels_in_the_order_of_addition() -> None:
    def model(images: NDArray[Any]) -> NDArray[Any]:
        shown = images[:, [2, 2, 10], [2, 12, 12], 0] > 0
        return shown.all(axis=1).astype(int)

    found = AnchorImage(model, fill=0.0, **QUARTERS).explain(np.ones((16, 20)), method="beam")
    raw = found.raw
    assert sorted(raw["feature"]) == list(found.features) == [0, 1, 3]
    assert raw["precision"][-1] == found.precision
    assert len(raw["precision"]) == len(raw["coverage"]) == len(raw["examples"]) == 3
    assert found["segments"].shape == (16, 20)


def test_rows_of_a_one_hot_explainer_are_one_hot() -> None:
    rng = np.random.default_rng(2)
    rows = np.column_stack([np.eye(3)[rng.integers(0, 3, 500)], rng.normal(size=500)])
    explainer = AnchorTabular(lambda x: x[:, 0].astype(int), ["job", "age"], {0: ["cook", "nurse", "pilot"]}, ohe=True)
    found = explainer.fit(rows).explain(rows[rows[:, 0] == 1][0])
    assert found.anchor == ["job = cook"]
    assert np.array_equal(found.raw["instance"], rows[rows[:, 0] == 1][0])
    assert found.raw["examples"][0]["covered_true"].shape[1] == 4
    assert explainer.predictor(found.raw["examples"][0]["covered_true"]).all()


# ------------------------------------------------------------------------------------------------- images it accepts


@pytest.mark.parametrize(
    ("picture", "n"), [(data.camera(), 7), (data.camera()[..., None] / 255, 7), (data.coffee().astype(np.int64), 8)]
)
def test_superpixels_are_as_many_as_the_references(picture: NDArray[Any], n: int) -> None:
    """alibi 0.9.6 gives 7 and 8 with its defaults."""
    segments = AnchorImage(Seen()).generate_superpixels(picture)
    assert np.unique(segments).tolist() == list(range(n))


@pytest.mark.parametrize(
    "image",
    [
        PICTURE.astype(np.int64),
        257 * PICTURE.astype(np.uint16),
        PICTURE.astype(np.int16) - 128,
        PICTURE[..., :2],
        np.dstack([PICTURE, PICTURE[..., 0]]),
        PICTURE[..., 0] / 255,
    ],
)
@pytest.mark.parametrize("segmentation", ["slic", "quickshift", "felzenszwalb", "grid"])
def test_whole_numbers_of_any_type_and_up_to_four_channels(image: NDArray[Any], segmentation: str) -> None:
    model = Seen(-200)
    found = AnchorImage(model, segmentation_fn=segmentation, seed=0).explain(image)
    assert {rows.dtype for rows in model.given} == {np.dtype(np.float32)}
    assert model.given[0].shape[1:] == (image[..., None].shape if image.ndim == 2 else image.shape)
    assert found.label == 1
    for example in found.examples:
        assert (example.image.dtype, example.image.shape) == (image.dtype, image.shape)


def test_one_superpixel_is_shown_or_not() -> None:
    picture = np.full((8, 8, 3), 200, dtype=np.uint8)
    found = AnchorImage(Seen(100), segmentation_fn=np.full((8, 8), 3), seed=0, fill=0.0).explain(picture)
    assert (found.n_superpixels, found.features, found.precision) == (1, (0,), 1)
    assert "That is all of them" in str(found)


def test_with_certainty_all_superpixels_beside_the_anchor_are_absent() -> None:
    explainer = AnchorImage(Seen(100), fill=0.0, **QUARTERS)
    found = explainer.explain(np.full((8, 8), 200), p_sample=1.0, method="beam")
    assert (found.features, found.precision, found.coverage) == ((0,), 1, 0)


def test_settings_of_a_segmentation_say_nothing_beside_ones_own_and_a_start_label_is_only_a_name() -> None:
    def halves(image: NDArray[Any]) -> NDArray[Any]:
        return np.repeat([0.0, 1.0], 10)[None].repeat(16, axis=0)  # whole numbers, as floats

    with pytest.warns(AnchorsWarning, match=r"segmentation_kwargs are for the built-in .*functools\.partial"):
        explainer = AnchorImage(Seen(), segmentation_fn=halves, segmentation_kwargs={"n_segments": 9})
    assert explainer.generate_superpixels(PICTURE).max() == 1
    for start in (0, 1):
        explainer = AnchorImage(Seen(), segmentation_kwargs={"start_label": start, "n_segments": 5})
        assert explainer.generate_superpixels(PICTURE).min() == 0


# ------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("image", [PICTURE, PICTURE / 255, PICTURE.astype(float), PICTURE / 127.5 - 1, PICTURE * 1])
def test_the_anchor_and_the_overlay_are_shown_right(image: NDArray[Any]) -> None:
    """Bytes in 0..255 or floats in 0..1, and the picture not clipped: all its shades are different still."""
    explainer = AnchorImage(Seen(-9), **QUARTERS)
    found = explainer.explain(image, label=1)
    everything = explainer.overlay_mask(image, found.segments, range(4))
    unit = explainer.overlay_mask(image, found.segments, range(4), scale=(0, 1))
    whole = dataclasses.replace(found, features=(0, 1, 2, 3)).anchor
    for picture in (everything, unit, whole):
        assert (picture.dtype == np.uint8) or (picture.dtype.kind == "f" and picture.min() >= 0 and picture.max() <= 1)
        assert len(np.unique(picture)) == len(np.unique(image))
    assert (everything.dtype, everything.max()) == (np.uint8, 255)
    assert unit.max() == 1
    assert not explainer.overlay_mask(image, found.segments, []).any()


# ------------------------------------------------------------------------------------------- samplers, settings, words


@pytest.mark.parametrize("names", [False, True])
def test_explain_sets_the_sampler_up(names: bool) -> None:
    def model(rows: NDArray[Any]) -> NDArray[Any]:
        positive = rows[:, 0] > 0
        return np.where(positive, "yes", "no") if names else positive.astype(int)

    explainer = AnchorTabular(model, ["a", "b"], {1: ["x", "y"]}, seed=0)
    rows = np.column_stack([ROWS[:, 0], ROWS[:, 1] > 0])
    explainer.fit(rows)
    (before,) = explainer.samplers
    assert (before.instance_label, before.enc2feat_idx) == (None, {})
    row = rows[rows[:, 0] > 0.5][0]
    explainer.explain(row, n_covered_ex=3)
    (sampler,) = explainer.samplers
    assert sampler.n_covered_ex == 3
    assert sampler.cat_lookup == {3: row[1]}
    assert sorted(sampler.ord_lookup) == [0, 1, 2]
    assert sampler.enc2feat_idx == {0: 0, 1: 0, 2: 0, 3: 1}
    covered_true, covered_false, labels, bins, _, place = sampler((7, (0, 3)), 50)
    assert len(covered_true) <= 3
    assert len(covered_false) <= 3
    assert (labels.shape, bins.shape, place) == ((50,), (50, 4), 7)
    assert (covered_true[:, 0] > 0).all()
    other = rows[rows[:, 0] < -0.5][0]
    explainer.explain(row, label="no" if names else 0)
    assert explainer.samplers[0].compare_labels(np.stack([row, other])).tolist() == [0, 1]
    explainer.fit(rows)
    assert explainer.samplers[0].instance_label is None


def test_settings_that_nobody_knows_are_named() -> None:
    explainer = AnchorTabular(lambda rows: (rows[:, 0] > 0).astype(int), seed=0)
    with pytest.warns(
        AnchorsWarning, match=r"fit has no parameter 'disc_prec'; it is ignored\. Did you mean disc_perc"
    ):
        explainer.fit(ROWS, disc_prec=(50,))
    assert explainer.meta["params"]["disc_perc"] == (25, 50, 75)
    with pytest.warns(
        AnchorsWarning, match=r"explain has no parameter 'parallel'; it is ignored\. It has X, threshold"
    ):
        explainer.explain(ROWS[0], parallel=True)


def test_a_category_that_is_a_condition_is_not_told_twice() -> None:
    codes = np.random.default_rng(0).integers(0, 3, (600, 2)).astype(float)
    gains = ["Capital Gain <= 0.00", "0.00 < Capital Gain <= 10.00", "Capital Gain > 10.00"]
    explainer = AnchorTabular(
        lambda rows: rows[:, 0].astype(int), ["Capital Gain", "Age"], {0: gains, 1: ["Age: young", "middle", "old"]}
    ).fit(codes)
    for code, words in enumerate(gains):
        found = explainer.explain([code, 0.0])
        assert found.anchor == [words]
        assert str(found.predicates[0]) == words
    by_age = AnchorTabular(lambda rows: rows[:, 1].astype(int), explainer.feature_names, explainer.categorical_names)
    assert by_age.fit(codes).explain([0.0, 0.0]).anchor == ["Age = Age: young"]
