"""Requests with rows that are known, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tests.engine.cases import Strip
from torch_anchors.engine.counting import count
from torch_anchors.engine.job import AnyRequest, LastRequest
from torch_anchors.engine.last_replies import AskLast
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.replies import Ask
from torch_anchors.engine.request_kinds import kind_of

K = 11


def strip(n_backgrounds: int = 1) -> Strip:
    return Strip(K, n_backgrounds)


def not_repeatable() -> Strip:
    """Independent predicates, whose rows are not determined by their codes."""
    sampler = strip()
    sampler.repeatable = False
    return sampler


def not_independent() -> Strip:
    """Rows that are determined by their codes, drawn for one anchor only."""
    sampler = strip()
    sampler.independent = False
    return sampler


def ask_of(request: AnyRequest, job: Any, slots: np.ndarray, codes: Any, n_fresh: int, n_new: int, last: int) -> Ask:
    return kind_of(job, request)(job, request, slots, codes, n_fresh, n_new, last)


def last_ask(job: Any, slots: np.ndarray, codes: Any, of_anchor: np.ndarray | None = None) -> AskLast:
    """What is told of rows of a job, which all are of the anchor unless `of_anchor` says which are."""
    ask = ask_of(LastRequest(()), job, np.append(job.first_slot, slots), codes, 0, 0, 0)
    assert isinstance(ask, AskLast)
    ask.changes, ask.of_anchor = None, np.ones(len(slots), dtype=bool) if of_anchor is None else of_anchor
    return ask


def ledger_of(labels: Sequence[int], device: torch.device, skipped: int = 0) -> Ledger:
    """A ledger whose first `skipped` slots have been forgotten."""
    ledger = Ledger(device, capacity=len(labels))
    ledger.base = ledger.n_reserved = ledger.n_written = skipped
    ledger.reserve(len(labels), oldest=skipped)
    ledger.write(torch.tensor(labels, device=device))
    return ledger


def answered(ledger: Ledger, asks: Sequence[Ask]) -> list[Any]:
    assert not any(ask.answered for ask in asks)
    count(ledger, asks).deliver()
    assert all(ask.answered for ask in asks)
    return [ask.reply for ask in asks]


def masks(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.random((n, K)) < 0.6
