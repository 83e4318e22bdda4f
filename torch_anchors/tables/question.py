"""What is asked of a table's row: the parameters of the explainer's methods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch_anchors.settings import NO_SETTING, ManyQuestion, OneQuestion


@dataclass(frozen=True)
class _OneRow:
    """What `AnchorTabular.explain` takes first.

    Args:
        X: the row: one-dimensional, or a table of one row, like the training rows.
    """

    X: Any = field(metadata=NO_SETTING)


@dataclass(frozen=True)
class _ManyRows:
    """What `AnchorTabular.explain_batch` and `explain_iter` take first.

    Args:
        rows: a table like the training rows, or an iterator over such tables, which are read as they are needed.
    """

    rows: Any = field(metadata=NO_SETTING)


@dataclass(frozen=True)
class RowQuestion(OneQuestion, _OneRow):
    """The parameters of `AnchorTabular.explain`."""


@dataclass(frozen=True)
class RowsQuestion(ManyQuestion, _ManyRows):
    """The parameters of `AnchorTabular.explain_batch` and `AnchorTabular.explain_iter`."""
