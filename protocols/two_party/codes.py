"""Tables of lines as bits: what is looked up, and how wide everything is."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from protocols.arithmetic.lines import Lines, Numbers
from protocols.two_party.rows import Words, packed, sums


@dataclass(frozen=True, eq=False)
class Codes:
    """Slopes and intercepts minus the least of them, so that all are unsigned.

    Attributes:
        tables: T of them; their functions are added up. They share the bits of the lower digit, of slopes and
            of intercepts.
        frac_bits: of the numbers that are looked up.
    """

    tables: tuple[Lines, ...]
    frac_bits: int

    @property
    def digit_bits(self) -> int:
        """Of the lower digit."""
        return self.tables[0].digit_bits

    @property
    def upper_bits(self) -> int:
        """Of the upper digit."""
        return max(table.upper_bits for table in self.tables)

    @property
    def index_bits(self) -> int:
        """Of both."""
        return self.digit_bits + self.upper_bits

    @property
    def fraction_bits(self) -> int:
        """Of slopes."""
        return self.tables[0].slope_bits

    @property
    def ring_bits(self) -> int:
        """k, of products."""
        return max(table.ring_bits(self.frac_bits) for table in self.tables)

    @cached_property
    def least(self) -> tuple[int, int]:
        """The least slope and the least intercept."""
        return self._extreme(min, 0), self._extreme(min, 1)

    @cached_property
    def slope_bits(self) -> int:
        """w."""
        return (self._extreme(max, 0) - self.least[0]).bit_length()

    @cached_property
    def intercept_bits(self) -> int:
        """v, even: half of the bits are transferred in either direction."""
        most = (self._extreme(max, 1) - self.least[1]).bit_length()
        return most + most % 2

    def _extreme(self, of: Callable[[list[int]], int], place: int) -> int:
        numbers: list[int] = []
        for table in self.tables:
            values = (table.slopes, table.intercepts)[place]
            numbers += [int(values.min()), int(values.max()), table.left[place], table.right[place]]
        return of(numbers)

    @property
    def bits(self) -> int:
        """Of a slope and an intercept together."""
        return self.slope_bits + self.intercept_bits

    @property
    def has_right(self) -> bool:
        """Whether there are numbers on the right of all pieces."""
        return any(table.positive for table in self.tables)

    @property
    def ands(self) -> int:
        """Of an element and table: two a bit, and one to know what is on the right."""
        return 2 * self.bits + int(self.has_right)

    @property
    def transfers(self) -> int:
        """Of an element and table, in each direction."""
        return self.slope_bits + self.intercept_bits // 2

    @property
    def shift(self) -> int:
        """Fraction bits that products have and intercepts do not."""
        return self.frac_bits + self.fraction_bits - self.tables[0].intercept_bits

    @property
    def widths(self) -> list[int]:
        """Bits of what is transferred: bit i of a slope counts 2^i times, of an intercept 2^(i + shift)."""
        pairs = range(0, self.intercept_bits, 2)
        slopes = [self.ring_bits - i for i in range(self.slope_bits)]
        return slopes + [max(1, self.ring_bits - self.shift - i - 1) for i in pairs]

    def _code(self, slopes: Numbers, intercepts: Numbers) -> Numbers:
        """Both minus the least, the slope in the low bits."""
        return (slopes - self.least[0]) | ((intercepts - self.least[1]) << self.slope_bits)

    def _outer(self, table: Lines) -> tuple[int, int]:
        """The codes on the left and on the right of all pieces, the latter XOR the former."""
        slopes, intercepts = np.array([table.left, table.right], np.int64).T
        left, right = (int(code) for code in self._code(slopes, intercepts))
        return left, left ^ right

    @cached_property
    def outer(self) -> Numbers:
        """Bits of both: [2, bits, T]."""
        codes = np.array([self._outer(table) for table in self.tables], np.int64).T
        return (codes[:, None, :] >> np.arange(self.bits)[None, :, None]) & 1

    @cached_property
    def masks(self) -> Words:
        """Which entries of a row count for a bit, by the opened difference d of a lower digit.

        Row entry r stands for the digit d + r modulo N. Of each bit of the codes, XOR those on the left:
        those entries with a one whose sum has no carry; then those with a carry; last all with a carry.
        [T N, 2 bits + 1, words].
        """
        return np.concatenate([self._masks(table) for table in self.tables])

    def _masks(self, table: Lines) -> Words:
        size = 1 << self.digit_bits
        codes = self._code(table.slopes, table.intercepts) ^ self._outer(table)[0]
        rows = ((codes >> np.arange(self.bits)[:, None]) & 1).astype(np.uint8)
        total = sums(self.digit_bits)
        turned, carry = rows[:, total % size], total >= size
        parts = np.concatenate([turned * ~carry, turned * carry, carry[None].astype(np.uint8)])
        return packed(parts.transpose(1, 0, 2))

    @cached_property
    def upper_masks(self) -> Words:
        """Likewise of the upper digit: [T 2^h, 4, words].

        Entries whose sum is zero; zero with a carry from below; on the right; on the right with that carry.
        """
        size, total = 1 << self.upper_bits, sums(self.upper_bits)
        both = [total % size, (total + 1) % size]
        parts: list[Words] = []
        for table in self.tables:
            right = [(value > 0) & (value <= table.positive) for value in both]
            zero = [value == 0 for value in both]
            parts.append(packed(np.stack([*zero, *right], 1).astype(np.int64)))
        return np.concatenate(parts)


@lru_cache(maxsize=64)
def codes_of(tables: tuple[Lines, ...], frac_bits: int) -> Codes:
    """Made once."""
    return Codes(tables, frac_bits)
