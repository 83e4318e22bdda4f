"""What the C library does with memory that is free again."""

from __future__ import annotations

import ctypes
import os

KEPT = 1 << 30
"""Bytes up to which freed memory is kept for the next forward pass."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> None:
    """Keep memory that is free again, where the C library is glibc and the user has set nothing of the kind.

    Otherwise the tensors of each forward pass on the CPU are given back to the system and asked for again, page by
    page. It is for a process of one's own, as it concerns all that runs in it.
    """
    if any(name in os.environ for name in _SETTINGS):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_M_TRIM_THRESHOLD, KEPT)
    mallopt(_M_MMAP_THRESHOLD, KEPT)
