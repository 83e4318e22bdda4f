"""Perturbed copies by masks: each part of an instance is shown, or replaced by what stands in for an absent one.

The parts are superpixels of an image, segments of a series, columns of a table's row. What is drawn, coded, enumerated
and counted is the same for all of them; a modality adds how its rows are rendered.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._checks import between
from torch_anchors._shapes import Bool, Float, Int, Shaped, UInt8
from torch_anchors.errors import ArgumentError
from torch_anchors.perturb import masks
from torch_anchors.perturb.protocol import Order
from torch_anchors.search.protocol import Anchor, EnumerateRequest, GroupedRequest, Request, SearchSpace

MOST_BACKGROUNDS = 1 << 16
"""A background's number is two bytes of a row's code."""


class MaskSampler(ABC):
    """Draws perturbed copies of one instance, as D(. | anchor) of the anchors paper (its section 4 for images).

    A part of the anchor is always shown; each other one is shown with probability ``1 - p_sample``, independently, and
    replaced otherwise. Where there are several backgrounds to replace it by, one is drawn for each row. To ask what is
    necessary, it is the other way round: a part of the anchor is always hidden, and each other one with probability
    `p_sample`.

    *Parts* are what the instance consists of. *Predicates* say of the parts that vary that they are shown (or, where
    `hides`, that they are hidden), and are numbered from 0 in the order of these parts.

    A row's code is the packed mask of the predicates that hold (`torch_anchors.perturb.masks`), followed by the number
    of its background, two bytes, where there are several.

    Args:
        n_parts: number of parts.
        p_sample: probability that a part outside the anchor is absent, in (0, 1].
        fixed: parts that are always shown, and so are no predicates.
        exclude: parts that vary like others, but are in no anchor.
        hides: whether a predicate says that its part is hidden.
        levels: coarser views of the parts, the coarsest first: the group of each part (n_parts,), each group a part of
            one of the level before.
        n_backgrounds: how many different things can stand in for the absent parts of a row, all equally likely.
        repeatable: whether equal codes have equal answers; False for a model that does not repeat itself.
        device: where rows are made.
        dtype: what rows are made of.

    Raises:
        ArgumentError: `p_sample` is no such probability, there are too many backgrounds, or all parts are fixed.
    """

    independent = True

    def __init__(
        self,
        n_parts: int,
        *,
        p_sample: float = 0.5,
        fixed: Sequence[int] = (),
        exclude: Sequence[int] = (),
        hides: bool = False,
        levels: Sequence[Int[np.ndarray, " parts"]] = (),
        n_backgrounds: int = 1,
        repeatable: bool = True,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        check_p_sample(p_sample)
        if n_backgrounds > MOST_BACKGROUNDS:
            raise ArgumentError(f"images_background must have at most {MOST_BACKGROUNDS} images, got {n_backgrounds}.")
        varying = np.setdiff1d(np.arange(n_parts), fixed) if len(fixed) else np.arange(n_parts)
        if not varying.size:
            raise ArgumentError(f"fixed must leave at least one part that varies, got all {n_parts}.")
        self.n_parts, self.n_predicates = n_parts, varying.size
        self.hides = hides
        self.p_sample = p_sample
        self.n_backgrounds = n_backgrounds
        self.repeatable = repeatable
        self.device, self.dtype = torch.device(device), dtype
        self._levels = tuple(level[varying] for level in levels)
        excluded = np.flatnonzero(np.isin(varying, list(exclude))).tolist() if len(exclude) else ()
        self._excluded = frozenset(excluded)
        self._varying: NDArray[np.intp] | None = None if varying.size == n_parts else varying
        if self._varying is not None:
            place = np.full(n_parts, varying.size)
            place[varying] = np.arange(varying.size)
            self._place = torch.from_numpy(place).to(self.device)  # of each part among the predicates; K if fixed

    # ----------------------------------------------------------------------------------- what a modality adds

    @abstractmethod
    def row_shape(self) -> tuple[int, ...]:
        """Shape of a rendered row."""

    @abstractmethod
    def render(
        self, codes: UInt8[Tensor, "rows bytes"], out: Shaped[Tensor, "rows ..."] | None = None
    ) -> Shaped[Tensor, "rows ..."]:
        """Rows on the device: the instance where a part is `shown`, a background elsewhere (`background`)."""

    def empty(self, n: int) -> Shaped[Tensor, "rows ..."]:
        """Room for `n` rows."""
        return torch.empty((n, *self.row_shape()), dtype=self.dtype, device=self.device)

    # -------------------------------------------------------------------------------------------- masks and codes

    def space(self) -> SearchSpace:
        """The anchors of this instance: their coverage is exact, and so is the number of distinct rows."""
        return SearchSpace(
            n_predicates=self.n_predicates,
            coverage=lambda anchor: self.p_keep ** len(anchor),
            n_rows=self._n_rows,
            independent=True,
            p_keep=self.p_keep,
            levels=self._levels,
            excluded=self._excluded,
            numbers=self.numbers,
        )

    @property
    def p_keep(self) -> float:
        """Probability that a predicate outside the anchor holds."""
        return self.p_sample if self.hides else 1 - self.p_sample

    @property
    def numbers(self) -> list[int] | None:
        """The part that each predicate is about; None where part k is predicate k."""
        return None if self._varying is None else self._varying.tolist()

    def of_parts(self, values: Float[np.ndarray, " predicates"]) -> Float[np.ndarray, " parts"]:
        """A number of each part from one of each predicate: 0 for parts that are fixed."""
        if self._varying is None:
            return values
        of_parts = np.zeros(self.n_parts, dtype=values.dtype)
        of_parts[self._varying] = values
        return of_parts

    def _n_rows(self, anchor: Anchor) -> int | None:
        """Distinct rows on which `anchor` holds; None where each of them may have several answers."""
        return 2 ** (self.n_predicates - len(anchor)) * self.n_backgrounds if self.repeatable else None

    def instance_code(self, instance: Any = None) -> UInt8[Tensor, "1 bytes"]:
        """The code of the instance itself: every part shown."""
        return self._codes(np.full((1, self.n_predicates), not self.hides), np.zeros(1, dtype=np.uint16))

    def draw(self, orders: Sequence[Order]) -> list[Tensor]:
        """Codes (n, bytes) uint8 on the CPU of the masks of each order, from the order's own random stream.

        The bits are drawn on the host so that an explanation is the same on every device, and so that the number
        of rows not seen before is known without asking the device; everything larger than a bit is made there.
        """
        return [self._of_request(order.request, order.rng) for order in orders]

    def keep(self, codes: UInt8[Tensor, "rows bytes"]) -> Bool[Tensor, "rows predicates"]:
        """Which predicates hold in each row."""
        return masks.unpack(codes, self.n_predicates)

    def shown(self, codes: UInt8[Tensor, "rows bytes"]) -> Bool[Tensor, "rows parts"]:
        """Which parts are shown in each row, on the device of `codes`: what rows are rendered by."""
        keep = self.keep(codes)
        keep = ~keep if self.hides else keep
        if self._varying is None:
            return keep
        place = self._place.to(codes.device)
        return torch.nn.functional.pad(keep, (0, 1), value=True).index_select(1, place)

    def kept(self, codes: UInt8[np.ndarray, "rows bytes"]) -> Bool[np.ndarray, "rows predicates"]:
        """As `keep`, on the host."""
        return masks.unpack_on_host(codes, self.n_predicates)

    def n_changes(self, codes: UInt8[Tensor, "rows bytes"], instance: Any = None) -> Int[Tensor, " rows"]:
        """How many parts are hidden in each row; on the host, where the codes are."""
        n_kept = self.kept(codes.numpy()).sum(axis=1, dtype=np.int64)
        return torch.from_numpy(n_kept if self.hides else self.n_predicates - n_kept)

    def holds(self, codes: UInt8[np.ndarray, "rows bytes"], anchor: Anchor) -> Bool[np.ndarray, " rows"]:
        """In which of the rows every predicate of `anchor` holds."""
        return masks.holds(codes, anchor)

    def background(self, codes: UInt8[Tensor, "rows bytes"]) -> Int[Tensor, " rows"]:
        """The number of the background of each row, 0 where there is only one."""
        if self.n_backgrounds == 1:
            return torch.zeros(codes.shape[0], dtype=torch.int64, device=codes.device)
        low, high = codes[:, -2].long(), codes[:, -1].long()
        return low + 256 * high

    def _every_code(self, anchor: Anchor) -> UInt8[Tensor, "rows bytes"]:
        keep = masks.every_mask(anchor, self.n_predicates)
        numbers = np.tile(np.arange(self.n_backgrounds, dtype=np.uint16), len(keep))
        return self._codes(np.repeat(keep, self.n_backgrounds, axis=0), numbers)

    def _of_request(self, request: Request, rng: np.random.Generator) -> UInt8[Tensor, "rows bytes"]:
        if isinstance(request, EnumerateRequest):
            return self._every_code(request.anchor)
        if isinstance(request, GroupedRequest):
            groups = np.array(request.groups)
            return self._drawn(self._held(request.n, int(groups.max()) + 1, rng)[:, groups], rng)
        keep = self._held(request.n, self.n_predicates, rng)
        keep[:, list(request.anchor)] = True
        return self._drawn(keep, rng)

    def _held(self, n: int, n_things: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which of some independent predicates, or groups of them, hold in each of `n` rows."""
        shown = rng.random((n, n_things), dtype=np.float32) >= self.p_sample
        return ~shown if self.hides else shown

    def _drawn(self, keep: NDArray[np.bool_], rng: np.random.Generator) -> UInt8[Tensor, "rows bytes"]:
        """Codes of masks, each with a background of its own."""
        if self.n_backgrounds == 1:
            return self._codes(keep, None)
        return self._codes(keep, rng.integers(self.n_backgrounds, size=len(keep), dtype=np.uint16))

    def _codes(self, keep: NDArray[np.bool_], background: NDArray[np.uint16] | None) -> UInt8[Tensor, "rows bytes"]:
        """Packed masks and, where there are several backgrounds, the number of one; all alike where all is shown."""
        packed = masks.pack(keep)
        if self.n_backgrounds == 1 or background is None:
            return torch.from_numpy(packed)
        background = np.where((keep ^ self.hides).all(axis=1), 0, background).astype("<u2")
        return torch.from_numpy(np.hstack([packed, background[:, None].view(np.uint8)]))


