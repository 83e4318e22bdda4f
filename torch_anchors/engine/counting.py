"""Hits of many requests of many jobs, counted at once on the device; one small copy brings all answers to the host.

A device is told what to do one operation after the other, however small, so there are few of them: one upload of all
that the host knows of the rows, one lookup of their labels, one product, one sum.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Float, Int, Shaped
from torch_anchors.engine.count_matrix import CountMatrix
from torch_anchors.engine.device_copy import named_on_device
from torch_anchors.engine.host_copy import HostCopy
from torch_anchors.engine.job import Job
from torch_anchors.engine.ledger import Ledger
from torch_anchors.engine.margins import N_LEADS, margins_of
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.replies import Answer, Ask, Listed, Rows

SomeAsk = TypeVar("SomeAsk", bound=Ask)


def explained_in(ledger: Ledger, jobs: Sequence[Job], sizes: Sequence[int]) -> dict[str, NDArray[Any]]:
    """What label is explained in the job of each row, as far as the host knows it; see `labels_explained`.

    "instances" are the places of the instances, whose label it is (n,) int64. Where a label was given for some jobs,
    "is_given" says for which (n,), and "given" which (n,) int64.
    """
    of_jobs = {"instances": ledger.places(np.array([job.first_slot for job in jobs], dtype=np.int64))}
    given = [job.case.label for job in jobs]
    if any(label is not None for label in given):
        of_jobs["is_given"] = np.array([label is not None for label in given])
        of_jobs["given"] = np.array([0 if label is None else label for label in given], dtype=np.int64)
    return {name: np.repeat(values, sizes) for name, values in of_jobs.items()}


def labels_explained(of_instances: Int[Tensor, " rows"], there: Mapping[str, Tensor]) -> Int[Tensor, " rows"]:
    """The label that is explained in the job of each row: that of its instance, unless one was given."""
    return torch.where(there["is_given"], there["given"], of_instances) if "given" in there else of_instances


def count(ledger: Ledger, asks: Sequence[Ask], are_probabilities: bool = False) -> Answers:
    """All numbers that answer `asks`, on their way from the device, which is not waited for.

    Hits of an instance that has no label mean nothing.

    Args:
        are_probabilities: whether the predictor's scores, if it has some, are probabilities and not logits.
    """
    asked = _Asked.of(asks, has_leads=ledger.leads is not None)
    there = named_on_device(asked.on_host(ledger), ledger.labels.device)
    labels, hits = _labels_and_hits(ledger, there)

    start = len(there["owners"])
    sums, leads = there["numbers"].tensor_split([asked.n_sums])
    held = there["values"] * hits[:start, None]
    sums.view(-1, held.shape[1]).index_add_(0, there["owners"], held)  # exact up to 2^24
    if asked.with_margins and ledger.leads is not None:
        torch.index_select(ledger.leads, 0, there["with_margins"], out=leads.view(-1, N_LEADS))
    picked = []
    for family in asked.families:
        end = start + sum(ask.slots.size for ask in family)
        picked.append(family[0].pick(family, Rows(labels[start:end], hits[start:end])))
        start = end
    return Answers(asked, there["numbers"], picked, are_probabilities)


def _labels_and_hits(ledger: Ledger, there: Mapping[str, Tensor]) -> Rows:
    """Of all rows."""
    labels, of_instances = ledger.labels.index_select(0, there["places"]).chunk(2)
    hits = labels == labels_explained(of_instances, there)
    if "changes" in there:
        hits = (hits != there["changes"]) & (labels != INVALID)
    return Rows(labels, hits)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked, as the host knows it.

    Args:
        matrix: the requests that are counted, whose rows come first.
        families: those that are listed.
        with_margins: those of either that want margins, if there are any.
    """

    matrix: CountMatrix
    families: Sequence[Sequence[Listed]]
    with_margins: Sequence[Ask]

    @classmethod
    def of(cls, asks: Sequence[Ask], *, has_leads: bool) -> _Asked:
        """Of some requests; `has_leads` says whether margins can be had."""
        matrix = CountMatrix(_families(ask for ask in asks if not isinstance(ask, Listed)))
        families = _families(ask for ask in asks if isinstance(ask, Listed))
        return cls(matrix, families, [ask for ask in asks if ask.n_margins] if has_leads else [])

    @property
    def n_sums(self) -> int:
        """How many sums there are in all."""
        return len(self.matrix.asks) * self.matrix.values.shape[1]

    def on_host(self, ledger: Ledger) -> dict[str, NDArray[Any]]:
        """All that the device is to know; "numbers" are what it fills in, the sums and then the leads.

        "places" are those of the rows and then, for each of them, of its instance.
        """
        asks = [*self.matrix.asks, *(ask for family in self.families for ask in family)]
        sizes = [ask.slots.size for ask in asks]
        told = explained_in(ledger, [ask.job for ask in asks], sizes)
        told["places"] = np.concatenate([*(ledger.places(ask.slots) for ask in asks), told.pop("instances")])
        told["owners"], told["values"] = self.matrix.owners, self.matrix.values
        n_leads = N_LEADS * sum(ask.n_margins for ask in self.with_margins)
        told["numbers"] = np.zeros(self.n_sums + n_leads, dtype=np.float32)  # one operation less than there
        if self.with_margins:
            own = [ask.slots[: ask.n_margins] for ask in self.with_margins]
            told["with_margins"] = ledger.places(np.concatenate(own))
        changes = [ask.job.case.changes for ask in asks]
        if any(changes):
            told["changes"] = np.repeat(changes, sizes)
        return told


