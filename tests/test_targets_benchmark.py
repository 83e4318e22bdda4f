"""The benchmark of targets, as far as it needs no trained network."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.benchmarks import targets
from tests.benchmarks.targets import ORACLES, columns_planted, explained, regressor
from torch_anchors.search.exact import superset_precisions
from torch_anchors.targets.values import Between, Within


@pytest.mark.parametrize("name", ORACLES)
def test_every_target_reads_the_truth_from_an_output_of_its_own_kind(name: str) -> None:
    """Counted over all masks, the precision is that of the table."""
    same = np.random.default_rng(0).random(2**6) < 0.8
    same[-1] = True
    found = explained(name, same, 0, method="exact", threshold=0.9)
    truth = superset_precisions(same.astype(np.float64))
    assert found.precision == pytest.approx(truth[sum(1 << k for k in found.features)])
    assert found.success == (found.precision >= 0.9)
    assert truth[0] < 0.9


@pytest.mark.parametrize("target", [Within(40), Between(low=130)])
def test_the_column_that_decides_is_found(target: object) -> None:
    outcomes = list(columns_planted(target, regressor("boosting"), 5))
    assert all(one.found and one.alone for one in outcomes)


def test_it_prints_a_line_for_each_target_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(targets=["bit", "Within"], tables=1, instances=1, cache=Path("nowhere"), steps=0)
    targets.show_oracles(options)
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["target", "tables"]
    assert [line.split()[0] for line in lines] == ["Within", "Bit"]


def test_a_drawn_shape_is_where_its_box_says() -> None:
    from tests.benchmarks.drawn_shapes import CELL, DISC, SQUARE, drawn, in_cells

    rng = np.random.default_rng(0)
    shapes = in_cells(rng, [SQUARE, DISC, SQUARE])
    picture = drawn(shapes, rng)
    assert len({one.cell for one in shapes}) == 3
    bright = picture.mean(0) > 0.6
    covered = torch.from_numpy(np.any([one.pixels() for one in shapes], axis=0))
    assert (bright == covered).float().mean() > 0.99
    for one in shapes:
        rows, columns = np.nonzero(one.pixels())
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == one.box
        assert {(r // CELL) * 3 + c // CELL for r, c in zip(rows, columns, strict=True)} == {one.cell}
