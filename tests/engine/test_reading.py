"""Labels and scores of rows, cut, put in order and joined."""

from __future__ import annotations

import torch

from torch_anchors.engine.reading import Reading, joined

SCORES = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
LABELS = torch.tensor([0, 1, 0])


def test_the_first_rows_and_rows_by_their_numbers() -> None:
    for scores in (SCORES, None):
        reading = Reading(LABELS, scores)
        assert reading.first(2).labels.tolist() == [0, 1]
        assert reading.taken(torch.tensor([1, 0])).labels.tolist() == [1, 0]
        for part, rows in [(reading.first(2), [0, 1]), (reading.taken(torch.tensor([2, 1])), [2, 1])]:
            assert part.scores is None if scores is None else torch.equal(part.scores, SCORES[rows])


def test_joined_rows_follow_each_other() -> None:
    both = joined([Reading(LABELS, SCORES), Reading(LABELS[:1], SCORES[:1])])
    assert both.labels.tolist() == [0, 1, 0, 0]
    assert both.scores is not None
    assert torch.equal(both.scores, SCORES[[0, 1, 2, 0]])
    assert joined([Reading(LABELS), Reading(LABELS)]).scores is None


def test_a_part_without_scores_has_zeros_among_others() -> None:
    both = joined([Reading(LABELS[:1]), Reading(LABELS, SCORES)])
    assert both.scores is not None
    assert both.scores.tolist() == [[0.0, 0.0], *SCORES.tolist()]


def test_what_is_kept_stays_when_the_model_writes_its_next_answer_there() -> None:
    scores, labels, answers = SCORES.clone(), LABELS.clone(), SCORES.clone()
    kept = Reading(labels, scores, answers).kept()
    for written_to in (scores, labels, answers):
        written_to.fill_(7)
    assert torch.equal(kept.labels, LABELS)
    assert kept.scores is not None
    assert kept.answers is not None
    assert torch.equal(kept.scores, SCORES)
    assert torch.equal(kept.answers, SCORES)
    assert Reading(LABELS).kept().scores is None
