"""The work of one process on its share of a data set: read, explain, write, and stop so that it can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from torch_anchors.datasets.fields import FAILED, Row, explained_row, failed_row
from torch_anchors.datasets.parts import PartWriter
from torch_anchors.datasets.reading import Read, buffered, distinct, read_ahead, reason_of
from torch_anchors.datasets.run_record import RunRecord
from torch_anchors.datasets.shares import Share
from torch_anchors.datasets.sources import Entry, Source
from torch_anchors.errors import AnchorsError, PredictorCallError, PredictorReturnTypeError
from torch_anchors.explainer import Explainer
from torch_anchors.explanation import Explanation
from torch_anchors.settings import ManyQuestion
from torch_anchors.whole_files import CannotWriteError
from torch_anchors.words import LabelNames, plural

OF_MODEL = (PredictorCallError, PredictorReturnTypeError)
"""Errors of an input that may as well be the model's."""

AT_FIRST, LATER = 5, 100
"""On how many inputs in a row the model must fail to be taken for broken: before and after it did well on one."""


@dataclass(slots=True)
class Run:
    """Explains the inputs of a source that are this process's and have no row yet.

    Args:
        explainer: what explains.
        question: what is asked of every input.
        source: of the inputs.
        transform: applied to each instance in the reading threads; None for nothing.
        label_names: the name of each class.
        share: which inputs are this process's.
        record: what the run is.
        writer: of the rows.
    """

    explainer: Explainer[Any, Any]
    question: ManyQuestion
    source: Source
    transform: Callable[[Any], Any] | None
    label_names: LabelNames
    share: Share
    record: RunRecord
    writer: PartWriter
    _under_way: dict[int, Read] = field(default_factory=dict)
    _unscored: list[tuple[Read, Explanation]] = field(default_factory=list)
    _suspects: list[Row] = field(default_factory=list)
    _did_well: bool = False
    _n_seen: int = 0
    _n_done: int = 0
    _n_own: int | None = None
    _about: dict[str, Any] = field(default_factory=dict)

    def work(self, done: Mapping[str, str], *, progress: bool) -> int:
        """Explains and writes; how many inputs the source has.

        Args:
            done: the status of every input that has a row.
            progress: whether a bar is shown.

        Raises:
            PredictorCallError, PredictorReturnTypeError: the model fails on the first few inputs, or on many in a row.
            CannotWriteError: a part cannot be written.
            KeyboardInterrupt: it was interrupted; what was finished is written, and the message says how much that is.
        """
        self._about = {"seed": self.record.seed, "settings": json.dumps(self.record.settings)}
        self._did_well = any(status != FAILED for status in done.values())
        if self.source.n is not None:  # ids that come twice are found before the work begins
            own = [entry.id in done for entry in distinct(self.source.entries()) if self.share.has(entry.id)]
            self._n_own, self._n_done = len(own), sum(own)
        unit = f" {self.explainer.unit}s"
        with tqdm(total=self._n_own, initial=self._n_done, unit=unit, disable=not progress, smoothing=0.05) as bar:
            try:
                self._explain(done, bar)
            except BaseException as error:
                self._save(error)
                if isinstance(error, KeyboardInterrupt):
                    raise type(error)(self._so_far()) from None
                raise
        return self._n_seen

    def _explain(self, done: Mapping[str, str], bar: Any) -> None:
        with closing(self._reads(done)) as reads:
            for number, made in self.explainer.outcomes(self._instances(reads), self.question):
                self._take(self._under_way.pop(number), made)
                bar.update(self._n_done - bar.n)
            self._end_suspicion()
            self._score()
            self.writer.flush()
            bar.update(self._n_done - bar.n)

    # --------------------------------------------------------------------------------------------------- reading

    def _reads(self, done: Mapping[str, str]) -> Generator[Read, None, None]:
        """The inputs that are to be explained, read ahead."""
        self._n_seen = 0
        entries = self._entries(done)
        return read_ahead(self.source, entries if self.source.n is not None else buffered(entries), self._singled)

    def _entries(self, done: Mapping[str, str]) -> Iterator[Entry]:
        for entry in distinct(self.source.entries()):
            self._n_seen += 1
            if self.share.has(entry.id):
                if entry.id not in done:
                    yield entry
                elif self._n_own is None:
                    self._n_done += 1

    def _singled(self, given: Any) -> Sequence[Any]:
        """The single instances of what was read."""
        instances, _ = self.explainer.instances(given)
        return [one if self.transform is None else self.transform(one) for one in instances]

    def _instances(self, reads: Iterator[Read]) -> Iterator[Any]:
        """The instances that can be read; what stands in the way of the others is a row at once."""
        number = 0
        for read in reads:
            if read.reason is not None:
                self._add(failed_row(read.id, read.reason, true_label=read.true_label, **self._about))
                continue
            self._under_way[number] = read
            number += 1
            yield read.instance

    # --------------------------------------------------------------------------------------------------- writing

    def _take(self, read: Read, made: Explanation | Exception) -> None:
        if isinstance(made, Exception):
            self._take_failure(read, made)
            return
        self._did_well = True
        self._end_suspicion()
        self._unscored.append((read, made))
        if len(self._unscored) >= self.explainer.together:
            self._score()

    def _score(self) -> None:
        """Makes rows of the explanations that wait for their scores; some are scored together."""
        waiting, self._unscored = self._unscored, []
        scores = self._scores([made for _, made in waiting])
        for (read, made), score in zip(waiting, scores, strict=True):
            about: dict[str, Any] = {**self._about, "true_label": read.true_label, "label_names": self.label_names}
            self._add(explained_row(read.id, made, score=score, **about))

    def _scores(self, made: list[Explanation]) -> list[float | None]:
        """The scores of some explanations; None for those on whose rows alone the model fails."""
        try:
            return self.explainer.scores(made) if made else []
        except AnchorsError:
            return [None] if len(made) == 1 else [score for one in made for score in self._scores([one])]

    def _take_failure(self, read: Read, error: Exception) -> None:
        """A row with the reason; where the model may be broken it waits until we know, so that it is tried again."""
        row = failed_row(read.id, reason_of(error), true_label=read.true_label, **self._about)
        if not isinstance(error, OF_MODEL):
            self._add(row)
            return
        self._suspects.append(row)
        if len(self._suspects) >= (LATER if self._did_well else AT_FIRST):
            on = f"{len(self._suspects)} {self.explainer.unit}s"
            which = f"on {on} in a row" if self._did_well else f"on each of the first {on}"
            raise type(error)(f"{error} The model failed {which}, so the work has stopped.") from error

    def _end_suspicion(self) -> None:
        """The model is not broken: those that it failed on are to blame."""
        suspects, self._suspects = self._suspects, []
        for row in suspects:
            self._add(row)

    def _add(self, row: Row) -> None:
        self._n_done += 1
        self.writer.add(row)

    # -------------------------------------------------------------------------------------------------- stopping

    def _save(self, error: BaseException) -> None:
        """Writes what was finished before the work had to stop."""
        if isinstance(error, CannotWriteError):
            return
        for number, made in getattr(error, "finished", {}).items():
            self._unscored.append((self._under_way.pop(number), made))
        self._score()
        self.writer.flush()

    def _so_far(self) -> str:
        """ "40 of 60 images are in explained; the same command continues"."""
        units = f"{self.explainer.unit}s" if self._n_own is None else plural(self._n_own, self.explainer.unit)
        how_many = f"{self._n_done:,} {units}" if self._n_own is None else f"{self._n_done:,} of {units}"
        return f"{how_many} are in {self.writer.folder}; the same command continues (without --overwrite)"
