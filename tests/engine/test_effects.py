"""Effects of predicates: against brute force over all rows, and against what is planted where there are some rows."""

from __future__ import annotations

import time

import numpy as np
import pytest

from torch_anchors.engine.effects import difference, in_whole_parts, mask_shares, of_rows
from torch_anchors.perturb.masks import every_mask

K = 7
EVERY = every_mask((), K)


def fitted(keep: np.ndarray, hits: np.ndarray) -> np.ndarray:
    return of_rows(keep, hits)


@pytest.mark.parametrize(("n", "n_predicates"), [(60, K), (K, K), (12, 30), (1, 5), (40, 400)])
def test_least_squares_are_a_ridge_regression(n: int, n_predicates: int) -> None:
    rng = np.random.default_rng(n)
    keep, hits = rng.random((n, n_predicates)) < 0.5, rng.random(n) < 0.5
    x, y = keep - keep.mean(axis=0), hits - hits.mean()
    # As if there were one row more for each coefficient, with a hit of 0.
    wide = np.vstack([x, np.eye(n_predicates)])
    expected = np.linalg.lstsq(wide, np.append(y, np.zeros(n_predicates)), rcond=None)[0]
    np.testing.assert_allclose(fitted(keep, hits), expected, atol=1e-9)


def test_thousands_of_predicates_and_few_rows_are_quick() -> None:
    """The system that is solved is one of the rows."""
    rng = np.random.default_rng(5)
    keep = rng.random((200, 6000)) < 0.5
    started = time.process_time()
    effects = fitted(keep, keep[:, 17])
    assert time.process_time() - started < 5
    assert effects.argmax() == 17


def test_what_an_anchor_holds_together_is_told_apart() -> None:
    """Rows of an anchor whose one part does it all: the other one goes along with hits, and has no effect."""
    rng = np.random.default_rng(2)
    keep = rng.random((600, K)) < 0.5
    keep[200:, [0, 1]] = True
    hits = keep[:, 0]
    effects = fitted(keep, hits)
    assert effects[0] > 0.9
    assert np.abs(effects[1:]).max() < 0.05
    assert hits[keep[:, 1]].mean() - hits[~keep[:, 1]].mean() > 0.3  # by the difference of means


def test_predicates_that_always_or_never_hold_have_no_effect() -> None:
    keep = np.random.default_rng(3).random((50, K)) < 0.5
    keep[:, 2], keep[:, 5] = True, False
    effects = fitted(keep, keep[:, 0] & keep[:, 1])
    assert effects[2] == effects[5] == 0
    assert fitted(keep, np.ones(50, dtype=bool)).tolist() == [0.0] * K
    assert fitted(keep[:0], np.zeros(0, dtype=bool)).tolist() == [0.0] * K


@pytest.mark.parametrize("p_keep", [0.5, 0.3, 0.9])
def test_differences_over_all_rows_are_exact(p_keep: float) -> None:
    hits = np.random.default_rng(4).random(len(EVERY)) < 0.4
    shares = mask_shares(EVERY, p_keep, 1)
    assert shares.sum() == pytest.approx(1)
    parts = in_whole_parts(shares, 2.0**52) / 2.0**52
    found = difference(p_keep, (parts * hits) @ EVERY, float((parts * hits).sum()))
    for k in range(K):
        shown = EVERY[:, k]
        expected = shares[shown & hits].sum() / p_keep - shares[~shown & hits].sum() / (1 - p_keep)
        assert found[k] == pytest.approx(expected, abs=1e-13)


def test_a_share_that_never_varies_has_no_difference() -> None:
    found = difference(np.array([0.0, 1.0, 0.5]), np.array([0.0, 0.25, 0.25]), 0.25)
    assert found.tolist() == [0, 0, 0.5]


def test_backgrounds_share_the_chance_of_their_mask() -> None:
    """Three of each mask, but one of that which hides nothing."""
    keep = np.vstack([np.repeat(EVERY[:-1], 3, axis=0), EVERY[-1:]])
    shares = mask_shares(keep, 0.25, 3)
    assert shares.sum() == pytest.approx(1)
    assert shares[-1] == pytest.approx(0.25**K)
    assert shares[:3].tolist() == pytest.approx([0.75**K / 3] * 3)
