"""Equal models have equal digests, in another process too; other weights, arrays or code have another."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from torch_anchors.engine.digest import digest_of


def net(seed: int = 0, stride: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 2, 3, stride=stride), nn.BatchNorm2d(2), nn.Flatten())


def with_other_mean(module: nn.Module) -> nn.Module:
    module[1].running_mean += 1  # type: ignore[index]
    return module


def closed_over(value: Any) -> Callable[[Any], Any]:
    return lambda x: x @ value


@dataclass(frozen=True)
class Scale:
    factor: float

    def __call__(self, x: Any) -> Any:
        return x * self.factor


class Counting:
    """A model that counts its calls, which makes it no other model."""

    def __init__(self, weights: Any) -> None:
        self.weights, self.n_calls, self.seen = weights, 0, ["a"]

    def predict(self, x: Any) -> Any:
        self.n_calls += 1
        return x @ self.weights


class Caching(Counting):
    def __getstate__(self) -> dict[str, Any]:
        return {"weights": self.weights}


OTHERS: dict[str, tuple[Any, Any]] = {
    "weights": (net(0), net(1)),
    "a stride": (net(0), net(0, stride=2)),
    "a buffer": (net(0), with_other_mean(net(0))),
    "an array in a closure": (closed_over(np.eye(2)), closed_over(np.ones((2, 2)))),
    "a module in a closure": (closed_over(net(0)), closed_over(net(1))),
    "a number in a closure": (closed_over(2), closed_over(3)),
    "code": (lambda x: x + 1, lambda x: x + 2),
    "a default": (lambda x, y=1: x, lambda x, y=2: x),
    "an argument of a partial": (functools.partial(max, 1), functools.partial(max, 2)),
    "a field of a dataclass": (Scale(1.0), Scale(2.0)),
    "an array of an object": (Counting(np.eye(2)).predict, Counting(np.ones((2, 2))).predict),
    "the kind of object": (Counting(np.eye(2)), Caching(np.eye(2))),
    "a type of array": (np.zeros(2, np.float32), np.zeros(2, np.int32)),
    "a shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "names": (np.array(["a", None], dtype=object), np.array(["b", None], dtype=object)),
    "a type of tensor": (torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16)),
    "an order": (["a", "b"], ["b", "a"]),
    "a kind of number": (1, True),
    "nothing": (None, ""),
}


@pytest.mark.parametrize("what", list(OTHERS))
def test_what_differs_has_another_digest(what: str) -> None:
    one, other = OTHERS[what]
    assert digest_of(one) == digest_of(one)
    assert digest_of(one) != digest_of(other)


def test_what_does_not_matter() -> None:
    model = Counting(np.eye(2))
    before = digest_of(model.predict)
    model.predict(np.ones(2))
    assert digest_of(model.predict) == before
    caching = Caching(np.eye(2))
    before = digest_of(caching)
    caching.cache = np.zeros(5)  # type: ignore[attr-defined]
    assert digest_of(caching) == before
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    assert digest_of(np.zeros((3, 2)).T) == digest_of(np.zeros((2, 3)))


def test_a_compiled_module_is_the_module() -> None:
    class Compiled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self._orig_mod = inner

    assert digest_of(Compiled(net())) == digest_of(net())


def test_code_of_scripts_counts() -> None:
    class Plus(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    class Minus(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - 1

    with pytest.warns((DeprecationWarning, FutureWarning)):
        plus, minus = torch.jit.script(Plus()), torch.jit.script(Minus())
    assert digest_of(plus) == digest_of(plus) != digest_of(minus)


def test_circles_end() -> None:
    circle: list[Any] = [1]
    circle.append(circle)
    assert digest_of(circle) == digest_of(circle)
    model = Counting(np.eye(2))
    model.seen = [model]  # type: ignore[list-item]
    assert digest_of(model)


ELSEWHERE = """
import torch
from torch import nn
from torch_anchors.engine.digest import digest_of
torch.manual_seed(0)
print(digest_of(nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten()), {"b": print, "a": 1.5}, object()))
"""


def test_it_is_the_same_in_another_process() -> None:
    found = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == digest_of(net(), {"b": print, "a": 1.5}, object())
