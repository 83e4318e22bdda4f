"""One forward pass of rows of many jobs: which rows, in how many calls, and in which memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine.cases import FreshRows, Recorder, Smaller, Strip, job_of, parity
from torch_anchors.engine.forward_pass import ForwardPass
from torch_anchors.engine.predictor import Predictor
from torch_anchors.engine.row_queue import Piece
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import SampleRequest

SMALL, MIDDLE, LARGE = Strip(5), Strip(7, n_backgrounds=3), Strip(6, height=2)
MIXED = [(SMALL, 3), (SMALL, 2), (MIDDLE, 4), (SMALL, 1), (LARGE, 5), (MIDDLE, 2)]


def pieces_of(parts: Sequence[tuple[Any, int]], seed: int = 0) -> list[Piece]:
    """Rows of these samplers, as many of each as said."""
    rng = np.random.default_rng(seed)
    return [
        Piece(job_of(sampler, number=i), sampler.draw([Order(SampleRequest((), n), rng)])[0])
        for i, (sampler, n) in enumerate(parts)
    ]


def n_rows_of(pieces: Sequence[Piece]) -> int:
    return sum(len(piece.codes) for piece in pieces)


def one_by_one(pieces: Sequence[Piece], model: Callable[[Tensor], Tensor] = parity) -> list[int]:
    """The labels of the rows, each rendered and predicted alone."""
    return [
        int(model(piece.job.case.sampler.render(piece.codes[i : i + 1])))
        for piece in pieces
        for i in range(len(piece.codes))
    ]


def predicted(forward: ForwardPass, pieces: Sequence[Piece], padded: int = 0) -> list[int]:
    n_rows = n_rows_of(pieces)
    labels = forward.read(pieces, n_rows, max(padded, n_rows)).labels
    assert labels.shape == (n_rows,)
    assert labels.dtype == torch.int64
    return labels.tolist()


@pytest.mark.parametrize("parts", [[(SMALL, 1)], [(MIDDLE, 9), (MIDDLE, 4)], MIXED, MIXED[::-1], MIXED * 3])
def test_labels_are_those_of_each_row_alone_in_the_order_of_the_pieces(parts: list[tuple[Sampler, int]]) -> None:
    forward = ForwardPass(Predictor(parity))
    for seed in range(3):  # the second time the buffers are full of other rows
        pieces = pieces_of(parts, seed)
        assert predicted(forward, pieces) == one_by_one(pieces)
    assert len(set(one_by_one(pieces_of(MIXED)))) == 3


def test_rows_of_one_shape_are_one_pass_whosever_they_are() -> None:
    model = Recorder()
    pieces = pieces_of([(SMALL, 3), (Strip(5), 4), (Strip(5, n_backgrounds=2), 2)])
    predicted(ForwardPass(Predictor(model)), pieces)
    assert model.sizes == [9]


def test_rows_of_several_shapes_are_a_pass_for_each() -> None:
    model = Recorder()
    predicted(ForwardPass(Predictor(model)), pieces_of(MIXED))
    assert model.sizes == [6, 6, 5]
    assert [len(row) for row in model.rows] == [5] * 6 + [7] * 6 + [12] * 5


def test_rows_that_preprocess_brings_to_one_shape_are_one_pass() -> None:
    def pad(rows: Tensor) -> Tensor:
        return nn.functional.pad(rows, (0, 8 - rows.shape[3], 0, 2 - rows.shape[2]))

    model = Recorder()
    pieces = pieces_of(MIXED)
    labels = predicted(ForwardPass(Predictor(model, preprocess=pad)), pieces)
    assert labels == one_by_one(pieces, lambda rows: parity(pad(rows)))
    assert model.sizes == [17]


def test_rows_of_two_types_are_one_pass_in_the_type_of_the_model() -> None:
    seen: list[torch.dtype] = []

    def model(rows: Tensor) -> Tensor:
        seen.append(rows.dtype)
        return parity(rows)

    pieces = pieces_of([(Strip(5), 3), (Strip(5, dtype=torch.uint8), 4), (Strip(5), 2)])
    assert predicted(ForwardPass(Predictor(model)), pieces) == one_by_one(pieces)
    assert seen == [torch.float32]


def test_rows_of_a_table_are_predicted_as_they_are() -> None:
    def model(rows: Tensor) -> Tensor:
        return (10 * rows.sum(1)).long()

    pieces = pieces_of([(FreshRows(), 4), (FreshRows(), 3)])
    assert predicted(ForwardPass(Predictor(model, dtype=torch.float64)), pieces) == one_by_one(pieces, model)


def test_pieces_of_one_sampler_that_follow_each_other_are_rendered_together() -> None:
    class Counting(Strip):
        n_rendered: list[int]

        def render(self, codes: Tensor, out: Tensor | None = None) -> Tensor:
            self.n_rendered.append(len(codes))
            return super().render(codes, out)

    one, other = Counting(5), Counting(5)
    one.n_rendered, other.n_rendered = [], []
    pieces = pieces_of([(one, 3), (one, 2), (other, 4), (one, 1), (one, 6)])
    labels = predicted(ForwardPass(Predictor(parity)), pieces)
    assert one.n_rendered == [5, 7]
    assert other.n_rendered == [4]
    assert labels == one_by_one(pieces)


def test_samplers_of_one_key_that_follow_each_other_are_rendered_jointly() -> None:
    class Joint(Strip):
        joint_key = "joint"
        sizes: list[list[int]]

        def render_jointly(self, runs: Sequence[tuple[Any, Tensor]], out: Tensor) -> Tensor:
            self.sizes.append([len(codes) for _, codes in runs])
            return out.copy_(torch.cat([sampler.render(codes) for sampler, codes in runs]))

    Joint.sizes = []
    one, other = Joint(5), Joint(5)
    pieces = pieces_of([(one, 3), (one, 2), (other, 4), (SMALL, 1), (one, 6), (SMALL, 2), (other, 2), (one, 2)])
    assert predicted(ForwardPass(Predictor(parity)), pieces) == one_by_one(pieces)
    assert Joint.sizes == [[5, 4], [2, 2]]


def test_arrays_and_tensors_of_one_batch_are_a_pass_each() -> None:
    seen: list[type] = []

    def model(rows: Any) -> Tensor:
        seen.append(type(rows))
        return parity(rows if isinstance(rows, Tensor) else torch.from_numpy(rows).movedim(-1, 1))

    pieces = pieces_of([(SMALL, 3), (SMALL, 4), (SMALL, 2)])
    pieces[1].job.case = replace(pieces[1].job.case, as_array=True)
    assert predicted(ForwardPass(Predictor(model, dtype=None)), pieces) == one_by_one(pieces)
    assert seen == [Tensor, np.ndarray]
    seen.clear()
    assert predicted(ForwardPass(Predictor(model)), pieces) == one_by_one(pieces)  # whose dtype says what it takes
    assert seen == [Tensor]


# ------------------------------------------------------------------------------------------------------- buffers


class Places:
    """A model that keeps where in memory its rows were, and holds on to them."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self.rows: list[Tensor] = []

    def __call__(self, rows: Tensor) -> Tensor:
        self.found.append(rows.untyped_storage().data_ptr())
        self.rows.append(rows)
        return parity(rows)


