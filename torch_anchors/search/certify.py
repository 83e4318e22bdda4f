"""Acceptance of anchors on fresh rows, with an error probability of at most delta over the whole search."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch_anchors.search.bounds import bounds_of, hits_to_accept, kl_of, log_wealth_of, standard_error
from torch_anchors.search.protocol import Anchor, SearchConfig

ACCEPTANCE_SHARE = 0.95
"""Share of delta that lower ends of intervals, the acceptances, may spend."""

UPPER_SHARE = 0.025
"""Share of delta that the upper ends of certificates' intervals may spend."""

UNTESTED_SHARE = 1 - ACCEPTANCE_SHARE - UPPER_SHARE
"""Share of delta left for the interval of an anchor that was never tested."""

FUTILITY = 0.05
"""Chance of giving up a candidate that reaches the threshold. It costs power, never validity."""


@dataclass(slots=True)
class Certificate:
    """The test of one submitted anchor: rows drawn after its submission, and whether they suffice.

    `alpha` is the chance that it is ever accepted although its precision is not above the threshold.
    """

    anchor: Anchor
    alpha: float
    config: SearchConfig
    n: int = 0
    n_hits: int = 0

    def add(self, n: int, n_hits: int) -> None:
        """Counts of further fresh rows."""
        self.n += n
        self.n_hits += n_hits

    @property
    def precision(self) -> float:
        """Share of hits among the fresh rows; 0 before the first."""
        return self.n_hits / self.n if self.n else 0.0

    @property
    def smoothed(self) -> float:
        """The same with a pseudo hit and a pseudo miss."""
        return (self.n_hits + 1) / (self.n + 2)

    @property
    def accepted(self) -> bool:
        """Whether "precision <= threshold" is rejected at level `alpha`."""
        if self.config.threshold >= 1:
            return False  # no finite sample shows that a precision is exactly 1
        return log_wealth_of(self.n_hits, self.n - self.n_hits, self.config.threshold) >= -math.log(self.alpha)

    @property
    def hopeless(self) -> bool:
        """Whether the rows speak against the anchor, or for nothing that the row cap could settle."""
        return self.rejected or self.undecidable

    @property
    def rejected(self) -> bool:
        """Whether "precision >= threshold" is rejected, or is more than a standard error away."""
        n_misses = self.n - self.n_hits
        if self.config.threshold >= 1:
            return n_misses > 0
        below = log_wealth_of(n_misses, self.n_hits, 1 - self.config.threshold)  # the mirrored test
        return below >= -math.log(FUTILITY) or (n_misses > 1 and self._optimistic <= self.config.threshold)

    @property
    def undecidable(self) -> bool:
        """Whether the anchor is too close to the threshold to be accepted within `max_rows_candidate`."""
        return self.n > 0 and self._rows_to_accept > self.config.max_rows_candidate - self.n

    @property
    def _optimistic(self) -> float:
        """The precision one standard error above the estimate (smoothed by a pseudo hit and a pseudo miss)."""
        return min(self.precision + standard_error(self.n_hits, self.n), 1.0) if self.n else 1.0

    @property
    def _rows_to_accept(self) -> float:
        """Further rows that acceptance takes if the precision is as good as the rows allow."""
        threshold, hoped = self.config.threshold, self._optimistic
        if threshold >= 1 or hoped <= threshold:
            return math.inf
        gain = kl_of(hoped, threshold)
        missing = -math.log(self.alpha) - log_wealth_of(self.n_hits, self.n - self.n_hits, threshold)
        return max(missing, 0.0) / gain

    def next_n(self, hopeful: bool = False) -> int:
        """Rows to ask for next: as many as would decide if all were hits, but few at first.

        A poor candidate shows in its first rows, so these are asked for alone, unless the caller is `hopeful`; where
        a round may ask for more rows at no cost (`round_rows`), it does.
        """
        config = self.config
        to_accept = hits_to_accept(self.n_hits, self.n - self.n_hits, config.threshold, self.alpha, config.batch_size)
        wanted = config.batch_size if to_accept is None else to_accept
        if self.n == 0 and not hopeful:
            # At the threshold, this many rows show one miss on average.
            wanted = min(wanted, math.ceil(1 / max(1 - config.threshold, 1 / config.batch_size)))
        return max(min(max(wanted, config.round_rows), config.batch_size, config.max_rows_candidate - self.n), 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds that hold the true precision; over all certificates they err with probability at most delta."""
        upper_alpha = self.alpha * UPPER_SHARE / ACCEPTANCE_SHARE
        return bounds_of(self.n_hits, self.n, self.alpha, upper_alpha)


@dataclass(slots=True)
class Certifier:
    """Hands out certificates: the j-th submitted anchor is tested at level delta / (j (j + 1)).

    These levels sum to delta, so the chance that a returned anchor is false is at most delta, however many anchors
    were tried and however they were chosen. (`ACCEPTANCE_SHARE` of it; other ends of intervals get the rest.)
    """

    config: SearchConfig
    certificates: list[Certificate] = field(default_factory=list)

    def submit(self, anchor: Anchor) -> Certificate:
        """A new certificate for `anchor`; only rows drawn from now on may be added to it."""
        j = len(self.certificates) + 1
        certificate = Certificate(anchor, ACCEPTANCE_SHARE * self.config.delta / (j * (j + 1)), self.config)
        self.certificates.append(certificate)
        return certificate
