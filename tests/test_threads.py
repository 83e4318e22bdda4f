"""Several threads share an explainer: same explanations as from one, and the module's modes are restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torch_anchors import AnchorImage, AnchorTabular
from torch_anchors.tables import conditions

N_THREADS = 8
N_IMAGES, N_ROWS = 24, 12
"""Explanations of each test; ``pytest -m slow`` makes many more."""


class Network(nn.Module):
    """A small network that answers otherwise in training mode, and counts the passes in which it was there."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(n_features, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3))
        self.n_trained = 0

    def forward(self, rows: Tensor) -> Tensor:
        self.n_trained += self.training
        return self.layers(rows)


def outcome(explanation: Any) -> tuple[Any, ...]:
    return (
        explanation.features,
        explanation.precision,
        explanation.precision_interval,
        explanation.coverage,
        explanation.label,
        explanation.n_rows,
    )


def in_threads(explain: Callable[[Any], Any], instances: list[Any]) -> list[tuple[Any, ...]]:
    with ThreadPoolExecutor(N_THREADS) as pool:
        return [outcome(one) for one in pool.map(explain, instances)]


@pytest.fixture(autouse=True)
def _one_thread_each() -> Iterator[None]:
    """Eight threads of Python with several of PyTorch's each would mostly wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def network() -> Network:
    module = Network(3 * 12 * 12).train()
    module.layers[1].eval()  # parts of one module may differ
    return module


def modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


@pytest.mark.parametrize("n", [N_IMAGES, pytest.param(100, marks=pytest.mark.slow)])
def test_images(network: Network, n: int) -> None:
    images = list(torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(1)))
    kinds: dict[str, Any] = {"segmentation_fn": "grid", "segmentation_kwargs": {"rows": 3, "cols": 3}, "seed": 0}
    explainer, before = AnchorImage(network, **kinds, max_rows=16), modes(network)
    found = in_threads(lambda image: explainer.explain(image, threshold=0.8), images)
    assert network.n_trained == 0
    assert modes(network) == before
    assert found == [outcome(AnchorImage(network, **kinds).explain(image, threshold=0.8)) for image in images]


@pytest.mark.parametrize("n", [N_ROWS, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_tables(sampling: str, n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "MAX_SETS", 24)  # few, so that conditions are forgotten and packed again
    rows = np.random.default_rng(0).normal(size=(600, 6))
    module = Network(6).train()
    explainer = AnchorTabular(module, seed=0, sampling=sampling).fit(rows)
    alone = AnchorTabular(module, seed=0, sampling=sampling).fit(rows)
    explained = list(rows[:n])
    found = in_threads(lambda row: explainer.explain(row, threshold=0.8), explained)
    assert module.n_trained == 0
    assert all(modes(module))
    assert found == [outcome(alone.explain(row, threshold=0.8)) for row in explained]
    assert len({features for features, *_ in found}) > 4


def test_each_thread_has_its_latest_label() -> None:
    rows = np.linspace(-1, 1, 200)[:, None]
    explainer = AnchorTabular(lambda x: (x[:, 0] > 0).astype(int), seed=0).fit(rows)
    assert explainer.instance_label is None

    def labels(value: float) -> list[int | None]:
        seen = []
        for _ in range(20):
            explainer.explain([value])
            seen.append(explainer.instance_label)
        return seen

    with ThreadPoolExecutor(2) as pool:
        low, high = pool.map(labels, [-0.9, 0.9])
    assert set(low) == {0}
    assert set(high) == {1}
    assert explainer.instance_label is None
