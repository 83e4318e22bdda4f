"""What is expected of an anchor: by a surrogate of the model, and by the training rows on which the anchor holds.

Neither is what is searched for. The surrogate foresees what rows will say whose other columns are independent of the
anchor, but knows only what columns do alone, or in small groups. The share of hits among the training rows is the
model's own answer, but these rows have other columns that go along with the anchor's. Together they say more than
either alone.
"""

from __future__ import annotations

import numpy as np

from torch_anchors._shapes import Float, Int

SURROGATE_VARIANCE = 0.5
"""By how much the surrogate's guess is off, in squared log-odds: 0.35 to 0.6 within an instance, on four tables."""
COUNT_VARIANCE = 0.75
"""By how much the share of hits would be off among all rows on which an anchor holds: so that it has 0.4 of the say. A
regression of the precision on both gives it 0.3 to 0.4 on Adult, and more where columns act together."""
EXTREME = 0.002
"""Guesses closer to 0 or 1 are taken for this: log-odds beyond mean nothing."""


def with_counts(
    guesses: Float[np.ndarray, " anchors"], counts: Int[np.ndarray, "anchors 2"]
) -> Float[np.ndarray, " anchors"]:
    """The surrogate's guesses of precision, drawn towards what was counted: a mean of log-odds, by their variances.

    Args:
        guesses: the surrogate's.
        counts: on how many training rows each anchor holds, and how many of them have the explained label.
    """
    guesses = np.clip(guesses, EXTREME, 1 - EXTREME)
    hits, misses = counts[:, 1] + 0.5, counts[:, 0] - counts[:, 1] + 0.5
    guessed, counted = np.log(guesses / (1 - guesses)), np.log(hits / misses)
    of_sampling = 1 / hits + 1 / misses
    share = SURROGATE_VARIANCE / (SURROGATE_VARIANCE + COUNT_VARIANCE + of_sampling)
    return 1 / (1 + np.exp(-(guessed + share * (counted - guessed))))
