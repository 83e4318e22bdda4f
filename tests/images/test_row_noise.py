"""Noise that is another one in each row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from torch_anchors.images.row_noise import RowNoise
from torch_anchors.perturb.mask_sampler import MOST_BACKGROUNDS

GOLDEN = [
    [3.3297653198242188, -1.0739436149597168, -2.7181739807128906],
    [3.230095386505127, 4.096588134765625, -2.5139122009277344],
]
PIXELS = torch.tensor([-3.0, 5.0]).repeat(3, 8, 6)


def noise(numbers: list[int], seed: int = 0, device: torch.device | str = "cpu") -> Tensor:
    made = RowNoise.drawn(PIXELS.to(device), np.random.default_rng(seed))
    return made[torch.tensor(numbers, device=device)].cpu()


def test_as_many_backgrounds_as_a_code_can_name() -> None:
    made = RowNoise.drawn(PIXELS, np.random.default_rng(0))
    assert made.shape == (MOST_BACKGROUNDS, 3, 8, 12)
    last = made[torch.tensor([MOST_BACKGROUNDS - 1])]
    assert (last.shape, last.dtype) == ((1, 3, 8, 12), torch.float32)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_uniform_over_the_range_of_the_image(seed: int) -> None:
    values = noise(list(range(500)), seed)
    assert -3 <= values.min() < -2.99
    assert 4.99 < values.max() < 5
    assert stats.kstest(values.flatten().numpy(), stats.uniform(-3, 8).cdf).pvalue > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_places_and_rows_are_independent(seed: int) -> None:
    values = (noise(list(range(2000)), seed) - 1) / 8 * 12**0.5  # of mean 0 and variance 1
    rows = values.flatten(1)
    between_places = (rows.T @ rows / len(rows)).fill_diagonal_(0)
    assert between_places.abs().max() < 6 / len(rows) ** 0.5
    between_rows = (rows @ rows.T / rows.shape[1]).fill_diagonal_(0)
    assert between_rows.abs().max() < 6 / rows.shape[1] ** 0.5
    assert rows.mean(1).std() * rows.shape[1] ** 0.5 == pytest.approx(1, abs=0.1)


def test_the_number_and_the_seed_decide_and_nothing_else(device: torch.device) -> None:
    assert torch.equal(noise([7, 0, 7]), noise([7, 0, 7], device=device))
    assert torch.equal(noise([7, 0, 7])[[0, 2]], noise([5, 7])[[1, 1]])
    assert not torch.equal(noise([7]), noise([8]))
    assert not torch.equal(noise([7]), noise([7], seed=1))


def test_products_wrap_around_as_the_hash_supposes() -> None:
    """Golden values: explanations must stay what they are on every device and in every release of PyTorch."""
    assert noise([0, 65535])[:, 0, 0, :3].tolist() == GOLDEN


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_it_is_made_in_the_type_of_the_image(dtype: torch.dtype) -> None:
    made = RowNoise.drawn(PIXELS.to(dtype), np.random.default_rng(0))[torch.tensor([0])]
    assert made.dtype == dtype
    assert torch.allclose(made.float(), noise([0]), atol=1e-2)


def test_an_image_of_one_value_has_noise_of_that_value() -> None:
    made = RowNoise.drawn(torch.full((1, 2, 2), 7.0), np.random.default_rng(0))
    assert (made[torch.tensor([0, 9])] == 7).all()


def test_it_never_waits_for_the_device() -> None:
    with FakeTensorMode():
        made = RowNoise.drawn(torch.rand(3, 8, 8, device="cuda"), np.random.default_rng(0))
        rows = made[torch.arange(4, device="cuda")]
    assert rows.device.type == "cuda"
    assert rows.shape == (4, 3, 8, 8)
