"""Where hits begin among expected margins."""

from __future__ import annotations

import numpy as np
import pytest

from torch_anchors.search.border import Border


@pytest.mark.parametrize(("offset", "slope"), [(0.0, 1.0), (0.4, 1.5), (-0.6, 0.7)])
def test_the_border_goes_to_where_hits_come_from(offset: float, slope: float) -> None:
    expected = np.random.default_rng(0).normal(size=20_000)
    hits = np.random.default_rng(1).normal(size=expected.size) < offset + slope * expected
    border = Border(0.0, 1.0)
    for _ in range(8):
        border = border.likelier(expected, hits)
    assert border.offset == pytest.approx(offset, abs=0.05)
    assert border.slope == pytest.approx(slope, abs=0.05)


def test_few_rows_move_the_border_little_and_never_turn_it_round() -> None:
    expected, hits = np.array([-1.0, 2.0]), np.array([True, False])
    border = Border(0.0, 1.0)
    for _ in range(8):
        border = border.likelier(expected, hits)
    assert 0 < border.slope < 1
    assert abs(border.offset) < 0.5
