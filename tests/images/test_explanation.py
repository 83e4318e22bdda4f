"""Explanations of images: their words, pictures and files."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from tests.images.explained import SEGMENTS, explanation_of, photograph
from torch_anchors import AnchorImage
from torch_anchors.errors import ArgumentError
from torch_anchors.images.explanation import ImageExplanation
from torch_anchors.images.pixels import hwc
from torch_anchors.loading import load
from torch_anchors.packing import pack_array
from torch_anchors.search.protocol import Status

# ------------------------------------------------------------------------------------------------------- words


def test_words_of_a_certified_anchor() -> None:
    assert str(explanation_of()) == (
        "While superpixels 0 and 2 of 3 are shown, the model answers label 5 with precision at least 0.951 with 90 % "
        "confidence (the estimate is 0.980), whatever the other superpixels show; that covers 25 % of all perturbed "
        "images. "
        "It took 1,234 model rows in 17 calls and 0.46 s."
    )


def test_words_of_a_single_superpixel_with_a_named_label() -> None:
    words = str(explanation_of(features=(1,), names=("superpixel 1",), label_name="espresso", n_rows=1, n_calls=1))
    assert "While superpixel 1 of 3 is shown, the model answers espresso with" in words
    assert "It took 1 model row in 1 call and" in words


def test_words_of_three_superpixels_and_an_exact_precision() -> None:
    words = str(explanation_of(features=(0, 1, 2), status=Status.EXACT, precision=1.0, precision_interval=(1.0, 1.0)))
    assert "While superpixels 0, 1 and 2 of 3 are shown" in words
    assert "precision 1.000 (exact)" in words


def test_an_anchor_of_all_superpixels_says_how_little_that_is() -> None:
    all_of_them = explanation_of(features=(0, 1, 2))
    assert "That is all of them, which says no more than" in all_of_them.remark
    assert all_of_them.remark in str(all_of_them)
    assert all_of_them.to_dict()["remark"] == all_of_them.remark
    for other in (explanation_of(), explanation_of(features=(0, 1, 2), status=Status.NOT_FOUND)):
        assert other.remark == ""
        assert "all of them" not in str(other)


def test_words_of_an_empty_anchor_that_holds() -> None:
    words = str(explanation_of(features=(), names=(), status=Status.EMPTY_HOLDS, coverage=1.0))
    assert "whichever of the 3 superpixels are shown: no superpixel is needed" in words
    assert "images_background" in words
    assert explanation_of(status=Status.EMPTY_HOLDS).success


def test_no_advice_to_do_what_was_done() -> None:
    meta = {"params": {"images_background": True}}
    words = str(explanation_of(features=(), names=(), status=Status.EMPTY_HOLDS, meta=meta))
    assert "no superpixel is needed" in words
    assert "images_background" not in words


@pytest.mark.parametrize(
    ("status", "advice"),
    [(Status.NOT_FOUND, "No anchor reached the threshold"), (Status.ROW_BUDGET, "A larger max_rows_total")],
)
@pytest.mark.parametrize("features", [(), (1,)])
def test_words_of_a_failure_say_what_to_do(status: Status, advice: str, features: tuple[int, ...]) -> None:
    explanation = explanation_of(status=status, features=features)
    words = str(explanation)
    assert advice in words
    assert not explanation.success
    assert ("No superpixels were found that keep label 5" in words) is (not features)
    assert "  " not in words
    assert "{" not in words


def test_a_short_representation_for_notebooks() -> None:
    assert repr(explanation_of(label_name="cat")) == (
        "ImageExplanation(anchor=['superpixel 0', 'superpixel 2'], label='cat', precision=0.980 [0.951, 0.998], "
        "coverage=0.250, status='certified')"
    )


# ------------------------------------------------------------------------------------------------------- values


def test_pictures_have_the_layout_of_the_image() -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    explanation = explanation_of(image)
    mask = np.isin(SEGMENTS, (0, 2))
    np.testing.assert_array_equal(explanation.mask, mask)
    np.testing.assert_array_equal(explanation.anchor, np.where(mask[..., None], image, 0))
    hit, miss = explanation.examples
    assert (hit.label, hit.hit, miss.label, miss.hit) == (5, True, 2, False)
    np.testing.assert_array_equal(hit.image, np.where((SEGMENTS != 1)[..., None], image, 9))
    np.testing.assert_array_equal(miss.image, np.where((SEGMENTS != 2)[..., None], image, 0))
    assert hit.image.dtype == explanation.anchor.dtype == np.uint8


@pytest.mark.parametrize("image", [torch.rand(3, 2, 3), torch.rand(2, 3, dtype=torch.float64), np.ones((2, 3, 1))])
def test_tensors_stay_tensors_and_arrays_arrays(image: Any) -> None:
    for picture in (explanation_of(image).anchor, explanation_of(image).examples[0].image):
        assert type(picture) is type(image)
        assert picture.shape == image.shape
        assert picture.dtype == image.dtype


def test_the_dictionary_survives_json() -> None:
    explanation = explanation_of()
    found = json.loads(json.dumps(explanation.to_dict()))
    assert found == explanation.to_dict()
    assert found["anchor"] == [0, 2]
    assert found["status"] == "certified"
    assert found["success"] is True
    assert found["precision_interval"] == [0.9512, 0.9979]
    assert found["path"][1] == {"anchor": [2], "precision": 0.8, "coverage": 0.5, "n": 60}
    assert found["segments"] == SEGMENTS.tolist()
    assert found["n_superpixels"] == 3
    assert found["meta"]["params"] == {"seed": 3, "dtype": "torch.float32", "shape": [2, 3]}


EFFECTS = np.array([0.5, -0.25, 0.125])


def test_an_attribution_is_a_picture() -> None:
    explanation = explanation_of(effects=EFFECTS)
    third = np.float32(1) / 3
    expected = {"order": [2 * third, third, 1.0], "marginal": [0.5, -0.25, 0.125], "member": [1, 0, 1]}
    for kind, values in expected.items():
        picture = explanation.attribution(kind)
        assert picture.dtype == np.float32
        np.testing.assert_allclose(picture, np.array(values)[SEGMENTS], rtol=1e-6)
        in_channels = explanation.attribution(kind, shape="chw")
        assert in_channels.shape == (3, 2, 3)
        assert (in_channels == picture).all()
    assert explanation_of(torch.rand(2, 3), effects=EFFECTS).attribution(shape="chw").shape == (1, 2, 3)
    with pytest.raises(ArgumentError, match="shape must be one of 'hw', 'chw', got 'hwc'"):
        explanation.attribution(shape="hwc")


def test_the_attribution_of_an_empty_anchor_is_a_ranking_too() -> None:
    explanation = explanation_of(features=(), names=(), status=Status.EMPTY_HOLDS, path=(), effects=EFFECTS)
    assert sorted(set(explanation.attribution().ravel().tolist())) == pytest.approx([1 / 3, 2 / 3, 1])
    assert (explanation.attribution()[SEGMENTS == 0] == 1).all()
    assert (explanation.attribution("member") == 0).all()


IMAGES = {
    "bytes": photograph(2, 3),
    "grey": photograph(2, 3)[..., 0],
    "one channel": photograph(2, 3)[..., :1],
    "floats": photograph(2, 3).astype(np.float32) / 255,
    "halves": photograph(2, 3).astype(np.float16),
    "doubles": photograph(2, 3) / 3,
    "tensor of bytes": torch.from_numpy(photograph(2, 3)).permute(2, 0, 1),
    "tensor": torch.rand(3, 2, 3, dtype=torch.float64),
    "bfloat16": torch.rand(3, 2, 3).bfloat16(),
    "grey tensor": torch.rand(2, 3),
    "PIL": Image.fromarray(photograph(2, 3)),
    "grey PIL": Image.fromarray(photograph(2, 3)[..., 0]),
}


@pytest.mark.parametrize("kind", list(IMAGES))
def test_a_file_gives_the_explanation_back(tmp_path: Path, kind: str) -> None:
    image = IMAGES[kind]
    explanation = explanation_of(image, effects=EFFECTS)
    explanation.save(tmp_path / "anchor.json")
    again = load(tmp_path / "anchor.json")
    assert isinstance(again, ImageExplanation)
    assert again.to_dict() == explanation.to_dict()
    assert str(again) == str(explanation)
    assert type(again.image) is type(image)
    assert getattr(again.image, "dtype", None) == getattr(image, "dtype", None)
    assert again.label_map.dtype == explanation.label_map.dtype
    assert again.layout == explanation.layout
    assert without_addresses(again.raw) == without_addresses(explanation.raw)
    pairs = [(again.image, image), (again.anchor, explanation.anchor)]
    pairs += [(a.image, b.image) for a, b in zip(again.examples, explanation.examples, strict=True)]
    for one, other in pairs:
        assert type(one) is type(other)
        np.testing.assert_array_equal(hwc(one), hwc(other))
    assert [(a.label, a.hit) for a in again.examples] == [(b.label, b.hit) for b in explanation.examples]


def without_addresses(raw: dict[str, Any]) -> str:
    return re.sub("0x[0-9A-F]+", "", str(raw))


@pytest.mark.parametrize("fill", ["mean", "infill"])
@pytest.mark.parametrize("kind", ["bytes", "floats", "tensor"])
def test_a_photograph_of_a_file_takes_little_space(kind: str, fill: str) -> None:
    """Of 224 x 224 pixels; as floats, as most transforms make of it, it takes no more than its bytes do."""
    pixels = data.astronaut()[:224, 100:324]
    image: Any = pixels if kind == "bytes" else pixels / np.float32(255)
    image = torch.from_numpy(image).permute(2, 0, 1) if kind == "tensor" else image
    explainer = AnchorImage(lambda rows: (rows.mean((1, 2, 3)) > 0.3).long(), dtype=torch.float32, seed=0, fill=fill)
    explanation = explainer.explain(image)
    assert len(explanation.to_json()) < 200_000
    loaded = ImageExplanation.from_json(explanation.to_json())
    assert torch.equal(torch.as_tensor(loaded.image), torch.as_tensor(image))


def test_plots_of_a_loaded_explanation_are_the_same(tmp_path: Path) -> None:
    explanation = explanation_of(photograph(2, 3))
    explanation.save(tmp_path / "anchor.json")
    explanation.plot(path=tmp_path / "before.png")
    load(tmp_path / "anchor.json").plot(path=tmp_path / "after.png")
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()


@pytest.mark.parametrize(
    ("place", "value", "complaint"),
    [
        (("image", "kind"), "path", "image.kind must be one of tensor, array, PIL, got 'path'"),
        (("image", "pixels", "shape"), [3, 3, 3], r"image.pixels.png must be a picture of the shape \(3, 3, 3\)"),
        (("image", "pixels", "shape"), [10**6, 10**6, 3], "the arrays of a file may take 1,073,741,824 bytes"),
        (("image", "pixels", "png"), "AAAA", "image.pixels.png is damaged"),
        (("segments", "shape"), [3, 2], "segments.png must be a picture of the shape"),
        (("rows", "keep", "shape"), [3, 2], "rows.keep must be about 3 superpixels"),
        (("rows", "background", "dtype"), "bool", "rows.background must be an array of type i/u"),
        (("precision",), "high", "data.explanation.precision must be a number, got 'high'"),
        (("effects", "shape"), [4], "effects.planes must be 32 bytes, got '24 or more'"),
        (("effects",), pack_array(np.zeros(2)), "effects must be of 3 superpixels"),
        (("status",), "sure", "status must be one of certified, exact, .* got 'sure'"),
    ],
)
def test_fields_of_a_file_are_checked(place: tuple[str, ...], value: Any, complaint: str) -> None:
    document = explanation_of(photograph(2, 3), effects=EFFECTS)._document()
    inner = document.data["explanation"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ArgumentError, match=complaint):
        ImageExplanation.from_json(document.to_text())


def test_raw_has_one_entry_for_each_partial_anchor() -> None:
    raw = explanation_of().raw
    assert raw["feature"] == [2, 0]
    assert raw["precision"] == raw["mean"] == [0.8, 0.98]
    assert raw["coverage"] == [0.5, 0.25]
    assert raw["all_precision"] == 0.5
    assert raw["num_preds"] == 1234
    assert len(raw["examples"]) == 2
    examples = raw["examples"][-1]
    assert [len(examples[key]) for key in ("covered_true", "covered_false")] == [1, 1]


def test_an_explanation_is_frozen_and_can_be_pickled() -> None:
    explanation = explanation_of()
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.precision = 1.0  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(explanation))
    assert again.to_dict() == explanation.to_dict()
    np.testing.assert_array_equal(again.anchor, explanation.anchor)


def test_superpixels_are_kept_in_few_bytes_and_given_as_int64() -> None:
    explanation = explanation_of()
    assert explanation.label_map.dtype == np.uint8
    assert explanation.segments.dtype == np.int64
    np.testing.assert_array_equal(explanation.segments, SEGMENTS)
    assert explanation.n_superpixels == 3


def test_the_references_data() -> None:
    explanation = explanation_of()
    data = explanation.data
    assert list(data) == ["anchor", "segments", "precision", "coverage", "raw"]
    np.testing.assert_array_equal(data["anchor"], explanation.anchor)
    np.testing.assert_array_equal(data["segments"], SEGMENTS)
    assert (data["precision"], data["coverage"]) == (0.98, 0.25)
    assert data["raw"]["instance"] is data["raw"]["instances"][0] is explanation.image
    examples = data["raw"]["examples"][-1]
    hit, miss = explanation.examples
    np.testing.assert_array_equal(examples["covered_true"][0], hit.image)
    np.testing.assert_array_equal(examples["covered_false"][0], miss.image)
    assert examples["uncovered_true"] == examples["uncovered_false"] == []


@pytest.mark.parametrize(
    ("changes", "headline", "figures"),
    [
        (
            {},
            "“cat”, as long as these 2 of 3 superpixels stay visible",
            "Precision at least 0.951 with 90 % con",
        ),
        (
            {"features": (1,)},
            "“cat”, as long as this one of 3 superpixels stays visible",
            "covers 25 % of all perturbed copies;",
        ),
        ({"features": (), "status": Status.EMPTY_HOLDS}, "“cat”, whatever is hidden", "(the estimate is 0.980)"),
        ({"status": Status.NOT_FOUND}, "“cat”: no anchor reached the threshold of 0.95", "The best one found has pre"),
        ({"status": Status.ROW_BUDGET}, "“cat”: the row budget was spent before an anchor was certified", "The best"),
        ({"status": Status.EXACT, "precision_interval": (0.98, 0.98)}, "“cat”, as long as", "Precision 0.980 (exact)"),
    ],
)
def test_the_words_over_the_picture(changes: dict[str, Any], headline: str, figures: str) -> None:
    explanation = explanation_of(**changes)
    first, second = (text.get_text() for text in explanation.plot({5: "cat"}).texts)
    assert first.startswith(headline)
    assert figures in second
    assert second.endswith("1,234 were tried")


def test_a_plot_is_saved_and_calls_the_label_by_its_name(tmp_path: Path) -> None:
    explanation = explanation_of(label_name="espresso")
    figure = explanation.plot(path=tmp_path / "anchor.svg")
    assert "<svg" in (tmp_path / "anchor.svg").read_text()
    assert figure.texts[0].get_text().startswith("“espresso”, as long as")
    assert explanation.plot([*"abcdef"]).texts[0].get_text().startswith("“f”, as long as")
    assert explanation.plot([*"abcdef"]).axes[-1].xaxis.label.get_text() == "“c”"  # the miss
