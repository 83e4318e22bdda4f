"""Training rows together with the model's labels of them: what can be counted without calling the model again."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Int
from torch_anchors.engine.digest import digest_of
from torch_anchors.engine.outputs import INVALID
from torch_anchors.tables import bitsets
from torch_anchors.tables.conditions import Conditions
from torch_anchors.tables.propose.proposer import Proposer
from torch_anchors.tables.training import TrainingRows

COMPARED_AT_ONCE = 1 << 22
"""Pairs of an instance and a training row that are compared together, which bounds the memory that it takes."""


class LabelledTraining:
    """Training rows and the model's labels of them.

    Labels are numbered through, as *classes*, since a model's labels need not be 0, 1, ...; the last class is for
    labels that no training row has.

    Args:
        training: the rows.
        labels: the model's labels of them, on their device.

    Attributes:
        shares: of the training rows in each class.
    """

    def __init__(self, training: TrainingRows, labels: Int[Tensor, " rows"]) -> None:
        self.training = training
        self._labels, classes = np.unique(labels.cpu().numpy(), return_inverse=True)
        self.n_classes = len(self._labels) + 1
        self.classes: Tensor = torch.as_tensor(classes, device=labels.device)
        self.shares = np.bincount(classes, minlength=self.n_classes) / len(classes)

    @property
    def digest(self) -> str:
        """Tells the labels from others, by what they are and which row has which."""
        return digest_of(self._labels, self.classes)

    def class_of(self, labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The class of each label."""
        place = np.searchsorted(self._labels, labels)
        known = self._labels[np.minimum(place, len(self._labels) - 1)] == labels
        return np.where(known, place, self.n_classes - 1)

    def proposer(self) -> Proposer:
        """Proposes anchors, by a surrogate fitted to the labels."""
        n_bins = self.training.discretizer.n_bins.tolist()
        return Proposer.fit(self.training.binned, self.classes, n_bins, self.n_classes)

    def count(self, conditions: Conditions, classes: Int[np.ndarray, " anchors"]) -> Int[np.ndarray, "anchors 2"]:
        """For each anchor the number of rows on which it holds, and how many of them are of its class.

        Anchors of different instances are often the same, and are then counted once. The device is waited for once.
        """
        first, place = _distinct(np.column_stack([conditions.column, conditions.low, conditions.high, classes]))
        conditions, classes = conditions[first], classes[first]
        counts = [torch.zeros(0, 2, dtype=torch.int64, device=self.classes.device)]
        for part, words in self.training.index.holding(conditions):
            of_class = words & self._members[self._send(classes[part])]
            counts.append(torch.stack([bitsets.sizes(sets) for sets in (words, of_class)], dim=1))
        return torch.cat(counts).cpu().numpy()[place]

    def count_narrowed(
        self, conditions: Conditions, classes: Int[np.ndarray, " anchors"]
    ) -> Int[np.ndarray, "anchors positions_and_1 2"]:
        """The same where none of each anchor's conditions must hold, where the first must, the first two, and so on."""
        counts = []
        for part, words in self.training.index.narrowed(conditions):
            of_class = words & self._members[self._send(classes[part])]
            counts.append(torch.stack([bitsets.sizes(sets).T for sets in (words, of_class)], dim=2))
        return torch.cat(counts).cpu().numpy()

    def examples(
        self, conditions: Conditions, classes: Int[np.ndarray, " anchors"], counts: Int[np.ndarray, "anchors 2"], n: int
    ) -> list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]]:
        """For each anchor up to `n` training rows of its class on which it holds, and up to `n` of others.

        Args:
            conditions: of the anchors.
            classes: of the anchors.
            counts: what `count` returns for them.
            n: how many of each kind.

        Returns:
            For each anchor the rows (k, columns), their labels (k,) and whether they are of its class (k,).
        """
        holding = self.training.index.holding(conditions)
        words = torch.cat([self._members[:0], *(words for _, words in holding)])
        of_class = self._members[self._send(classes)]
        sets = torch.stack([words & of_class, words & ~of_class], dim=1).flatten(0, 1)  # anchors * 2
        n_hits = counts[:, 1]
        sizes = np.minimum(np.stack([n_hits, counts[:, 0] - n_hits], axis=1), n)
        owner = np.repeat(np.arange(2 * len(classes)), sizes.flatten())
        rank = np.concatenate([np.arange(size) for size in sizes.flatten()] or [np.zeros(0)]).astype(np.int64)
        chosen = bitsets.choose(sets, owner, rank)
        rows = self.training.values[chosen].cpu().numpy()
        labels = self._labels[self.classes[chosen].cpu().numpy()]
        ends = np.cumsum(sizes.sum(axis=1))[:-1]
        return list(zip(np.split(rows, ends), np.split(labels, ends), np.split(owner % 2 == 0, ends), strict=True))

    def share_of_others(self, label: int, rows: Int[Tensor, " some"] | None = None) -> float:
        """The share of the training rows, or of some of them, that have another label; rows without one have none."""
        classes = self.classes if rows is None else self.classes[rows]
        counts = torch.bincount(classes, minlength=self.n_classes).cpu().numpy()
        return float(counts[:-1][(self._labels != label) & (self._labels != INVALID)].sum() / len(classes))

    def nearest_misses(
        self, binned: Int[Tensor, "instances columns"], classes: Int[np.ndarray, " instances"]
    ) -> list[tuple[NDArray[np.float64], int] | None]:
        """For each instance the training row of another class with the fewest columns in another bin, and its label.

        Of several it is the first; None where all rows are of the class, or have no label.

        Args:
            binned: bins of the instances.
            classes: of the instances.
        """
        by_column, known = self.training.index.by_column, self._send(np.append(self._labels, INVALID)) != INVALID
        step, found = max(1, COMPARED_AT_ONCE // by_column.shape[1]), [torch.zeros(2, 0, dtype=torch.int64)]
        own_bins, own_classes = binned.to(by_column.device), self._send(classes)
        for first in range(0, len(own_bins), step):
            own, own_class = own_bins[first : first + step], own_classes[first : first + step]
            n_unlike = torch.zeros(len(own), by_column.shape[1], dtype=torch.int16, device=by_column.device)
            for column, bins in zip(by_column, own.T, strict=True):
                n_unlike += column != bins[:, None]
            other = (self.classes != own_class[:, None]) & known[self.classes]
            nearest = torch.where(other, n_unlike, torch.iinfo(torch.int16).max).argmin(dim=1)
            found.append(torch.stack([other.any(dim=1).long(), nearest]).cpu())
        there, rows = torch.cat(found, dim=1)
        values = self.training.values[rows.to(by_column.device)].cpu().numpy()
        labels = self._labels[self.classes[rows.to(by_column.device)].cpu().numpy()]
        return [
            (row, int(label)) if exists else None
            for exists, row, label in zip(there.tolist(), values, labels.tolist(), strict=True)
        ]

    @cached_property
    def _members(self) -> Int[Tensor, "classes words"]:
        """The rows of each class, as bit sets."""
        members = self.classes == torch.arange(self.n_classes, device=self.classes.device)[:, None]
        return bitsets.pack(members)

    def _send(self, array: NDArray[np.int64]) -> Tensor:
        return torch.as_tensor(array).to(self.classes.device, non_blocking=True)


def _distinct(
    lines: Int[np.ndarray, "lines numbers"],
) -> tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, " lines"]]:
    """Numbers of different lines, and for each line the place of an equal one among these."""
    lines = np.ascontiguousarray(lines)
    keys = lines.view(f"V{lines.shape[1] * lines.itemsize}").ravel().tolist()
    places: dict[bytes, int] = {}
    place = np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.int64)
    first = np.zeros(len(places), dtype=np.int64)
    first[place[::-1]] = np.arange(len(place))[::-1]
    return first, place
