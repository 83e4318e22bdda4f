"""Explanations in words, dictionaries and files."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torch_anchors.explanation import ExampleRows, ImageExplanation
from torch_anchors.pixels import Layout, to_chw
from torch_anchors.search.protocol import Status, Step

SEGMENTS = np.array([[0, 0, 1], [2, 2, 1]])


def explanation_of(image: Any = None, **changes: Any) -> ImageExplanation:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) if image is None else image
    rows = ExampleRows(
        pixels=to_chw(image).numpy(),
        fill=np.stack([np.zeros_like(to_chw(image).numpy()), np.full_like(to_chw(image).numpy(), 9.0)]),
        keep=np.array([[True, False, True], [True, True, False]]),
        background=np.array([1, 0]),
        labels=np.array([5, 2]),
        hits=np.array([True, False]),
    )
    given: dict[str, Any] = {
        "features": (0, 2),
        "names": ("superpixel 0", "superpixel 2"),
        "precision": 0.98,
        "precision_interval": (0.9512, 0.9979),
        "coverage": 0.25,
        "status": Status.CERTIFIED,
        "label": 5,
        "threshold": 0.95,
        "delta": 0.1,
        "n_rows": 1234,
        "n_calls": 17,
        "seconds": 0.456,
        "path": (Step((), 0.5, 1.0, 100), Step((2,), 0.8, 0.5, 60), Step((0, 2), 0.98, 0.25, 80)),
        "meta": {"name": "AnchorImage", "params": {"seed": np.int64(3), "dtype": torch.float32, "shape": (2, 3)}},
        "image": image,
        "segments": SEGMENTS,
        "layout": Layout.of(image),
        "rows": rows,
    }
    return ImageExplanation(**{**given, **changes})


# ------------------------------------------------------------------------------------------------------- words


def test_words_of_a_certified_anchor() -> None:
    assert str(explanation_of()) == (
        "While superpixels 0 and 2 of 3 are shown, the model answers label 5 with precision 0.980 (between 0.951 and "
        "0.998 with 90 % confidence), whatever the other superpixels show; that covers 25 % of all perturbed images. "
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


@pytest.mark.parametrize("delta", [0.1, 0.05, 0.001])
def test_the_confidence_is_that_of_delta(delta: float) -> None:
    assert f"with {100 * (1 - delta):g} % confidence" in str(explanation_of(delta=delta))


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


def test_the_dictionary_survives_json(tmp_path: Path) -> None:
    explanation = explanation_of()
    text = explanation.to_json(tmp_path / "anchor.json")
    assert json.loads(text) == explanation.to_dict() == json.loads((tmp_path / "anchor.json").read_text())
    found = json.loads(text)
    assert found["anchor"] == [0, 2]
    assert found["status"] == "certified"
    assert found["success"] is True
    assert found["precision_interval"] == [0.9512, 0.9979]
    assert found["path"][1] == {"anchor": [2], "precision": 0.8, "coverage": 0.5, "n": 60}
    assert found["segments"] == SEGMENTS.tolist()
    assert found["n_superpixels"] == 3
    assert found["meta"]["params"] == {"seed": 3, "dtype": "torch.float32", "shape": [2, 3]}


def test_json_is_what_other_languages_read(tmp_path: Path) -> None:
    """JSON knows neither NaN nor infinity."""
    explanation = explanation_of(precision=math.nan, meta={"params": {"fill": math.inf}})
    found = json.loads(explanation.to_json(), parse_constant=lambda name: pytest.fail(name))
    assert found["precision"] is None
    assert found["meta"]["params"]["fill"] is None


def test_whatever_the_user_passed_can_be_written() -> None:
    meta = {"params": {"kwargs": {"mask": np.zeros((4, 5)), "f": len, "t": torch.zeros(2), "type": np.float32}}}
    written = json.loads(explanation_of(meta=meta).to_json())["meta"]["params"]["kwargs"]
    assert written["mask"] == "array(4, 5)"
    assert written["t"] == "array(2,)"
    assert "float32" in written["type"]
    assert "len" in written["f"]


def test_raw_has_one_entry_for_each_partial_anchor() -> None:
    raw = explanation_of().raw
    assert raw["feature"] == [2, 0]
    assert raw["precision"] == raw["mean"] == [0.8, 0.98]
    assert raw["coverage"] == [0.5, 0.25]
    assert raw["all_precision"] == 0.5
    assert raw["num_preds"] == 1234
    (examples,) = raw["examples"]
    assert [len(examples[key]) for key in ("covered_true", "covered_false")] == [1, 1]


def test_an_explanation_is_frozen_and_can_be_pickled() -> None:
    explanation = explanation_of()
    with pytest.raises(dataclasses.FrozenInstanceError):
        explanation.precision = 1.0  # type: ignore[misc]
    again = pickle.loads(pickle.dumps(explanation))
    assert again.to_dict() == explanation.to_dict()
    np.testing.assert_array_equal(again.anchor, explanation.anchor)
