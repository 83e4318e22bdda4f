"""The explained model as it reads a table: encoded rows in, labels out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.engine.comparison import compared
from torch_anchors.engine.labels import labels_of, reading_of
from torch_anchors.engine.max_rows import MaxRows
from torch_anchors.engine.predictor import Predictor
from torch_anchors.tables.schema import TableSchema
from torch_anchors.targets.target import Comparison, Target

LABELLED_AT_ONCE = 4096
"""Rows of a pass whose only purpose is labels, unless `max_rows` says."""


@dataclass(frozen=True, slots=True)
class TableModel:
    """A model that reads the rows of a table.

    Args:
        predictor: labels the rows.
        schema: of the table.
        encode: from encoded rows to the columns that the model reads.
        max_rows: of a pass whose only purpose is labels.
        explained: where the target compares, the answer (1, ...) that those of rows are compared with.
    """

    predictor: Predictor
    schema: TableSchema
    encode: Callable[[Tensor], Tensor]
    max_rows: int
    explained: Tensor | None = None

    @classmethod
    def of(cls, predictor: Predictor, schema: TableSchema, max_rows: int | str) -> TableModel:
        """The model, as an explainer was given it."""
        n = LABELLED_AT_ONCE if isinstance(max_rows, str) else int(max_rows)
        return cls(predictor, schema, schema.encoder(predictor.device), n)

    def render(self, codes: Float[Tensor, "rows columns"]) -> Shaped[Tensor, "rows features"]:
        """What the model reads of encoded rows."""
        return self.encode(codes).to(self.predictor.row_dtype, copy=True)  # which a model may write to

    def labels(
        self, codes: Float[Tensor, "rows columns"], told: Callable[[int], object] | None = None
    ) -> Int[Tensor, " rows"]:
        """The model's labels of encoded rows; `told` is called with the number of rows of each pass."""
        if self.explained is not None:
            return self.compared(self.answers(codes, told))
        return labels_of(self.predictor, self.render, codes, MaxRows(self.max_rows), told)

    def answers(
        self, codes: Float[Tensor, "rows columns"], told: Callable[[int], object] | None = None
    ) -> Shaped[Tensor, "rows ..."]:
        """The model's answers to encoded rows, where the target compares; `told` as in `labels`."""
        answers = reading_of(self.predictor, self.render, codes, MaxRows(self.max_rows), told).answers
        assert answers is not None, "the target compares"
        return answers.clone()  # usable outside inference mode

    def compared(self, answers: Shaped[Tensor, "rows ..."]) -> Int[Tensor, " rows"]:
        """The labels of rows with these answers: whether they agree with what is explained."""
        target, own = cast(Comparison, self.target), cast(Tensor, self.explained).to(answers.device)
        return compared(answers, own.expand(len(answers), *own.shape[1:]), target).labels

    @property
    def target(self) -> Target:
        """What is asked of the model."""
        return self.predictor.target

    def labels_of_table(self, X: Any) -> Shaped[np.ndarray, " rows"]:
        """The model's labels of a user's table, numbers or class names."""
        codes = torch.as_tensor(self.schema.encode(X), device=self.predictor.device)
        return self.predictor.outputs.all_shown(self.labels(codes).cpu().numpy())
