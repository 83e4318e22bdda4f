"""Counts of prefixes beside plain ones, and their bounds beside the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from torch_anchors.datasets.assessment import Assessment, Prefix
from torch_anchors.errors import ArgumentError

WHICH = np.array([0, 0, 1, -1, 2, 1, -1, 0, 2, -1])
AGREES = np.array([1, 1, 0, 0, 1, 1, 0, 1, 0, 0], dtype=bool)
WORDS = ("where job = cook: label 1", "where age > 40.00 & <b>: label 0", "everywhere: label 1")


def assessed(delta: float = 0.05) -> Assessment:
    return Assessment.of_rows(WHICH, AGREES, WORDS, delta)


def test_counts_of_each_prefix() -> None:
    found = assessed().prefixes
    assert [own.n_rules for own in found] == [1, 2, 3]
    assert [own.n_rows for own in found] == [10] * 3
    assert [own.n_covered for own in found] == [3, 5, 7]
    assert [own.n_agreeing for own in found] == [3, 4, 5]
    assert [own.coverage for own in found] == [0.3, 0.5, 0.7]
    assert [own.fidelity for own in found] == pytest.approx([1.0, 4 / 5, 5 / 7])


def test_each_end_errs_with_its_share_of_delta() -> None:
    """SciPy's intervals of Clopper and Pearson at delta / (4 k) for each end."""
    for own in assessed(0.12).prefixes:
        for k, n, interval in (
            (own.n_covered, own.n_rows, own.coverage_interval),
            (own.n_agreeing, own.n_covered, own.fidelity_interval),
        ):
            expected = binomtest(k, n).proportion_ci(1 - 2 * 0.12 / 12, "exact")
            assert interval == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("delta", [0.1, 0.4])
def test_all_bounds_hold_at_once_with_the_promised_probability(delta: float) -> None:
    """Lists of six rules whose shares are known, and rows drawn from them many times."""
    rng = np.random.default_rng(0)
    n, n_lists, k = 60, 600, 6
    shares, agreeing = np.array([0.25, 0.15, 0.12, 0.1, 0.08, 0.06]), np.array([0.97, 0.9, 0.8, 0.95, 0.6, 0.9])
    coverage, fidelity = shares.cumsum(), (shares * agreeing).cumsum() / shares.cumsum()
    n_wrong, n_ends = 0, np.zeros(2)
    for _ in range(n_lists):
        which = rng.choice(np.arange(-1, k), n, p=[1 - shares.sum(), *shares])
        agrees = (which >= 0) & (rng.random(n) < agreeing[which])
        found = Assessment.of_rows(which, agrees, [""] * k, delta).prefixes
        ends = np.array([own.coverage_interval + own.fidelity_interval for own in found])
        wrong = [(ends[:, 0] > coverage) | (ends[:, 1] < coverage), (ends[:, 2] > fidelity) | (ends[:, 3] < fidelity)]
        n_ends += [own.any() for own in wrong]
        n_wrong += bool(np.any(wrong))
    assert n_wrong / n_lists <= delta
    assert (n_ends > 0).all()  # and are not so wide that they say nothing


def test_a_prefix_may_be_chosen_by_its_bounds() -> None:
    which = np.repeat([0, 1, 2, -1], [500, 300, 100, 100])
    agrees = np.concatenate([np.ones(500), np.arange(300) % 60 > 0, np.arange(100) % 2 > 0, np.zeros(100)]).astype(bool)
    found = Assessment.of_rows(which, agrees, WORDS, 0.05)
    lows = [own.fidelity_interval[0] for own in found.prefixes]
    assert lows[0] > lows[1] > 0.97 > 0.95 > lows[2]
    longest = found.longest(0.97)
    assert longest is not None
    assert longest.n_rules == 2
    assert found.longest(lows[0]) == found.prefixes[0]
    assert found.longest(0.9999) is None
    assert found.longest(0.5) == found.prefixes[2]
    with pytest.raises(ArgumentError, match=r"fidelity must be a share in \[0, 1\], got 95\.0"):
        found.longest(95.0)


def test_where_nothing_is_covered_nothing_is_known_of_the_fidelity() -> None:
    found = Assessment.of_rows(np.full(8, -1), np.zeros(8, dtype=bool), WORDS[:1], 0.1)
    (own,) = found.prefixes
    assert (own.n_covered, own.coverage) == (0, 0.0)
    assert np.isnan(own.fidelity)
    assert own.fidelity_interval == (0.0, 1.0)
    assert own.to_dict()["fidelity"] is None
    assert "covers 0.000 (at least 0.000) and so agrees with the model on none." in str(found)


def test_words() -> None:
    assert str(assessed()) == (
        "On 10 rows that had no part in choosing it, the list of 3 rules covers 0.700 (at least 0.257) and agrees with "
        "the model on 0.714 of these (at least 0.195). These bounds and those of all shorter lists hold at once with "
        "95 % confidence."
    )
    assert repr(assessed()) == "Assessment(3 rules, coverage=0.700, fidelity=0.714, 10 rows, delta=0.05)"


def test_a_table_for_notebooks() -> None:
    page = assessed()._repr_html_()
    assert page.count("<tr>") == 4
    assert "where age &gt; 40.00 &amp; &lt;b&gt;: label 0</td><td>0.500 (0.123 to 0.877)</td>" in page
    assert "<b>" not in page


def test_plain_values() -> None:
    found = json.loads(json.dumps(assessed().to_dict()))
    assert (found["n_rows"], found["delta"]) == (10, 0.05)
    assert [own["rule"] for own in found["prefixes"]] == list(WORDS)
    second = found["prefixes"][1]
    prefix = assessed().prefixes[1]
    assert second.pop("rule") == WORDS[1]
    assert second.pop("coverage") == prefix.coverage
    assert second.pop("fidelity") == prefix.fidelity
    second = {name: tuple(value) if isinstance(value, list) else value for name, value in second.items()}
    assert Prefix(**second, n_rows=10) == prefix
