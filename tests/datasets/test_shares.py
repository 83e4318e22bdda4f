"""Every id belongs to exactly one process."""

from __future__ import annotations

from collections import Counter

import pytest

from torch_anchors.datasets.shares import Share
from torch_anchors.errors import ArgumentError

IDS = [f"photos/{i}.png" for i in range(3000)] + ["é", "\udcff"]


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_every_id_has_one_owner_and_shares_are_alike(world_size: int) -> None:
    shares = [Share(rank, world_size) for rank in range(world_size)]
    owners = [[share.rank for share in shares if share.has(id)] for id in IDS]
    assert all(len(own) == 1 for own in owners)
    sizes = Counter(own[0] for own in owners)
    assert min(sizes.values()) > 0.85 * len(IDS) / world_size


def test_the_share_is_the_same_in_every_process() -> None:
    """Not by Python's own hash of texts, which is another one in each."""
    assert [Share(0, 2).has(id) for id in ("0", "1", "2", "3", "4", "5")] == [True, True, False, True, False, False]


def test_what_a_launcher_says() -> None:
    assert Share.of_environment({"RANK": "1", "WORLD_SIZE": "4"}) == Share(1, 4)
    assert Share.of_environment({}) == Share.of_environment({"RANK": "", "WORLD_SIZE": ""}) == Share(0, 1)


@pytest.mark.parametrize(
    "environment",
    [{"RANK": "1"}, {"WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "one", "WORLD_SIZE": "2"}],
)
def test_half_of_it_is_an_error(environment: dict[str, str]) -> None:
    with pytest.raises(ArgumentError, match="RANK and WORLD_SIZE must be the number of this process"):
        Share.of_environment(environment)


def test_a_rank_that_there_is_not() -> None:
    with pytest.raises(ArgumentError, match="rank must be from 0 to world_size - 1, got rank 2 of 2"):
        Share(2, 2)
