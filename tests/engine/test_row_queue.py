"""The queue of rows against a list of single rows."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.engine.cases import job_of
from torch_anchors.engine.job import Job
from torch_anchors.engine.row_queue import Piece, RowQueue

JOBS = [job_of(number=number) for number in range(3)]


def rows_of(first: int, n: int) -> Tensor:
    """Rows that are told apart by their first value."""
    return torch.arange(first, first + n)[:, None].expand(-1, 2)


def singly(pieces: list[Piece]) -> list[tuple[Job, list[int]]]:
    """Each row with its job."""
    return [(piece.job, row) for piece in pieces for row in piece.codes.tolist()]


def test_rows_come_out_in_the_order_in_which_they_went_in_cut_where_a_batch_is_full() -> None:
    queue = RowQueue()
    queue.push(JOBS[0], rows_of(0, 3))
    queue.push(JOBS[1], rows_of(3, 4))
    queue.push(JOBS[0], rows_of(7, 2))
    assert queue.n_rows == 9
    first, second, rest = queue.take(5), queue.take(2), queue.take(100)
    assert [(piece.job, piece.codes[:, 0].tolist()) for piece in first] == [(JOBS[0], [0, 1, 2]), (JOBS[1], [3, 4])]
    assert [(piece.job, piece.codes[:, 0].tolist()) for piece in second] == [(JOBS[1], [5, 6])]
    assert [(piece.job, piece.codes[:, 0].tolist()) for piece in rest] == [(JOBS[0], [7, 8])]
    assert queue.n_rows == 0
    assert queue.take(3) == []


def test_rows_that_were_not_predicted_come_first_again() -> None:
    queue = RowQueue()
    queue.push(JOBS[0], rows_of(0, 3))
    queue.push(JOBS[1], rows_of(3, 4))
    taken = queue.take(5)
    queue.push(JOBS[2], rows_of(7, 1))
    queue.give_back(taken)
    assert queue.n_rows == 8
    assert [row[0] for _, row in singly(queue.take(8))] == list(range(8))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(0, 2), st.integers(1, 7)),
            st.tuples(st.just("take"), st.integers(0, 12), st.booleans()),
        ),
        max_size=30,
    )
)
def test_whatever_is_pushed_taken_and_given_back_the_queue_is_a_list_of_rows(
    turns: list[tuple[str, int, int | bool]],
) -> None:
    queue, truth, n_pushed = RowQueue(), [], 0
    for turn, number, argument in turns:
        if turn == "push":
            rows = rows_of(n_pushed, int(argument))
            queue.push(JOBS[number], rows)
            truth += [(JOBS[number], row) for row in rows.tolist()]
            n_pushed += len(rows)
        else:
            taken = queue.take(number)
            assert singly(taken) == truth[:number]
            assert all(len(piece.codes) for piece in taken)
            if argument:
                queue.give_back(taken)
            else:
                truth = truth[number:]
        assert queue.n_rows == len(truth)
    assert singly(queue.take(10**6)) == truth
