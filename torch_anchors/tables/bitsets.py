"""Sets of table rows as bits, 32 rows to a word, and their intersection, size and members.

A set of n rows is W = ceil(n / 32) words of type int32. Row r is bit r // W of word r % W, so that packing reads
the rows in 32 contiguous blocks. The bits beyond the last row are 0. Everything here runs on the tensors' device
without synchronising with it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torch_anchors._shapes import Bool, Int

WORD_BITS = 32


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


def popcount(words: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Number of set bits of each word.

    Adds neighbouring bits, then pairs, then nibbles, in all fields of the word at once (Warren, Hacker's Delight,
    2nd ed., section 5-1). The shifts copy the sign bit; each mask removes the copies.
    """
    pairs = words - ((words >> 1) & 0x55555555)
    nibbles = (pairs & 0x33333333) + ((pairs >> 2) & 0x33333333)
    octets = (nibbles + (nibbles >> 4)) & 0x0F0F0F0F
    return (octets * 0x01010101) >> 24


def nonempty(words: Int[Tensor, "*sets words"]) -> Bool[Tensor, "*sets"]:
    """Whether each set has any member."""
    # The greatest and the least word tell it, 20 times as fast on a CPU as asking for any that is not 0.
    return (words.amax(-1) != 0) | (words.amin(-1) != 0)


def select(words: Int[Tensor, " words"], rank: Int[Tensor, " words"]) -> Int[Tensor, " words"]:
    """Position, 0 to 31, of the set bit of each word that has exactly `rank` set bits below it."""
    bits = (words[:, None] >> torch.arange(WORD_BITS, dtype=torch.int32, device=words.device)) & 1
    return (bits.to(torch.int8).cumsum(1, dtype=torch.int8) <= rank[:, None].to(torch.int8)).sum(1)


def choose(
    words: Int[Tensor, "sets words"], owner: Int[Tensor, " draws"], entropy: Int[Tensor, " draws"]
) -> Int[Tensor, " draws"]:
    """A uniformly random member, as a row number, of set `owner[d]` for each draw d.

    The members of all sets are numbered through by a cumulative count, and the one wanted is found by binary search.

    Args:
        words: the sets; none may be empty.
        owner: which set each draw is from.
        entropy: uniform random whole numbers, much larger than a set.
    """
    sizes = popcount(words)
    n_members = sizes.sum(1)
    numbered = sizes.flatten().cumsum(0)  # sets * words
    before_set = n_members.cumsum(0) - n_members
    target = before_set.index_select(0, owner) + entropy % n_members.index_select(0, owner)
    place = torch.searchsorted(numbered, target, right=True)
    before_word = numbered.index_select(0, place) - sizes.flatten().index_select(0, place)
    bit = select(words.flatten().index_select(0, place), target - before_word)
    width = words.shape[1]
    return bit * width + place % width
