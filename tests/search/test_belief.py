"""What is believed of precisions, against numerical integration and in its tendencies."""

import numpy as np
import pytest

from torch_anchors.search.belief import SPREAD, Belief


def belief(guesses, most_rows=1000):
    return Belief(guesses, threshold=0.95, alpha=0.05, most_rows=most_rows)


def chances(believed):
    return believed.outlook()[0]


def test_chances_grow_with_the_guess():
    chance, rows = belief([0.5, 0.8, 0.9, 0.95, 0.98, 0.99]).outlook()
    assert (np.diff(chance) > 0).all()
    assert 0 <= chance[0] < 0.05
    assert chance[-1] > 0.8
    assert 10 < rows[0] < 30  # for a hopeless anchor
    assert rows.argmax() in {3, 4}  # an anchor close to the threshold takes the most


def test_rows_that_were_drawn_are_not_expected_again():
    sure = belief([0.99])
    sure.add(0, 2000, 1990)
    before = belief([0.99])
    before.add(0, 60, 60)
    assert before.outlook()[1][0] < belief([0.99]).outlook()[1][0] - 50
    assert sure.outlook()[1][0] == 10


def test_rows_move_their_anchor_and_in_their_direction_the_others():
    guesses = [0.9, 0.97, 0.97]
    before = chances(belief(guesses))
    up, down = belief(guesses), belief(guesses)
    up.add(1, 100, 100)
    down.add(1, 40, 30)
    assert (chances(up) > before).all()
    assert (chances(down) < before).all()
    assert chances(up)[1] > chances(up)[2]
    assert chances(down)[1] < 1e-3 < chances(down)[2]


def test_rows_may_come_in_parts():
    at_once, in_parts = belief([0.9, 0.97]), belief([0.9, 0.97])
    at_once.add(0, 50, 46)
    in_parts.add(0, 20, 19)
    in_parts.add(0, 30, 27)
    np.testing.assert_allclose(at_once.outlook(), in_parts.outlook())


def test_many_rows_outweigh_any_guess():
    wrong = belief([0.3, 0.995])
    wrong.add(0, 1000, 1000)
    wrong.add(1, 1000, 700)
    chance = chances(wrong)
    assert chance[0] > 0.99
    assert chance[1] < 1e-6


def test_close_to_the_threshold_passes_only_with_many_rows():
    """An anchor known to be at 0.965 does not pass within 800 rows, and does within 100,000."""
    found = []
    for most_rows in (800, 100_000):
        close = belief([0.965], most_rows)
        close.add(0, 20_000, 19_300)
        found.append(chances(close)[0])
    assert found[0] < 0.05
    assert found[1] > 0.9


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
    chance = (prior * likelihood[:, None])[..., precision > 0.965].sum(-1) / evidence
    expected = chance @ (weight / weight.sum())
    # The chance lies between those of two precisions, one too close to certify and one that is easily certified.
    easily = (prior * likelihood[:, None])[..., precision > 0.985].sum(-1) / evidence @ (weight / weight.sum())
    assert (chances(tested) < expected + 0.05).all()
    assert (chances(tested) > easily - 0.05).all()


@pytest.mark.parametrize("guess", [0.0, 1.0])
def test_extreme_guesses_are_not_believed(guess):
    assert 0 < chances(belief([guess]))[0] < 1
