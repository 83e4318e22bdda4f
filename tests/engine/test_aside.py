"""Work aside from the batches under way."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from torch_anchors.engine.aside import aside


def test_a_gpu_has_a_stream_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    streams: list[Any] = []

    class Stream:
        def __init__(self, device: torch.device) -> None:
            self.device = device

        def __enter__(self) -> None:
            streams.append(self.device)

        def __exit__(self, *_: object) -> None:
            streams.append("left")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    with aside(torch.device("cuda", 1)):
        assert streams == [torch.device("cuda", 1)]
    assert streams[1:] == ["left"]


def test_what_is_copied_aside_is_what_there_is(device: torch.device) -> None:
    there = torch.arange(5, device=device)
    with aside(device):
        assert there[1:3].cpu().tolist() == [1, 2]
