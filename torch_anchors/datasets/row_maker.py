"""Rows of the table from inputs that were read: explained, or failed with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch_anchors.datasets.fields import Row, explained_row, failed_row
from torch_anchors.datasets.reading import Read, reason_of
from torch_anchors.errors import AnchorsError, PredictorCallError, PredictorReturnTypeError
from torch_anchors.explainer import Explainer
from torch_anchors.explanation import Explanation
from torch_anchors.settings import ManyQuestion
from torch_anchors.words import LabelNames

OF_MODEL = (PredictorCallError, PredictorReturnTypeError)
"""Errors of an input that may as well be the model's."""

AT_FIRST, LATER = 5, 100
"""On how many inputs in a row the model must fail to be taken for broken: before and after it did well on one."""


@dataclass(slots=True)
class RowMaker:
    """Explains inputs, and hands on a row for each, in the order in which they are finished.

    Args:
        explainer: what explains.
        question: what is asked of every input.
        transform: applied to each instance when it was read; None for nothing.
        label_names: the name of each class.
        about: the columns that are the same in all rows.
        add: takes each row.
        did_well: whether the model is known to work.
    """

    explainer: Explainer[Any, Any]
    question: ManyQuestion
    transform: Callable[[Any], Any] | None
    label_names: LabelNames
    about: Mapping[str, Any]
    add: Callable[[Row], None]
    did_well: bool = False
    _under_way: dict[int, Read] = field(default_factory=dict)
    _unscored: list[tuple[Read, Explanation]] = field(default_factory=list)
    _suspects: list[Row] = field(default_factory=list)
    _n_failures: int = 0

    def singled(self, given: Any) -> Sequence[Any]:
        """The single instances of what a source has read, transformed; for `read_ahead`."""
        instances, _ = self.explainer.instances(given)
        return [one if self.transform is None else self.transform(one) for one in instances]

    def work(self, reads: Iterator[Read]) -> Iterator[None]:
        """Makes a row of each input; comes back whenever one more is explained.

        Raises:
            PredictorCallError, PredictorReturnTypeError: the model fails on the first few inputs, or on many in a row.
        """
        self._under_way, self._unscored, self._suspects = {}, [], []  # an error may have ended an earlier call
        for number, made in self.explainer.outcomes(self._instances(reads), self.question):
            self._take(self._under_way.pop(number), made)
            yield
        self._end_suspicion()
        self._score()

    def finish(self, error: BaseException) -> None:
        """Makes rows of what was explained before an error ended the work."""
        for number, made in getattr(error, "finished", {}).items():
            self._unscored.append((self._under_way.pop(number), made))
        self._score()

    def _instances(self, reads: Iterator[Read]) -> Iterator[Any]:
        """The instances that can be read; what stands in the way of the others is a row at once."""
        number = 0
        for read in reads:
            if read.reason is not None:
                self.add(failed_row(read.id, read.reason, true_label=read.true_label, **self.about))
                continue
            self._under_way[number] = read
            number += 1
            yield read.instance

    def _take(self, read: Read, made: Explanation | Exception) -> None:
        if isinstance(made, Exception):
            self._take_failure(read, made)
            return
        self.did_well, self._n_failures = True, 0
        self._end_suspicion()
        self._unscored.append((read, made))
        if len(self._unscored) >= self.explainer.together:
            self._score()

    def _score(self) -> None:
        """Makes rows of the explanations that wait for their scores; some are scored together."""
        waiting, self._unscored = self._unscored, []
        scores = self._scores([made for _, made in waiting])
        for (read, made), score in zip(waiting, scores, strict=True):
            about: dict[str, Any] = {**self.about, "true_label": read.true_label, "label_names": self.label_names}
            self.add(explained_row(read.id, made, score=score, **about))

    def _scores(self, made: list[Explanation]) -> list[float | None]:
        """The scores of some explanations; None for those on whose rows alone the model fails."""
        try:
            return self.explainer.scores(made) if made else []
        except AnchorsError:
            return [None] if len(made) == 1 else [score for one in made for score in self._scores([one])]

    def _take_failure(self, read: Read, error: Exception) -> None:
        """A row with the reason; where the model may be broken it waits until we know, so that it is tried again."""
        row = failed_row(read.id, reason_of(error), true_label=read.true_label, **self.about)
        if not isinstance(error, OF_MODEL):
            self.add(row)
            return
        self._suspects.append(row)
        self._n_failures += 1
        if self._n_failures >= (LATER if self.did_well else AT_FIRST):
            on = f"{self._n_failures} {self.explainer.unit}s"
            which = f"on {on} in a row" if self.did_well else f"on each of the first {on}"
            raise type(error)(f"{error} The model failed {which}, so the work has stopped.") from error

    def _end_suspicion(self) -> None:
        """The model is not broken, as far as we know: those that it failed on are to blame."""
        suspects, self._suspects = self._suspects, []
        for row in suspects:
            self.add(row)
