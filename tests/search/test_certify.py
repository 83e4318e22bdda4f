"""Certificates: their levels, their caps, their error rate and their power."""

from __future__ import annotations

import math

import numpy as np
import pytest

from torch_anchors.search.bounds import lower_bound, upper_bound
from torch_anchors.search.certify import ACCEPTANCE_SHARE, UNTESTED_SHARE, UPPER_SHARE, Certificate, Certifier
from torch_anchors.search.protocol import SearchConfig


def decided(certificate: Certificate, precision: float, rng: np.random.Generator) -> Certificate:
    """Draws rows of an anchor of known precision until the certificate is decided."""
    while not certificate.accepted and not certificate.hopeless:
        n = certificate.next_n()
        certificate.add(n, int(rng.binomial(n, precision)))
    return certificate


def test_levels_are_delta_over_j_j_plus_1_and_sum_to_less_than_delta():
    certifier = Certifier(SearchConfig(delta=0.1))
    levels = [certifier.submit((j,)).alpha for j in range(2000)]
    assert levels[:3] == pytest.approx([ACCEPTANCE_SHARE * 0.1 / k for k in (2, 6, 12)])
    assert 0.94 * 0.1 < sum(levels) <= 0.1
    assert [c.anchor for c in certifier.certificates[:2]] == [(0,), (1,)]


def test_all_that_an_interval_may_err_adds_up_to_delta():
    total = ACCEPTANCE_SHARE + UPPER_SHARE + UNTESTED_SHARE
    assert total == pytest.approx(1, abs=1e-15)
    assert min(ACCEPTANCE_SHARE, UPPER_SHARE, UNTESTED_SHARE) > 0


@pytest.mark.parametrize(("n_hits", "n"), [(0, 0), (97, 100), (100, 100), (40, 100)])
def test_the_ends_of_an_interval_err_with_their_own_shares(n_hits, n):
    certifier = Certifier(SearchConfig(delta=0.1))
    for j in (1, 2):
        certificate = certifier.submit(())
        certificate.add(n, n_hits)
        level = 0.1 / (j * (j + 1))
        low, high = certificate.interval
        assert low == pytest.approx(float(lower_bound(n_hits, n, ACCEPTANCE_SHARE * level)))
        assert high == pytest.approx(float(upper_bound(n_hits, n, UPPER_SHARE * level)))


def test_a_new_certificate_has_no_rows():
    certificate = Certifier(SearchConfig()).submit((3,))
    assert (certificate.n, certificate.n_hits, certificate.precision) == (0, 0, 0.0)
    assert not certificate.accepted
    assert not certificate.hopeless
    assert certificate.interval == (0.0, 1.0)


def test_rows_of_one_certificate_do_not_count_for_another():
    certifier = Certifier(SearchConfig())
    first, second = certifier.submit((1,)), certifier.submit((1,))
    first.add(500, 500)
    assert first.accepted
    assert not second.accepted
    assert second.n == 0


def test_accepted_means_that_the_interval_lies_above_the_threshold():
    config = SearchConfig()
    rng = np.random.default_rng(0)
    for precision in (0.96, 0.98, 1.0):
        for j in (0, 3):
            certifier = Certifier(config)
            for _ in range(j):
                certifier.submit(())
            certificate = decided(certifier.submit(()), precision, rng)
            low, high = certificate.interval
            assert certificate.accepted == (low >= config.threshold)
            assert low <= certificate.precision <= high


@pytest.mark.parametrize("precision", [0.95, 0.93])
def test_share_of_false_acceptances(precision):
    """Runs with their own early stops, the first and strongest certificate of a search."""
    rng = np.random.default_rng(1)
    config = SearchConfig(max_rows_candidate=2000)
    runs = [decided(Certifier(config).submit(()), precision, rng).accepted for _ in range(400)]
    alpha = config.delta / 2
    assert np.mean(runs) <= alpha + 2.5 * math.sqrt(alpha / 400)


@pytest.mark.parametrize(("precision", "power"), [(1.0, 1.0), (0.99, 0.97), (0.98, 0.85)])
def test_power(precision, power):
    """Futility stops and the row cap give up few anchors that are clearly better than the threshold."""
    rng = np.random.default_rng(2)
    runs = [decided(Certifier(SearchConfig()).submit(()), precision, rng).accepted for _ in range(300)]
    assert np.mean(runs) >= power


@pytest.mark.parametrize(("precision", "ceiling"), [(0.5, 25), (0.8, 45), (0.9, 105)])
def test_a_poor_anchor_is_given_up_after_few_rows(precision, ceiling):
    rng = np.random.default_rng(3)
    runs = [decided(Certifier(SearchConfig()).submit(()), precision, rng) for _ in range(200)]
    assert np.mean([c.n for c in runs]) <= ceiling
    assert np.mean([c.accepted for c in runs]) <= 0.05


@pytest.mark.parametrize("threshold", [0.5, 0.95, 0.999, 1 - 1e-12, 1.0])
@pytest.mark.parametrize(("batch_size", "round_rows", "cap"), [(1, 1, 1), (7, 64, 50), (100, 16, 1000), (500, 16, 333)])
def test_next_n_keeps_within_every_cap_and_each_test_ends(threshold, batch_size, round_rows, cap):
    config = SearchConfig(threshold=threshold, batch_size=batch_size, round_rows=round_rows, max_rows_candidate=cap)
    rng = np.random.default_rng(4)
    for precision in (0.3, threshold, 1.0):
        certificate = Certifier(config).submit((0,))
        while not certificate.accepted and not certificate.hopeless:
            n = certificate.next_n()
            assert 1 <= n <= batch_size
            assert certificate.n + n <= cap
            certificate.add(n, int(rng.binomial(n, precision)))


def test_next_n_accepts_as_soon_as_hits_can():
    """After a first look, a certificate without misses is accepted by exactly the rows that it asks for."""
    certificate = Certifier(SearchConfig(batch_size=1000, round_rows=1)).submit(())
    certificate.add(20, 20)
    needed = certificate.next_n()
    certificate.add(needed - 1, needed - 1)
    assert not certificate.accepted
    certificate.add(1, 1)
    assert certificate.accepted


def test_the_first_look_is_short_where_rows_cost_and_long_where_they_do_not():
    assert Certifier(SearchConfig(round_rows=1)).submit(()).next_n() == 20
    assert Certifier(SearchConfig(round_rows=80)).submit(()).next_n() == 80


def test_no_sample_certifies_a_threshold_of_1():
    certificate = Certifier(SearchConfig(threshold=1.0, max_rows_candidate=10**7)).submit(())
    certificate.add(10**6, 10**6)
    assert not certificate.accepted
    assert certificate.undecidable
    assert not certificate.rejected
    certificate.add(1, 0)
    assert certificate.rejected


def test_an_anchor_too_close_to_the_threshold_is_undecidable_and_not_rejected():
    certificate = Certifier(SearchConfig(max_rows_candidate=300)).submit(())
    certificate.add(200, 191)
    assert certificate.undecidable
    assert certificate.hopeless
    assert not certificate.rejected
