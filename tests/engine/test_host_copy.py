"""A tensor that is copied to the host."""

from __future__ import annotations

import torch

from torch_anchors.engine.host_copy import HostCopy


def test_the_copy_has_the_values_and_type_of_when_it_was_started(device: torch.device) -> None:
    source = torch.arange(6, device=device).reshape(2, 3)
    copy = HostCopy(source.clone())
    assert copy.wait().device.type == "cpu"
    assert torch.equal(copy.wait(), source.cpu())
    assert copy.wait().dtype == torch.int64
