"""Answers of many jobs' rows, each compared with its own instance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from torch_anchors.engine.comparison import compared, of_pieces
from torch_anchors.engine.job import Case, Job
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.reading import Reading
from torch_anchors.engine.row_queue import Piece
from torch_anchors.images.sampler import ImageSampler
from torch_anchors.targets.values import Within


def job() -> Job:
    case = Case(sampler=grid_sampler(), rng=np.random.default_rng(0))
    return Job(0, case, n_examples=1, first_slot=0)


def grid_sampler() -> Any:
    return ImageSampler(torch.zeros(1, 2, 2), np.array([[0, 0], [1, 1]]))


def piece(job: Job, n: int) -> Piece:
    return Piece(job, torch.zeros(n, 1))


def read(values: list[float], pieces: list[Piece]) -> Reading:
    labels = torch.zeros(len(values), dtype=torch.int64)
    return of_pieces(Reading(labels, answers=torch.tensor(values)), pieces, Within(1))


def test_the_first_row_of_a_job_is_its_instance_and_stays_so() -> None:
    first, second = job(), job()
    reading = read([10.0, 10.5, 20.0, 10.0, 21.5], [piece(first, 2), piece(second, 3)])
    assert reading.labels.tolist() == [1, 1, 1, 0, 0]
    assert reading.scores is not None
    assert reading.scores[:, 0].tolist() == [1, 0.5, 1, -9, -0.5]
    assert [one.answered_case().explained for one in (first, second)] == [torch.tensor([10.0]), torch.tensor([20.0])]
    again = read([20.9, 9.5, 11.5], [piece(second, 1), piece(first, 2)])
    assert again.labels.tolist() == [1, 1, 0]
    assert [one.answered_case().explained for one in (first, second)] == [torch.tensor([10.0]), torch.tensor([20.0])]


def test_what_is_explained_does_not_follow_the_batch() -> None:
    answers = torch.tensor([10.0, 11.0])
    own = job()
    of_pieces(Reading(torch.zeros(2, dtype=torch.int64), answers=answers), [piece(own, 2)], Within(1))
    answers.zero_()
    assert own.explained == torch.tensor([10.0])


def test_no_answer_is_no_label() -> None:
    answers, explained = torch.tensor([torch.nan, 1.0]), torch.tensor([1.0, 1.0])
    reading = compared(answers, explained, Within(1))
    assert reading.labels.tolist() == [INVALID, 1]
    assert reading.scores is not None
    assert reading.scores[1, 0] == 1.0
    assert read([torch.nan, 1.0], [piece(job(), 2)]).labels.tolist() == [INVALID, INVALID]
