"""Transforms of single pictures take batches, and make of them what they make of each picture."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import coffee
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

from torch_anchors import AnchorImage
from torch_anchors.errors import PredictorCallError, PredictorReturnTypeError
from torch_anchors.images.batch_transforms import for_batches

PICTURES = [np.ascontiguousarray(coffee()[top : top + 90, 100:220]) for top in (0, 100, 200)]
BATCH = torch.from_numpy(np.stack(PICTURES)).permute(0, 3, 1, 2)
HALF = ([0.5] * 3, [0.25] * 3)


def of_timm(**options: Any) -> Any:
    return pytest.importorskip("timm.data").create_transform((3, 32, 32), **options)


MADE_FOR_PICTURES = {
    "timm": lambda: of_timm(interpolation="bicubic", crop_pct=0.9),
    "timm, squashed": lambda: of_timm(crop_mode="squash"),
    "torchvision": lambda: transforms.Compose(
        [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor(), transforms.Normalize(*HALF)]
    ),
    "torchvision, nested": lambda: transforms.Compose(
        [
            transforms.Compose([transforms.ToTensor(), transforms.Resize(40, antialias=True)]),
            transforms.Normalize(*HALF),
        ]
    ),
    "torchvision, whole numbers": lambda: transforms.Compose(
        [transforms.Resize(40), transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float32)]
    ),
}


@pytest.mark.parametrize("name", MADE_FOR_PICTURES)
def test_a_batch_becomes_what_each_picture_becomes(name: str) -> None:
    transform = MADE_FOR_PICTURES[name]()
    each = torch.stack([transform(Image.fromarray(picture)) for picture in PICTURES])
    batch = for_batches(transform)(BATCH)
    assert batch.dtype == each.dtype
    # Pillow and PyTorch round differently where they resize: a grey value or two of 255, over the standard deviation.
    assert (batch - each).abs().max() < 3 / 255 / 0.224
    assert (batch - each).abs().mean() < 0.5 / 255 / 0.224


def test_where_nothing_is_resized_a_batch_is_the_same_to_the_last_bit() -> None:
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*HALF)])
    each = torch.stack([transform(Image.fromarray(picture)) for picture in PICTURES])
    assert torch.equal(for_batches(transform)(BATCH), each)


def test_floats_keep_their_scale_as_in_an_array() -> None:
    transform = for_batches(transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.0] * 3, [1.0] * 3)]))
    assert torch.equal(transform(BATCH / 255), BATCH / 255)


@pytest.mark.parametrize(
    "preprocess",
    [
        None,
        transforms.Normalize(*HALF),
        transforms.Compose([transforms.Resize(3)]),
        v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*HALF)]),
        nn.Identity(),
        lambda rows: rows,
        5,
    ],
)
def test_all_else_is_given_back_as_it_is(preprocess: Any) -> None:
    assert for_batches(preprocess) is preprocess


def test_what_passes_bytes_through_today_still_does() -> None:
    transform = v2.Compose([v2.ToImage(), v2.Lambda(lambda rows: rows.float() / 255)])
    assert for_batches(transform) is transform
    maybe = of_timm(normalize=False)  # ends with what keeps bytes
    assert for_batches(maybe)(BATCH).dtype == torch.uint8


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))


@pytest.mark.parametrize("name", MADE_FOR_PICTURES)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_an_image_is_explained_with_it(name: str, as_tensor: bool) -> None:
    transform, model = MADE_FOR_PICTURES[name](), network()
    explainer = AnchorImage(model, preprocess=transform, segmentation_fn="grid", seed=0)
    explanation = explainer.explain(BATCH[0] if as_tensor else Image.fromarray(PICTURES[0]))
    with torch.inference_mode():
        assert explanation.label == model(transform(Image.fromarray(PICTURES[0]))[None]).argmax().item()
    again = pickle.loads(pickle.dumps(explainer)).explain(BATCH[0] if as_tensor else Image.fromarray(PICTURES[0]))
    assert again.features == explanation.features


def test_transforms_of_v2_need_nothing() -> None:
    steps = v2.Compose([v2.ToImage(), v2.Resize(32), v2.ToDtype(torch.float32, scale=True), v2.Normalize(*HALF)])
    model = network()
    explanation = AnchorImage(model, preprocess=steps, segmentation_fn="grid", seed=0).explain(PICTURES[0])
    with torch.inference_mode():
        assert explanation.label == model(steps(BATCH[:1])).argmax().item()


def test_a_transform_that_wants_pillow_s_pictures_fails_with_a_remedy() -> None:
    wants_pictures = transforms.Lambda(lambda picture: transforms.functional.to_tensor(picture.convert("RGB")))
    explainer = AnchorImage(network(), preprocess=wants_pictures, segmentation_fn="grid", seed=0)
    with pytest.raises(PredictorCallError, match=r"preprocess raised AttributeError.*given tensors.*leave out steps"):
        explainer.explain(PICTURES[0])


def test_timm_s_border_which_no_tensor_can_have_fails_with_a_remedy() -> None:
    explainer = AnchorImage(network(), preprocess=of_timm(crop_mode="border"), segmentation_fn="grid", seed=0)
    with pytest.raises(PredictorCallError, match=r"preprocess raised TypeError: .*fill arg.*leave out steps"):
        explainer.explain(PICTURES[0])


def test_a_processor_of_hugging_face_is_told_which_of_its_entries_to_return() -> None:
    transformers = pytest.importorskip("transformers")
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    explainer = AnchorImage(network(), preprocess=processor, segmentation_fn="grid", seed=0)
    with pytest.raises(
        PredictorReturnTypeError, match=r"got BatchFeature\. Return its \['pixel_values'\], as a tensor"
    ):
        explainer.explain(PICTURES[0])
