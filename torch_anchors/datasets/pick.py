"""A few explanations that together say the most about a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch_anchors._checks import MOST, whole
from torch_anchors.datasets.distinct import DistinctRules, successful
from torch_anchors.datasets.found_rule import FoundRule
from torch_anchors.datasets.greedy import chosen_greedily
from torch_anchors.explanation import Explanation
from torch_anchors.tables.explanation import TabularExplanation


def pick(explanations: Iterable[Explanation], X: Any, k: int = 10) -> list[TabularExplanation]:
    """The few of many explanations to read first: those whose rules together cover the most rows of a table.

    They are chosen one after another, each time the one whose rule holds on the most rows that no rule before it holds
    on, as in the submodular pick of Ribeiro, Singh and Guestrin ("Why Should I Trust You?", KDD 2016, section 4), which
    "Anchors" (AAAI 2018) calls SP-Anchor. It covers at least 63 % of what the best `k` would.

    Args:
        explanations: of rows of a table. Those that do not reach their threshold (`success`) are left out. Anchors of
            images cannot be picked from: a superpixel of one picture means nothing in another.
        X: the rows to cover, any table that the explainer takes.
        k: how many, at least 1.

    Returns:
        The explanations, the one that covers the most rows first; fewer than `k` when no other would add a row.

    Raises:
        ArgumentError: explanations of something else, or none that reaches its threshold; a table without rows, or with
            other columns; or a `k` below 1.

    Example:
        >>> for explanation in pick(explainer.explain_batch(rows), rows, k=3):  # doctest: +SKIP
        ...     print(explanation)
    """
    whole("k", k, least=1, most=MOST)
    found = successful(explanations)
    rules = DistinctRules([FoundRule.of(one) for one in found], X)
    chosen = chosen_greedily(rules.holds, rules.holds, k)
    return [found[rules.numbers[i]] for i in chosen]
