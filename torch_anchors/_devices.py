"""Devices that a user names."""

from __future__ import annotations

from typing import Any

import torch

from torch_anchors._checks import said
from torch_anchors.errors import ArgumentError


def named_device(device: Any) -> torch.device:
    """The device of that name, whether or not this machine has it.

    Raises:
        ArgumentError: PyTorch knows no such device.
    """
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentError(f'device must be a torch device such as "cpu" or "cuda:0", got {said(device)}.') from error


def require_present(device: torch.device) -> None:
    """Raises an ArgumentError where this machine has no such device."""
    if device.type in ("cpu", "meta"):
        return
    backend = getattr(torch, device.type, None)
    if backend is None or not hasattr(backend, "is_available") or not backend.is_available():
        raise ArgumentError(f'device must be one that this machine has, got "{device}". Use device="cpu".')
    if device.index is not None and device.index >= backend.device_count():
        raise ArgumentError(
            f'device must be one of the {backend.device_count()} that this machine has, got "{device}". Use '
            f'"{device.type}:0".'
        )


def dtype_of_products(device: torch.device) -> torch.dtype:
    """What to multiply and convolve in, so that the result depends neither on the size of a batch nor on the device.

    Double precision: on CUDA, products of single precision may be of fewer digits (TF32). Apple's GPUs have no doubles.
    """
    return torch.float32 if device.type == "mps" else torch.float64
