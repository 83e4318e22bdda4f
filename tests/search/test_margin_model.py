"""What margins tell of anchors that were never drawn, against truths that are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, norm

from torch_anchors.search.border import Border
from torch_anchors.search.margin_model import MarginModel, _Ridge

K = 12
RNG = np.random.default_rng(0)
EFFECTS = np.array([3.0, 2.0, 1.0, 0.5, *[0.0] * 7, -1.0])


def rows(n: int, seed: int, p_keep: float = 0.5) -> NDArray[np.bool_]:
    return np.random.default_rng(seed).random((n, K)) < p_keep


def margins(keep: NDArray[np.bool_], noise: float = 0.0) -> NDArray[np.float64]:
    return keep @ EFFECTS - 2.0 + noise * RNG.normal(size=len(keep))


def fitted(n: int, *, noise: float = 0.0, seed: int = 0, p_keep: float = 0.5, parts: int = 1) -> MarginModel:
    model = MarginModel(K, p_keep)
    for keep in np.array_split(rows(n, seed, p_keep), parts):
        model.add(keep, margins(keep, noise))
    model.fit()
    return model


@pytest.mark.parametrize("p_keep", [0.3, 0.5, 0.8])
def test_planted_effects_come_back(p_keep: float) -> None:
    model = fitted(200, p_keep=p_keep)
    np.testing.assert_allclose(model.effects, EFFECTS, atol=0.1)
    assert model.explained > 0.99
    assert model.n == 200


def test_it_does_not_matter_in_which_parts_rows_come() -> None:
    np.testing.assert_allclose(fitted(90, parts=7).effects, fitted(90).effects)


def test_fewer_rows_than_predicates_are_no_error_and_rank_the_largest_effect_first() -> None:
    assert np.mean([fitted(10, seed=seed).effects.argmax() == 0 for seed in range(20)]) > 0.6


def test_noise_explains_nothing() -> None:
    explained = []
    for seed in range(50):
        model = MarginModel(K, 0.5)
        model.add(rows(60, seed), np.random.default_rng(seed + 99).normal(size=60))
        model.fit()
        explained.append(model.explained)
    assert np.mean(np.array(explained) > 0.3) <= 0.04


def test_equal_margins_are_no_error() -> None:
    model = MarginModel(K, 0.5)
    model.add(rows(20, 0), np.full(20, 3.0))
    model.fit()
    assert model.precisions([()])[0] > 0.99
    assert model.explained <= 1


def centered(n: int, noise: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    keep = rows(n, 3)
    y = margins(keep, noise)
    return keep - keep.mean(axis=0), y - y.mean()


@pytest.mark.parametrize("n", [5, K, 60])
@pytest.mark.parametrize("penalty", [0.1, 3.0, 200.0])
def test_the_regression_is_that_of_the_normal_equations(n: int, penalty: float) -> None:
    x, y = centered(n, 1.0)
    ridge = _Ridge.of(x, y, x @ x.T if n < K else x.T @ x, penalty)
    inverse = np.linalg.inv(x.T @ x + penalty * np.eye(K))
    np.testing.assert_allclose(ridge.effects, inverse @ x.T @ y, atol=1e-10)
    residuals = y - x @ ridge.effects
    assert ridge.misfit == pytest.approx(residuals @ residuals + penalty * ridge.effects @ ridge.effects)
    assert ridge.n_fitted == pytest.approx(np.trace(x @ inverse @ x.T))
    assert ridge.error == pytest.approx(n * residuals @ residuals / max(n - 1 - ridge.n_fitted, 0.5) ** 2)


@pytest.mark.parametrize("noise", [0.5, 2.0, 6.0])
def test_the_penalty_goes_to_that_of_largest_evidence(noise: float) -> None:
    x, y = centered(80, noise)
    penalties = 10.0 ** np.arange(-1, 3.01, 0.1)

    def evidence(penalty: float) -> float:
        """Density of y where each effect is normal, with the variance of the noise that makes it largest."""
        shape = np.eye(len(y)) + x @ x.T / penalty
        noise = y @ np.linalg.solve(shape, y) / (len(y) - 1)
        return float(multivariate_normal.logpdf(y, cov=noise * shape))

    best = penalties[np.argmax([evidence(penalty) for penalty in penalties])]
    penalty = 1.0
    for _ in range(30):
        penalty = _Ridge.of(x, y, x.T @ x, penalty).likelier
    assert 0.8 < penalty / best < 1.25


@pytest.mark.parametrize("anchor", [(), (0,), (0, 1), (1, 2, 3), (11,), tuple(range(K))])
def test_the_precision_of_an_anchor_is_the_share_of_positive_margins(anchor: tuple[int, ...]) -> None:
    keep = rows(20_000, 5)
    keep[:, list(anchor)] = True
    truth = (margins(keep, 1.0) > 0).mean()
    (guess,) = fitted(400, noise=1.0).precisions([anchor])
    assert guess == pytest.approx(truth, abs=0.05)


def test_many_anchors_have_the_precision_that_each_has_alone() -> None:
    model = fitted(100, noise=0.5)
    anchors = [(), (3,), (0, 1, 2), tuple(range(K))]
    alone = [model.precisions([anchor])[0] for anchor in anchors]
    np.testing.assert_allclose(model.precisions(anchors), alone)


def test_predicates_are_ordered_by_their_effects_without_those_excluded() -> None:
    model = fitted(100, noise=0.5)
    assert model.order()[:3].tolist() == [0, 1, 2]
    assert model.order()[-1] == 11
    assert model.order([1, 11])[:2].tolist() == [0, 2]
    assert set(model.order([1, 11]).tolist()) == set(range(K)) - {1, 11}


def test_more_of_what_adds_to_the_margin_is_a_higher_precision() -> None:
    guesses = fitted(300).precisions([(), (0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)])
    assert (np.diff(guesses) > 0).all()
    assert guesses[0] == pytest.approx(norm.cdf(0.75 / 1.95), abs=0.03)  # mean and deviation of a random row


def test_labels_say_where_the_border_is_where_margins_are_far_from_normal() -> None:
    """Hits by a hair, and misses by much: by the margins alone no anchor of three would be thought precise."""

    def skewed(keep: NDArray[np.bool_]) -> NDArray[np.float64]:
        n_shown = keep[:, :4].sum(axis=1)
        return np.where(n_shown >= 3, 0.05, 4.0 * (n_shown - 3))

    model, keep = MarginModel(K, 0.5), rows(400, 1)
    model.add(keep, skewed(keep))
    for _ in range(4):  # a step to the border with each further row
        model.add(keep[:1], skewed(keep[:1]))
        model.fit()
    keep[:, :3] = True
    assert (skewed(keep) > 0).all()
    assert model.precisions([(0, 1, 2)])[0] > 0.93
    model._border = Border(0.0, 1.0)
    assert model.precisions([(0, 1, 2)])[0] < 0.75


def test_the_rows_of_an_anchor_are_those_drawn_for_it_or_a_smaller_one() -> None:
    model, drawn = MarginModel(K, 0.5), [(), (0,), (0, 3), None]
    parts = []
    for seed, anchor in enumerate(drawn):
        keep = rows(30, seed)
        keep[:, list(anchor or ())] = True
        y = margins(keep)
        model.add(keep, y, anchor)
        parts.append((keep, y))
    anchors = [(), (0,), (3,), (0, 3), (0, 1, 3)]
    hits, n = model.counts(anchors)
    for anchor, n_hits, n_rows in zip(anchors, hits, n, strict=True):
        own = [part for part, of in zip(parts, drawn, strict=True) if of is not None and set(of) <= set(anchor)]
        keep, y = (np.concatenate(columns) for columns in zip(*own, strict=True))
        holds = keep[:, list(anchor)].all(axis=1)
        assert (n_hits, n_rows) == ((y[holds] > 0).sum(), holds.sum())


def test_masks_are_the_first_drawn_each_with_its_mean_margin() -> None:
    model = MarginModel(K, 0.5)
    keep = rows(5, 0)
    model.add(keep[[0, 1, 0]], np.array([1.0, 5.0, 2.0]))
    model.add(keep[[2, 1, 3]], np.array([7.0, 6.0, 8.0]))
    masks, means = model.masks(3)
    np.testing.assert_array_equal(masks, keep[:3])
    np.testing.assert_allclose(means, [1.5, 5.5, 7.0])
