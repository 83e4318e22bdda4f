"""The keys of the reference's dictionaries."""

from __future__ import annotations

import torch_anchors
from torch_anchors.reference.defaults import DEFAULT_DATA_ANCHOR_IMG, DEFAULT_META_ANCHOR


def test_the_keys_are_those_of_the_reference() -> None:
    assert list(DEFAULT_META_ANCHOR) == ["name", "type", "explanations", "params", "version"]
    assert DEFAULT_META_ANCHOR["type"] == ["blackbox"]
    assert DEFAULT_META_ANCHOR["explanations"] == ["local"]
    assert list(DEFAULT_DATA_ANCHOR_IMG) == ["anchor", "segments", "precision", "coverage", "raw"]


def test_they_can_be_had_from_the_package() -> None:
    assert torch_anchors.DEFAULT_META_ANCHOR is DEFAULT_META_ANCHOR
    assert torch_anchors.DEFAULT_DATA_ANCHOR_IMG is DEFAULT_DATA_ANCHOR_IMG
