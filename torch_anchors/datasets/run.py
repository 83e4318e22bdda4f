"""The work of one process on its share of a data set: read, explain, write, and stop so that it can go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from torch_anchors.datasets.fields import FAILED, Row
from torch_anchors.datasets.parts import PartWriter
from torch_anchors.datasets.reading import Read, buffered, distinct, read_ahead
from torch_anchors.datasets.row_maker import RowMaker
from torch_anchors.datasets.run_record import RunRecord
from torch_anchors.datasets.shares import Share
from torch_anchors.datasets.sources import Entry, Source
from torch_anchors.explainer import Explainer
from torch_anchors.settings import ManyQuestion
from torch_anchors.whole_files import CannotWriteError
from torch_anchors.words import LabelNames, plural


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
    _maker: RowMaker = field(init=False)
    _n_seen: int = 0
    _n_done: int = 0
    _n_own: int | None = None

    def __post_init__(self) -> None:
        about = {"seed": self.record.seed, "settings": json.dumps(self.record.settings)}
        self._maker = RowMaker(self.explainer, self.question, self.transform, self.label_names, about, self._add)

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
        self._maker.did_well = any(status != FAILED for status in done.values())
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
            for _ in self._maker.work(reads):
                bar.update(self._n_done - bar.n)
            self.writer.flush()
            bar.update(self._n_done - bar.n)

    # --------------------------------------------------------------------------------------------------- reading

    def _reads(self, done: Mapping[str, str]) -> Generator[Read, None, None]:
        """The inputs that are to be explained, read ahead."""
        self._n_seen = 0
        entries = self._entries(done)
        return read_ahead(self.source, entries if self.source.n is not None else buffered(entries), self._maker.singled)

    def _entries(self, done: Mapping[str, str]) -> Iterator[Entry]:
        for entry in distinct(self.source.entries()):
            self._n_seen += 1
            if self.share.has(entry.id):
                if entry.id not in done:
                    yield entry
                elif self._n_own is None:
                    self._n_done += 1

    # --------------------------------------------------------------------------------- writing and stopping

    def _add(self, row: Row) -> None:
        self._n_done += 1
        self.writer.add(row)

    def _save(self, error: BaseException) -> None:
        """Writes what was finished before the work had to stop."""
        if isinstance(error, CannotWriteError):
            return
        self._maker.finish(error)
        self.writer.flush()

    def _so_far(self) -> str:
        """ "40 of 60 images are in explained; the same command continues"."""
        units = f"{self.explainer.unit}s" if self._n_own is None else plural(self._n_own, self.explainer.unit)
        how_many = f"{self._n_done:,} {units}" if self._n_own is None else f"{self._n_done:,} of {units}"
        return f"{how_many} are in {self.writer.folder}; the same command continues (without --overwrite)"
