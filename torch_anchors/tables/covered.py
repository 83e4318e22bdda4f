"""What the training rows say of anchors: how many of them each covers, with which labels, and some of these rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from torch_anchors._shapes import Float, Int
from torch_anchors.search.protocol import Anchor, Step
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.explanation import EncodedExamples
from torch_anchors.tables.sampler import RowSampler


class Covered:
    """Counts anchors of some instances on the training rows, many anchors in one operation.

    Args:
        training: the rows and the model's labels of them.
        sampler: of the instances; an anchor belongs to the instance, by its number there, that stands beside it.
    """

    def __init__(self, training: LabelledTraining, sampler: RowSampler) -> None:
        self._training, self._sampler = training, sampler

    def coverages(self, instances: Sequence[int], anchors: Sequence[Anchor]) -> Float[np.ndarray, " anchors"]:
        """Share of training rows on which each anchor holds."""
        return self._sampler.n_covered(instances, anchors).cpu().numpy() / self._n_rows

    def paths(
        self, instances: Sequence[int], anchors: Sequence[Anchor], labels: Int[np.ndarray, " anchors"]
    ) -> list[tuple[Step, ...]]:
        """For each anchor, the share of hits, and the coverage, as its columns' conditions accumulate."""
        if not anchors:
            return []
        conditions, n_rows = self._sampler.conditions(instances, anchors), self._n_rows
        counts = self._training.count_narrowed(conditions, self._training.class_of(labels)).tolist()
        return [
            tuple(
                Step(part, hits / n if n else 0.0, n / n_rows, n)
                for part, (n, hits) in zip(self._partial_anchors(i, anchor), own, strict=False)  # padding adds nothing
            )
            for i, anchor, own in zip(instances, anchors, counts, strict=True)
        ]

    def examples(
        self, instances: Sequence[int], anchors: Sequence[Anchor], labels: Int[np.ndarray, " anchors"], n: int
    ) -> list[EncodedExamples]:
        """For each anchor up to `n` training rows that it covers and that have the label, and up to `n` of others."""
        if not anchors:
            return []
        conditions = self._sampler.conditions(instances, anchors)
        classes = self._training.class_of(labels)
        found = self._training.examples(conditions, classes, self._training.count(conditions, classes), n)
        return [EncodedExamples(*examples) for examples in found]

    def nearest_misses(
        self, instances: Sequence[int], labels: Int[np.ndarray, " instances"]
    ) -> list[tuple[Float[np.ndarray, " columns"], int] | None]:
        """For each instance the training row of another label that is most like it, and that label; see there."""
        if not len(instances):
            return []
        return self._training.nearest_misses(self._sampler.binned[list(instances)], self._training.class_of(labels))

    @property
    def _n_rows(self) -> int:
        return self._training.training.index.n_rows

    def _partial_anchors(self, i: int, anchor: Anchor) -> list[Anchor]:
        """The empty anchor, that of the first column, of the first two columns, and so on to the whole."""
        columns = [column for column, _, _ in self._sampler.bins(i, anchor)]
        found: list[Anchor] = [()]
        for _, group in groupby(zip(anchor, columns, strict=True), key=lambda pair: pair[1]):
            found.append((*found[-1], *(predicate for predicate, _ in group)))
        return found
