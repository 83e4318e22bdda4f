"""Bounds on the mean of a count, by a sample of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_anchors._shapes import Float

CERTAIN = 6.0
"""Standard errors by which a sample must rule a mean out: a chance of about one in 10^9."""


def poisson_bounds(counts: NDArray[Any]) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n"]]:
    """Least and largest mean of a Poisson variable that is `CERTAIN` standard errors or less from its counts."""
    middle, width = counts + CERTAIN**2 / 2, CERTAIN * np.sqrt(counts + CERTAIN**2 / 4)
    return middle - width, middle + width
