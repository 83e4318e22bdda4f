"""From the name of a method and what is known of a space to the search that is run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.search.oracles import ArmsOracle, MaskOracle, drive, planted_table
from torch_anchors.errors import ArgumentError
from torch_anchors.search import choose as choose_module
from torch_anchors.search.beam import beam_search
from torch_anchors.search.choose import FEW_ROWS, MOST_ROWS, SEARCHES, checked_method, choose, register
from torch_anchors.search.protocol import (
    EnumerateRequest,
    Proposals,
    SampleRequest,
    SearchConfig,
    SearchResult,
    SearchSpace,
    Status,
)

CONFIG = SearchConfig()
COUNTED = SearchResult((2,), 0.97, (0.97, 0.97), 0.3, Status.EXACT, 0, 0)


def space_of(n_rows=None, **settings):
    """A space whose whole has so many distinct rows."""
    return SearchSpace(
        5,
        coverage=lambda anchor: 0.5 ** len(anchor),
        n_rows=lambda anchor: n_rows,
        independent=n_rows is not None,
        **settings,
    )


def proposals():
    return Proposals({(0, 1): 0.97, (0, 1, 2): 0.99}, 0.4)


def kind_of(search):
    """Which search it is, told by its first request."""
    try:
        (request, *_) = next(search)
    except StopIteration as stop:
        return "counted" if stop.value is COUNTED else stop.value
    if isinstance(request, EnumerateRequest):
        return "exact"
    assert isinstance(request, SampleRequest)
    return "beam" if request.anchor == () else "race"


@pytest.mark.parametrize(
    ("space", "config", "expected"),
    [
        (space_of(), CONFIG, "beam"),
        (space_of(FEW_ROWS), CONFIG, "exact"),
        (space_of(FEW_ROWS + 1), CONFIG, "beam"),
        (space_of(100), SearchConfig(max_rows_total=100), "exact"),
        (space_of(100), SearchConfig(max_rows_total=99), "beam"),
        (space_of(FEW_ROWS + 1), SearchConfig(max_rows_total=10**6), "beam"),
        (space_of(proposals=proposals), CONFIG, "race"),
        (space_of(8, proposals=proposals), CONFIG, "race"),
        (space_of(counted=lambda: COUNTED), CONFIG, "counted"),
        (space_of(8, counted=lambda: COUNTED, proposals=proposals), CONFIG, "counted"),
    ],
)
def test_auto_takes_what_costs_least(space, config, expected):
    """Counting costs nothing; proposals cost less than a search from scratch; few rows are enumerated."""
    assert kind_of(choose("auto", space, config)) == expected


@pytest.mark.parametrize(
    ("method", "space", "config", "expected"),
    [
        ("beam", space_of(8, counted=lambda: COUNTED, proposals=proposals), CONFIG, "beam"),
        ("race", space_of(8, counted=lambda: COUNTED, proposals=proposals), CONFIG, "race"),
        ("exact", space_of(8, counted=lambda: COUNTED, proposals=proposals), CONFIG, "counted"),
        ("exact", space_of(counted=lambda: COUNTED), CONFIG, "counted"),
        ("exact", space_of(8, proposals=proposals), CONFIG, "exact"),
        ("exact", space_of(MOST_ROWS), CONFIG, "exact"),
        ("exact", space_of(MOST_ROWS + 1), SearchConfig(max_rows_total=MOST_ROWS + 1), "exact"),
        ("exact", space_of(40), SearchConfig(max_rows_total=40), "exact"),
    ],
)
def test_a_method_is_taken_at_its_word(method, space, config, expected):
    assert kind_of(choose(method, space, config)) == expected


@pytest.mark.parametrize("method", ["auto", "exact"])
def test_a_result_that_can_be_counted_is_counted_when_the_search_runs(method):
    counted = []

    def count():
        counted.append(1)
        return COUNTED

    search = choose(method, space_of(counted=count), CONFIG)
    assert counted == []
    run = drive(search, ArmsOracle(5, lambda anchor: 1.0))
    assert run.result is COUNTED
    assert run.rounds == []
    assert counted == [1]


@pytest.mark.parametrize("method", ["auto", "beam", "exact"])
def test_a_chosen_search_finds_the_planted_anchor(method):
    """Seven predicates have few enough rows for all methods to agree."""
    oracle = MaskOracle.of_table(planted_table(7, (1, 4), 1.0))
    found = drive(choose(method, oracle.space(), SearchConfig(enumerate_below=1)), oracle).result
    assert found.anchor == (1, 4)
    assert found.success
    assert (found.status is Status.EXACT) == (method != "beam")


def test_settings_reach_the_search():
    oracle = MaskOracle.of_table(planted_table(7, (1, 4), 1.0))
    for method in ("auto", "beam", "exact"):
        config = SearchConfig(max_anchor_size=1)
        assert len(drive(choose(method, oracle.space(), config), oracle).result.anchor) == 1
        assert drive(choose(method, oracle.space(), config), oracle).result.status is Status.NOT_FOUND


# --------------------------------------------------------------------------------------------------- what cannot be


def test_rows_that_cannot_be_counted_cannot_be_searched_exactly():
    with pytest.raises(ArgumentError, match="method must be 'auto', 'race' or 'beam' here: 'exact' needs rows that"):
        choose("exact", space_of(), CONFIG)


def test_nobody_waits_for_too_many_rows():
    with pytest.raises(ArgumentError) as raised:
        choose("exact", space_of(MOST_ROWS + 1), CONFIG)
    assert str(raised.value) == (
        "method must be 'beam' or 'auto' here: 'exact' needs 4,194,305 rows, more than the limit of method='exact' "
        "(4,194,304). Use fewer superpixels or background images, fix columns of a row, or sample."
    )


def test_an_exact_search_must_be_within_the_budget():
    with pytest.raises(ArgumentError, match=r"'exact' needs 1,000 rows, more than max_rows_total \(999\)"):
        choose("exact", space_of(1000), SearchConfig(max_rows_total=999))


@pytest.mark.parametrize("space", [space_of(), space_of(8), space_of(counted=lambda: COUNTED)])
def test_a_race_needs_proposals(space):
    with pytest.raises(ArgumentError, match="'race' needs anchors proposed by a surrogate"):
        choose("race", space, CONFIG)


@pytest.mark.parametrize("method", ["Beam", "", "kl-lucb", None, 3])
def test_a_method_that_there_is_none_of_is_named_with_those_there_are(method, unchecked):
    expected = f"method must be one of 'auto', 'beam', 'guided', 'coarse_to_fine', 'exact', 'race', got {method!r}."
    for call in (lambda: checked_method(method), lambda: choose(method, space_of(), CONFIG)):
        with pytest.raises(ArgumentError) as raised:
            call()
        assert str(raised.value) == expected


def test_the_names_of_the_methods():
    assert list(SEARCHES) == ["auto", "beam", "guided", "coarse_to_fine", "exact", "race"]
    assert [checked_method(method) for method in SEARCHES] == list(SEARCHES)


# -------------------------------------------------------------------------------------------------- searches of others


@pytest.fixture
def own_searches(monkeypatch):
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(choose_module, "SEARCHES", dict(SEARCHES))


def test_a_registered_search_is_a_method(own_searches):
    seen = []

    def empty(space, config):
        seen.append((space, config))
        yield from ()
        return COUNTED

    with pytest.raises(ArgumentError, match="got 'empty'"):
        checked_method("empty")
    register("empty", empty)
    assert checked_method("empty") == "empty"
    space, config = space_of(), SearchConfig(threshold=0.8)
    assert drive(choose("empty", space, config), ArmsOracle(5, lambda anchor: 1.0)).result is COUNTED
    assert seen == [(space, config)]
    with pytest.raises(
        ArgumentError, match="one of 'auto', 'beam', 'guided', 'coarse_to_fine', 'exact', 'race', 'empty', got 'none'"
    ):
        checked_method("none")


def test_a_registered_search_may_take_the_place_of_another(own_searches):
    register("beam", lambda space, config: beam_search(space, replace(config, max_anchor_size=1)))
    oracle = MaskOracle.of_table(planted_table(7, (1, 4), 1.0))
    assert len(drive(choose("beam", oracle.space(), CONFIG), oracle).result.anchor) == 1


def test_what_a_test_registers_is_forgotten():
    assert list(choose_module.SEARCHES) == ["auto", "beam", "guided", "coarse_to_fine", "exact", "race"]
