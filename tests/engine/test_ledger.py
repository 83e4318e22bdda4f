"""Labels by slot, against dictionaries."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_anchors.engine.ledger import Ledger


def read(ledger: Ledger, slots: list[int]) -> list[int]:
    """Labels of slots that have been written."""
    return ledger.labels[torch.from_numpy(ledger.places(np.array(slots, dtype=np.int64)))].tolist()


def test_labels_are_read_back_from_their_slots(device: torch.device) -> None:
    ledger = Ledger(device, capacity=8)
    assert ledger.reserve(3, oldest=0) == 0
    assert ledger.reserve(2, oldest=0) == 3
    ledger.write(torch.tensor([5, 6, 7], device=device))
    ledger.write(torch.tensor([8, 9], device=device))
    assert read(ledger, [4, 0, 0, 2]) == [9, 5, 5, 7]
    assert (ledger.n_reserved, ledger.n_written) == (5, 5)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12), st.booleans()), max_size=30))
def test_whatever_is_not_forgotten_can_be_read(turns: list[tuple[int, int, bool]]) -> None:
    """Random reservations, writes and advances of the oldest slot, against a dictionary."""
    ledger, truth, oldest, rng = Ledger(torch.device("cpu"), capacity=4), {}, 0, np.random.default_rng(0)
    for n, advance, write in turns:
        assert ledger.reserve(n, oldest) == ledger.n_reserved - n
        if write:
            pending = ledger.n_reserved - ledger.n_written
            labels = torch.from_numpy(rng.integers(0, 1000, pending))
            truth.update(enumerate(labels.tolist(), ledger.n_written))
            ledger.write(labels)
        oldest = min(oldest + advance, ledger.n_reserved)
        kept = [slot for slot in truth if slot >= oldest]
        assert read(ledger, kept) == [truth[slot] for slot in kept]


def test_memory_follows_the_slots_in_use_and_not_those_ever_used() -> None:
    ledger = Ledger(torch.device("cpu"), capacity=64)
    for step in range(1000):
        first = ledger.reserve(50, oldest=max(50 * step - 100, 0))
        ledger.write(torch.full((50,), step))
    assert read(ledger, [first]) == [999]
    assert ledger.n_written == 50_000
    assert ledger.labels.shape[0] <= 512


def test_leads_follow_their_labels_when_old_slots_are_forgotten(device: torch.device) -> None:
    ledger = Ledger(device, capacity=4)
    assert ledger.leads is None
    for step in range(20):
        ledger.reserve(3, oldest=max(3 * step - 3, 0))
        ledger.write(torch.full((3,), step, device=device))
        ledger.last_leads(3).copy_(torch.tensor([step / 2, step, 1]))
    slots = [59, 56, 54]
    assert ledger.leads is not None
    assert ledger.leads[torch.from_numpy(ledger.places(np.array(slots)))].tolist() == [
        [9.5, 19, 1],
        [9.0, 18, 1],
        [9.0, 18, 1],
    ]
    assert read(ledger, slots) == [19, 18, 18]


def test_the_ledger_grows_while_slots_are_still_unwritten() -> None:
    ledger = Ledger(torch.device("cpu"), capacity=4)
    ledger.reserve(3, oldest=0)
    ledger.write(torch.tensor([1, 2, 3]))
    ledger.reserve(100, oldest=0)
    ledger.write(torch.arange(100))
    assert read(ledger, [0, 2, 3, 102]) == [1, 3, 0, 99]
