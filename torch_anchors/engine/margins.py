"""How clearly a predictor gives a label: what ranks anchors with fewer rows than labels alone do.

A label says on which side of the border a row is, a margin how far. Certification never looks at margins.

Three scores of each row tell its margin, whatever its target class is: that of this class, and the two largest. The
device picks them out of all scores; what is made of the three is left to the host.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_anchors._shapes import Float, Int, Shaped

N_LEADS = 3
"""Scores that tell a margin."""
_LEAST = 1e-12
"""Probabilities below this are taken for this, as their logarithms mean nothing."""


def pick_leads(
    scores: Shaped[Tensor, "rows classes"], targets: Int[Tensor, " rows"], out: Float[Tensor, "rows 3"]
) -> None:
    """Writes the score of each row's target class, and the two largest, to `out`. The device is not waited for.

    Args:
        scores: logits or probabilities; one column is the logit of label 1, beside that of label 0, which is 0.
        targets: class of each row; what is no class (`INVALID`, say) gives a score that means nothing.
        out: float32, on the device of the scores. The two largest come in any order.
    """
    scores = scores.float()
    if scores.shape[1] == 1:
        scores = pad(scores, (1, 0))
    torch.gather(scores, 1, targets.clamp(0, scores.shape[1] - 1)[:, None], out=out[:, :1])
    places = targets.new_empty(len(targets), 2)
    torch.topk(scores, 2, dim=1, sorted=False, out=(out[:, 1:], places))


def margins_of(leads: Float[np.ndarray, "rows 3"], are_probabilities: bool) -> Float[np.ndarray, " rows"]:
    """The logit of each row's target class, less the largest other one; positive where that class is the label.

    Probabilities are taken to logarithms first, and rows without a label have margin 0.

    Args:
        leads: as `pick_leads` gives them.
        are_probabilities: whether these are probabilities; otherwise they are logits.
    """
    logits = np.log(np.maximum(leads, np.float32(_LEAST))) if are_probabilities else leads
    own, one, other = logits.T
    largest = np.maximum(one, other)
    with np.errstate(invalid="ignore"):  # of two infinite ones
        return np.nan_to_num(own - np.where(own == largest, np.minimum(one, other), largest))
