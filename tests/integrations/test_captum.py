"""Anchors as a method of captum: its interface, and its metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.integrations.planted import FEW, GRID, LABELS, Quarters, explainer_of, pictures
from torch_anchors import AnchorImage, ArgumentError

captum_attr = pytest.importorskip("captum.attr")
captum_metrics = pytest.importorskip("captum.metrics")

from torch_anchors.integrations.captum import AnchorAttribution  # noqa: E402

IMAGES, TARGETS = torch.from_numpy(pictures()), torch.from_numpy(LABELS)
MASK = torch.arange(4).view(2, 2).repeat_interleave(8, 0).repeat_interleave(8, 1)  # of the grid's quarters


def anchors(**settings: Any) -> AnchorAttribution:
    return AnchorAttribution(Quarters(), **{**GRID, **settings})


def test_an_attribution_is_like_the_inputs() -> None:
    method = anchors()
    assert isinstance(method, captum_attr.Attribution)
    assert method.get_name() == "Anchor Attribution"
    found = method.attribute(IMAGES.requires_grad_(), target=TARGETS, **FEW)
    IMAGES.requires_grad_(False)
    assert found.shape == IMAGES.shape
    assert found.dtype == IMAGES.dtype
    assert not found.requires_grad
    for image, own in zip(IMAGES, found, strict=True):
        explanation = explainer_of(Quarters()).explain(image, **FEW)
        np.testing.assert_array_equal(own.numpy(), explanation.attribution("marginal", "chw"))
    (in_tuple,) = method.attribute((IMAGES,), target=TARGETS, **FEW)
    assert torch.equal(in_tuple, found)


@pytest.mark.parametrize("target", [0, [0], torch.tensor([0]), torch.tensor(0)])
def test_the_target_is_the_label_that_is_explained(target: Any) -> None:
    found = anchors().attribute(IMAGES[:1], target, **FEW)
    assert found[0, 0, 0, 0] == -1
    assert anchors().attribute(IMAGES[:1], **FEW)[0, 0, 0, 0] == 1


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (16, 16), (3, 16, 16), (3, 3, 16, 16)])
def test_a_mask_says_which_values_are_one_feature(shape: tuple[int, ...]) -> None:
    mask = MASK.expand(shape)
    found = AnchorAttribution(Quarters(), fill=0.0).attribute(IMAGES, TARGETS, feature_mask=mask, **FEW)
    assert torch.equal(found, anchors().attribute(IMAGES, TARGETS, **FEW))


def test_a_mask_may_tell_channels_apart_and_be_another_one_for_each_input() -> None:
    one = torch.stack([MASK, MASK + 4, torch.full_like(MASK, 8)])  # 9 features, the last a whole channel
    other = torch.stack([MASK, MASK, MASK])
    images = IMAGES[[0, 0]]
    found = AnchorAttribution(Quarters(), fill=0.0).attribute(images, feature_mask=torch.stack([one, other]), **FEW)
    assert len(found[0].unique()) <= 9
    for part in range(9):
        assert len(found[0][one == part].unique()) == 1
    assert (found[0, 0, :8, :8] > 0.3).all()
    assert torch.equal(found[1], anchors().attribute(IMAGES[:1], **FEW)[0])


def test_baselines_are_what_hidden_features_show() -> None:
    image, own = IMAGES[:1], {"feature_mask": MASK, **FEW}
    constant = AnchorAttribution(Quarters()).attribute(image, baselines=0.0, **own)
    assert (constant[0, :, :8, :8] == 1).all()
    for same in (image, image[0]):  # hidden features show what they do anyway
        assert (AnchorAttribution(Quarters()).attribute(image, baselines=same, **own) == 0).all()
    each = torch.cat([torch.zeros(1, 3, 16, 16), image])
    found = AnchorAttribution(Quarters()).attribute(image.repeat(2, 1, 1, 1), baselines=(each,), **own)
    assert torch.equal(found[:1], constant)
    assert (found[1] == 0).all()


def test_rows_of_numbers_are_explained_without_training_rows() -> None:
    def scores(rows: Tensor, offset: float) -> Tensor:
        hit = rows[:, 1] + rows[:, 4] > 1 + offset
        return torch.stack([~hit, hit], 1).float()

    rows = torch.tensor([[0.3, 1.0, 0.2, 0.0, 1.0], [0.5, 0.1, 0.9, 0.4, 0.2]])
    found = AnchorAttribution(scores).attribute(rows, additional_forward_args=0.5, **FEW)
    assert found.shape == rows.shape
    np.testing.assert_allclose(found.numpy(), [[0, 0.5, 0, 0, 0.5], [0] * 5], atol=1e-6)
    joined = AnchorAttribution(scores).attribute(
        rows[:1], feature_mask=torch.tensor([[0, 1, 0, 0, 1]]), additional_forward_args=(0.5,), **FEW
    )
    np.testing.assert_allclose(joined.numpy(), [[0, 1, 0, 0, 1]], atol=1e-6)


def test_captums_metrics_run() -> None:
    method = anchors()
    attributions = method.attribute(IMAGES, TARGETS)

    def hide(inputs: Tensor) -> tuple[Tensor, Tensor]:
        shown = (torch.rand(len(inputs), 1, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5).float()
        return inputs * (1 - shown), inputs * shown

    infidelity = captum_metrics.infidelity(Quarters(), hide, IMAGES, attributions, target=TARGETS, normalize=True)
    assert infidelity.shape == (3,)
    assert torch.isfinite(infidelity).all()
    sensitivity = captum_metrics.sensitivity_max(
        method.attribute, IMAGES, target=TARGETS, n_perturb_samples=2, feature_mask=MASK[None, None], **FEW
    )
    assert sensitivity.shape == (3,)
    assert (sensitivity == 0).all()  # exact effects of superpixels do not change with noise of 2 %


def test_equal_inputs_have_equal_attributions_and_a_seed_of_ones_own_is_taken() -> None:
    found = AnchorAttribution(Quarters(), **GRID).attribute(IMAGES, method="beam")
    assert torch.equal(found, AnchorAttribution(Quarters(), **GRID).attribute(IMAGES, method="beam"))
    own = AnchorAttribution(Quarters(), seed=5, **GRID).attribute(IMAGES, method="beam", kind="order")
    explanation = AnchorImage(Quarters(), seed=5, **GRID).explain(IMAGES[0], method="beam")
    np.testing.assert_array_equal(own[0].numpy(), explanation.attribution(shape="chw"))


@pytest.mark.parametrize(
    ("inputs", "given", "complaint"),
    [
        ((IMAGES, IMAGES), {}, "inputs must be one tensor, or a tuple of one, got"),
        (IMAGES.byte(), {}, r"inputs must be floating point \(N, ...\), got torch.uint8 \(3, 3, 16, 16\)"),
        (torch.rand(5), {}, r"inputs must be floating point \(N, ...\)"),
        (IMAGES, {"target": [(0, 1)] * 3}, "target must be the number of a class, or one for each of the 3 inputs"),
        (IMAGES, {"feature_mask": torch.zeros(7, 7)}, r"feature_mask must broadcast to the inputs \(3, 3, 16, 16\)"),
        (
            IMAGES,
            {"feature_mask": MASK.expand(2, 3, 16, 16)},
            "feature_mask must be one for all inputs or one for each",
        ),
        (IMAGES, {"baselines": "grey"}, "baselines must be one tensor, or a tuple of one, got 'grey'"),
        (IMAGES, {"additional_forward_args": torch.rand(3)}, "additional_forward_args must be the same for all rows"),
        (IMAGES, {"kind": "size"}, "kind must be one of 'order', 'marginal', 'member', got 'size'"),
    ],
)
def test_errors_say_what_to_do(inputs: Any, given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        anchors().attribute(inputs, **given)
