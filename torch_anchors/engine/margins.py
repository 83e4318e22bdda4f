"""How clearly a predictor gives a label: what ranks anchors with fewer rows than labels alone do.

A label says on which side of the border a row is, a margin how far. Certification never looks at margins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int, Shaped

_SUM = 1e-3
"""How far the sum of probabilities may be from 1, in the precision that networks have."""
_LEAST = 1e-12
"""Probabilities below this are taken for this, as their logarithms mean nothing."""


def margins_of(scores: Shaped[Tensor, "rows classes"], targets: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
    """The logit of each row's target class, less the largest other one; positive where that class is the label.

    Probabilities are taken to logarithms first, rows without a label have margin 0, and of one logit it is this, or its
    negative for label 0. The device is not waited for.

    Args:
        scores: logits or probabilities; one column is the logit of label 1.
        targets: class of each row; what is no class (`INVALID`, say) gives a margin that means nothing.
    """
    scores = scores.float()
    if scores.shape[1] == 1:
        return torch.where(targets == 1, scores[:, 0], -scores[:, 0]).nan_to_num(0.0)
    are_shares = (scores >= 0).all(dim=1, keepdim=True) & ((scores.sum(dim=1, keepdim=True) - 1).abs() <= _SUM)
    logits = torch.where(are_shares, scores.clamp(min=_LEAST).log(), scores)
    place = targets.clamp(0, scores.shape[1] - 1)[:, None]
    others = logits.scatter(1, place, -torch.inf).amax(dim=1)
    return (logits.gather(1, place)[:, 0] - others).nan_to_num(0.0)
