"""The partial anchors on the way from the empty anchor to an explanation's own, each a `Step` of a search's path."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from torch_anchors.packing import Fields, pack_number
from torch_anchors.search.protocol import Step


def partial_anchors(path: Sequence[Step], whole: Step) -> list[Step]:
    """The partial anchors that follow the empty one, each with all predicates of the one before.

    Args:
        path: all that a search took on its way, which may have turned.
        whole: the anchor that it ended with; the last of the list, unless it is empty.
    """
    chain: list[Step] = []
    for step in path:
        if set(chain[-1].anchor if chain else ()) < set(step.anchor) < set(whole.anchor):
            chain.append(step)
    return [*chain, whole] if whole.anchor else []


def predicates_entered(partial: Sequence[Step]) -> list[set[int]]:
    """The predicates of the last of some partial anchors in the order of their addition, those added at once together.

    Args:
        partial: as `partial_anchors` gives them.
    """
    anchors = [set(), *(set(step.anchor) for step in partial)]
    return [after - before for before, after in pairwise(anchors)]


def packed_step(step: Step) -> dict[str, Any]:
    """A step of a path in values that JSON knows."""
    numbers = {"precision": pack_number(step.precision), "coverage": pack_number(step.coverage)}
    return {"anchor": list(map(int, step.anchor)), **numbers, "n": int(step.n)}


def step_of(fields: Fields) -> Step:
    """The step that `packed_step` gave.

    Raises:
        ArgumentError: a field is missing, or not what it must be.
    """
    return Step(fields.wholes("anchor"), fields.number("precision"), fields.number("coverage"), fields.whole("n", 0))
