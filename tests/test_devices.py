"""Devices that a user names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torch_anchors._devices import dtype_of_products, named_device, require_present
from torch_anchors.errors import ArgumentError


@pytest.mark.parametrize("name", ["cpu", "cuda:1", torch.device("mps"), "meta"])
def test_a_device_has_a_name(name: Any) -> None:
    assert named_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["gpu", "", 1.5, None, ["cpu"], "cuda:x"])
def test_other_names_are_an_error(name: Any) -> None:
    with pytest.raises(ArgumentError, match="device must be a torch device such as"):
        named_device(name)


def test_a_device_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    require_present(torch.device("cpu"))
    require_present(torch.device("meta"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ArgumentError, match=r'one that this machine has, got "cuda". Use device="cpu"'):
        require_present(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_present(torch.device("cuda:1"))
    with pytest.raises(ArgumentError, match=r'one of the 2 that this machine has, got "cuda:2". Use "cuda:0"'):
        require_present(torch.device("cuda:2"))


def test_products_are_of_the_same_digits_on_all_devices_that_have_them() -> None:
    types = {name: dtype_of_products(torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert types == {"cpu": torch.float64, "cuda": torch.float64, "mps": torch.float32}