def shown_together(
    runs: Sequence[tuple[MaskSampler, Tensor]],
) -> Float[np.ndarray, "rows parts_or_more"]:
    """1 where a part is shown in a row and 0 elsewhere, for rows of several instances, on the host.

    Args:
        runs: samplers and codes (n, bytes), whose rows follow each other. What is beyond the parts of a row's own
            instance means nothing.
    """
    codes = [codes.cpu().numpy() for _, codes in runs]
    packed = codes[0] if len(codes) == 1 else _one_below_another(codes)
    keep = np.unpackbits(packed, axis=1, bitorder="little")
    width = max(keep.shape[1], *(sampler.n_parts for sampler, _ in runs))
    shown = np.empty((len(keep), width), dtype=np.float32)
    shown[:, : keep.shape[1]] = keep
    start = 0
    for sampler, own in runs:
        rows = slice(start, start + len(own))
        if sampler.hides:
            np.subtract(1, shown[rows], out=shown[rows])
        if sampler._varying is not None:
            holds = shown[rows, : sampler.n_predicates].copy()
            shown[rows] = 1
            shown[rows, sampler._varying] = holds
        start = rows.stop
    return shown


def _one_below_another(codes: Sequence[NDArray[np.uint8]]) -> UInt8[np.ndarray, "rows most_bytes"]:
    """Codes as wide as the widest, filled up with zeros."""
    if len({own.shape[1] for own in codes}) == 1:
        return np.concatenate(codes)
    together = np.zeros((sum(map(len, codes)), max(own.shape[1] for own in codes)), dtype=np.uint8)
    start = 0
    for own in codes:
        together[start : start + len(own), : own.shape[1]] = own
        start += len(own)
    return together


def check_p_sample(p_sample: Any) -> None:
    """Raises an ArgumentError unless it is a probability in (0, 1]."""
    between("p_sample", p_sample, "a probability", closed="most")
