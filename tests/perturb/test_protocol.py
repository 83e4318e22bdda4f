"""What counts as a sampler, and what it is asked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.engine.cases import FreshRows, Strip
from torch_anchors.perturb.protocol import Order, Sampler
from torch_anchors.search.protocol import SampleRequest


@pytest.mark.parametrize("sampler", [Strip(3), FreshRows()])
def test_whatever_draws_and_renders_is_a_sampler(sampler: object) -> None:
    assert isinstance(sampler, Sampler)


@pytest.mark.parametrize(
    "missing", ["independent", "repeatable", "dtype", "draw", "instance_code", "row_shape", "empty", "render"]
)
def test_a_sampler_has_everything_that_the_engine_asks_of_it(missing: str) -> None:
    names = {"independent", "repeatable", "dtype", "draw", "instance_code", "row_shape", "empty", "render"}
    whole = type("Whole", (), dict.fromkeys(names, len))()
    assert isinstance(whole, Sampler)
    assert not isinstance(type("Part", (), dict.fromkeys(names - {missing}, len))(), Sampler)


def test_an_order_is_a_request_for_an_instance_from_a_stream() -> None:
    request, rng = SampleRequest((1,), 3), np.random.default_rng(0)
    order = Order(request, rng)
    assert (order.request, order.rng, order.instance) == (request, rng, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        order.instance = 4  # type: ignore[misc]
