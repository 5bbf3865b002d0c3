"""Distributed point functions of one bit: secret-shared one-hot vectors, a key of 16 (n - 6) bytes each.

Two parties hold the same correction words and a root each; neither alone tells anything of the point alpha.
Together their bits differ at alpha and agree everywhere else. A half-tree (Guo et al., EUROCRYPT 2023) whose
last seven levels are one leaf of 128 bits:

1. Party b's root is 16 random bytes with the lowest bit forced to b. The lowest bit of a node is its control
   bit t. On the path to alpha both parties' nodes differ by Delta = root_0 xor root_1, elsewhere they agree.
2. From a node s on level i: left = H(s) xor t CW_i, right = left xor s, with CW_i = H(s_0) xor H(s_1) xor
   (1 - alpha_i) Delta from the nodes on the path; alpha_0 is the highest bit.
3. From a node of the last level: leaf = H(s xor LEAF) xor t CW, with CW = H(s_0 xor LEAF) xor H(s_1 xor LEAF)
   xor the block whose only bit is at alpha mod 128. Point p of a leaf is bit p mod 64 of word p // 64.

Domains of fewer than 128 points use the low bits of a single leaf. Everything here works for no keys at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError
from protocols.kernels import dpf_compiled
from protocols.kernels.aes import Hash
from protocols.kernels.checks import require_below, require_bits, require_rank, require_shape
from protocols.kernels.window import inner_levels
from protocols.kernels.window_table import WindowTable

Words = NDArray[np.uint64]

BLOCK_BYTES = 16
MAX_BITS = 64
MAX_WINDOW_BITS = 32
"""Largest domain of which windows can be looked up."""


@dataclass(frozen=True, slots=True, eq=False)
class DpfKeys:
    """What both parties hold of N keys, level by level, so that neighbouring keys are neighbours in memory.

    Attributes:
        bits: n, bits of a point, 1 to 64.
        blocks: uint64 [levels + 1, N, 2], correction words of the inner levels and then of the leaves;
            levels = max(0, n - 7).

    Raises:
        RangeError: the blocks are not of that shape.
    """

    bits: int
    blocks: Words

    def __post_init__(self) -> None:
        require_bits(self.bits, MAX_BITS)
        require_shape("correction words", self.blocks, (inner_levels(self.bits) + 1, self.count, 2))

    @property
    def count(self) -> int:
        """N."""
        return self.blocks.shape[1] if self.blocks.ndim == 3 else 0

    @property
    def cw(self) -> Words:
        """Correction words of the inner levels, [levels, N, 2]."""
        return self.blocks[:-1]

    @property
    def leaf(self) -> Words:
        """Correction words of the leaves, [N, 2]."""
        return self.blocks[-1]

    @property
    def words(self) -> Words:
        """Everything as a flat array, not copied."""
        return self.blocks.reshape(-1)

    @staticmethod
    def key_bytes(bits: int, count: int) -> int:
        """Bytes of the correction words of `count` keys."""
        return BLOCK_BYTES * (inner_levels(bits) + 1) * count

    @classmethod
    def from_words(cls, bits: int, count: int, words: Words) -> DpfKeys:
        """Keys from what `words` gave, not copied.

        Raises:
            RangeError: there are more or fewer words.
        """
        require_bits(bits, MAX_BITS)
        require_shape("correction words", words, (cls.key_bytes(bits, count) // 8,))
        return cls(bits, words.reshape(inner_levels(bits) + 1, count, 2))


def generate(alpha: Words, bits: int, roots: Words, hash: Hash) -> tuple[DpfKeys, NDArray[np.int8]]:
    """Makes N keys; the dealer's work.

    Args:
        alpha: uint64 [N], the points, below 2^bits.
        bits: 1 to 64.
        roots: uint64 [2, N, 2], uniform blocks, party 0's first; their lowest bits are not used.
        hash: public.

    Returns:
        The keys, and int8 [N] signs: 1 where party 0's bit at alpha is 1, -1 where party 1's is, so that
        sum_i bit_0[i] T[i] - sum_i bit_1[i] T[i] = sign T[alpha]. Signs are secret.

    Raises:
        RangeError: a point or a shape does not fit.

    Cost:
        2 (levels + 1) hashes a key.
    """
    require_bits(bits, MAX_BITS)
    require_shape("points", alpha, (alpha.size,))
    require_shape("roots", roots, (2, alpha.size, 2))
    require_below(alpha, bits)
    blocks = np.empty((inner_levels(bits) + 1, alpha.size, 2), np.uint64)
    signs = dpf_compiled.generate(bits, alpha, roots, hash, blocks)
    return DpfKeys(bits, blocks), signs


def prefix_parity(rank: int, keys: DpfKeys, root: Words, points: Words, hash: Hash) -> NDArray[np.uint8]:
    """XOR shares of 1{alpha <= x} at P public points x of every key: the parity of all bits up to x.

    Args:
        rank: 0 or 1.
        keys: N keys.
        root: uint64 [N, 2], this party's roots.
        points: uint64 [P, N], below 2^bits.
        hash: public, the one that the keys were made with.

    Returns:
        uint8 [P, N], 0 or 1.

    Raises:
        RangeError: a point or a shape does not fit.

    Cost:
        levels + 1 hashes a point.

    Source:
        Storrier, Vadapalli, Lyons, Henry, "Grotto: Screaming fast (2+1)-PC or Z_2^n via (2,2)-DPFs"
        (CCS 2023), section 4: prefix parities.
    """
    require_rank(rank)
    require_shape("roots", root, (keys.count, 2))
    require_shape("points", points, (*points.shape[:1], keys.count))
    require_below(points, keys.bits)
    return dpf_compiled.prefix_parity(rank, keys.bits, keys.blocks, root, points, hash)


def window_lookup(
    rank: int,
    keys: DpfKeys,
    root: Words,
    first: Words,
    table: WindowTable,
    hash: Hash,
    which: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Sums over j < W of bit[(first + j) mod 2^bits] row[j], modulo 2^64, for each key's row of a table.

    Party 0's sum less party 1's is sign row[alpha - first] where alpha lies in the window, and 0 elsewhere.

    Args:
        rank: 0 or 1.
        keys: N keys of at most 32 bits.
        root: uint64 [N, 2], this party's roots.
        first: uint64 [N], where the windows begin, public; taken modulo 2^bits.
        table: rows of W entries, 1 <= W <= 2^bits. Where the absolute values of a row's entries sum to less
            than 2^31 the sums are taken in 32 bits, which is twice as fast.
        hash: public, the one that the keys were made with.
        which: int64 [N], public: the row of each key; None where there is one.

    Returns:
        int64 [N].

    Raises:
        RangeError: a length or a shape does not fit.

    Cost:
        About W / 64 + 2 levels hashes and W + 128 entries a key.
    """
    require_rank(rank)
    require_bits(keys.bits, MAX_WINDOW_BITS)
    require_shape("roots", root, (keys.count, 2))
    require_shape("first points", first, (keys.count,))
    if table.size > 1 << keys.bits:
        raise RangeError(f"expected a table of 1 to 2^{keys.bits} entries, got {table.size}")
    table.starts(which, keys.count)
    return dpf_compiled.window_lookup(rank, keys.bits, keys.blocks, root, first, table, which, hash)


def expand_all(rank: int, keys: DpfKeys, root: Words, hash: Hash) -> NDArray[np.uint8]:
    """One party's bits at every point of a small domain: 0 or 1, uint8 [N, 2^bits].

    Raises:
        RangeError: a shape does not fit, or the domain has more than 32 bits.
    """
    require_rank(rank)
    require_bits(keys.bits, MAX_WINDOW_BITS)
    require_shape("roots", root, (keys.count, 2))
    leaves = dpf_compiled.expand_all(rank, keys.bits, keys.blocks, root, hash)
    every = leaves.view(np.uint8).reshape(keys.count, leaves.shape[1] * BLOCK_BYTES)
    return np.unpackbits(every, axis=1, bitorder="little")[:, : 1 << keys.bits]
