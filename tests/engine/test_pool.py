"""Running counts of the rows of an anchor, against loops over all rows so far."""

from __future__ import annotations

import numpy as np

from torch_anchors.engine.pool import Pool


def test_counts_are_of_all_rows_so_far_and_those_handed_out_stay() -> None:
    rng, pool = np.random.default_rng(0), Pool(7)
    seen: list[tuple[np.ndarray, bool]] = []
    handed_out = []
    for n in (5, 0, 1, 200):
        keep, hits = rng.random((n, 7)) < 0.6, rng.random(n) < 0.4
        pool.add(n, int(hits.sum()), keep.sum(axis=0), (keep & hits[:, None]).sum(axis=0))
        seen += zip(keep, hits.tolist(), strict=True)
        handed_out.append((pool.child_n, pool.child_hits, pool.child_n.tolist(), pool.child_hits.tolist()))
        assert (pool.n, pool.n_hits) == (len(seen), sum(hit for _, hit in seen))
        assert pool.child_n.tolist() == [sum(bool(row[k]) for row, _ in seen) for k in range(7)]
        assert pool.child_hits.tolist() == [sum(bool(row[k]) and hit for row, hit in seen) for k in range(7)]
        assert pool.child_n.dtype == pool.child_hits.dtype == np.int64
    for child_n, child_hits, *before in handed_out:
        assert [child_n.tolist(), child_hits.tolist()] == before
