"""Examples, the nearest miss and effects, against loops over the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.asks import K, answered, ask_of, last_ask, ledger_of, masks, not_independent, not_repeatable, strip
from tests.engine.cases import FreshRows, Strip, job_of
from torch_anchors.engine import effects as effects_module
from torch_anchors.engine.effects import mask_shares, of_rows
from torch_anchors.engine.job import Job, LastRequest, RowsRequest
from torch_anchors.engine.last_replies import AskLast, AskRows, Shown, Unseen, enter_last, enter_rows
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.outputs import INVALID
from torch_anchors.perturb.masks import pack
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import EnumerateRequest


def told(ledger: Ledger, job: Job, slots: np.ndarray, codes: Any, of_anchor: np.ndarray | None = None) -> Job:
    """The job when it has been told of its rows; of those that only the device has, in a second request."""
    answered(ledger, [last_ask(job, slots, codes, of_anchor)])
    if job.unseen is not None:
        answered(ledger, [ask_of(RowsRequest(), job, np.zeros(0, dtype=np.int64), codes, 0, 0, -1)])
    return job


@pytest.mark.parametrize("n_examples", [0, 2, 50])
@pytest.mark.parametrize("sampler", [strip(), not_repeatable(), not_independent(), FreshRows()])
def test_examples_are_the_first_hits_and_the_first_misses_of_the_anchor(
    sampler: Any, n_examples: int, device: torch.device
) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(3, 6, 40)
    ledger = ledger_of(labels.tolist(), device)
    job = job_of(sampler, n_examples=n_examples, first_slot=2)
    slots, own = rng.permutation(40)[:25], rng.random(25) < 0.8
    on_host = isinstance(sampler, Strip)
    codes = torch.from_numpy(pack(masks(rng, 25))) if on_host else torch.rand(25, 3, device=device)
    told(ledger, job, slots, codes, own)
    rows = [i for i in range(25) if own[i] and slots[i] != 2]
    hits = [i for i in rows if labels[slots[i]] == labels[2]]
    misses = [i for i in rows if labels[slots[i]] != labels[2]]
    shown = hits[:n_examples] + misses[:n_examples]
    assert (job.label, job.answer) == (labels[2], labels[2])
    assert job.examples.hits.tolist() == [i in hits for i in shown]
    assert job.examples.labels.tolist() == labels[slots[shown]].tolist()
    assert (job.examples.of_hits, job.examples.of_misses) == (len(hits), len(misses))
    np.testing.assert_array_equal(job.examples.codes, codes.cpu().numpy()[shown])


def test_the_instance_is_an_example_only_where_there_is_no_other_row_of_the_anchor(device: torch.device) -> None:
    ledger, codes = ledger_of([1, 1, 0], device), torch.from_numpy(pack(np.ones((3, K), dtype=bool)))
    for own, expected in [([1, 0, 0], [1]), ([1, 0, 1], [0]), ([1, 1, 1], [1, 0]), ([0, 0, 0], [])]:
        job = told(ledger, job_of(strip()), np.arange(3), codes, np.array(own, dtype=bool))
        assert job.examples.labels.tolist() == expected


def test_only_labels_are_copied_of_rows_that_the_host_has(device: torch.device) -> None:
    """Rows that are drawn on the device follow, but only those that are shown."""
    for sampler, n_unseen in [(strip(), 0), (not_repeatable(), 0), (not_independent(), 0), (FreshRows(), 4)]:
        job = job_of(sampler, n_examples=2)
        on_host = isinstance(sampler, Strip)
        codes = torch.from_numpy(pack(masks(np.random.default_rng(0), 9))) if on_host else torch.rand(9, 3).to(device)
        ask = last_ask(job, np.arange(1, 10), codes)
        answered(ledger_of([1, *[0, 1] * 4, 0], device), [ask])
        assert ask.n_numbers == 10
        assert (0 if job.unseen is None else len(job.unseen.rows.places)) == n_unseen


@pytest.mark.parametrize("value", [1 / 3, 2.0**40 + 1, -1e-200, 16_777_217.0])
def test_values_of_a_row_come_back_as_they_are(value: float, device: torch.device) -> None:
    if device.type == "mps":
        pytest.skip("has no float64")
    job, codes = job_of(FreshRows()), torch.full((2, 3), value, dtype=torch.float64, device=device)
    told(ledger_of([1, 1, 0], device), job, np.array([1, 2]), codes)
    assert job.examples.codes.tolist() == [[value] * 3] * 2


@pytest.mark.parametrize(("changes", "hides"), [(False, False), (True, True)])
@pytest.mark.parametrize("label", [None, 2])
def test_the_nearest_miss_is_the_first_row_of_another_label_with_the_fewest_changes(
    label: int | None, changes: bool, hides: bool, device: torch.device
) -> None:
    rng = np.random.default_rng(6)
    for n in (1, 7, 40):
        labels = np.append(1, rng.choice([1, 2, 3, INVALID], n, p=[0.7, 0.1, 0.1, 0.1]))
        job = job_of(Strip(K, hides=hides, device=device), label, changes=changes)
        holds = masks(rng, n)
        told(ledger_of(labels.tolist(), device), job, np.arange(1, n + 1), torch.from_numpy(pack(holds)))
        n_hidden = (holds if hides else ~holds).sum(1)
        explained = 1 if label is None else label
        found = [i for i in range(n) if labels[i + 1] not in (explained, INVALID)]
        if not found:
            assert job.nearest_miss is None
            continue
        first = min(found, key=lambda i: (n_hidden[i], i))
        assert job.nearest_miss.code.tolist() == pack(holds)[first].tolist()
        assert job.nearest_miss.label == labels[first + 1]


def test_the_instance_is_no_miss_of_a_label_that_was_given(device: torch.device) -> None:
    """It has the fewest changes, none, but there is nothing to learn of it."""
    holds = np.ones((3, K), dtype=bool)
    holds[1:, :3] = False
    job = job_of(strip(), 7)
    told(ledger_of([1, 7, 2], device), job, np.arange(3), torch.from_numpy(pack(holds)))
    assert job.nearest_miss.label == 2
    job = job_of(strip(), 7)
    told(ledger_of([1, 7, 7], device), job, np.arange(3), torch.from_numpy(pack(holds)))
    assert job.nearest_miss is None


def test_a_nearest_miss_among_many_rows_is_found_part_by_part(device: torch.device, monkeypatch: Any) -> None:
    rng, n = np.random.default_rng(3), 100
    labels, holds = rng.integers(0, 2, n + 1), masks(rng, n)
    found = []
    for rows_at_once in (1 << 18, 7):
        monkeypatch.setattr(AskLast, "ROWS_AT_ONCE", rows_at_once)
        job = job_of(strip())
        told(ledger_of(labels.tolist(), device), job, np.arange(1, n + 1), torch.from_numpy(pack(holds)))
        found.append((job.nearest_miss.code.tolist(), job.nearest_miss.label))
    assert found[0] == found[1]


class Compared(FreshRows):
    """Fresh rows that are compared with the instance, which is 1 everywhere."""

    def n_changes(self, codes: torch.Tensor, instance: Any) -> torch.Tensor:
        return (codes != 1.0).sum(1)


class FromMany(FreshRows):
    """Fresh rows of many instances, each of which is its own number everywhere."""

    def n_changes(self, codes: torch.Tensor, instance: Any) -> torch.Tensor:
        return (codes != torch.as_tensor(instance).to(codes.device).reshape(-1, 1)).sum(1)


def test_rows_of_many_instances_of_one_sampler_are_compared_and_shown_together(
    device: torch.device, monkeypatch: Any
) -> None:
    rng, sampler = np.random.default_rng(0), FromMany()
    ledger, found = ledger_of(rng.integers(0, 2, 40).tolist(), device), []
    rows = torch.from_numpy(rng.integers(0, 4, (5, 6, 3))).float().to(device)

    def jobs() -> list[Job]:
        return [job_of(sampler, label=1, first_slot=i, instance=i, n_examples=2) for i in range(4)]

    def asks(jobs: list[Job]) -> list[AskLast]:
        return [last_ask(job, np.arange(6 * i, 6 * i + 6), rows[i]) for i, job in enumerate(jobs)]

    for rows_at_once in (1 << 18, 5):
        monkeypatch.setattr(AskLast, "ROWS_AT_ONCE", rows_at_once)
        together, alone = jobs(), jobs()
        answered(ledger, asks(together))
        for ask in asks(alone):
            answered(ledger, [ask])
        answered(ledger, [enter_rows(job, RowsRequest()) for job in together])
        for job in alone:
            answered(ledger, [enter_rows(job, RowsRequest())])
        found += [[(str(job.examples), str(job.nearest_miss)) for job in some] for some in (together, alone)]
    assert found[0] == found[1] == found[2] == found[3]
    assert len({miss for _, miss in found[0]}) > 1


def test_a_nearest_miss_that_the_host_does_not_have_comes_back_as_it_is(device: torch.device) -> None:
    rows = torch.rand(6, 3, device=device)
    rows = rows.double() if device.type != "mps" else rows
    rows[3, :2] = 1.0
    job = told(ledger_of([1, 0, 0, 1, 1, 1, 1], device), job_of(Compared()), np.arange(1, 7), rows)
    assert job.nearest_miss.code.tolist() == rows[0].tolist()
    job = told(ledger_of([1, 0, 0, 1, 5, 1, 1], device), job_of(Compared()), np.arange(1, 7), rows)
    assert (job.nearest_miss.code.tolist(), job.nearest_miss.label) == (rows[3].tolist(), 5)
    job = told(ledger_of([1, 1, 1, INVALID, 1, 1, 1], device), job_of(Compared()), np.arange(1, 7), rows)
    assert job.nearest_miss is None


def test_samplers_that_do_not_compare_have_no_nearest_miss_and_no_effects(device: torch.device) -> None:
    job = told(ledger_of([1, 0, 1], device), job_of(FreshRows()), np.arange(1, 3), torch.rand(2, 3, device=device))
    assert job.examples.labels.tolist() == [1, 0]
    assert job.nearest_miss is None
    assert job.effects is None


@pytest.mark.parametrize("label", [-1, 0, 9_999_999, INVALID, (1 << 40) + 1])
@pytest.mark.parametrize("sampler", [strip(), FreshRows()])
def test_the_explained_label_comes_back_whatever_it_is(sampler: Any, label: int, device: torch.device) -> None:
    if device.type == "mps" and label > 1 << 24 and label != INVALID:
        pytest.skip("has no float64")
    on_host = isinstance(sampler, Strip)
    codes = torch.zeros(2, 2, dtype=torch.uint8) if on_host else torch.zeros(2, 3, device=device)
    job = told(ledger_of([label, label, 5], device), job_of(sampler), np.array([1, 2]), codes)
    assert job.label == label
    assert job.examples.hits.tolist() == ([False, False] if label == INVALID else [True, False])
    assert job.examples.labels.tolist() == [label, 5]


def test_effects_are_a_regression_on_the_rows_at_hand(device: torch.device) -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 2, 90)
    labels[5] = INVALID
    ledger = ledger_of(labels.tolist(), device)
    asks, expected = [], []
    for n, label in ((80, None), (3, 1), (30, 1), (1, 0)):
        slots, keep = rng.permutation(90)[:n], masks(rng, n)
        asks.append(last_ask(job_of(strip(), label), slots, torch.from_numpy(pack(keep))))
        expected.append(of_rows(keep, labels[slots] == (labels[0] if label is None else label)))
    answered(ledger, asks)
    for ask, effects in zip(asks, expected, strict=True):
        assert ask.job.effects.tolist() == effects.tolist()


@pytest.mark.parametrize("p_sample", [0.5, 0.2, 1.0])
@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_effects_of_all_rows_that_there_are_are_exact(
    p_sample: float, n_backgrounds: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P(hit | shown) - P(hit | hidden); with even odds where parts are never shown, for which both have no meaning."""
    monkeypatch.setattr(effects_module, "_ROWS_AT_ONCE", 9)
    sampler = Strip(5, n_backgrounds, p_sample=p_sample)
    (codes,) = sampler.draw([Order(EnumerateRequest(()), np.random.default_rng(0))])
    codes = torch.unique(codes, dim=0)
    labels = np.random.default_rng(7).integers(0, 2, len(codes))
    job = told(ledger_of(labels.tolist(), device), job_of(sampler, label=1), np.arange(len(codes)), codes)
    keep = sampler.keep(codes).numpy()
    p_keep = 1 - p_sample if p_sample < 1 else 0.5
    shares = mask_shares(keep, p_keep, n_backgrounds)
    expected = [
        shares[keep[:, k]] @ labels[keep[:, k]] / p_keep - shares[~keep[:, k]] @ labels[~keep[:, k]] / (1 - p_keep)
        for k in range(5)
    ]
    assert job.effects.tolist() == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("label", [None, 4])
