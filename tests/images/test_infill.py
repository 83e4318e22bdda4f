"""An infill against the exact solution, and row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve
from skimage import data
from torch import Tensor

from torch_anchors.images.infill import Infill

GOLDEN = [7.743103, 7.696087, 6.884014, 8.718834, 9.167763, 8.718517]


def masks(n: int, size: tuple[int, int], block: int, p: float = 0.5, seed: int = 0) -> NDArray[np.bool_]:
    """Random masks (n, H, W) of blocks, of which each shows something."""
    rng = np.random.default_rng(seed)
    height, width = size
    blocks = rng.random((n, -(-height // block), -(-width // block))) < p
    blocks[:, 0, 0] = True
    return blocks.repeat(block, 1).repeat(block, 2)[:, :height, :width]


def as_shown(mask: NDArray[np.bool_]) -> Tensor:
    return torch.from_numpy(mask[:, None]).float()


def harmonic(image: NDArray[np.floating], shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The image (C, H, W) whose hidden pixels are the means of their neighbours, by a direct solver."""
    n_channels, height, width = image.shape
    places = np.arange(height * width).reshape(height, width)
    pairs = np.hstack(
        [
            np.stack([places[1:].ravel(), places[:-1].ravel()]),
            np.stack([places[:, 1:].ravel(), places[:, :-1].ravel()]),
        ]
    )
    ends, starts = np.hstack([pairs, pairs[::-1]])
    adjacent = sparse.csr_array((np.ones(len(ends)), (ends, starts)), shape=(places.size, places.size))
    laplace = (sparse.diags_array(adjacent.sum(axis=1)) - adjacent).tocsr()
    hidden, solved = ~shown.ravel(), image.reshape(n_channels, -1).astype(np.float64)
    known = laplace[hidden][:, ~hidden] @ solved[:, ~hidden].T
    solved[:, hidden] = spsolve(laplace[hidden][:, hidden].tocsc(), -known).T
    return solved.reshape(image.shape)


def photograph(size: int) -> NDArray[np.float32]:
    picture = data.chelsea()[:300, 60:360]
    step = 300 // size
    return np.ascontiguousarray(picture[::step, ::step][:size, :size].transpose(2, 0, 1), dtype=np.float32)


@pytest.mark.parametrize(("size", "block", "p"), [(60, 12, 0.5), (60, 20, 0.2), (100, 25, 0.5), (150, 30, 0.15)])
def test_hidden_pixels_are_nearly_the_harmonic_ones(size: int, block: int, p: float, device: torch.device) -> None:
    image, shown = photograph(size), masks(3, (size, size), block, p)
    rows = Infill(torch.from_numpy(image).to(device)).rows(as_shown(shown).to(device)).cpu().numpy()
    for row, mask in zip(rows, shown, strict=True):
        error = (row - harmonic(image, mask))[:, ~mask] / np.ptp(image)
        assert np.sqrt((error**2).mean()) < 0.025
        assert np.abs(error).max() < 0.12


def test_a_slope_goes_on_over_what_is_hidden() -> None:
    """A linear image is harmonic: what is hidden in its middle comes back."""
    image = torch.arange(48.0).expand(1, 32, 48)
    shown = torch.ones(1, 1, 32, 48)
    shown[..., 6:26, 8:40] = 0
    assert (Infill(image).rows(shown)[0] - image).abs().max() < 0.03 * 48


def test_only_the_border_of_what_is_shown_decides() -> None:
    image = torch.zeros(1, 40, 40)
    image[:, :, 2:20] = 200.0  # bright inside of the shown half, dark where it ends
    image[:, :, 16:20] = 50.0
    shown = (torch.arange(40) < 20).float().expand(1, 1, 40, 40)
    assert (Infill(image).rows(shown)[..., 20:] - 50).abs().max() < 2


def test_what_is_shown_stays_and_a_row_that_shows_nothing_is_the_mean_colour() -> None:
    image = torch.rand(3, 21, 34, generator=torch.Generator().manual_seed(0)) * 255
    rows = Infill(image).rows(torch.stack([torch.ones(1, 21, 34), torch.zeros(1, 21, 34)]))
    torch.testing.assert_close(rows[0], image)
    torch.testing.assert_close(rows[1], image.mean((1, 2), keepdim=True).expand_as(image), rtol=1e-4, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (17, 13), (64, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_will_do_and_one_colour_stays_one_colour(size: tuple[int, int], channels: int) -> None:
    shown = as_shown(masks(4, size, 2))
    rows = Infill(torch.full((channels, *size), 0.3)).rows(shown)
    torch.testing.assert_close(rows, torch.full((4, channels, *size), 0.3), rtol=1e-4, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(37, 53), (32, 32), (224, 224)])
def test_a_row_is_the_same_in_any_batch_bit_for_bit(size: tuple[int, int], channels: int) -> None:
    fill = Infill(torch.rand(channels, *size, generator=torch.Generator().manual_seed(0)) * 255)
    shown = as_shown(masks(11, size, 9))
    together = fill.rows(shown)
    for first, end in ((0, 1), (3, 5), (4, 11), (10, 11)):
        assert torch.equal(fill.rows(shown[first:end]), together[first:end])
    order = torch.arange(10, -1, -1)
    assert torch.equal(fill.rows(shown[order]), together[order])


def test_it_stays_what_it_is() -> None:
    """Golden values: a stored explanation shows the rows that the model saw."""
    image = torch.arange(2 * 12 * 14, dtype=torch.float32).remainder(17).reshape(2, 12, 14)
    shown = torch.ones(1, 1, 12, 14)
    shown[..., 3:9, 4:] = 0
    rows = Infill(image).rows(shown)
    assert rows[0, :, 5, 6:9].flatten().tolist() == pytest.approx(GOLDEN, rel=1e-5)
