"""Whether a model answers the same when it is asked the same again, in another order and company.

An answer may depend on chance (dropout that stays on, sampling inside the model) or on the other rows of its batch
(batch statistics). Rows of such a model must be predicted anew each time they are drawn: a certificate from
remembered answers would be about one throw of the dice.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torch_anchors._shapes import Shaped
from torch_anchors.engine.reading import Reading, joined
from torch_anchors.errors import AnchorsWarning

N_COMPARED = 64
"""Rows whose answers are compared; once for a predictor, on its first batches.

A model that flips 5 % of its labels is taken for one that repeats itself in 2 of 1,000 cases.
"""
TIES = 1
"""Answers that may differ: two scores may be so close that rounding decides, which depends on a batch's size.

Where one differs, as many rows again are compared.
"""
GROUP = 8
"""Rows asked for together the second time: statistics of so few differ clearly from those of a large batch."""


class NotRepeatable(Exception):
    """The model turned out not to repeat its answers while these were taken for granted."""


@dataclass(slots=True)
class RepeatCheck:
    """Asks a model for some rows of its first batches a second time.

    Attributes:
        repeats: whether the answers were the same so far.
        n_compared: rows compared so far.
        n_differing: rows whose two answers differed.
    """

    repeats: bool = True
    n_compared: int = 0
    n_differing: int = 0

    @property
    def done(self) -> bool:
        """Whether enough was compared."""
        return not self.repeats or self.n_compared >= N_COMPARED * (2 if self.n_differing else 1)

    def compare(
        self,
        rows: Shaped[Tensor, "rows ..."],
        reading: Reading,
        read: Callable[[Tensor], Reading],
        same: Callable[[Reading, Reading], Tensor],
        *,
        same_shape: bool,
    ) -> None:
        """Predicts the rows of a batch again, every other one and then those between, reversed and in small groups.

        Args:
            rows: of the batch, as the model takes them.
            reading: what it said of them.
            read: from rows to what it says of them.
            same: which of two readings' rows have the same answer.
            same_shape: whether the second batch must have as many rows as the first, because kernels or compiled code
                are chosen by shape; the rows are then in one batch, some of them several times.
        """
        for first in range(min(2, len(rows))):
            again = torch.arange(first, len(rows), 2, device=rows.device).flip(0)[: N_COMPARED // 2]
            times = 1 + len(rows) // len(again)
            groups = [again.repeat(times)[: len(rows)]] if same_shape else torch.split(again, GROUP)
            second = joined([read(rows.index_select(0, group)) for group in groups]).first(len(again))
            before = reading.taken(again.to(reading.labels.device))
            self.n_differing += int((~same(before, second)).sum())
            self.n_compared += len(again)
        if self.n_differing > TIES:
            self.repeats = False
            warnings.warn(
                f"The predictor gave {self.n_differing} of {self.n_compared} rows another label when it was asked "
                "again, in another order. It is explained as a model whose answers vary: every row is predicted anew, "
                "nothing is enumerated, and precision is the share of fresh answers. If it should not vary, switch "
                "its dropout off or fix its seed; if labels depend on the other rows of a batch, pass max_rows=1.",
                AnchorsWarning,
                stacklevel=2,
            )
