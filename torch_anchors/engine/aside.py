"""Work of a device that does not queue behind the batches that it has still to compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def aside(device: torch.device) -> Iterator[None]:
    """A stream of its own while this lasts, so that copying something to the host does not wait for all other work.

    Only for tensors that are finished, as those are of which a batch was made that the host has the answers of: nothing
    is waited for. Devices without such streams do it in turn.

    Args:
        device: of the tensors.
    """
    if device.type != "cuda":
        yield
        return
    with torch.cuda.stream(torch.cuda.Stream(device)):  # type: ignore[no-untyped-call]
        yield
