"""One forward pass: rows of many jobs rendered side by side and predicted together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple, cast

import torch
from torch import Tensor

from torch_anchors._shapes import Shaped
from torch_anchors.engine.comparison import of_pieces
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.reading import Reading, joined
from torch_anchors.engine.row_queue import Piece
from torch_anchors.perturb.protocol import JointSampler, Sampler
from torch_anchors.targets.target import Comparison


class _Kind(NamedTuple):
    """Rows of one kind are rendered into one tensor."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    as_array: bool


class ForwardPass:
    """Predicts the rows of a batch, which are rendered into buffers that are used again for the next one."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._buffers: dict[_Kind, Tensor] = {}

    def forget_buffers(self) -> None:
        """Gives the memory of the buffers back."""
        self._buffers.clear()

    def read(self, pieces: Sequence[Piece], n_rows: int, padded: int) -> Reading:
        """Labels (n_rows,) and scores of the pieces' rows, in their order, from as few forward passes as shapes allow.

        Rows of one shape are one pass. Images of different sizes are rendered apart, and are one pass together if
        `preprocess` brings them to one size. A function is called with the arrays of some cases apart from the tensors
        of others. Where the predictor wants few shapes, a pass is padded to `padded` rows.
        """
        by_kind: dict[_Kind, list[int]] = {}
        for i, piece in enumerate(pieces):
            by_kind.setdefault(self._kind(piece), []).append(i)
        # Images of ever new sizes must not leave a buffer each behind.
        self._buffers = {kind: buffer for kind, buffer in self._buffers.items() if kind in by_kind}
        size = padded if self._predictor.static_shapes else n_rows
        if len(by_kind) == 1:
            (kind,) = by_kind
            predictor = self._predictor.taking(kind.as_array)
            return self._compared(predictor.read(predictor.prepare(self._render(pieces, size))).first(n_rows), pieces)
        ends = list(accumulate(piece.codes.shape[0] for piece in pieces))
        by_shape: dict[tuple[torch.Size, bool], list[tuple[Tensor, Tensor, list[Piece]]]] = {}
        for kind, members in by_kind.items():
            group = [pieces[i] for i in members]
            rows = self._predictor.prepare(self._render(group, sum(piece.codes.shape[0] for piece in group)))
            spans = [torch.arange(ends[i] - pieces[i].codes.shape[0], ends[i]) for i in members]
            places = torch.cat(spans).to(rows.device, non_blocking=True)
            by_shape.setdefault((rows.shape[1:], kind.as_array), []).append((places, rows, group))
        parts: list[Reading] = []
        for (_, as_array), same in by_shape.items():
            rows = torch.cat([rows for _, rows, _ in same])
            batch = _padded(rows, size) if self._predictor.static_shapes else rows
            reading = self._predictor.taking(as_array).read(batch).first(rows.shape[0])
            parts.append(self._compared(reading, [piece for _, _, group in same for piece in group]).kept())
        places = torch.cat([places for same in by_shape.values() for places, _, _ in same])
        return joined(parts).taken(places.argsort())

    def _compared(self, reading: Reading, pieces: Sequence[Piece]) -> Reading:
        """The rows of the pieces, compared with their instances where the target asks for that."""
        target = self._predictor.target
        return of_pieces(reading, pieces, target) if isinstance(target, Comparison) else reading

    def _kind(self, piece: Piece) -> _Kind:
        case = piece.job.case
        predictor = self._predictor
        as_array = case.as_array if predictor.takes_either else predictor.takes_arrays
        return _Kind(case.sampler.row_shape(), case.sampler.dtype, as_array)

    def _render(self, pieces: Sequence[Piece], size: int) -> Shaped[Tensor, "rows ..."]:
        """A tensor of `size` rows that begins with those of the pieces, which all have one shape.

        What is left behind them from earlier batches is as good a padding as any.
        """
        kind = self._kind(pieces[0])
        buffer = self._buffers.get(kind)
        if buffer is None or buffer.shape[0] < size:
            self._buffers[kind] = buffer = pieces[0].job.case.sampler.empty(size).zero_()
        position = 0
        for _, group in groupby(_runs(pieces), key=lambda run: _joint_key(run[0])):
            runs = list(group)
            end = position + sum(codes.shape[0] for _, codes in runs)
            sampler, codes = runs[0]
            if len(runs) == 1:
                sampler.render(codes, out=buffer[position:end])
            else:
                cast(JointSampler, sampler).render_jointly(runs, out=buffer[position:end])
            position = end
        return buffer[:size]


def _joint_key(sampler: Sampler) -> Hashable:
    """What is equal for samplers whose rows are rendered jointly; every other one is rendered by itself."""
    # Asking whether it is a JointSampler goes through all its methods, which takes as long as several rows.
    return getattr(sampler, "joint_key", id(sampler))


def _runs(pieces: Sequence[Piece]) -> Iterator[tuple[Sampler, Tensor]]:
    """The codes of consecutive pieces of one sampler together."""
    for _, run in groupby(pieces, key=lambda piece: id(piece.job.case.sampler)):
        same = list(run)
        yield same[0].job.case.sampler, same[0].codes if len(same) == 1 else torch.cat([piece.codes for piece in same])


def _padded(rows: Shaped[Tensor, "rows ..."], size: int) -> Shaped[Tensor, "size ..."]:
    """`rows`, followed by zeros up to `size`."""
    if rows.shape[0] >= size:
        return rows
    return torch.cat([rows, rows.new_zeros((size - rows.shape[0], *rows.shape[1:]))])