def test_rows_are_rendered_where_those_of_the_batch_before_were() -> None:
    model = Places()
    forward = ForwardPass(Predictor(model))
    for n in (8, 3, 8, 5):
        predicted(forward, pieces_of([(SMALL, n)]))
    assert len(set(model.found)) == 1
    predicted(forward, pieces_of([(SMALL, 9)]))  # which has no room there
    predicted(forward, pieces_of([(SMALL, 9)]))
    assert len(set(model.found)) == 2


def test_memory_is_kept_for_the_shapes_of_the_latest_batch_only() -> None:
    forward = ForwardPass(Predictor(parity))
    for parts, shapes in [
        (MIXED, {(1, 1, 5), (1, 1, 7), (1, 2, 6)}),
        ([(MIDDLE, 2), (SMALL, 2)], {(1, 1, 7), (1, 1, 5)}),
        ([(LARGE, 1)], {(1, 2, 6)}),
    ]:
        predicted(forward, pieces_of(parts))
        assert {kind.shape for kind in forward._buffers} == shapes
    forward.forget_buffers()
    assert not forward._buffers
    pieces = pieces_of(MIXED)
    assert predicted(forward, pieces) == one_by_one(pieces)


def test_an_error_of_the_model_is_passed_on_and_the_next_batch_is_none_the_worse() -> None:
    model = Smaller(4, MemoryError)
    forward, pieces = ForwardPass(Predictor(model)), pieces_of([(SMALL, 5)])
    with pytest.raises(MemoryError):
        predicted(forward, pieces)
    half = [Piece(pieces[0].job, pieces[0].codes[:2]), Piece(pieces[0].job, pieces[0].codes[2:4])]
    assert predicted(forward, half) == one_by_one(half)


# ---------------------------------------------------------------------------------------------------- few shapes


class Static(nn.Module):
    """A module that looks compiled, and keeps what it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self._orig_mod = None
        self.seen: list[Tensor] = []

    def forward(self, rows: Tensor) -> Tensor:
        self.seen.append(rows.clone())
        return parity(rows)


def test_a_pass_is_padded_where_shapes_should_be_few() -> None:
    model = Static()
    forward, pieces = ForwardPass(Predictor(model)), pieces_of([(SMALL, 6), (SMALL, 5)])
    assert predicted(forward, pieces, padded=16) == one_by_one(pieces)
    (rows,) = model.seen
    assert rows.shape == (16, 1, 1, 5)
    assert torch.equal(rows[:6], SMALL.render(pieces[0].codes))
    assert torch.equal(rows[6:11], SMALL.render(pieces[1].codes))
    assert set(rows.unique().tolist()) <= {0.0, 1.0}


def test_padding_is_what_was_rendered_before() -> None:
    """Which costs nothing, and is as valid as any row."""
    model = Static()
    forward = ForwardPass(Predictor(model))
    before, pieces = pieces_of([(SMALL, 8)], seed=1), pieces_of([(SMALL, 3)], seed=2)
    predicted(forward, before, padded=8)
    assert predicted(forward, pieces, padded=8) == one_by_one(pieces)
    assert torch.equal(model.seen[1][:3], SMALL.render(pieces[0].codes))
    assert torch.equal(model.seen[1][3:], SMALL.render(before[0].codes)[3:])


def test_each_shape_of_a_mixed_batch_is_padded_by_itself() -> None:
    model = Static()
    forward, pieces = ForwardPass(Predictor(model)), pieces_of(MIXED)
    assert predicted(forward, pieces, padded=32) == one_by_one(pieces)
    assert [tuple(rows.shape) for rows in model.seen] == [(32, 1, 1, 5), (32, 1, 1, 7), (32, 1, 2, 6)]
    assert not model.seen[0][6:].any()


def test_nothing_is_padded_where_shapes_may_be_many() -> None:
    model = Recorder()
    predicted(ForwardPass(Predictor(model)), pieces_of([(SMALL, 6)]), padded=16)
    predicted(ForwardPass(Predictor(model)), pieces_of(MIXED), padded=32)
    assert model.sizes == [6, 6, 6, 5]
