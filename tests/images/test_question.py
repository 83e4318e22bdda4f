"""The parameters of the explainer's methods."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.images.question import ImageQuestion, ImagesQuestion


@pytest.mark.parametrize(("question", "first"), [(ImageQuestion, "image"), (ImagesQuestion, "images")])
def test_what_is_explained_comes_first_and_is_no_setting(question: Any, first: str) -> None:
    assert fields(question)[0].name == first
    asked = question(object(), threshold=0.8)
    assert first not in asked.params()
    assert asked.params()["threshold"] == 0.8
    assert "progress" not in asked.params()
    with pytest.raises(ArgumentError, match="threshold must be"):
        question(object(), threshold=2.0)
    with pytest.raises(ArgumentError, match="p_sample must be a probability"):
        question(object(), p_sample=0.0)
    assert question(object(), 1.0).params()["p_sample"] == 1
