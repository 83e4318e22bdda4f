"""Where hits begin among expected margins, and how sharply: a probit regression of the labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

BORDER_SPREAD = 0.5
"""Standard deviation of where the border may be, and of its slope, in standard errors, before labels say more."""
LEAST_SLOPE = 0.1
"""The chance of a hit rises with the expected margin, if only by so much."""


@dataclass(frozen=True, slots=True)
class Border:
    """Chance of a hit by the expected margin x, in its standard errors: Phi(offset + slope x)."""

    offset: float
    slope: float

    def likelier(self, expected: NDArray[np.float64], hits: NDArray[np.bool_]) -> Border:
        """A step of Newton's method to the likeliest border of rows with these expected margins (n,) and hits (n,).

        A normal prior holds it near Phi(x), which would be right if margins were normal.
        """
        sides, prior = np.where(hits, 1.0, -1.0), 1 / BORDER_SPREAD**2
        z = sides * (self.offset + self.slope * expected)
        ratio = np.exp(-0.5 * z * z - log_ndtr(z)) / math.sqrt(2 * math.pi)
        pull, weight = sides * ratio, ratio * (ratio + z)
        along, across = pull.sum() - prior * self.offset, pull @ expected - prior * (self.slope - 1)
        a, b, c = weight.sum() + prior, weight @ expected, (weight * expected) @ expected + prior
        determinant = a * c - b * b
        offset = self.offset + (c * along - b * across) / determinant
        slope = self.slope + (a * across - b * along) / determinant
        return Border(float(offset), max(float(slope), LEAST_SLOPE))

    def precisions(self, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of hits where expected margins are normal with this mean and variance."""
        shares: NDArray[np.float64] = ndtr((self.offset + self.slope * mean) / np.sqrt(1 + self.slope**2 * variance))
        return shares
