"""Ring elements as sums of small signed integers, so that products of them are exact in float64.

An element v of Z_2^B, read from -2^(B-1), is written with c balanced limbs of a bits,

    v = l_0 + l_1 2^a + ... + l_(c-1) 2^((c-1) a)   modulo 2^B,   |l_i| <= 2^(a-1), |l_(c-1)| <= 2^(t-1),

where t = B - (c-1) a bits are left for the last. With h = 2^(a-1) and C = h (1 + 2^a + ... + 2^((c-2) a)),
the limbs are the digits of v + C, all but the last less h. Those digits are from 0 to 2^a - 1, so that these
limbs are from -h to h - 1. The last is floor((v + C) / 2^((c-1) a)), and C < 2/3 2^((c-1) a) for a >= 2: it
is from -2^(t-1) to 2^(t-1), the latter by a carry. For B = 64, v + C wraps there, which makes it -2^(t-1):
the same modulo 2^64.

**Exactness.** A product of limbs of a and b bits is at most 2^(a+b-2) in magnitude; a sum of k of them, and
of any of them, at most k 2^(a+b-2). Float64 holds every integer up to 2^53. So for k <= 2^(55-a-b) each
product and each sum, in whatever order a BLAS forms them, fused or not, is such an integer, and nothing is
rounded. Longer sums are cut in blocks of so many terms, which are added as integers modulo 2^64.

x_i w_j counts 2^(i a + j b). Where i a + j b >= ring_bits it vanishes modulo 2^ring_bits and is left out, as
are bits of an operand above the ring: the lower bits of the result are right, the others may be anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel

EXACT_BITS = 53
"""Float64 holds every integer up to 2^53 in magnitude."""
_WIDEST = 32
"""Limbs are converted from 32-bit integers, for which every processor has vector instructions."""
_RECOMBINING = 16
"""Cost of adding a finished sum to the result, in multiply-adds."""
_SPLITTING = 4
"""Cost of splitting off a weight's limb, in multiply-adds a row of a result of 128."""


@dataclass(frozen=True, slots=True)
class Digits:
    """How one operand is split.

    Attributes:
        bits: of the operand, read as signed modulo 2^bits.
        width: of a limb, at least 2 where there are several.
        count: of limbs; width * count >= bits > width * (count - 1).
    """

    bits: int
    width: int
    count: int

    @classmethod
    def of(cls, bits: int, count: int) -> Digits:
        """`count` limbs, as narrow as they can be."""
        return cls(bits, -(-bits // count), count)


@dataclass(frozen=True, slots=True)
class Split:
    """How a product is split: digits of x, digits of w, and the ring of the result."""

    x: Digits
    w: Digits
    ring_bits: int

    @property
    def longest(self) -> int:
        """The largest k for which sums of products of limbs are exact: 2^(55 - a - b), or 0."""
        room = EXACT_BITS - (self.x.width - 1) - (self.w.width - 1)
        return 1 << room if room >= 0 else 0

    def partners(self, j: int) -> int:
        """How many limbs of x, from the lowest, meet limb j of w: i a + j b < ring_bits."""
        left = self.ring_bits - j * self.w.width
        return max(0, min(self.x.count, -(-left // self.x.width)))

    @property
    def products(self) -> int:
        """Products of matrices of limbs."""
        return sum(self.partners(j) for j in range(self.w.count))


@lru_cache(maxsize=256)
def best_split(x_bits: int, w_bits: int, ring_bits: int, k: int) -> Split:
    """The split with the least work: few products, and sums that are not brought home too often.

    Args:
        x_bits, w_bits: of the operands, 1 to 64; more than the ring has are not looked at.
        ring_bits: of the result that is needed, 1 to 64.
        k: terms of a sum.
    """
    x_bits, w_bits = min(x_bits, ring_bits), min(w_bits, ring_bits)
    candidates: dict[Split, float] = {}
    for p in range(1, max(1, x_bits // 8) + 1):
        for q in range(1, max(1, w_bits // 8) + 1):
            split = Split(Digits.of(x_bits, p), Digits.of(w_bits, q), ring_bits)
            if split.longest and max(split.x.width, split.w.width) <= _WIDEST:
                block = max(1, min(k, split.longest))
                candidates[split] = split.products * (1 + _RECOMBINING / block) + _SPLITTING / 128 * q
    return min(candidates, key=lambda split: candidates[split])


@kernel
def split_limbs(
    source: NDArray[np.int64],
    at: tuple[int, int, int],
    bits: int,
    width: int,
    limbs: NDArray[np.float64],
) -> None:
    """limbs [b, count, rows, columns] of the part of source [B, M, N] that begins at `at`; contiguous."""
    batches, count, rows, columns = limbs.shape
    first, top, left = at
    lift = np.int64(64 - bits)
    half = np.int64(1) << np.int64(width - 1)
    mask = (np.int64(1) << np.int64(width)) - np.int64(1)
    carry = np.int64(0)
    for i in range(count - 1):
        carry += half << np.int64(i * width)
    for batch in range(batches):
        for row in range(rows):
            line = source[first + batch, top + row, left : left + columns]
            for i in range(count):
                target = limbs[batch, i, row]
                shift = np.int64(i * width)
                if i == count - 1:
                    for j in range(columns):
                        value = ((line[j] << lift) >> lift) + carry
                        target[j] = np.float64(np.int32(value >> shift))
                else:
                    for j in range(columns):
                        value = ((line[j] << lift) >> lift) + carry
                        target[j] = np.float64(np.int32(((value >> shift) & mask) - half))


@kernel
def add_limbs(
    sums: NDArray[np.float64], shift: int, width: int, at: tuple[int, int, int], out: NDArray[np.int64]
) -> None:
    """Adds sums [b, count, rows, columns], the i-th times 2^(shift + i width), to a part of out [B, M, N].

    The part begins at `at`; both arrays are contiguous. Modulo 2^64.
    """
    batches, count, rows, columns = sums.shape
    first, top, left = at
    for batch in range(batches):
        for row in range(rows):
            target = out[first + batch, top + row, left : left + columns]
            for i in range(count):
                line = sums[batch, i, row]
                by = np.int64(shift + i * width)
                for j in range(columns):
                    target[j] += np.int64(line[j]) << by
