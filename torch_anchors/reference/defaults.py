"""The keys of the reference's dictionaries."""

from __future__ import annotations

from typing import Any

DEFAULT_META_ANCHOR: dict[str, Any] = {
    "name": None,
    "type": ["blackbox"],
    "explanations": ["local"],
    "params": {},
    "version": None,
}
"""Keys of an explanation's ``meta``, as in the reference."""

DEFAULT_DATA_ANCHOR_IMG: dict[str, Any] = {
    "anchor": [],
    "segments": None,
    "precision": None,
    "coverage": None,
    "raw": None,
}
"""Keys of `ImageExplanation.data`, as in the reference."""
