"""The chance that a test ends with acceptance and the rows that it takes, against tests that are run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from torch_anchors.search.certify import ACCEPTANCE_SHARE, Certifier
from torch_anchors.search.prospects import MIXTURE, Prospects, Trials
from torch_anchors.search.protocol import SearchConfig

CONFIG = SearchConfig()
NEEDED = -math.log(ACCEPTANCE_SHARE * CONFIG.delta / 2) + MIXTURE


def trials(distinct: float = math.inf, n: int = 1) -> Trials:
    def each(value: float) -> np.ndarray:
        return np.full((n, 1), float(value))

    return Trials(CONFIG.threshold, each(NEEDED), each(CONFIG.max_rows_candidate), each(distinct), 1000)


def taken(precision: float, seed: int) -> tuple[bool, int]:
    """Whether an anchor of this precision passed its test, and its rows."""
    certificate, rng = Certifier(CONFIG).submit((0,)), np.random.default_rng(seed)
    while not certificate.accepted and not certificate.hopeless:
        n = certificate.next_n()
        certificate.add(n, int(rng.binomial(n, precision)))
    return certificate.accepted, certificate.n


@pytest.mark.parametrize("precision", [0.7, 0.99, 0.998])
def test_the_rows_expected_are_about_those_of_a_test(precision: float) -> None:
    run = [taken(precision, seed) for seed in range(200)]
    of_the_likely_end = [n for passed, n in run if passed is (precision > CONFIG.threshold)]
    expected = trials().rows_at(np.array([[precision]]))[0, 0]
    assert 0.5 < expected / np.mean(of_the_likely_end) < 2


def test_what_is_too_close_to_the_threshold_passes_only_where_all_rows_can_be_tried() -> None:
    precisions = np.array([[0.94, 0.951, 0.99]])
    assert trials().pass_at(precisions).tolist() == [[False, False, True]]
    assert trials(distinct=512).pass_at(precisions).tolist() == [[False, True, True]]


def test_no_more_rows_are_new_than_there_are() -> None:
    precisions = np.linspace(0.5, 0.93, 40)[None]
    assert trials(distinct=64).rows_at(precisions).max() <= 64
    assert (trials(distinct=512).rows_at(precisions) <= trials().rows_at(precisions)).all()


def test_the_chance_rises_with_the_draws_and_is_even_where_they_are_around_what_passes() -> None:
    least = min(p for p in np.linspace(0.95, 1, 501) if trials().pass_at(np.array([[p]]))[0, 0])
    rng = np.random.default_rng(0)
    draws = 1 / (
        1 + np.exp(-(np.log(least / (1 - least)) + np.array([[-2], [0], [2]]) + 0.5 * rng.normal(size=(3, 32))))
    )
    chance = Prospects.of(draws.astype(np.float32), trials(n=3)).chance
    assert chance[0] < 0.05
    assert chance[1] == pytest.approx(0.5, abs=0.2)
    assert chance[2] > 0.95
