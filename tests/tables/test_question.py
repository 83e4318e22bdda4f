"""The parameters of the explainer's methods."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from torch_anchors.errors import ArgumentError
from torch_anchors.tables.question import RowQuestion, RowsQuestion


@pytest.mark.parametrize(("question", "first"), [(RowQuestion, "X"), (RowsQuestion, "rows")])
def test_what_is_explained_comes_first_and_is_no_setting(question: Any, first: str) -> None:
    assert fields(question)[0].name == first
    asked = question(object(), threshold=0.8)
    assert first not in asked.params()
    assert asked.params()["threshold"] == 0.8
    assert "progress" not in asked.params()
    with pytest.raises(ArgumentError, match="threshold must be"):
        question(object(), threshold=2.0)
