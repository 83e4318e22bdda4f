"""What the fuzz tests of both explainers share: state that must be as it was, and facts that must be the same."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, settings
from torch import nn

from torch_anchors.explanation import Explanation

# The checker of types that the tests install draws random numbers itself: these tests are run without it.
FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],  # what fails is small enough; making it smaller takes minutes
)
MANY = settings(FEW, max_examples=2000)


def global_state() -> list[Any]:
    """All of a process that an explanation could change for others."""
    names = ("MT19937", "keys", "pos")
    numpy_state = np.random.get_state()  # noqa: NPY002 - it is the global one that must be left alone
    return [
        hash(random.getstate()),
        dict(zip(names, [numpy_state[0], numpy_state[1].tobytes(), numpy_state[2]], strict=True)),
        torch.get_rng_state().numpy().tobytes(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        list(warnings.filters),
        np.geterr(),
    ]


def model_state(model: Any) -> list[Any]:
    """Modes, parameters and buffers of a module; nothing of a function."""
    if not isinstance(model, nn.Module):
        return []
    tensors = {name: value.clone().tolist() for name, value in model.state_dict().items()}
    return [tensors, [part.training for part in model.modules()], [p.requires_grad for p in model.parameters()]]


@contextmanager
def untouched(model: Any, *given: Any) -> Iterator[None]:
    """Nothing global, nothing of the model and none of the arrays, tensors and tables given is changed in the block."""
    before, of_model, copies = global_state(), model_state(model), [bytes_of(one) for one in given]
    yield
    assert global_state() == before
    assert model_state(model) == of_model
    assert [bytes_of(one) for one in given] == copies


def bytes_of(given: Any) -> Any:
    """The values of an array, a tensor, a table or a list of these."""
    if isinstance(given, (list, tuple)):
        return [bytes_of(one) for one in given]
    if isinstance(given, torch.Tensor):
        given = given.detach().numpy()
    return given.tobytes() if isinstance(given, np.ndarray) else given.to_csv()


def facts(explanation: Explanation) -> tuple[Any, ...]:
    """What must not depend on the company, the order or the size of batches."""
    return (
        explanation.features,
        explanation.names,
        explanation.precision,
        explanation.precision_interval,
        explanation.coverage,
        explanation.status,
        explanation.label,
        explanation.n_rows,
        explanation.path,
        explanation.others,
    )


def check_promises(explanation: Explanation, threshold: float) -> None:
    """What every explanation says of itself, and that it can be said."""
    low, high = explanation.precision_interval
    assert 0 <= low <= explanation.precision <= high <= 1
    assert 0 <= explanation.coverage <= 1
    assert not explanation.success or low >= threshold - 1e-9
    assert list(explanation.features) == sorted(set(explanation.features))
    assert explanation.label_words in str(explanation)
    assert all(other.precision_interval[0] >= threshold - 1e-9 for other in explanation.others if other.success)
    members = [feature for anchor in explanation.anchors for feature in anchor.features]
    assert len(members) == len(set(members))
    assert explanation.to_json()
    assert explanation.raw["prediction"].tolist() == [explanation.label]