def test_no_known_row_is_no_example(label: int | None, device: torch.device) -> None:
    job = told(ledger_of([4], device), job_of(FreshRows(), label), np.zeros(0, dtype=np.int64), None)
    assert (job.label, job.answer) == (4, 4)
    assert job.examples.labels.size == job.examples.hits.size == len(job.examples.codes) == 0
    assert job.unseen is None


def test_a_search_that_ends_looks_up_all_rows_of_its_job_and_then_those_that_are_shown() -> None:
    job = job_of(FreshRows(1), first_slot=5)
    for first, anchor in [(6, (0,)), (8, ()), (10, (0,))]:
        rows = torch.arange(first, first + 2, dtype=torch.float64)[:, None]
        job.memory.add(anchor, rows, job.memory.split(rows, first)[0])
    ask = enter_last(job, LastRequest((0,)))
    assert ask.slots.tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert ask.of_anchor.tolist() == [True, True, False, False, True, True]
    assert ask.last_slot == 11
    shown = Shown(np.array([4, 0]), np.array([1, 0]), np.array([True, False]), False, 1, 1)
    job.unseen = Unseen(shown, ask.codes)
    rows = enter_rows(job, RowsRequest())
    assert isinstance(rows, AskRows)
    assert rows.n_numbers == 2
    answered(ledger_of([0], torch.device("cpu")), [rows])
    assert job.examples.codes.tolist() == [[10.0], [6.0]]
    assert job.unseen is None
