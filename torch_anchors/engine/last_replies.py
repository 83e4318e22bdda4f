"""What is asked when a search has ended: examples, the nearest miss, and what each predicate does.

No row is sent to the model for it; see `replies`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Shaped
from torch_anchors.engine import effects
from torch_anchors.engine.job import Examples, Miss
from torch_anchors.engine.outputs import INVALID
from torch_anchors.engine.replies import Ask, Counts, Rows, codes_of, exact, to_device
from torch_anchors.perturb.protocol import ComparingSampler, IndependentSampler


class AskExamples(Ask):
    """A few hits and misses of the found anchor, the explained label, and the instance's own.

    Which rows these are is decided on the device: a stable sort brings hits to the front in their order. Rows that are
    drawn on the device come back with them.
    """

    __slots__ = ()

    @property
    def _n(self) -> int:
        """Most examples of one kind."""
        return min(self.job.n_examples, self.slots.size)

    @property
    def n_numbers(self) -> int:
        return 2 + 2 * self._n * (2 + self._row_width)

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """Both labels; then positions and labels of the first few hits, of the first few misses; then rows."""
        hits_first = torch.sort(~rows.hits, stable=True).indices[: self._n]
        misses_first = torch.sort(rows.hits, stable=True).indices[: self._n]
        positions = torch.cat([hits_first, misses_first])
        parts = [rows.asked.targets, rows.asked.answers, positions, rows.labels[positions]]
        if self._row_width and self.codes is not None:
            parts.append(self.codes[positions].flatten())
        return torch.cat([exact(part) for part in parts])

    def read(self, counts: Counts) -> None:
        n, n_hits = self._n, counts.all_hits
        asked, positions, labels, rows = np.split(counts.numbers, [2, 2 + 2 * n, 2 + 4 * n])
        real = np.concatenate(
            [np.arange(n) < n_hits, np.arange(n) < self.slots.size - n_hits]
        )  # beyond: the other kind
        codes: NDArray[np.generic] = np.zeros((2 * n, 0))
        if self._row_width:
            codes = rows.reshape(2 * n, self._row_width)
        elif self.codes is not None:
            codes = self.codes.numpy()[positions.astype(np.int64)]
        self.job.label, self.job.answer = map(int, asked)
        n_misses, hits = self.slots.size - n_hits, np.arange(2 * n) < n
        self.job.examples = Examples(codes[real], labels.astype(np.int64)[real], hits[real], n_hits, n_misses)


class AskNearestMiss(Ask):
    """The row of another label that has the fewest changes to the instance; of several the one that was drawn first.

    Which one that is, is decided on the device.
    """

    __slots__ = ()

    ROWS_AT_ONCE = 1 << 18
    """Rows that are compared with the instance together."""

    @property
    def n_numbers(self) -> int:
        return 3 + self._row_width

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """Whether there is such a row; its position and its label; and the row, where the host does not have it."""
        sampler, instance = cast(ComparingSampler, self.job.case.sampler), self.job.case.instance
        parts = torch.split(codes_of(self), self.ROWS_AT_ONCE)
        n_changes = torch.cat([sampler.n_changes(part, instance) for part in parts])
        differs = (rows.labels != rows.asked.targets) & (rows.labels != INVALID)
        position = torch.where(differs, n_changes, torch.iinfo(n_changes.dtype).max).argmin()[None]
        found = [differs.any()[None], position, rows.labels[position]]
        if self._row_width:
            found.append(codes_of(self)[position].flatten())
        return torch.cat([exact(part) for part in found])

    def read(self, counts: Counts) -> None:
        there, position, label = map(int, counts.numbers[:3])
        if there:
            code = counts.numbers[3:] if self._row_width else codes_of(self)[position].numpy()
            self.job.nearest_miss = Miss(code, label)


class AskEffects(Ask):
    """How much each predicate adds to the chance of a hit, by all rows that the job knows; see `engine.effects`.

    What the rows look like is known on the host; which are hits, on the device only.
    """

    __slots__ = ()

    ROWS_AT_ONCE = 1 << 18
    """Rows whose masks are spread out together."""

    @property
    def _sampler(self) -> IndependentSampler:
        return cast(IndependentSampler, self.job.case.sampler)

    @property
    def _has_all_rows(self) -> bool:
        """Whether these are all rows that there are; all backgrounds of the mask that hides nothing are one row."""
        n = self._sampler.n_backgrounds
        return self._sampler.repeatable and self.slots.size == (n << self._sampler.n_predicates) - (n - 1)

    @property
    def _p_keep(self) -> float:
        """The chance that a predicate holds; even odds where it never does, for the sake of the rows at hand."""
        p_keep = self._sampler.p_keep
        return p_keep if 0 < p_keep < 1 else 0.5

    @property
    def n_numbers(self) -> int:
        return 1 + self._sampler.n_predicates

    @property
    def family(self) -> Hashable:
        own = id(self) if self._has_all_rows else None
        return AskEffects, type(self._sampler), self._sampler.n_predicates, codes_of(self).shape[1], own

    def write(self, family: Sequence[Ask], rows: Rows) -> Shaped[Tensor, " numbers"]:
        """The hits, and for each predicate the hits among the rows on which it holds; of all rows, their shares."""
        hits = exact(rows.hits)
        if self._has_all_rows:
            masks = self._sampler.kept(codes_of(self).numpy())
            shares = effects.mask_shares(masks, self._p_keep, self._sampler.n_backgrounds)
            hits = hits * to_device(effects.in_whole_parts(shares, _whole(hits.dtype)), hits.device)
        sums = hits.new_zeros(len(family), self.n_numbers)
        codes = torch.cat([codes_of(ask) for ask in family]).to(hits.device, non_blocking=True)
        for start in range(0, len(codes), self.ROWS_AT_ONCE):
            part = slice(start, start + self.ROWS_AT_ONCE)
            keep = self._sampler.keep(codes[part])
            held = torch.cat([keep.new_ones(len(keep), 1), keep], dim=1)
            sums.index_add_(0, rows.owners[part], held * hits[part, None])
        return sums.flatten()

    def read(self, counts: Counts) -> None:
        all_hits, hits = counts.numbers[0], counts.numbers[1:].astype(np.float64)
        if self._has_all_rows:
            whole = _whole(counts.numbers.dtype)
            self.job.effects = effects.difference(self._p_keep, hits / whole, float(all_hits) / whole)
            return
        keep = self._sampler.kept(codes_of(self).numpy())
        self.job.effects = effects.of_rows(keep, float(all_hits), hits)


def _whole(dtype: torch.dtype | np.dtype) -> float:
    """A number so large that whole numbers of this type add up to it, and a little beyond, without rounding."""
    return 2.0**23 if dtype in (torch.float32, np.float32) else 2.0**52
