"""What each predicate does to the chance of a hit, from rows that are known already: no row is sent for it.

The rows at hand were drawn for many anchors, so that predicates of an anchor are held together by it, and a plain
difference of means would give all of them the credit of any. Least squares tells them apart: given which predicates
hold in a row, what the row was drawn for says nothing more about it. Where the predicates are drawn independently, the
coefficients are estimates of P(hit | predicate holds) - P(hit | it does not), which for even odds are Banzhaf values
(Banzhaf, Rutgers Law Review 19, 1965); where all rows there are were predicted, they are these differences themselves.
"""

from __future__ import annotations

import numpy as np

from torch_anchors._shapes import Bool, Float, Int

_WHOLE = 2.0**52
"""A number so large that whole numbers add up to it, and a little beyond, without rounding."""
_ROWS_AT_ONCE = 1 << 18
"""Rows whose masks are spread out together."""

PENALTY = 1.0
"""Of the sum of squared coefficients, in rows: predicates that few rows tell apart share what they explain."""


def of_rows(
    keep: Bool[np.ndarray, "rows predicates"], hits: Bool[np.ndarray, " rows"]
) -> Float[np.ndarray, " predicates"]:
    """`least_squares` of rows of which it is known what holds in them; of few rows their number decides on the cost.

    Args:
        keep: which predicates hold.
        hits: which rows are hits.
    """
    n, n_predicates = keep.shape
    held = keep.astype(np.float32)  # counts to 2^24 without rounding, and so the same whatever the order
    n_hits, of_predicates = float(np.count_nonzero(hits)), (hits.astype(np.float32) @ held).astype(np.float64)
    if n >= n_predicates:
        return least_squares(n, n_hits, (held.T @ held).astype(np.float64), of_predicates)
    means = held.mean(axis=0, dtype=np.float64) if n else np.zeros(n_predicates)
    with_hits = of_predicates - means * n_hits
    along = held @ means
    kernel = (held @ held.T).astype(np.float64) - along[:, None] - along + means @ means
    # (A'A + p)^-1 b = (b - A' (AA' + p)^-1 A b) / p, where A is `keep` less its means, and p the penalty
    weights = np.linalg.solve(kernel + PENALTY * np.eye(n), held @ with_hits - means @ with_hits)
    return (with_hits - weights @ held + means * weights.sum()) / PENALTY


def of_all_rows(
    keep: Bool[np.ndarray, "rows predicates"], hits: Bool[np.ndarray, " rows"], p_keep: float, n_copies: int
) -> Float[np.ndarray, " predicates"]:
    """`difference` over all rows that there are, without rounding.

    Args:
        keep: which predicates hold, in each distinct row once.
        hits: which rows are hits.
        p_keep: chance that a predicate holds, independently of the others.
        n_copies: see `mask_shares`.
    """
    shares = in_whole_parts(mask_shares(keep, p_keep, n_copies), _WHOLE) * hits
    of_predicates = np.zeros(keep.shape[1])
    for start in range(0, len(keep), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        of_predicates += shares[part].astype(np.float64) @ keep[part]
    return difference(p_keep, of_predicates / _WHOLE, float(shares.sum()) / _WHOLE)


def least_squares(
    n: int,
    n_hits: float,
    together: Float[np.ndarray, "predicates predicates"],
    hits: Float[np.ndarray, " predicates"],
) -> Float[np.ndarray, " predicates"]:
    """How much each predicate adds to the chance of a hit where it holds, the others as they are; in about [-1, 1].

    The coefficients of a ridge regression of hit, 0 or 1, on which predicates hold, with a free intercept. A predicate
    that holds in all rows, or in none, has 0.

    Args:
        n: rows.
        n_hits: hits among them.
        together: rows in which each two predicates hold; on the diagonal, in which each one holds.
        hits: hits among the rows in which each predicate holds.
    """
    held = np.diag(together)
    covariance = together - np.outer(held, held) / max(n, 1)
    with_hits = hits - held * n_hits / max(n, 1)
    return np.linalg.solve(covariance + PENALTY * np.eye(len(held)), with_hits)


def difference(
    share: Float[np.ndarray, " predicates"] | float, hits: Float[np.ndarray, " predicates"], all_hits: float
) -> Float[np.ndarray, " predicates"]:
    """P(hit | predicate holds) - P(hit | it does not), in [-1, 1]; 0 where it always holds, or never does.

    Args:
        share: P(predicate holds).
        hits: P(hit and predicate holds).
        all_hits: P(hit).
    """
    share = np.broadcast_to(np.asarray(share, dtype=np.float64), hits.shape)
    varies = (share > 0) & (share < 1)
    inside = np.where(varies, share, 0.5)
    return np.where(varies, hits / inside - (all_hits - hits) / (1 - inside), 0.0)


def mask_shares(keep: Bool[np.ndarray, "rows predicates"], p_keep: float, n_copies: int) -> Float[np.ndarray, " rows"]:
    """The chance of each distinct row, given all of them: of its mask, shared among the mask's own rows.

    Args:
        keep: which predicates hold.
        p_keep: chance that one does, independently of the others.
        n_copies: most rows that a mask has (of different backgrounds); a mask may have fewer, all alike.
    """
    sizes = keep.sum(axis=1)
    shares = p_keep**sizes * (1 - p_keep) ** (keep.shape[1] - sizes)
    if n_copies == 1:
        return shares
    _, mask, n_own = np.unique(np.packbits(keep, axis=1), axis=0, return_inverse=True, return_counts=True)
    return shares / n_own[mask.ravel()]


def in_whole_parts(shares: Float[np.ndarray, " rows"], whole: float) -> Int[np.ndarray, " rows"]:
    """Shares of 1 as whole numbers of which `whole` are 1: their sums are exact, and so the same in any order."""
    return np.rint(shares * whole).astype(np.int64)
