"""The training rows of an explainer, and what is learned of them with its model."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import Tensor
from tqdm import tqdm

from torch_anchors._locks import Lock
from torch_anchors.engine.digest import digest_of
from torch_anchors.engine.predictor import Predictor
from torch_anchors.seeds import stream
from torch_anchors.tables.column_effects import BinPairs, ColumnEffects
from torch_anchors.tables.column_sampler import Replacements
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.count.split_table import SplitTable
from torch_anchors.tables.frame_rows import Given
from torch_anchors.tables.model import TableModel
from torch_anchors.tables.propose.proposer import Proposer
from torch_anchors.tables.schema import TableSchema
from torch_anchors.tables.training import TrainingRows
from torch_anchors.targets.target import Comparison


class FittedTable:
    """Training rows, and what is learned of them with one model: each thing once, when it is first needed.

    Args:
        schema: the columns.
        training: the rows.
        predictor: the model.
        given: what rows become before a function is given them.
        max_rows: of a pass whose only purpose is labels; "auto" for the usual number.
        seed: of the random streams.
    """

    def __init__(
        self,
        schema: TableSchema,
        training: TrainingRows,
        predictor: Predictor,
        *,
        given: Given,
        max_rows: int | str,
        seed: int,
    ) -> None:
        self.schema, self.training, self.given = schema, training.to(predictor.device), given
        self.model = TableModel.of(predictor.taking(given.as_array), schema, max_rows)
        self._max_rows, self._seed = max_rows, seed
        self._lock = Lock()
        self._answers: Tensor | None = None
        self._labelled: LabelledTraining | None = None
        self._proposer: Proposer | None = None
        self._split: SplitTable | None = None
        self._effects: ColumnEffects | None = None
        self._pairs = BinPairs(self.training)
        self._replacements: Replacements | None = None

    def about(self, explained: Tensor | None) -> FittedTable:
        """The same rows and model; where the target compares, labelled by the agreement with what is explained."""
        if explained is None:
            return self
        answers = self.answers()
        other = copy.copy(self)
        other.model = replace(self.model, explained=explained)
        other._labelled = LabelledTraining(self.training, other.model.compared(answers))
        other._proposer = other._split = other._effects = None
        return other

    def answers(self, *, progress: bool = False) -> Tensor:
        """The model's answers (n, ...) to the training rows, where the target compares; they are asked for once."""
        with self._lock:
            if self._answers is None:
                with self._bar(progress) as bar:
                    self._answers = self.model.answers(self.training.values, bar.update)
            return self._answers

    def ask(self, *, progress: bool = False) -> None:
        """Has the model answer the training rows, unless it has; `progress` shows a bar of them."""
        if isinstance(self.model.target, Comparison):
            self.answers(progress=progress)
        else:
            self.labelled(progress=progress)

    @property
    def n_rows(self) -> int:
        """Training rows, which the model answers once."""
        return len(self.training.values)

    @property
    def digest(self) -> str:
        """Tells what the model says of the training rows from what another one would."""
        if isinstance(self.model.target, Comparison):
            return digest_of(self.answers())
        return self.labelled().digest

    def of(self, predictor: Predictor) -> FittedTable:
        """The same rows, of which nothing is known of another model yet."""
        return FittedTable(
            self.schema,
            self.training,
            predictor,
            given=self.given,
            max_rows=self._max_rows,
            seed=self._seed,
        )

    def labelled(self, *, progress: bool = False) -> LabelledTraining:
        """The training rows with the model's labels of them, which are predicted once."""
        with self._lock:
            if self._labelled is None:
                with self._bar(progress) as bar:
                    labels = self.model.labels(self.training.values, bar.update)
                self._labelled = LabelledTraining(self.training, labels)
            return self._labelled

    def proposer(self) -> Proposer:
        """What proposes anchors, by a surrogate that is fitted once."""
        with self._lock:
            if self._proposer is None:
                self._proposer = self.labelled().proposer()
            return self._proposer

    def split(self) -> SplitTable:
        """The training rows in two parts: to choose rules on, and to test them on."""
        with self._lock:
            if self._split is None:
                self._split = SplitTable(self.labelled(), stream(self._seed, b"split"))
            return self._split

    def replacements(self) -> Replacements:
        """The training rows that stand in for an explained row's values; of very many, as many as there may be."""
        with self._lock:
            if self._replacements is None:
                self._replacements = Replacements.of(self.training.values, stream(self._seed, b"replacements"))
            return self._replacements

    def effects(self) -> ColumnEffects:
        """What each column does to the model's answer, by the training rows."""
        with self._lock:
            if self._effects is None:
                self._effects = ColumnEffects(self.labelled(), self._pairs)
            return self._effects

    def _bar(self, shown: bool) -> tqdm:
        """A bar of the training rows that the model has answered; it leaves no trace when all are."""
        return tqdm(total=self.n_rows, unit=" rows", desc="labelling training rows", leave=False, disable=not shown)
