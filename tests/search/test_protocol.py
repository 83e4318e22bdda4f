"""Settings of a search and what its outcomes mean."""

from __future__ import annotations

import dataclasses

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.search.protocol import Proposals, SearchConfig, SearchResult, SearchSpace, Status


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("threshold", 0.0, "a precision in (0, 1]"),
        ("threshold", 1.01, "a precision in (0, 1]"),
        ("threshold", float("nan"), "a precision in (0, 1]"),
        ("delta", 0.0, "a probability in (0, 1)"),
        ("delta", 1.0, "a probability in (0, 1)"),
        ("tau", 0.0, "a difference of precisions in (0, 1)"),
        ("tau", 1.0, "a difference of precisions in (0, 1)"),
        ("batch_size", 0, "a whole number of at least 1"),
        ("beam_size", 0, "a whole number of at least 1"),
        ("min_samples_start", 0, "a whole number of at least 1"),
        ("max_rows_candidate", 0, "a whole number of at least 1"),
        ("round_rows", 0, "a whole number of at least 1"),
        ("max_anchor_size", 0, "None or a whole number of at least 1"),
        ("max_rows_total", 0, "None or a whole number of at least 1"),
        ("beam_size", True, "a whole number of at least 1"),
        ("enumerate_below", -1, "a whole number of at least 0"),
        ("n_spent", -1, "a whole number of at least 0"),
    ],
)
def test_a_setting_out_of_range_is_named_with_what_came(name, value, expected):
    with pytest.raises(ArgumentError) as raised:
        SearchConfig(**{name: value})
    assert str(raised.value) == f"{name} must be {expected}, got {value!r}."


def test_the_edges_of_the_ranges_are_settings():
    config = SearchConfig(
        threshold=1.0, batch_size=1, beam_size=1, max_anchor_size=1, max_rows_total=1, enumerate_below=0
    )
    assert config.threshold == 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.tau = 0.5  # type: ignore[misc]


def test_the_defaults_are_those_of_the_reference():
    config = SearchConfig()
    assert (config.threshold, config.delta, config.tau) == (0.95, 0.1, 0.15)
    assert (config.batch_size, config.beam_size, config.min_samples_start) == (100, 1, 100)
    assert (config.stop_on_first, config.max_anchor_size, config.max_rows_total) == (False, None, None)


@pytest.mark.parametrize(
    ("status", "success"),
    [
        (Status.CERTIFIED, True),
        (Status.EXACT, True),
        (Status.EMPTY_HOLDS, True),
        (Status.NOT_FOUND, False),
        (Status.ROW_BUDGET, False),
        (Status.COUNTED, False),
    ],
)
def test_success_is_a_promise_kept(status, success):
    found = SearchResult((1,), 0.97, (0.95, 0.99), 0.5, status, 100, 97)
    assert found.success is success
    assert found.path == ()


def test_a_space_allows_everything_unless_told():
    space = SearchSpace(3, coverage=lambda anchor: 0.5 ** len(anchor))
    assert space.n_rows((0,)) is None
    assert space.compatible((0,), 1)
    assert not space.independent
    assert space.p_keep == 0.5
    assert space.proposals is None
    assert space.counted is None


def test_what_may_be_added_is_neither_there_nor_excluded_nor_incompatible():
    space = SearchSpace(5, coverage=len, excluded=frozenset({3}))
    assert space.allowed((1,)) == [0, 2, 4]
    space = dataclasses.replace(space, compatible=lambda anchor, k: k not in (0, len(anchor)))
    assert space.allowed((2, 4)) == [1]


def test_proposals_know_nothing_shorter_unless_told():
    assert Proposals({(0, 1): 0.9}, 0.4).shorter((0, 1)) == {}
