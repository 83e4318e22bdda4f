"""Sets of table rows as bits, 32 rows to a word, and their intersection, size and members.

A set of n rows is W = ceil(n / 32) words of type int32. Row r is bit r // W of word r % W, so that packing reads
the rows in 32 contiguous blocks. The bits beyond the last row are 0. Everything here runs on the tensors' device
without synchronising with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torch_anchors._shapes import Bool, Int, Shaped
from torch_anchors.engine.device_copy import on_device

WORD_BITS = 32
BYTES_OF_A_ROW = 12
"""That a device needs for each row of a set when it chooses from it."""
CHOOSE_BYTES = 256 * 2**20
"""Most memory of a device for the bits of the sets that are chosen from together."""
_COUNT: Any = getattr(np, "bitwise_count", None)
"""Counts bits in one instruction; NumPy has it from 2.0 on."""


def n_words(n_rows: int) -> int:
    """Number of words that hold a set of `n_rows` rows."""
    return -(-n_rows // WORD_BITS)


def pack(members: Bool[Tensor, "sets rows"]) -> Int[Tensor, "sets words"]:
    """Sets of rows packed into words: row r belongs to set s where `members[s, r]` is true."""
    n_sets, n_rows = members.shape
    width = n_words(n_rows)
    blocks = torch.nn.functional.pad(members, (0, width * WORD_BITS - n_rows))
    blocks = blocks.view(n_sets, WORD_BITS, width)  # rows -> bit, word
    words = torch.zeros(n_sets, width, dtype=torch.int32, device=members.device)
    for bit in range(WORD_BITS):
        words |= blocks[:, bit].to(torch.int32) << bit
    return words


def popcount(words: Int[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """Number of set bits of each word."""
    if words.device.type == "cpu" and _COUNT is not None:
        return torch.from_numpy(_COUNT(words.numpy().view(np.uint32)))
    # Adds neighbouring bits, then pairs, then nibbles, in all fields of the word at once (Warren, Hacker's Delight,
    # 2nd ed., section 5-1). The shifts copy the sign bit; each mask removes the copies.
    pairs = words - ((words >> 1) & 0x55555555)
    nibbles = (pairs & 0x33333333) + ((pairs >> 2) & 0x33333333)
    octets = (nibbles + (nibbles >> 4)) & 0x0F0F0F0F
    return (octets * 0x01010101) >> 24


def sizes(words: Int[Tensor, "*sets words"]) -> Int[Tensor, "*sets"]:
    """Number of members of each set."""
    return popcount(words).sum(-1)


def nonempty(words: Int[Tensor, "*sets words"]) -> Bool[Tensor, "*sets"]:
    """Whether each set has any member."""
    if words.device.type != "cpu":
        return words.any(-1)
    # The greatest and the least word tell it, 20 times as fast on a CPU as asking for any that is not 0.
    return (words.amax(-1) != 0) | (words.amin(-1) != 0)


def accumulated(words: Int[Tensor, "sets *words"], n: int) -> Int[Tensor, "n_and_1 *words"]:
    """The set before the last `n` sets, and its intersections with the first of them, the first two, and so on.

    The sets before the last `n` hold all rows, and are `n_before(n)`. Each pass doubles how many neighbours are
    intersected: of some anchors' sets at once these are fewer operations than one for each.
    """
    step = 1
    while step < n:
        words = words[step:] & words[:-step]
        step *= 2
    return words


def n_before(n: int) -> int:
    """How many sets of all rows `accumulated` needs before the `n` others."""
    return 1 << max(n - 1, 0).bit_length()


def choose(
    words: Int[Tensor, "sets words"], owner: Int[np.ndarray, " draws"], entropy: Int[np.ndarray, " draws"]
) -> Int[Tensor, " draws"]:
    """A uniformly random member, as a row number, of set `owner[d]` for each draw d; on the device of the sets.

    Args:
        words: the sets; none that is drawn from may be empty.
        owner: which set each draw is from, in ascending order.
        entropy: uniform random whole numbers, much larger than a set.
    """
    if words.device.type == "cpu":
        return torch.from_numpy(_choose_on_host(words.numpy().view(np.uint32), owner, entropy))
    chosen, step = [words.new_empty(0, dtype=torch.int64)], n_sets_at_once(WORD_BITS * words.shape[1])
    for first in range(0, len(words), step):
        start, end = np.searchsorted(owner, [first, first + step])
        table = draw_table(owner[start:end] - first, entropy[start:end], len(words[first : first + step]))
        chosen.append(choose_by_table(words[first : first + step], *on_device(table, words.device)))
    return torch.cat(chosen)


def n_sets_at_once(n_rows: int) -> int:
    """How many sets of so many rows a device has room for when it chooses from them."""
    return max(1, CHOOSE_BYTES // (BYTES_OF_A_ROW * n_rows))


def draw_table(
    owner: Int[np.ndarray, " draws"], entropy: Int[np.ndarray, " draws"], n_sets: int
) -> tuple[Int[np.ndarray, "sets most"], Int[np.ndarray, " draws"], Int[np.ndarray, " bits"]]:
    """What `choose_by_table` needs of draws, which `choose` explains.

    The random numbers as a rectangle, in which all sets are drawn from equally often; the place of each draw in it; and
    the numbers of a word's bits.
    """
    n_draws = np.bincount(owner, minlength=n_sets)
    most = int(n_draws.max(initial=0))
    places = np.arange(len(owner)) + np.repeat(np.arange(n_sets) * most - (n_draws.cumsum() - n_draws), n_draws)
    numbers = np.zeros(n_sets * most, dtype=np.int64)
    numbers[places] = entropy
    return numbers.reshape(n_sets, most), places, np.arange(WORD_BITS, dtype=np.int32)


def choose_by_table(
    words: Int[Tensor, "sets words"],
    numbers: Int[Tensor, "sets most"],
    places: Int[Tensor, " draws"],
    bits: Int[Tensor, " bits"],
) -> Int[Tensor, " draws"]:
    """As `choose`, on a device, where few operations count for more than small ones: it looks at every single bit.

    The other arguments are those of a `draw_table`.
    """
    held = (words[:, :, None] >> bits) & 1
    numbered = held.flatten(1).cumsum(1, dtype=torch.int32)
    target = torch.remainder(numbers, numbered[:, -1:], out=numbered.new_empty(numbers.shape))
    found = torch.searchsorted(numbered, target, right=True).flatten().index_select(0, places)
    return torch.add(found // WORD_BITS, found % WORD_BITS, alpha=words.shape[1])


def _choose_on_host(
    words: NDArray[np.uint32], owner: Int[np.ndarray, " draws"], entropy: Int[np.ndarray, " draws"]
) -> NDArray[np.int64]:
    """As `choose`: the members of all sets are numbered through, and the one wanted is found by binary search."""
    width, flat = words.shape[1], np.ascontiguousarray(words).ravel()
    counts = _count(flat)
    numbered = counts.cumsum(dtype=np.int64)  # sets * words
    ends = numbered[width - 1 :: width]
    n_members = np.diff(ends, prepend=0)
    target = (ends - n_members)[owner] + entropy % n_members[owner]
    place = numbered.searchsorted(target, side="right")
    bit = _select(flat[place], target - numbered[place] + counts[place])
    return bit * width + place % width


def _select(words: NDArray[np.uint32], rank: Int[np.ndarray, " words"]) -> NDArray[np.int64]:
    """Position, 0 to 31, of the set bit of each word that has exactly `rank` set bits below it; by halving."""
    words, rank, position = words.copy(), rank.astype(np.uint8), np.zeros(len(words), dtype=np.uint8)
    for half in (16, 8, 4, 2, 1):
        below = _count(words & np.uint32((1 << half) - 1))
        above = rank >= below
        rank -= below * above
        position += above * np.uint8(half)
        words >>= above * np.uint32(half)
    return position.astype(np.int64)


def _count(words: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """As `popcount`."""
    return popcount(torch.from_numpy(words.view(np.int32))).numpy().astype(np.uint8, copy=False)
