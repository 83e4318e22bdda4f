"""Targets of detection and segmentation models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from tests.grids import grid_explainer
from torch_anchors.errors import ArgumentError, PredictorReturnTypeError
from torch_anchors.targets.regions import MOST_OBJECTS, MaskOverlap, SameObject

CPU = torch.device("cpu")


def found(*objects: tuple[list[float], int, float]) -> dict[str, Tensor]:
    """What a detection model returns of one image."""
    boxes = torch.tensor([box for box, _, _ in objects]).reshape(-1, 4)
    labels = torch.tensor([label for _, label, _ in objects], dtype=torch.int64)
    return {"boxes": boxes, "labels": labels, "scores": torch.tensor([score for _, _, score in objects])}


BOX = [0.0, 0.0, 10.0, 10.0]
HALF = [0.0, 0.0, 10.0, 5.0]
FAR = [20.0, 20.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("row", "agrees"),
    [
        (found((BOX, 1, 0.9)), True),
        (found((FAR, 1, 0.9), (BOX, 1, 0.5)), True),
        (found((HALF, 1, 0.9)), True),  # an overlap of a half
        (found(([0.0, 0.0, 10.0, 4.9], 1, 0.9)), False),
        (found((BOX, 2, 0.9)), False),
        (found((BOX, 1, 0.4)), False),
        (found((FAR, 1, 0.9)), False),
        (found(), False),
    ],
)
def test_an_object_is_the_same_by_class_and_overlap(row: dict[str, Tensor], agrees: bool) -> None:
    target = SameObject()
    answers = target.answers([found((BOX, 1, 0.8)), row], 2, CPU)
    own = target.explained(answers[:1])
    agreement = target.agreement(answers, own.expand(2, 6))
    assert (agreement >= 0).tolist() == [True, agrees]


def test_objects_are_numbered_by_their_scores() -> None:
    answers = SameObject().answers([found((BOX, 1, 0.6), (FAR, 2, 0.9))], 1, CPU)
    assert answers.shape == (1, MOST_OBJECTS, 6)
    assert SameObject(index=0).said(SameObject(index=0).explained(answers))["class"] == 2
    second = SameObject(index=1).explained(answers)
    assert SameObject(index=1).said(second) == {"box": BOX, "class": 1, "score": pytest.approx(0.6)}
    assert SameObject().name_of(1, second) == "class 1 in the box 0, 0, 10, 10"
    assert SameObject().name_of(0, second) == "no class 1 in the box 0, 0, 10, 10"
    named = SameObject(index=1, class_names=["-", "cup", "dog"])
    assert named.name_of(1, second) == "cup in the box 0, 0, 10, 10"
    assert named.said(second) == {"box": BOX, "class": 1, "class_name": "cup", "score": pytest.approx(0.6)}
    assert SameObject().names == {0: "no such object", 1: "the same object"}


def test_overlaps_are_those_of_torchvision_and_of_many_objects_the_surest_are_looked_at() -> None:
    rng = torch.Generator().manual_seed(0)
    low = 50 * torch.rand(150, 2, generator=rng)
    boxes = torch.cat([low, low + 30 * torch.rand(150, 2, generator=rng)], dim=1)
    scores = torch.rand(150, generator=rng)
    everything = {"boxes": boxes, "labels": torch.ones(150, dtype=torch.int64), "scores": scores}
    target = SameObject(iou=0.1, score=0.0)
    answers = target.answers([everything], 1, CPU)
    surest = scores.argsort(descending=True)[:MOST_OBJECTS]
    assert torch.equal(answers[0, :, :4], boxes[surest])
    own = torch.tensor([[10.0, 10.0, 40.0, 40.0, 1.0, 1.0]])
    expected = box_iou(own[:, :4], boxes[surest]).max() - 0.1
    assert target.agreement(answers, own).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("target", [SameObject(score=0.9), SameObject(index=1)])
def test_an_object_that_is_not_there_is_no_answer(target: SameObject) -> None:
    answers = target.answers([found((BOX, 1, 0.8))], 1, CPU)
    assert target.agreement(answers, target.explained(answers)).isnan().all()


@pytest.mark.parametrize(
    "output", [torch.rand(2, 4), [torch.rand(4)] * 2, [{"boxes": torch.rand(1, 4)}] * 2, [found()], "ab"]
)
def test_what_is_no_detection_is_an_error(output: Any, unchecked: None) -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"The predictor must return .*target=SameObject"):
        SameObject().answers(output, 2, CPU)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SameObject(iou=0), r"iou must be a share in \(0, 1\], got 0"),
        (lambda: SameObject(score=1.1), r"score must be a score in \[0, 1\]"),
        (lambda: SameObject(index=-1), "index must be a whole number"),
        (lambda: SameObject(as_list=1), "as_list must be True or False"),
        (lambda: MaskOverlap(iou=2), "iou must be"),
        (lambda: MaskOverlap(label="cat"), "label must be None or a whole number"),
    ],
)
def test_settings_that_mean_nothing_are_errors(make: Any, words: str, unchecked: None) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


# ------------------------------------------------------------------------------------------------ through explain


def detector(images: list[Tensor]) -> list[dict[str, Tensor]]:
    """Finds a bright upper left quarter, as models of torchvision do, in a list of images of any sizes."""
    assert isinstance(images, list)
    assert all(image.ndim == 3 for image in images)
    found_ = []
    for image in images:
        height, width = image.shape[1] // 2, image.shape[2] // 2
        score = float(image[:, :height, :width].mean())
        found_.append(found(([0.0, 0.0, float(width), float(height)], 3, score)) if score > 0.1 else found())
    return found_


@pytest.mark.parametrize("size", [16, 32])
def test_the_object_is_explained_by_where_it_is(size: int) -> None:
    image = torch.zeros(3, size, size)
    image[:, : size // 2, : size // 2] = 1.0
    explanation = grid_explainer(detector, 4).explain(image, target=SameObject(score=0.7))
    assert set(explanation.features) < {0, 1, 4, 5}
    assert len(explanation.features) == 3
    assert explanation.said == {"box": [0.0, 0.0, size / 2, size / 2], "class": 3, "score": 1.0}
    assert f"answers class 3 in the box 0, 0, {size // 2}, {size // 2}" in str(explanation)


def test_images_of_two_sizes_are_compared_each_with_its_own_object() -> None:
    images = [torch.zeros(3, size, size) for size in (16, 32, 16)]
    for image, brightness in zip(images, (1.0, 0.9, 0.95), strict=True):
        image[:, : image.shape[1] // 2, : image.shape[2] // 2] = brightness
    explainer = grid_explainer(detector, 4)
    together = explainer.explain_batch(images, target=SameObject(score=0.7))
    for image, explanation in zip(images, together, strict=True):
        alone = explainer.explain(image, target=SameObject(score=0.7))
        assert (alone.features, alone.said, alone.n_rows) == (
            explanation.features,
            explanation.said,
            explanation.n_rows,
        )


def test_an_image_without_the_object_fails_alone_and_says_why() -> None:
    images = [torch.zeros(3, 16, 16), torch.ones(3, 16, 16)]
    explainer = grid_explainer(detector, 2)
    with pytest.raises(PredictorReturnTypeError, match=r"finds no such object in the image itself.*lower score"):
        explainer.explain(images[0], target=SameObject())
    with pytest.warns(UserWarning, match=r"finds no such object in the image itself.*image number 0"):
        (explanation,) = explainer.explain_batch(images, target=SameObject(), on_error="skip")
    assert explanation.features == (0,)


def test_detections_without_a_target_are_an_error_that_names_it() -> None:
    with pytest.raises(PredictorReturnTypeError, match=r"pass target=SameObject\(\)"):
        grid_explainer(lambda images: detector(list(images)), 2).explain(torch.ones(3, 16, 16))


def bright(images: Tensor) -> dict[str, Tensor]:
    """Class 2 where it is bright, as segmentation models of torchvision do."""
    nothing = torch.zeros_like(images[:, 0])
    return {"out": torch.stack([nothing + 0.5, nothing, images[:, 0]], dim=1), "aux": nothing}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]]), [[[1, 0]]]),
        (torch.tensor([[[[-1.0, 1.0]]]]), [[[0, 1]]]),
        (torch.tensor([[[0, 7]]]), [[[0, 7]]]),
        (torch.tensor([[[[0.0, torch.nan]], [[1.0, 0.0]]]]), [[[1, -1]]]),
        ({"out": torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]])}, [[[1, 0]]]),
    ],
)
def test_masks_are_read_from_what_segmentation_models_return(output: Any, expected: list[Any]) -> None:
    assert MaskOverlap().answers(output, 1, CPU).tolist() == expected


def test_other_shapes_are_no_masks() -> None:
    for output in (torch.rand(1, 3), torch.rand(1, 4, 4)):
        with pytest.raises(PredictorReturnTypeError, match=r"scores \(N, classes, H, W\)"):
            MaskOverlap().answers(output, 1, CPU)


def test_the_class_with_most_pixels_is_explained_but_not_the_background() -> None:
    classes = torch.tensor([[[0, 0, 0, 0, 2, 2, 1]]])
    own = MaskOverlap().explained(classes.int())
    assert own.tolist() == [[[0, 0, 0, 0, 3, 3, 0]]]
    assert MaskOverlap().said(own) == {"class": 2, "share": pytest.approx(2 / 7)}
    assert MaskOverlap(label=1).explained(classes.int()).tolist() == [[[0, 0, 0, 0, 0, 0, 2]]]
    nothing = MaskOverlap(label=5).explained(classes.int())
    assert MaskOverlap(label=5).agreement(classes.int(), nothing).isnan().all()
    empty = MaskOverlap().explained(torch.zeros(1, 2, 2, dtype=torch.int32))
    assert MaskOverlap().agreement(torch.zeros(1, 2, 2, dtype=torch.int32), empty).isnan().all()


def test_the_overlap_of_masks_is_intersection_over_union() -> None:
    target = MaskOverlap(iou=0.5)
    rows = torch.tensor([[[0, 1, 1, 1]], [[1, 1, 1, 0]], [[0, 0, 0, 1]], [[0, 0, 0, 0]], [[0, 2, 2, 2]]]).int()
    own = target.explained(rows[:1])
    agreement = target.agreement(rows, own.expand(5, 1, 4))
    assert agreement.tolist() == pytest.approx([0.5, 0.0, 1 / 3 - 0.5, -0.5, -0.5])


def test_a_segmented_region_is_explained_by_where_it_is() -> None:
    image = torch.zeros(1, 16, 16)
    image[:, :8, :8] = 1.0
    explanation = grid_explainer(bright, 4).explain(image, target=MaskOverlap(iou=0.9))
    assert explanation.features == (0, 1, 4, 5)
    assert explanation.said == {"class": 2, "share": 0.25}
    assert "answers class 2 in the same region" in str(explanation)
    named = grid_explainer(bright, 4, class_names=["-", "cup", "sky"]).explain(image, target=MaskOverlap(iou=0.9))
    assert named.said == {"class": 2, "class_name": "sky", "share": 0.25}
    assert "answers sky in the same region" in str(named)
    with pytest.raises(PredictorReturnTypeError, match="no pixel of the image itself the class"):
        grid_explainer(bright, 4).explain(image, target=MaskOverlap(label=1))
