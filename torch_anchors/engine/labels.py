"""What the model says of many rows at once, where that is all that is wanted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torch_anchors._shapes import Int, Shaped
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.reading import Reading, joined


def labels_of(
    predictor: Predictor,
    render: Callable[[Tensor], Tensor],
    codes: Shaped[Tensor, "rows ..."],
    max_rows: MaxRows,
    told: Callable[[int], object] | None = None,
) -> Int[Tensor, " rows"]:
    """The predictor's labels of the rows that `render` makes of `codes`.

    `max_rows` says how many go into a forward pass, and shrinks where they do not fit into memory; `told` hears after
    each how many they were.
    """
    return reading_of(predictor, render, codes, max_rows, told).labels.clone()  # usable outside inference mode


def reading_of(
    predictor: Predictor,
    render: Callable[[Tensor], Tensor],
    codes: Shaped[Tensor, "rows ..."],
    max_rows: MaxRows,
    told: Callable[[int], object] | None = None,
) -> Reading:
    """What is read of the rows; see `labels_of`."""
    parts, first = [Reading(torch.zeros(0, dtype=torch.int64, device=predictor.device))], 0
    with predictor.session():
        while first < len(codes):
            part = codes[first : first + max(max_rows.n, 1)]
            try:
                parts.append(predictor.read(predictor.prepare(render(part))).kept())
            except Exception as error:
                max_rows.survive(error, len(part))
                continue
            first += len(part)
            if told is not None:
                told(len(part))
    return joined(parts)
