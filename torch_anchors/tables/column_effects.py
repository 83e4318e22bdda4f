"""What each column of a row does to the model's answer, by the training rows: no row is sent to the model for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch

from torch_anchors._shapes import Bool, Float, Int
from torch_anchors.engine.effects import difference, least_squares
from torch_anchors.search.protocol import Anchor
from torch_anchors.tables.count.labelled_training import LabelledTraining
from torch_anchors.tables.sampler import RowSampler

MOST_BINS = 512
"""Bins of the columns that are adjusted for. Those of fewest bins come first: there are pairs of all these bins."""
ROWS_AT_ONCE = 1 << 14
"""Training rows whose bins are spread out together."""


class ColumnEffects:
    """How much more often rows have a label that are like an instance in a column than rows that are not.

    A row is like the instance in a column where the anchor's conditions on it hold or, in a column that the anchor does
    not have, where its value is in the instance's bin. How many training rows have which two bins is counted once for
    all instances.

    Args:
        training: the rows and the model's labels of them.
    """

    def __init__(self, training: LabelledTraining) -> None:
        self._training = training
        sizes = training.training.discretizer.n_bins + 1  # the last is for what no training row has
        self._first = np.cumsum(sizes) - sizes  # number of each column's first bin among the bins of all columns
        self._n_bins = int(sizes.sum())
        order = np.argsort(sizes, kind="stable")
        self._adjusted = np.zeros(len(sizes), dtype=bool)
        self._adjusted[order] = np.cumsum(sizes[order]) <= MOST_BINS

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
        pairs = np.ix_(np.arange(len(low)), self._adjusted.nonzero()[0], self._adjusted.nonzero()[0])
        together[pairs] = self._both(low[:, self._adjusted], high[:, self._adjusted])
        columns = np.arange(held.shape[1])
        together[:, columns, columns] = held
        found = zip(n_hits.tolist(), together, hits, strict=True)
        return np.stack([least_squares(n_rows, n_own, both, own) for n_own, both, own in found])

    def _bins(
        self, sampler: RowSampler, instances: Sequence[int], anchors: Sequence[Anchor]
    ) -> tuple[Int[np.ndarray, "anchors columns"], Int[np.ndarray, "anchors columns"]]:
        """Lowest and highest bin of each column, among those of all columns, in which a row is like the instance."""
        training = self._training.training
        rows = torch.as_tensor(sampler.instances[list(instances)], dtype=training.values.dtype)
        low = training.discretizer.bin(rows).numpy().astype(np.int64)
        high = low.copy()
        demanded = sampler.conditions(instances, anchors)
        line, place = np.nonzero(demanded.column >= 0)
        column = demanded.column[line, place]
        low[line, column], high[line, column] = demanded.low[line, place], demanded.high[line, place]
        return low + self._first, high + self._first

    def _both(
        self, low: Int[np.ndarray, "anchors columns"], high: Int[np.ndarray, "anchors columns"]
    ) -> Float[np.ndarray, "anchors columns columns"]:
        """Training rows that are in the bins of each two columns: sums over rectangles, by their corners."""
        place = np.cumsum(np.concatenate([[0], self._in_pairs]))  # of each bin among those of the adjusted columns
        starts, ends = place[low], place[high + 1]
        corners = self._pairs
        return (
            corners[ends[:, :, None], ends[:, None, :]]
            - corners[starts[:, :, None], ends[:, None, :]]
            - corners[ends[:, :, None], starts[:, None, :]]
            + corners[starts[:, :, None], starts[:, None, :]]
        )

    @cached_property
    def _in_pairs(self) -> Bool[np.ndarray, " bins"]:
        """Which bins are of columns that are adjusted for."""
        return np.repeat(self._adjusted, np.diff(np.append(self._first, self._n_bins)))

    @cached_property
    def _by_class(self) -> Float[np.ndarray, "classes bins_and_1"]:
        """Training rows of each class in all bins before a bin."""
        counts = torch.zeros(self._n_bins * self._training.n_classes, device=self._training.classes.device)
        counts = counts.double() if counts.device.type != "mps" else counts
        for binned, classes in self._parts():
            place = (binned + classes[:, None] * self._n_bins).flatten()
            counts.index_add_(0, place, counts.new_ones(len(place)))
        by_class = counts.view(self._training.n_classes, self._n_bins).cpu().double().numpy()
        return np.pad(by_class, ((0, 0), (1, 0))).cumsum(axis=1)

    @cached_property
    def _pairs(self) -> Float[np.ndarray, "bins_and_1 bins_and_1"]:
        """Training rows that are in all bins before one and also in all bins before another one."""
        device = self._training.classes.device
        adjusted = torch.as_tensor(np.flatnonzero(self._in_pairs), device=device)
        together = torch.zeros(len(adjusted), len(adjusted), device=device)
        for binned, _ in self._parts():
            held = torch.zeros(len(binned), self._n_bins, device=device).scatter_(1, binned, 1.0)
            held = held.index_select(1, adjusted)
            together += held.T @ held  # whole numbers, exact up to 2^24
        return np.pad(together.cpu().double().numpy(), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)

    def _parts(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The training rows' bins among those of all columns, and their classes, some rows at a time."""
        binned, classes = self._training.training.binned, self._training.classes
        first = torch.as_tensor(self._first, device=classes.device)
        parts = [slice(start, start + ROWS_AT_ONCE) for start in range(0, len(classes), ROWS_AT_ONCE)]
        return [(binned[part].long() + first, classes[part]) for part in parts]
