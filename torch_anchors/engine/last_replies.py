"""What is asked when a search has ended: examples, the nearest miss, and what each predicate does.

No row is sent to the model for it; see `replies`. The labels of all rows of the job come to the host, in one operation
for all jobs that end together, and what is to be told is found out there.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from torch_anchors._shapes import Bool, Float, Int, Shaped
from torch_anchors.engine import effects
from torch_anchors.engine.device_copy import on_device
from torch_anchors.engine.job import Examples, Job, LastRequest, Miss, RowsRequest
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.replies import Answer, Listed, Rows, codes_of
from torch_anchors.perturb.protocol import ComparingSampler, IndependentSampler

_FAR = np.iinfo(np.int64).max
"""More changes than a row can have."""


class Shown(NamedTuple):
    """The rows of a job that an explanation shows: examples, hits first, and the nearest miss, if there is one.

    Their places among all rows of the job (n,), their labels (n,), which of the examples are hits, whether the last row
    is the nearest miss, and how many hits and misses of the anchor were predicted.
    """

    places: Int[np.ndarray, " rows"]
    labels: Int[np.ndarray, " rows"]
    hits: Bool[np.ndarray, " examples"]
    has_nearest: bool
    of_hits: int
    of_misses: int

    def tell(self, job: Job, codes: Shaped[np.ndarray, "rows width"]) -> None:
        """Gives the job its examples and its nearest miss."""
        n = len(self.hits)
        job.examples = Examples(codes[:n], self.labels[:n], self.hits, self.of_hits, self.of_misses)
        if self.has_nearest:
            job.nearest_miss = Miss(codes[-1], int(self.labels[-1]))


class Unseen(NamedTuple):
    """The rows that are to be shown of a job, among all of its rows, whose codes (n, width) only the device has."""

    rows: Shown
    codes: Tensor


class AskLast(Listed):
    """What the labels of all rows of a job tell: the answer to the instance, examples, the nearest miss, and effects.

    The first of its slots is that of the instance; the rows follow, which are described by `codes`. `of_anchor` says
    which of them are rows of the found anchor, and `changes` how many changes made each row of the instance, where the
    sampler compares.
    """

    __slots__ = ("changes", "of_anchor")

    ROWS_AT_ONCE = 1 << 18
    """Rows that are compared with the instance together."""

    of_anchor: Bool[np.ndarray, " rows"]
    changes: Int[Tensor, " rows"] | None

    @property
    def n_numbers(self) -> int:
        n_rows = self.slots.size - 1
        return 1 + n_rows + (n_rows if self._is_compared_on_device else 0)

    @property
    def family(self) -> Hashable:
        return AskLast

    @property
    def _is_compared_on_device(self) -> bool:
        return self.changes is not None and self.changes.device.type != "cpu"

    def pick(self, family: Sequence[AskLast], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The labels of all rows; with how many changes made each of the instance, where only the device knows."""
        compare(family)
        if not any(ask._is_compared_on_device for ask in family):
            return rows.labels
        parts: list[Tensor] = []
        for ask, labels in zip(family, torch.split(rows.labels, [ask.slots.size for ask in family]), strict=True):
            parts.append(labels)
            if ask.changes is not None and ask._is_compared_on_device:
                parts.append(ask.changes)
        return torch.cat(parts)

    def read(self, answer: Answer) -> None:
        job, numbers = self.job, answer.numbers
        job.answer = int(numbers[0])
        job.label = job.answer if job.label is None else job.label
        labels = numbers[1 : self.slots.size]
        differs, is_label = labels != job.label, labels != INVALID
        hits, far = (differs == job.case.changes) & is_label, None
        if self.changes is not None:
            changes = numbers[self.slots.size :] if self._is_compared_on_device else self.changes.numpy()
            far = np.where(differs & is_label, changes, _FAR)
        rows = self._shown(labels, hits, far)
        if self._has_rows_on_host:
            codes = np.zeros((0, 0)) if self.codes is None else self.codes.numpy()
            rows.tell(job, codes[rows.places])
        else:
            job.unseen = Unseen(rows, codes_of(self))
        if self.codes is not None and job.case.sampler.independent:
            job.effects = self._effects(hits)

    @property
    def _has_rows_on_host(self) -> bool:
        """Whether the codes of rows are on the host, where they were drawn."""
        sampler = self.job.case.sampler
        return self.codes is None or sampler.repeatable or sampler.independent

    def _shown(
        self, labels: Int[np.ndarray, " rows"], hits: Bool[np.ndarray, " rows"], far: Int[np.ndarray, " rows"] | None
    ) -> Shown:
        """The first hits and misses of the anchor, and the nearest of all rows, none of which is the instance.

        Args:
            labels: of the rows.
            hits: which are hits.
            far: how far each row of another label is from the instance, and `_FAR` for the others; None where that is
                not known.
        """
        is_other = self.slots[1:] != self.job.first_slot
        examples = np.flatnonzero(self.of_anchor)
        if examples.size > 1:  # better the instance itself than none
            examples = examples[is_other[examples]]
        of_hits, of_misses = examples[hits[examples]], examples[~hits[examples]]
        n = self.job.n_examples
        places, n_shown = [of_hits[:n], of_misses[:n]], min(n, of_hits.size)
        if far is not None:
            nearest = int(np.where(is_other, far, _FAR).argmin())
            if is_other[nearest] and far[nearest] < _FAR:
                places.append(np.array([nearest]))
        together = np.concatenate(places)
        n_examples = n_shown + min(n, of_misses.size)
        return Shown(
            together,
            labels[together],
            np.arange(n_examples) < n_shown,
            len(together) > n_examples,
            of_hits.size,
            of_misses.size,
        )

    def _effects(self, hits: Bool[np.ndarray, " rows"]) -> Float[np.ndarray, " predicates"]:
        """How much each predicate adds to the chance of a hit, by all rows that the job knows; see `engine.effects`."""
        sampler = cast(IndependentSampler, self.job.case.sampler)
        keep, n_copies = sampler.kept(codes_of(self).numpy()), sampler.n_backgrounds
        # All backgrounds of the mask that hides nothing are one row.
        if sampler.repeatable and len(hits) == (n_copies << sampler.n_predicates) - (n_copies - 1):
            # Even odds where a predicate never holds, for the sake of the rows at hand.
            p_keep = sampler.p_keep if 0 < sampler.p_keep < 1 else 0.5
            return effects.of_all_rows(keep, hits, p_keep, n_copies)
        return effects.of_rows(keep, hits)


