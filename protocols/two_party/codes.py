"""Tables of lines as bits: what is looked up, and how wide everything is."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.arithmetic.lines import Lines, Numbers

Words = NDArray[np.uint64]
WORD = 64


@dataclass(frozen=True, eq=False)
class Codes:
    """Slopes and intercepts minus the least of them, so that all are unsigned.

    Attributes:
        lines: the table.
        frac_bits: of the numbers that are looked up.
    """

    lines: Lines
    frac_bits: int

    @property
    def ring_bits(self) -> int:
        """k, of products."""
        return self.lines.ring_bits(self.frac_bits)

    @cached_property
    def least(self) -> tuple[int, int]:
        """The least slope and the least intercept."""
        lines = self.lines
        return (
            int(min(lines.slopes.min(), lines.left[0], lines.right[0])),
            int(min(lines.intercepts.min(), lines.left[1], lines.right[1])),
        )

    @cached_property
    def slope_bits(self) -> int:
        """w."""
        lines = self.lines
        return (int(max(lines.slopes.max(), lines.left[0], lines.right[0])) - self.least[0]).bit_length()

    @cached_property
    def intercept_bits(self) -> int:
        """v, even: half of the bits are transferred in either direction."""
        lines = self.lines
        most = int(max(lines.intercepts.max(), lines.left[1], lines.right[1])) - self.least[1]
        return most.bit_length() + most.bit_length() % 2

    @property
    def bits(self) -> int:
        """Of a slope and an intercept together."""
        return self.slope_bits + self.intercept_bits

    @property
    def ands(self) -> int:
        """Of an element: two a bit, and one to know what is right of all pieces."""
        return 2 * self.bits + (1 if self.lines.positive else 0)

    @property
    def transfers(self) -> int:
        """Of an element, in each direction."""
        return self.slope_bits + self.intercept_bits // 2

    @property
    def shift(self) -> int:
        """Fraction bits that products have and intercepts do not."""
        return self.frac_bits + self.lines.slope_bits - self.lines.intercept_bits

    @property
    def widths(self) -> list[int]:
        """Bits of what is transferred: bit i of a slope counts 2^i times, of an intercept 2^(i + shift) times."""
        pairs = range(0, self.intercept_bits, 2)
        slopes = [self.ring_bits - i for i in range(self.slope_bits)]
        return slopes + [self.ring_bits - self.shift - i - 1 for i in pairs]

    def code(self, slope: Numbers | int, intercept: Numbers | int) -> Numbers:
        """Both minus the least, the slope in the low bits."""
        low = np.asarray(slope, np.int64) - self.least[0]
        return low | (np.asarray(intercept, np.int64) - self.least[1]) << self.slope_bits

    @cached_property
    def left(self) -> int:
        """The code of what is left of all pieces."""
        return int(self.code(*self.lines.left))

    @cached_property
    def right(self) -> int:
        """Likewise on the right, XOR `left`."""
        return int(self.code(*self.lines.right)) ^ self.left

    @cached_property
    def masks(self) -> Words:
        """Which entries of a row count for a bit, by the opened difference d of a lower digit.

        Row entry r stands for the digit d + r modulo N. Of each bit of the codes, XOR `left`: those entries
        with a one whose sum has no carry; then those with a carry; last all with a carry. [N, 2 bits + 1,
        words].
        """
        lines, size = self.lines, 1 << self.lines.digit_bits
        codes = self.code(lines.slopes, lines.intercepts) ^ self.left
        table = (codes >> np.arange(self.bits)[:, None]) & 1
        total = np.arange(size)[:, None] + np.arange(size)[None, :]
        turned, carry = table[:, total % size], total >= size
        parts = np.concatenate([turned * ~carry, turned * carry, carry[None].astype(np.int64)])
        return packed(parts.transpose(1, 0, 2))

    @cached_property
    def upper_masks(self) -> Words:
        """Likewise of the upper digit: [2^h, 4, 1].

        Entries whose sum is zero; zero with a carry from below; on the right; on the right with that carry.
        """
        size = 1 << self.lines.upper_bits
        total = np.arange(size)[:, None] + np.arange(size)[None, :]
        sums = [total % size, (total + 1) % size]
        zero = [value == 0 for value in sums]
        right = [(value > 0) & (value <= self.lines.positive) for value in sums]
        return packed(np.stack([*zero, *right], 1).astype(np.int64))


def packed(bits: Numbers) -> Words:
    """[..., n] zeros and ones as words, entry v in bit v % 64 of word v // 64."""
    size = bits.shape[-1]
    words = max(1, size // WORD)
    shaped = bits.reshape(*bits.shape[:-1], words, -1).astype(np.uint64)
    return np.bitwise_or.reduce(shaped << np.arange(shaped.shape[-1], dtype=np.uint64), -1)


@lru_cache(maxsize=64)
def codes_of(lines: Lines, frac_bits: int) -> Codes:
    """Made once a table."""
    return Codes(lines, frac_bits)