def _families(asks: Iterable[SomeAsk]) -> list[list[SomeAsk]]:
    families: dict[Hashable, list[SomeAsk]] = {}
    for ask in asks:
        families.setdefault(ask.family, []).append(ask)
    return list(families.values())


class Answers:
    """The numbers that answer some asks, on their way to the host, and what they mean; see `count`.

    The copy is started at once and awaited in `deliver` only, so that the device can go on meanwhile.

    Attributes:
        n_batches: batches that were sent since the answers before, and so are done when these can be read.
    """

    n_batches: int = 0

    def __init__(
        self, asked: _Asked, numbers: Float[Tensor, " numbers"], picked: Sequence[Tensor], are_probabilities: bool
    ) -> None:
        self._asked, self._are_probabilities = asked, are_probabilities
        self._kinds = [(part.numel(), _NUMPY[part.dtype]) for part in (numbers, *picked)]
        filled = [part for part in (numbers, *picked) if part.numel()]
        together = torch.cat([part.view(torch.uint8) for part in filled]) if len(filled) > 1 else [*filled, numbers][0]
        self._bytes = HostCopy(together)

    def deliver(self) -> None:
        """Gives every request its reply."""
        numbers, *picked = self._parts()
        matrix, n_sums = self._asked.matrix, self._asked.n_sums
        sums = numbers[:n_sums].reshape(-1, matrix.values.shape[1])
        margins = self._margins(numbers[n_sums:])
        for ask, counts in zip(matrix.asks, matrix.counts(sums), strict=True):
            ask.read(Answer(counts, margins=margins.get(ask)))
            ask.answered = True
        for family, of_family in zip(self._asked.families, picked, strict=True):
            ends = accumulate(ask.n_numbers for ask in family)
            for ask, end in zip(family, ends, strict=True):
                ask.read(Answer(numbers=of_family[end - ask.n_numbers : end], margins=margins.get(ask)))
                ask.answered = True

    def _parts(self) -> list[Shaped[np.ndarray, " numbers"]]:
        """What came back."""
        copied, start = self._bytes.wait().numpy(), 0
        parts: list[Shaped[np.ndarray, " numbers"]] = []
        for n, dtype in self._kinds:
            parts.append(np.frombuffer(copied, dtype, n, start))
            start += parts[-1].nbytes
        return parts

    def _margins(self, leads: Float[np.ndarray, " numbers"]) -> dict[Ask, NDArray[np.float64]]:
        """By how much the rows of each request are hits."""
        margins = margins_of(leads.reshape(-1, N_LEADS), self._are_probabilities).astype(np.float64)
        found, start = {}, 0
        for ask in self._asked.with_margins:
            own = margins[start : start + ask.n_margins]
            found[ask] = -own if ask.job.case.changes else own
            start += ask.n_margins
        return found


_NUMPY = {
    torch.bool: np.bool_,
    torch.uint8: np.uint8,
    torch.int64: np.int64,
    torch.float32: np.float32,
    torch.float64: np.float64,
}
"""Types that come back from the device."""