class AskRows(Listed):
    """The codes of the rows that are shown, which only the device has. Its own are those of all rows of the job."""

    __slots__ = ()

    @property
    def _unseen(self) -> Unseen:
        assert self.job.unseen is not None
        return self.job.unseen

    @property
    def _width(self) -> int:
        return codes_of(self).shape[1]

    @property
    def n_numbers(self) -> int:
        return self._unseen.rows.places.size * self._width

    @property
    def family(self) -> Hashable:
        return AskRows, self._width, codes_of(self).dtype

    def pick(self, family: Sequence[AskRows], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The codes, one row after the other."""
        codes = [codes_of(ask) for ask in family]
        starts = accumulate([0, *map(len, codes[:-1])])
        places = [ask._unseen.rows.places + start for ask, start in zip(family, starts, strict=True)]
        (there,) = on_device([np.concatenate(places)], codes[0].device)
        return torch.cat(codes).index_select(0, there).flatten()

    def read(self, answer: Answer) -> None:
        self._unseen.rows.tell(self.job, answer.numbers.reshape(-1, self._width))
        self.job.unseen = None


def compare(asks: Sequence[AskLast]) -> None:
    """Compares the rows of requests with their instances, those of one sampler together.

    The device is not waited for.
    """
    by_sampler: dict[int, list[AskLast]] = {}
    for ask in asks:
        ask.changes = None
        if ask.codes is not None and hasattr(ask.job.case.sampler, "n_changes"):
            by_sampler.setdefault(id(ask.job.case.sampler), []).append(ask)
    for same in by_sampler.values():
        cases, codes = [ask.job.case for ask in same], [codes_of(ask) for ask in same]
        sizes = [len(own) for own in codes]
        instances: Any = cases[0].instance if len(same) == 1 else np.repeat([case.instance for case in cases], sizes)
        changes = _n_changes(cast(ComparingSampler, cases[0].sampler), torch.cat(codes), instances)
        for ask, own in zip(same, torch.split(changes, sizes), strict=True):
            ask.changes = own


def _n_changes(sampler: ComparingSampler, codes: Tensor, instances: Any) -> Int[Tensor, " rows"]:
    """As the sampler says, some rows at a time."""
    parts = []
    for start in range(0, len(codes), AskLast.ROWS_AT_ONCE):
        part = slice(start, start + AskLast.ROWS_AT_ONCE)
        own = instances[part] if isinstance(instances, np.ndarray) else instances
        parts.append(sampler.n_changes(codes[part], own))
    return torch.cat(parts)


def enter_last(job: Job, request: LastRequest) -> AskLast:
    """Looks all rows up that were predicted."""
    slots, codes, of_anchor = job.memory.every(request.anchor)
    slots = np.concatenate([[job.first_slot], slots])
    ask = AskLast(job, request, slots, codes, 0, 0, int(slots.max()))
    ask.of_anchor, ask.changes = of_anchor, None
    return ask


def enter_rows(job: Job, request: RowsRequest) -> AskRows:
    """Looks up the rows that are shown."""
    assert job.unseen is not None
    return AskRows(job, request, np.zeros(0, dtype=np.int64), job.unseen.codes, 0, 0, -1)
