"""What the values of scores tell of what they are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torch_anchors.engine.score_values import FEW, LOOKED_AT, ScoreValues


def doubt_of(*batches: Tensor) -> str:
    values = ScoreValues()
    for batch in batches:
        values.add(batch)
    return values.doubt


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (torch.full((9, 1), 0.3), "target=Bit(0)"),
        (torch.full((9, 1), 3.0), "regression"),
        (torch.full((9, 1), -3.0), ""),
        (torch.full((9, 3), 0.3), "sum to 1"),
        (torch.full((9, 3), 1 / 3), ""),
        (torch.full((9, 3), 0.331), ""),
        (torch.full((9, 3), 1.3), ""),
        (torch.full((9, 3), -0.3), ""),
        (torch.ones(9, 3, dtype=torch.int64), "multi-label"),
        (torch.eye(3, dtype=torch.bool).repeat(3, 1), ""),
        (torch.zeros(9, 3), ""),
        (torch.full((9, 3), torch.nan), ""),
    ],
)
def test_what_is_doubtful(scores: Tensor, words: str) -> None:
    assert (words in doubt_of(scores)) if words else doubt_of(scores) == ""


def test_nothing_is_concluded_from_few_rows() -> None:
    row = torch.full((1, 3), 0.3)
    assert doubt_of(*[row] * (FEW - 1)) == ""
    assert doubt_of(*[row] * FEW) != ""


def test_one_row_that_fits_settles_it() -> None:
    assert doubt_of(torch.full((9, 3), 0.3), torch.tensor([[-1.0, 0.0, 0.0]])) == ""
    assert doubt_of(torch.full((9, 3), 0.3), torch.full((9, 3), torch.nan)) != ""


def test_only_the_first_rows_are_looked_at() -> None:
    values = ScoreValues()
    values.add(torch.full((LOOKED_AT - 1, 3), 0.3))
    assert not values.enough
    values.add(torch.cat([torch.full((1, 3), 0.3), torch.full((50, 3), -1.0)]))
    assert values.enough
    assert values.n == LOOKED_AT
    assert values.doubt
