"""Examples, the nearest miss and effects, against loops over the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.asks import K, answered, ask_of, ledger_of, masks, not_independent, not_repeatable, strip
from tests.engine.cases import FreshRows, Strip, job_of
from torch_anchors.engine.effects import mask_shares, of_rows
from torch_anchors.engine.job import EffectsRequest, ExamplesRequest, NearestMissRequest
from torch_anchors.engine.last_replies import AskEffects, AskNearestMiss
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.replies import (
    Ask,
)
from torch_anchors.perturb.masks import pack
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import EnumerateRequest


@pytest.mark.parametrize("n_examples", [0, 2, 50])
@pytest.mark.parametrize("sampler", [strip(), not_repeatable(), not_independent(), FreshRows()])
def test_examples_are_the_first_hits_and_the_first_misses(sampler: Any, n_examples: int, device: torch.device) -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(3, 6, 40)
    ledger = ledger_of(labels.tolist(), device)
    job = job_of(sampler, n_examples=n_examples, first_slot=2)
    slots = rng.permutation(40)[:25]
    on_host = isinstance(sampler, Strip)
    codes = torch.from_numpy(pack(masks(rng, 25))) if on_host else torch.rand(25, 3, device=device)
    answered(ledger, [ask_of(ExamplesRequest((1,)), job, slots, codes, 0, 0, 39)])
    hits = [i for i in range(25) if labels[slots[i]] == labels[2]][:n_examples]
    misses = [i for i in range(25) if labels[slots[i]] != labels[2]][:n_examples]
    assert job.label == labels[2]
    assert job.examples.hits.tolist() == [True] * len(hits) + [False] * len(misses)
    assert job.examples.labels.tolist() == labels[slots[hits + misses]].tolist()
    np.testing.assert_array_equal(job.examples.codes, codes.cpu().numpy()[hits + misses])


def test_only_rows_that_the_host_does_not_have_are_copied_to_it(device: torch.device) -> None:
    """Beyond two labels: a position and a label of each example, and of rows drawn on the device their values."""
    codes = torch.rand(9, 3, device=device)
    for sampler, width in [(strip(), 0), (not_repeatable(), 0), (not_independent(), 0), (FreshRows(), 3)]:
        ask = ask_of(ExamplesRequest(()), job_of(sampler), np.arange(9), codes, 0, 0, 8)
        assert ask.n_numbers == 2 + 2 * 3 * (2 + width)


@pytest.mark.parametrize("value", [1 / 3, 2.0**40 + 1, -1e-200, 16_777_217.0])
def test_values_of_a_row_come_back_as_they_are(value: float, device: torch.device) -> None:
    if device.type == "mps":
        pytest.skip("has no float64")
    job = job_of(FreshRows())
    codes = torch.full((2, 3), value, dtype=torch.float64, device=device)
    answered(ledger_of([1, 1, 0], device), [ask_of(ExamplesRequest(()), job, np.array([1, 2]), codes, 0, 0, 2)])
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
        ask = ask_of(NearestMissRequest(), job, np.arange(1, n + 1), torch.from_numpy(pack(holds)), 0, 0, n)
        answered(ledger_of(labels.tolist(), device), [ask])
        n_hidden = (holds if hides else ~holds).sum(1)
        explained = 1 if label is None else label
        found = [i for i in range(n) if labels[i + 1] not in (explained, INVALID)]
        if not found:
            assert job.nearest_miss is None
            continue
        first = min(found, key=lambda i: (n_hidden[i], i))
        assert job.nearest_miss.code.tolist() == pack(holds)[first].tolist()
        assert job.nearest_miss.label == labels[first + 1]


def test_a_nearest_miss_among_many_rows_is_found_part_by_part(device: torch.device, monkeypatch: Any) -> None:
    rng, n = np.random.default_rng(3), 100
    labels, holds = rng.integers(0, 2, n + 1), masks(rng, n)
    found = []
    for rows_at_once in (1 << 18, 7):
        monkeypatch.setattr(AskNearestMiss, "ROWS_AT_ONCE", rows_at_once)
        job = job_of(Strip(K, device=device))
        ask = ask_of(NearestMissRequest(), job, np.arange(1, n + 1), torch.from_numpy(pack(holds)), 0, 0, n)
        answered(ledger_of(labels.tolist(), device), [ask])
        found.append((job.nearest_miss.code.tolist(), job.nearest_miss.label))
    assert found[0] == found[1]


class Compared(FreshRows):
    """Fresh rows that are compared with the instance, which is 1 everywhere."""

    def n_changes(self, codes: torch.Tensor, instance: Any) -> torch.Tensor:
        return (codes != 1.0).sum(1)


def test_a_nearest_miss_that_the_host_does_not_have_comes_back_as_it_is(device: torch.device) -> None:
    rows = torch.rand(6, 3, device=device)
    rows = rows.double() if device.type != "mps" else rows
    rows[3, :2] = 1.0
    job = job_of(Compared())
    ask = ask_of(NearestMissRequest(), job, np.arange(1, 7), rows, 0, 0, 6)
    assert ask.n_numbers == 3 + 3
    answered(ledger_of([1, 0, 0, 1, 1, 1, 1], device), [ask])
    assert job.nearest_miss.code.tolist() == rows[0].tolist()
    job = job_of(Compared())
    ask = ask_of(NearestMissRequest(), job, np.arange(1, 7), rows, 0, 0, 6)
    answered(ledger_of([1, 0, 0, 1, 5, 1, 1], device), [ask])
    assert (job.nearest_miss.code.tolist(), job.nearest_miss.label) == (rows[3].tolist(), 5)


@pytest.mark.parametrize("label", [-1, 0, 9_999_999, INVALID, (1 << 40) + 1])
@pytest.mark.parametrize("sampler", [strip(), FreshRows()])
def test_the_explained_label_comes_back_whatever_it_is(sampler: Any, label: int, device: torch.device) -> None:
    if device.type == "mps" and label > 1 << 24 and label != INVALID:
        pytest.skip("has no float64")
    ledger = ledger_of([label, label, 5], device)
    job = job_of(sampler)
    on_host = isinstance(sampler, Strip)
    codes = torch.zeros(2, 2, dtype=torch.uint8) if on_host else torch.zeros(2, 3, device=device)
    answered(ledger, [ask_of(ExamplesRequest(()), job, np.array([1, 2]), codes, 0, 0, 2)])
    assert job.label == label
    assert job.examples.hits.tolist() == ([False, False] if label == INVALID else [True, False])
    assert job.examples.labels.tolist() == [label, 5]


def effects_ask(job: Any, slots: np.ndarray, keep: np.ndarray) -> Ask:
    return ask_of(EffectsRequest(), job, slots, torch.from_numpy(pack(keep)), 0, 0, int(slots.max()))


def test_effects_are_a_regression_on_the_rows_at_hand(device: torch.device) -> None:
    rng = np.random.default_rng(6)
    labels = rng.integers(0, 2, 90)
    labels[5] = INVALID
    ledger = ledger_of(labels.tolist(), device)
    asks, expected = [], []
    for n, label in ((80, None), (3, 1), (30, 1), (1, 0)):
        slots, keep = rng.permutation(90)[:n], masks(rng, n)
        asks.append(effects_ask(job_of(strip(), label), slots, keep))
        hits = (labels[slots] == (labels[0] if label is None else label)).astype(float)
        expected.append(of_rows(keep, hits.sum(), hits @ keep))
    answered(ledger, asks)
    for ask, effects in zip(asks, expected, strict=True):
        assert ask.job.effects.tolist() == effects.tolist()


@pytest.mark.parametrize("p_sample", [0.5, 0.2, 1.0])
@pytest.mark.parametrize("n_backgrounds", [1, 3])
def test_effects_of_all_rows_that_there_are_are_exact(
    p_sample: float, n_backgrounds: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P(hit | shown) - P(hit | hidden); with even odds where parts are never shown, for which both have no meaning."""
    monkeypatch.setattr(AskEffects, "ROWS_AT_ONCE", 9)
    sampler = Strip(5, n_backgrounds, p_sample=p_sample)
    (codes,) = sampler.draw([Order(EnumerateRequest(()), np.random.default_rng(0))])
    codes = torch.unique(codes, dim=0)
    labels = np.random.default_rng(7).integers(0, 2, len(codes))
    job = job_of(sampler, label=1)
    answered(
        ledger_of(labels.tolist(), device),
        [ask_of(EffectsRequest(), job, np.arange(len(codes)), codes, 0, 0, len(codes) - 1)],
    )
    keep = sampler.keep(codes).numpy()
    p_keep = 1 - p_sample if p_sample < 1 else 0.5
    shares = mask_shares(keep, p_keep, n_backgrounds)
    expected = [
        shares[keep[:, k]] @ labels[keep[:, k]] / p_keep - shares[~keep[:, k]] @ labels[~keep[:, k]] / (1 - p_keep)
        for k in range(5)
    ]
    assert job.effects.tolist() == pytest.approx(expected, abs=1e-6 if device.type == "mps" else 1e-13)


@pytest.mark.parametrize("label", [None, 4])
def test_no_known_row_is_no_example(label: int | None, device: torch.device) -> None:
    job = job_of(FreshRows(), label)
    asks = [ask_of(ExamplesRequest((2,)), job, np.zeros(0, dtype=np.int64), None, 0, 0, -1)]
    answered(ledger_of([4], device), asks)
    assert job.label == 4
    assert job.examples.labels.size == job.examples.hits.size == len(job.examples.codes) == 0
