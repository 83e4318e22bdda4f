"""Models that write each answer where the one before was, as modules do that are replayed as CUDA graphs.

PyTorch's mode "reduce-overhead" makes such modules on a GPU. Explanations are those of the model that does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torch_anchors import AnchorImage, AnchorTabular, TopK, Within

PHOTOGRAPHS = [np.random.default_rng(i).random((24, 16 + 8 * (i % 2), 3), dtype=np.float32) for i in range(4)]
ROWS = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)


class Static(nn.Module):
    """Answers of a module in one piece of memory; what is left of the answer before is no number of it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.memory = inner, torch.zeros(0)

    def forward(self, rows: Tensor) -> Tensor:
        answer = self.inner(rows)
        n = answer.numel()
        if len(self.memory) < n or self.memory.dtype != answer.dtype:
            self.memory = torch.zeros(2 * n, dtype=answer.dtype)
        self.memory.fill_(-7)
        return self.memory[:n].view(answer.shape).copy_(answer)


class Classifier(nn.Module):
    """A network on pictures; with `labels`, it says only which class."""

    def __init__(self, *, labels: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 5)
        )
        self.labels = labels

    def forward(self, rows: Tensor) -> Tensor:
        scores = self.layers(rows)
        return scores.argmax(1) if self.labels else scores


def of_table(n_outputs: int) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, n_outputs))


def told(explanation: Any) -> tuple[Any, ...]:
    examples = explanation.examples
    return explanation.names, explanation.label, explanation.precision, explanation.n_rows, len(examples)


@pytest.mark.parametrize("max_rows", [7, 64])
@pytest.mark.parametrize(("labels", "asked"), [(True, {}), (False, {}), (False, {"target": TopK(2)})])
def test_images_of_two_sizes(labels: bool, asked: dict[str, Any], max_rows: int) -> None:
    """Two sizes are two forward passes for one batch; the first rows are also asked for twice."""
    found = []
    for wrap in (Static, nn.Sequential):
        model = wrap(Classifier(labels=labels))
        explainer = AnchorImage(model, dtype=torch.float32, segmentation_fn="grid", fill=0.0, seed=0, max_rows=max_rows)
        found.append([told(one) for one in explainer.explain_batch(PHOTOGRAPHS, threshold=0.9, **asked)])
    assert found[0] == found[1]


@pytest.mark.parametrize(("n_outputs", "asked"), [(3, {}), (1, {"target": Within(0.5)})])
@pytest.mark.parametrize("sampling", ["interventional", "conditional"])
def test_rows_of_a_table(sampling: str, n_outputs: int, asked: dict[str, Any]) -> None:
    """The training rows are labelled in several passes."""
    found = []
    for wrap in (Static, nn.Sequential):
        explainer = AnchorTabular(wrap(of_table(n_outputs)), list("abcd"), sampling=sampling, seed=0, max_rows=64)
        explainer.fit(ROWS)
        found.append([told(one) for one in explainer.explain_batch(ROWS[:4], **asked)])
    assert found[0] == found[1]
