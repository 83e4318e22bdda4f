"""What was promised, kept in small simulations: few certificates are false, and few intervals miss the truth.

`tests/benchmarks/promise.py` has the large ones. All seeds are fixed, so that a test passes always or never.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from scipy.stats import binom

from tests.benchmarks.promise import (
    Counting,
    Flips,
    OfTheBatch,
    Outcome,
    counted,
    nested,
    noise,
    noisy_image,
    noisy_table,
    planted,
)

CHANCE = 0.001
"""That a promise which is just kept fails a test."""


def assert_kept(outcomes: Sequence[Outcome], delta: float) -> None:
    """False certificates, and intervals without the truth, are no more than an event of chance `delta` may be."""
    most = binom.isf(CHANCE, len(outcomes), delta)
    assert sum(one.false for one in outcomes) <= most
    assert sum(one.outside for one in outcomes) <= most


@pytest.mark.parametrize(
    "setting",
    [
        Counting("noise", noise(0.749), n_rows=300, threshold=0.75),
        Counting("many columns", noise(0.749, 20), n_rows=300, threshold=0.75, size=2),
        Counting("one condition", planted(0.949), n_rows=1000),
    ],
    ids=lambda setting: setting.words,
)
def test_rules_that_are_false_look_true_where_they_were_chosen_and_are_seldom_certified(setting: Counting) -> None:
    outcomes = [counted(setting, seed) for seed in range(20)]
    assert_kept(outcomes, setting.delta)
    # On the rows that it was chosen on a false rule reaches the threshold far more often than the bound above allows.
    looked_at = [one.same_rows for one in outcomes if one.same_rows is not None]
    assert len(looked_at) == 5
    assert sum(looked_at) >= 3


def test_what_is_true_is_certified_beside_what_is_nearly() -> None:
    outcomes = [counted(Counting("", nested(0.999, 0.945), delta=0.05), seed) for seed in range(16)]
    assert_kept(outcomes, 0.05)
    assert sum(one.success for one in outcomes) >= 15


@pytest.mark.parametrize(
    "run",
    [partial(noisy_image, n_superpixels=6), partial(noisy_table, sampling="conditional")],
    ids=["image", "table"],
)
def test_answers_that_are_flipped_at_random_are_noticed_and_no_certificate_is_about_one_throw(
    run: Callable[..., Outcome],
) -> None:
    """Remembered answers would make an enumeration of the 64 masks "exact", and some anchor of few masks all hits."""
    outcomes = [run(partial(Flips, 0.2), 0.801, seed) for seed in range(8)]  # no precision is above 0.8
    assert all(one.noticed for one in outcomes)
    assert_kept(outcomes, 0.1)
    outcomes = [run(partial(Flips, 0.1), 0.8, seed) for seed in range(4)]
    assert sum(one.success for one in outcomes) >= 2  # it can be explained all the same
    assert not any(one.false for one in outcomes)


def test_labels_that_depend_on_the_batch_are_noticed() -> None:
    assert all(noisy_table(OfTheBatch, 0.95, seed, sampling="conditional").noticed for seed in range(3))
