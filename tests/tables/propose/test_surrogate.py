"""The additive model against models that are additive."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from torch_anchors.tables.propose.surrogate import PENALTY, Surrogate


def additive_labels(binned, seed):
    weight = torch.randn(binned.shape[1], 4, generator=torch.Generator().manual_seed(seed))
    return (weight[torch.arange(binned.shape[1]), binned].sum(1) > 0).long()


@pytest.mark.parametrize("inference", [False, True])
def test_an_additive_model_is_learned(device, inference):
    binned = torch.randint(0, 4, (3000, 5), generator=torch.Generator().manual_seed(0)).to(device)
    with torch.inference_mode(inference):
        labels = additive_labels(binned.cpu(), 1).to(device)
        surrogate = Surrogate.fit(binned, labels, [5] * 5, 2)
        sums = surrogate.weight[binned + surrogate.offset].sum(1) + surrogate.intercept
    assert (sums.argmax(1) == labels).float().mean() > 0.97
    torch.testing.assert_close(sums[:, 0], -sums[:, 1], rtol=0.02, atol=0.1)


def test_its_weights_are_those_of_least_loss():
    """By PyTorch's own gradient of the loss, which is 0 there, and far from 0 where all weights are."""
    binned = torch.randint(0, 4, (2000, 6), generator=torch.Generator().manual_seed(0))
    labels = torch.where(
        torch.rand(2000, generator=torch.Generator().manual_seed(2)) < 0.2, 2, additive_labels(binned, 1)
    )
    surrogate = Surrogate.fit(binned, labels, [4] * 6, 3)

    def steepest(weight, intercept):
        weight, intercept = weight.clone().requires_grad_(), intercept.clone().requires_grad_()
        margin = weight[binned + surrogate.offset].sum(1) + intercept
        errors = binary_cross_entropy_with_logits(margin, one_hot(labels, 3).float(), reduction="none")
        (errors.mean(0).sum() + PENALTY * weight.square().sum()).backward()
        return max(float(weight.grad.abs().max()), float(intercept.grad.abs().max()))

    found = steepest(surrogate.weight, surrogate.intercept)
    assert found < 0.01 * steepest(torch.zeros_like(surrogate.weight), torch.zeros_like(surrogate.intercept))


def test_unseen_bins_have_no_weight():
    binned = torch.tensor([[0, 0], [1, 2], [0, 2], [1, 0]] * 50)
    surrogate = Surrogate.fit(binned, binned[:, 0], [3, 4], 2)
    assert surrogate.offset.tolist() == [0, 3]
    unseen = [2, 4, 6]  # the spare bin of column 0, bin 1 and the spare bin of column 1
    assert surrogate.weight[unseen].abs().max() == 0
    assert surrogate.weight[:2, 1].abs().min() > 1


def test_a_label_that_never_comes_is_thought_unlikely():
    binned = torch.randint(0, 2, (500, 3), generator=torch.Generator().manual_seed(0))
    surrogate = Surrogate.fit(binned, binned[:, 0], [3] * 3, 3)
    sums = surrogate.weight[binned + surrogate.offset].sum(1) + surrogate.intercept
    assert sums[:, 2].max() < -2


def test_sums_are_those_of_the_weights_and_idle_columns_add_nothing():
    binned = torch.randint(0, 4, (200, 3), generator=torch.Generator().manual_seed(0))
    surrogate = Surrogate.fit(binned, additive_labels(binned, 1), [4] * 3, 2)
    expected = surrogate.weight[binned + surrogate.offset].sum(1) + surrogate.intercept
    torch.testing.assert_close(surrogate.sums(binned), expected)
    wider = surrogate.with_idle([5, 2])
    assert wider.offset.tolist() == [0, 4, 8, 12, 17]
    torch.testing.assert_close(wider.sums(torch.nn.functional.pad(binned, (0, 2), value=1)), expected)
