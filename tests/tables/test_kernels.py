"""How many kernels a GPU that is not there is told to start for a round of a table's rows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.kernels import Launches
from tests.test_fake_cuda import CUDA, RealHost
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import Anchor, SampleRequest
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

MOST = 25
"""Kernels of a round, and one more that writes fixed columns."""

RNG = np.random.default_rng(0)
ROWS = np.column_stack([*RNG.normal(size=(6, 500)), *RNG.integers(0, 3, (6, 500))])
N_CATEGORIES = [None] * 6 + [3] * 6


def sampler_of(instances: Any = ROWS[:64], **settings: Any) -> RowSampler:
    return RowSampler(TrainingRows.fit(ROWS, N_CATEGORIES), instances, **settings)


def kernels_of_a_round(sampler: RowSampler, anchors: list[Anchor]) -> int:
    """Kernels and copies to draw rows for anchors of different instances, and to render them."""
    with FakeTensorMode() as gpu, RealHost(gpu):
        there = copy.copy(sampler)
        there.device, there.training = CUDA, sampler.training.to(CUDA)
        there.predicates, there._fixed = sampler.predicates.to(CUDA), sampler._fixed.to(CUDA)
        buffer = there.empty(16 * len(anchors))
        orders = [
            Order(SampleRequest(anchor, 9 + i % 7), np.random.default_rng(i), i) for i, anchor in enumerate(anchors)
        ]
        launches = Launches()
        for _ in range(2):  # conditions are packed when they are first asked for
            with launches:
                drawn = there.draw(orders)
                rows = torch.cat(drawn)
                there.render(rows, out=buffer[: len(rows)])
            n, launches = sum(launches.found.values()), Launches()
    return n


def some_anchors(sampler: RowSampler, n: int, size: int) -> list[Anchor]:
    """Anchors of the first instances, that name up to `size` columns."""
    rng = np.random.default_rng(n)
    found = []
    for i in range(n):
        columns = np.array([column for column, _, _ in sampler.bins(i, tuple(sampler.ids(i)))])
        _, first = np.unique(columns, return_index=True)
        found.append(tuple(sorted(rng.choice(first, size - i % 2, replace=False).tolist())))
    return found


@pytest.mark.parametrize("settings", [{}, {"sampling": "conditional"}, {"fixed": (0,)}])
@pytest.mark.parametrize("size", [2, 5, 11])
def test_a_round_is_a_few_kernels_whatever_the_number_of_orders(settings: dict[str, Any], size: int) -> None:
    sampler = sampler_of(**settings)
    counts = {kernels_of_a_round(sampler, some_anchors(sampler, n, size)) for n in (1, 2, 8, 64)}
    assert len(counts) == 1
    assert counts.pop() <= MOST + ("fixed" in settings)


@pytest.mark.filterwarnings("ignore:No training row has")
def test_values_that_no_training_row_has_take_a_copy_and_a_kernel_more() -> None:
    known, unknown = sampler_of(ROWS[:8]), sampler_of(np.where(np.arange(12) == 11, 7, ROWS[:8]))
    anchors = [(0, 23)] * 8  # the last predicate is on the category that no training row has
    assert kernels_of_a_round(unknown, anchors) == kernels_of_a_round(known, anchors) + 2
