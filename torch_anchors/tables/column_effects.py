"""What each column of a row does to the model's answer, by the training rows: no row is sent to the model for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Float, Int
from torch_anchors.engine.effects import difference, least_squares
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.sampler import RowSampler
from torch_anchors.tables.training import TrainingRows

MOST_BINS = 512
"""Bins of the columns that are adjusted for. Those of fewest bins come first: there are pairs of all these bins."""
ROWS_AT_ONCE = 1 << 14
"""Training rows whose bins are spread out together."""


class BinPairs:
    """How many training rows are in which two bins; counted once, as it depends on no label and no instance.

    Args:
        training: the rows.
    """

    def __init__(self, training: TrainingRows) -> None:
        self._training = training
        sizes = training.discretizer.n_bins + 1  # the last is for what no training row has
        self.first = np.cumsum(sizes) - sizes  # number of each column's first bin among the bins of all columns
        self.n_bins = int(sizes.sum())
        order = np.argsort(sizes, kind="stable")
        self.counted = np.zeros(len(sizes), dtype=bool)
        """Columns whose bins are: those of fewest bins, up to `MOST_BINS`."""
        self.counted[order] = np.cumsum(sizes[order]) <= MOST_BINS
        self._bins = np.repeat(self.counted, sizes)

    def parts(self) -> list[tuple[slice, Tensor]]:
        """Some training rows at a time, with their bins among those of all columns."""
        binned = self._training.binned
        first = torch.as_tensor(self.first, device=binned.device)
        parts = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(binned), ROWS_AT_ONCE)]
        return [(part, binned[part].long() + first) for part in parts]

    def rows(
        self, low: Int[np.ndarray, "anchors columns"], high: Int[np.ndarray, "anchors columns"]
    ) -> Float[np.ndarray, "anchors columns columns"]:
        """Training rows that are from `low` to `high` in each two of the counted columns.

        Sums over rectangles, by their corners.
        """
        place = np.cumsum(np.concatenate([[0], self._bins]))  # of each bin among those that are counted
        starts, ends = place[low], place[high + 1]
        corners = self._corners
        return (
            corners[ends[:, :, None], ends[:, None, :]]
            - corners[starts[:, :, None], ends[:, None, :]]
            - corners[ends[:, :, None], starts[:, None, :]]
            + corners[starts[:, :, None], starts[:, None, :]]
        )

    @cached_property
    def _corners(self) -> Float[np.ndarray, "bins_and_1 bins_and_1"]:
        """Training rows that are in all bins before one and also in all bins before another one."""
        device = self._training.values.device
        counted = torch.as_tensor(np.flatnonzero(self._bins), device=device)
        together = torch.zeros(len(counted), len(counted), device=device)
        for _, binned in self.parts():
            held = torch.zeros(len(binned), self.n_bins, device=device).scatter_(1, binned, 1.0)
            held = held.index_select(1, counted)
            together += held.T @ held  # whole numbers, exact up to 2^24
        return np.pad(together.cpu().double().numpy(), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)


class ColumnEffects:
    """How much more often rows have a label that are like an instance in a column than rows that are not.

    A row is like the instance in a column where the anchor's conditions on it hold or, in a column that the anchor does
    not have, where its value is in the instance's bin.

    Args:
        training: the rows and the model's labels of them.
        pairs: of the rows' bins.
    """

    def __init__(self, training: LabelledTraining, pairs: BinPairs) -> None:
        self._training, self._pairs = training, pairs

    def of(
        self,
        sampler: RowSampler,
        instances: Sequence[int],
        anchors: Sequence[Anchor],
        labels: Int[np.ndarray, " anchors"],
    ) -> Float[np.ndarray, "anchors columns"]:
        """The effects of an instance's columns for each of some anchors, in about [-1, 1].

        Under "conditional" sampling the effect is P(label | like the instance) - P(label | not like it) among the
        training rows, with all that goes along with the column. Under "interventional" sampling, where the other
        columns are as they are, it is the column's coefficient in a regression of the label on all columns of few bins;
        columns of more bins than `MOST_BINS` together are not adjusted for.

        Args:
            sampler: of the instances.
            instances: the instance that each anchor is about, by its number in the sampler.
            anchors: the anchors.
            labels: the explained labels.
        """
        low, high = self._bins(sampler, instances, anchors)
        classes = self._training.class_of(labels)
        n_rows = self._training.training.index.n_rows
        n_hits = (self._training.shares[classes] * n_rows).round()
        by_class = self._by_class
        held = (by_class[:, high + 1] - by_class[:, low]).sum(axis=0)
        hits = by_class[classes[:, None], high + 1] - by_class[classes[:, None], low]
        if sampler.sampling == "conditional":
            shares = zip(held / n_rows, hits / n_rows, n_hits / n_rows, strict=True)
            return np.stack([difference(*share) for share in shares])
        together = held[:, :, None] * held[:, None, :] / n_rows  # as of columns that have nothing to do with each other
        counted = self._pairs.counted.nonzero()[0]
        together[np.ix_(np.arange(len(low)), counted, counted)] = self._pairs.rows(low[:, counted], high[:, counted])
        columns = np.arange(held.shape[1])
        together[:, columns, columns] = held
        found = zip(n_hits.tolist(), together, hits, strict=True)
        return np.stack([least_squares(n_rows, n_own, both, own) for n_own, both, own in found])

    def _bins(
        self, sampler: RowSampler, instances: Sequence[int], anchors: Sequence[Anchor]
    ) -> tuple[Int[np.ndarray, "anchors columns"], Int[np.ndarray, "anchors columns"]]:
        """Lowest and highest bin of each column, among those of all columns, in which a row is like the instance."""
        low = sampler.binned.numpy()[list(instances)].astype(np.int64)
        high = low.copy()
        demanded = sampler.conditions(instances, anchors)
        line, place = np.nonzero(demanded.column >= 0)
        column = demanded.column[line, place]
        low[line, column], high[line, column] = demanded.low[line, place], demanded.high[line, place]
        return low + self._pairs.first, high + self._pairs.first

    @cached_property
    def _by_class(self) -> Float[np.ndarray, "classes bins_and_1"]:
        """Training rows of each class in all bins before a bin."""
        n_bins, n_classes, classes = self._pairs.n_bins, self._training.n_classes, self._training.classes
        counts = torch.zeros(n_bins * n_classes, dtype=torch.int64, device=classes.device)
        for part, binned in self._pairs.parts():
            place = (binned + classes[part, None] * n_bins).flatten()
            counts += torch.bincount(place, minlength=len(counts))
        by_class = counts.view(n_classes, n_bins).cpu().double().numpy()
        return np.pad(by_class, ((0, 0), (1, 0))).cumsum(axis=1)
