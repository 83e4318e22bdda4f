"""For which counts each row matters, against loops over the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.engine.asks import K, ask_of, strip
from tests.engine.cases import FreshRows, Strip, job_of
from torch_anchors.engine.count_matrix import CountMatrix
from torch_anchors.engine.replies import Ask
from torch_anchors.perturb.masks import pack
from torch_anchors.search.protocol import SampleRequest


def ask(n_fresh: int, keep: np.ndarray | None, n: int) -> Ask:
    """A request of a row of a table where nothing is kept, else of an image."""
    sampler = FreshRows() if keep is None else Strip(keep.shape[1])
    codes = None if keep is None else torch.from_numpy(pack(keep))
    return ask_of(SampleRequest((), n_fresh), job_of(sampler), np.arange(n), codes, n_fresh, n_fresh, n)


@pytest.mark.parametrize("seed", range(5))
def test_each_request_is_told_the_sums_of_its_own_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    families, keeps = [], []
    for width in (K, None, 3):
        family = []
        for _ in range(int(rng.integers(1, 4))):
            n = int(rng.integers(0, 6))
            keep = None if width is None else rng.random((n, width)) < 0.5
            keeps.append(np.zeros((n, 0), dtype=bool) if keep is None else keep)
            family.append(ask(int(rng.integers(0, n + 1)), keep, n))
        families.append(family)
    matrix = CountMatrix(families)
    assert matrix.asks == [one for family in families for one in family]
    assert matrix.values.dtype == np.float32
    hits = rng.random(len(matrix.owners)) < 0.5
    sums = np.zeros((len(matrix.asks), matrix.values.shape[1]), dtype=np.float32)
    np.add.at(sums, matrix.owners, matrix.values * hits[:, None])
    start = 0
    for one, keep, counts in zip(matrix.asks, keeps, matrix.counts(sums), strict=True):
        own = hits[start : start + len(keep)]
        assert (counts.n_hits, counts.all_hits) == (own[: one.n_fresh].sum(), own.sum())
        assert np.array_equal(counts.keep, keep)
        assert counts.child_n.tolist() == keep.sum(0).tolist()
        assert counts.child_hits.tolist() == (keep & own[:, None]).sum(0).tolist()
        start += len(keep)


def test_a_request_without_rows_is_told_that_there_are_none() -> None:
    empty = ask_of(SampleRequest((), 0), job_of(strip()), np.zeros(0, dtype=np.int64), None, 0, 0, 0)
    matrix = CountMatrix([[empty]])
    (counts,) = matrix.counts(np.zeros((1, matrix.values.shape[1]), dtype=np.float32))
    assert (counts.n_hits, counts.all_hits, counts.child_n.size, len(counts.keep)) == (0, 0, 0, 0)


def test_of_no_request_there_is_nothing_to_tell() -> None:
    matrix = CountMatrix([])
    assert list(matrix.counts(np.zeros((0, matrix.values.shape[1]), dtype=np.float32))) == []
