"""An anchor as a number for each predicate, for those who rank, mask or draw features by such numbers.

An anchor says which features suffice, all together; tools that judge or draw explanations ask how much each feature
matters. There are three answers, and none of them is certified but the first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from torch_anchors._checks import one_of
from torch_anchors._shapes import Float

KINDS = ("order", "marginal", "member")
"""What the numbers are; see `attribution`."""


def attribution(
    kind: str, effects: Float[np.ndarray, " features"], entered: Sequence[Collection[int]]
) -> Float[np.ndarray, " features"]:
    """A number for each feature, float32.

    Args:
        kind: "member" is 1 for what is in the anchor and 0 elsewhere. "marginal" is each feature's effect. "order" is
            a ranking: first the anchor, in the order in which its features were added, then all others, by their
            effects. Features that were added together are ranked by their effects as well, and equal effects by number.
            Place i of n, from 0, gives (n - i) / n, so that no two features are equal.
        effects: of each feature.
        entered: features of the anchor, together those that were added together.

    Raises:
        ArgumentError: there is no such kind.

    Example:
        >>> attribution("order", np.array([0.1, 0.0, 0.6, -0.2]), [{3}, {1}])
        array([0.5 , 0.75, 0.25, 1.  ], dtype=float32)
    """
    one_of("kind", kind, KINDS)
    if kind == "marginal":
        return effects.astype(np.float32)
    values = np.zeros(len(effects), dtype=np.float32)
    members = [feature for group in entered for feature in sorted(group, key=lambda k: (-effects[k], k))]
    if kind == "member":
        values[members] = 1
        return values
    by_effect = np.argsort(-effects, kind="stable")
    ranking = [*members, *by_effect[~np.isin(by_effect, members)].tolist()]
    values[ranking] = (len(effects) - np.arange(len(effects))) / len(effects)
    return values
