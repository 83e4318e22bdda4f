"""Certification of proposed anchors where rows of one anchor say nothing certain about another (tables).

A guess of every proposed anchor's precision, better than chance but no more, comes from outside. The search submits
the anchor whose expected gain of coverage is largest, draws some rows for it, and asks again which anchor that is:
so a hopeless anchor is left after a handful of rows, one close to the threshold when another becomes worth more, and
a promising one is sampled until it is certified. All rows count for the test of the anchor they were drawn for, which
holds however the search comes and goes (`Certifier`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from torch_anchors.search.belief import Belief
from torch_anchors.search.certify import Certificate, Certifier
from torch_anchors.search.protocol import (
    Anchor,
    SampleRequest,
    SampleCounts,
    Search,
    SearchConfig,
    SearchResult,
    SearchSpace,
    Status,
    Step,
)

MAX_ROWS = 4000
"""Rows that a search spends when `max_rows_total` does not say."""
AFFORDABLE = 3
"""An anchor is worth its coverage less this share of it: rows that it takes, over this times `max_rows_candidate`."""
MIN_CHANCE = 0.02
"""Anchors whose chance is below this are not sampled."""
MIN_GAIN = 0.05
"""Expected gain of coverage, as a share of the certified anchor's, below which the search stops."""
