"""What a Gaussian process of margins tells of anchors, against truths that are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.search.oracles import brute_force_precision
from torch_anchors.search.exact import superset_precisions
from torch_anchors.search.margin_model import MarginModel
from torch_anchors.search.margin_process import MEAN_VARIANCE, MarginProcess, folded, walsh

K = 9
MASKS = (np.arange(1 << K)[:, None] >> np.arange(K)) & 1 == 1


def pairs(seed: int = 0, noise: float = 0.05) -> NDArray[np.float64]:
    """Margins (2^K,) by two pairs and one predicate alone; five predicates do nothing."""
    noises = noise * np.random.default_rng(seed).normal(size=len(MASKS))
    return 2.0 * (MASKS[:, 0] & MASKS[:, 1]) + 2.0 * (MASKS[:, 2] & MASKS[:, 3]) + MASKS[:, 4] - 2.5 + noises


def fitted(margins: NDArray[np.float64], n: int, seed: int = 0, n_fits: int = 3) -> tuple[MarginProcess, NDArray]:
    codes = np.random.default_rng(seed).choice(len(MASKS), n, replace=False)
    process = MarginProcess(K, 0.5)
    for _ in range(n_fits):
        process.fit(MASKS[codes].astype(float), margins[codes])
    return process, codes


def test_predicates_that_act_together_are_relevant_and_others_are_not() -> None:
    relevance = fitted(pairs(), 100)[0].relevance
    assert relevance[:5].min() > 3 * relevance[5:].max()


def test_precisions_are_closer_to_the_truth_than_those_of_effects_that_add_up() -> None:
    margins = pairs()
    truth = superset_precisions((margins > 0).astype(float))
    process, codes = fitted(margins, 100)
    model = MarginModel(K, 0.5)
    model.add(MASKS[codes], margins[codes])
    model.fit()
    anchors = [tuple(np.flatnonzero(mask).tolist()) for mask in MASKS]
    few = MASKS.sum(axis=1) <= 4
    errors = np.abs(process.precisions().mean(axis=1) - truth)[few]
    assert errors.mean() < 0.03
    assert errors.mean() < np.abs(model.precisions(anchors) - truth)[few].mean() / 2


def test_draws_differ_by_about_as_much_as_they_are_wrong() -> None:
    misses = []
    for seed in range(10):
        margins = pairs(seed, noise=0.8)
        draws = fitted(margins, 60, seed)[0].precisions()
        truth = superset_precisions((margins > 0).astype(float))
        misses.append(((truth - draws.mean(axis=1)) / (draws.std(axis=1) + 0.01))[MASKS.sum(axis=1) <= 3])
    assert 0.5 < np.sqrt(np.mean(np.square(misses))) < 2


def test_where_every_mask_was_seen_precisions_are_counted() -> None:
    margins = np.random.default_rng(0).normal(size=len(MASKS))
    draws = fitted(margins, len(MASKS))[0].precisions()
    truth = superset_precisions((margins > 0).astype(float))
    np.testing.assert_allclose(draws, np.broadcast_to(truth[:, None], draws.shape), atol=1e-6)


def test_a_step_goes_to_more_evidence() -> None:
    margins = pairs()

    def evidence(process: MarginProcess) -> float:
        covariance = process._covariance() + (MEAN_VARIANCE - 1) + process._noise * np.eye(len(process._y))
        return float(-process._y @ np.linalg.solve(covariance, process._y) - np.linalg.slogdet(covariance)[1])

    found = [evidence(fitted(margins, 80, n_fits=n)[0]) for n in (1, 2, 4, 8)]
    assert found == sorted(found)


def test_equal_margins_are_no_error() -> None:
    assert fitted(np.full(len(MASKS), 2.0), 30)[0].precisions()[0].mean() > 0.9


def test_the_walsh_transform_is_that_of_the_matrix_and_its_own_inverse() -> None:
    values = np.random.default_rng(0).normal(size=(len(MASKS), 3)).astype(np.float32)
    signs = 1 - 2.0 * ((MASKS.astype(int) @ MASKS.T.astype(int)) % 2)
    np.testing.assert_allclose(walsh(values.copy()), signs @ values, atol=1e-3)
    np.testing.assert_allclose(walsh(walsh(values.copy())) / len(MASKS), values, atol=1e-4)


@pytest.mark.parametrize("p_keep", [0.0, 0.3, 0.5])
def test_folded_hits_are_precisions(p_keep: float) -> None:
    hits = np.random.default_rng(1).random(1 << 6) < 0.5
    found = folded(hits[:, None].astype(np.float32), p_keep)[:, 0]
    for code in (0, 5, 40, 63):
        anchor = tuple(k for k in range(6) if code >> k & 1)
        assert found[code] == pytest.approx(brute_force_precision(hits, anchor, p_keep), abs=1e-5)
