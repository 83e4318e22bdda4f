"""What is believed of precisions, against numerical integration and in its tendencies."""

import numpy as np
import pytest

from torch_anchors.search.belief import SPREAD, Belief


def belief(guesses, affordable=3000):
    return Belief(guesses, threshold=0.95, alpha=0.05, affordable=affordable)


def test_worth_grows_with_the_guess():
    worth = belief([0.5, 0.8, 0.9, 0.95, 0.98, 0.99]).worth()
    assert (np.diff(worth) > 0).all()
    assert 0 <= worth[0] < 0.05
    assert worth[-1] > 0.4


def test_rows_move_their_anchor_and_in_their_direction_the_others():
    guesses = [0.9, 0.97, 0.97]
    before = belief(guesses).worth()
    up, down = belief(guesses), belief(guesses)
    up.add(1, 100, 100)
    down.add(1, 40, 30)
    assert (up.worth() > before).all()
    assert (down.worth() < before).all()
    assert up.worth()[1] > up.worth()[2]
    assert down.worth()[1] < 1e-3 < down.worth()[2]


def test_rows_may_come_in_parts():
    at_once, in_parts = belief([0.9, 0.97]), belief([0.9, 0.97])
    at_once.add(0, 50, 46)
    in_parts.add(0, 20, 19)
    in_parts.add(0, 30, 27)
    np.testing.assert_allclose(at_once.worth(), in_parts.worth())


def test_many_rows_outweigh_any_guess():
    wrong = belief([0.3, 0.995])
    wrong.add(0, 1000, 1000)
    wrong.add(1, 1000, 700)
    worth = wrong.worth()
    assert worth[0] > 0.8
    assert worth[1] < 1e-6


def test_close_to_the_threshold_is_worth_what_its_rows_leave():
    """An anchor known to be at 0.965 is worth little where 800 rows are too many, much where they are cheap."""
    worths = []
    for affordable in (500, 100_000):
        close = belief([0.965], affordable)
        close.add(0, 20_000, 19_300)
        worths.append(close.worth()[0])
    assert worths[0] < 0.05
    assert worths[1] > 0.9


def test_posterior_is_bayes_rule():
    """Two anchors, brute force over a fine grid of the common error and each anchor's own."""
    guesses, counts = np.array([0.93, 0.97]), np.array([[28, 2], [10, 0]])
    tested = belief(guesses.tolist())
    for k, (hits, misses) in enumerate(counts.tolist()):
        tested.add(k, hits + misses, hits)
    common = np.linspace(-2.5, 2.5, 201) * SPREAD
    odds = np.linspace(-2, 8, 1001)
    precision = 1 / (1 + np.exp(-odds))
    center = np.log(guesses / (1 - guesses))[:, None, None] + common[:, None]
    prior = (1 + ((odds - center) / SPREAD) ** 2 / 3) ** -2
    prior /= prior.sum(-1, keepdims=True)
    likelihood = precision ** counts[:, :1] * (1 - precision) ** counts[:, 1:]
    evidence = (prior * likelihood[:, None]).sum(-1)
    weight = np.exp(-0.5 * (common / SPREAD) ** 2) * evidence.prod(0)
    chance = (prior * likelihood[:, None])[..., precision > 0.97].sum(-1) / evidence
    expected = chance @ (weight / weight.sum())
    # Worth lies between the chances of two precisions, one too close to certify and one that is easily certified.
    easily = (prior * likelihood[:, None])[..., precision > 0.985].sum(-1) / evidence @ (weight / weight.sum())
    worth = tested.worth()
    assert (worth < expected + 0.05).all()
    assert (worth > 0.7 * easily - 0.02).all()


@pytest.mark.parametrize("guess", [0.0, 1.0])
def test_extreme_guesses_are_not_believed(guess):
    worth = belief([guess]).worth()[0]
    assert 0 < worth < 1
