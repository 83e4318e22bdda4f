"""Keep-masks of superpixels as packed bits: eight superpixels a byte, superpixel k in bit k % 8 of byte k // 8."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, UInt8
from torch_anchors.search.protocol import Anchor


def n_bytes(n_predicates: int) -> int:
    """Bytes of a packed mask of `n_predicates` superpixels."""
    return -(-n_predicates // 8)


def pack(keep: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Packed masks (n, bytes) of boolean masks (n, K)."""
    return np.packbits(keep, axis=1, bitorder="little")


def unpack(codes: UInt8[Tensor, "rows width"], n_predicates: int) -> Bool[Tensor, "rows predicates"]:
    """Boolean masks (n, K) of packed ones, on their device; bytes beyond the mask's are ignored."""
    if codes.device.type == "cpu":
        return torch.from_numpy(unpack_on_host(codes.numpy(), n_predicates))
    bits = torch.arange(8, dtype=torch.uint8, device=codes.device)
    packed = codes[:, : n_bytes(n_predicates), None]  # (n, bytes, 1)
    return ((packed >> bits) & 1).view(torch.bool).flatten(1)[:, :n_predicates]  # (n, bytes, 8) -> (n, K)


def holds(codes: NDArray[np.uint8], anchor: Anchor) -> NDArray[np.bool_]:
    """Which of the packed masks keep every superpixel of `anchor`."""
    wanted: dict[int, int] = {}  # bits of the few bytes that have any
    for k in anchor:
        wanted[k >> 3] = wanted.get(k >> 3, 0) | 1 << (k & 7)
    held = np.ones(len(codes), dtype=bool)
    for byte, bits in wanted.items():
        held &= (codes[:, byte] & bits) == bits
    return held


def unpack_on_host(codes: NDArray[np.uint8], n_predicates: int) -> NDArray[np.bool_]:
    """As `unpack`, of arrays."""
    packed = codes[:, : n_bytes(n_predicates)]
    return np.unpackbits(packed, axis=1, count=n_predicates, bitorder="little").view(np.bool_)


def every_mask(anchor: Anchor, n_predicates: int) -> NDArray[np.bool_]:
    """All masks (2^free, K) that keep `anchor`; bit i of a row's number is the i-th superpixel outside it."""
    free = np.setdiff1d(np.arange(n_predicates), anchor)
    keep = np.ones((1 << free.size, n_predicates), dtype=bool)
    keep[:, free] = (np.arange(1 << free.size)[:, None] >> np.arange(free.size)) & 1
    return keep
