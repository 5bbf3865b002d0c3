"""One over the square root of positive numbers of a known public range, and the norms that need it."""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import final

from parties.errors import RangeError
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.chebyshev import interpolate
from protocols.arithmetic.operation import RangedProtocol
from protocols.share import Share

_FACTOR_PRODUCT = 32.0
"""Inverse roots of what is at least 2^-8 are at most 16."""
DEGREE = 8
DIRECT_RATIO = 4.0
"""Over a range no wider than this a polynomial of degree 8 needs no help."""


class InverseSqrt(RangedProtocol):
    """1 / sqrt(x) for `low` <= x <= `high`, and its use in a norm."""

    @abstractmethod
    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        """1 / sqrt(x) of every element, of x's shape."""

    def normalise(self, executor: Arithmetic, x: Share, mean_square: Share) -> Share:
        """x / sqrt(mean_square): rows [..., D] and their mean squares [..., 1]."""
        inverse = self(executor, mean_square)
        with normalised(executor, x):
            return executor.mul(x, inverse)


@final
class RangeReducedInverseSqrt(InverseSqrt):
    """1 / sqrt(x) over any range that 16 fraction bits can hold: find the power of 4, then a polynomial.

    1. Compare x with the powers of 4 inside the range, all in the same rounds: the differences of the bits
       are a one-hot row o_j for 4^j <= x < 4^(j + 1).
    2. m = sum over j of o_j * 4^-j * x, in [1, 4): multiples of x by public powers of 4 are multiplied with
       bits, which truncates nothing, in one round; their sum is shifted down.
    3. r = 1 / sqrt(m) by the Chebyshev series of degree 8 on [1, 4]: 3 rounds.
    4. r times f = sum over j of o_j * 2^-j, which is local: 1 round.

    9 rounds on the CrypTen executor. A range of ratio 4 or less takes step 3 alone, on the range shifted by a
    public power of 4.

    A result below 1 has fewer significant bits than r: `normalise` multiplies rows with f first and r last
    where that matters, so that the error of a normalised row stays at a few units of the last place.

    Source: range reduction as floating-point libraries do it. Deviation from CrypTen 0.4.1, whose exponential
    guess and three Newton steps take 17 rounds and hold on [0.1, 150].

    Args:
        low, high: at least 2^-8, at most 2^20.

    Attributes:
        exponents: the j of step 1; a single one is public, and steps 1, 2 and 4 are local.
        max_rel_error: see `RangedProtocol`.
    """

    COARSEST_EXPONENT = 3
    """Above 4^4 a result has lost four bits or more, and `normalise` takes its second product."""

    def __init__(self, low: float, high: float) -> None:
        if not 2.0**-8 <= low <= high <= 2.0**20:
            raise RangeError(
                f"inverse square root over [{low:g}, {high:g}]: needs 2^-8 <= low <= high <= 2^20"
            )
        super().__init__(low, high)
        first, last = math.floor(math.log2(low) / 2), math.floor(math.log2(high) / 2)
        self.exponents = range(first, last + 1)
        interval = (1.0, DIRECT_RATIO)
        if high <= DIRECT_RATIO * low:
            self.exponents = range(first, first + 1)
            interval = (low * 4.0**-first, max(high, 1.25 * low) * 4.0**-first)
        self._interval = interval
        self._series = interpolate(lambda value: value**-0.5, *interval, DEGREE)
        self.max_rel_error = 1.25e-4

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        mantissa, factor = self._split(executor, x)
        root = self._polynomial(executor, mantissa)
        if factor is None:
            return times_power_of_two(executor, root, -self.exponents[0])
        return executor.mul(root, factor)

    def normalise(self, executor: Arithmetic, x: Share, mean_square: Share) -> Share:
        mantissa, factor = self._split(executor, mean_square)
        root = self._polynomial(executor, mantissa)
        with normalised(executor, x):
            if factor is None:
                return executor.mul(times_power_of_two(executor, x, -self.exponents[0]), root)
            if self.exponents[-1] <= self.COARSEST_EXPONENT:
                return executor.mul(x, executor.mul(root, factor))
            return executor.mul(executor.mul(x, factor), root)

    def _split(self, executor: Arithmetic, x: Share) -> tuple[Share, Share | None]:
        """The m of step 2 and the f of step 4, None where it is public: 1 / sqrt(x) = f / sqrt(m)."""
        if len(self.exponents) == 1:
            return times_power_of_two(executor, x, -2 * self.exponents[0]), None
        one_hot = self._one_hot(executor, x)
        last = self.exponents[-1]
        shifted = [executor.mul_integer(x, 4 ** (last - exponent)) for exponent in self.exponents]
        chosen = executor.sum(executor.select(executor.stack(shifted), executor.stack(one_hot)), 0)
        chosen = executor.rearrange(chosen, lambda value: value[0])
        mantissa = times_power_of_two(executor, chosen, -2 * last)
        factor = executor.scaled(one_hot[0], 2.0 ** -self.exponents[0], executor.frac_bits)
        for exponent, bit in zip(self.exponents[1:], one_hot[1:], strict=True):
            factor = executor.add(factor, executor.scaled(bit, 2.0**-exponent, executor.frac_bits))
        return mantissa, factor

    def _one_hot(self, executor: Arithmetic, x: Share) -> list[Share]:
        """[4^j <= x < 4^(j + 1)] for every j; the first and last take what lies beyond."""
        edges = [executor.add_public(x, -(4.0**exponent)) for exponent in self.exponents[1:]]
        bits = executor.less_than_zero(executor.stack(edges))
        below = [executor.rearrange(bits, lambda value, i=i: value[i]) for i in range(len(edges))]
        between = [executor.sub(upper, lower) for lower, upper in pairwise(below)]
        return [below[0], *between, executor.add_public(executor.neg(below[-1]), 1.0)]

    def _polynomial(self, executor: Arithmetic, x: Share) -> Share:
        low, high = self._interval
        slope = 2.0 / (high - low)
        v = executor.combination([(x, slope)], -(high + low) / (high - low))
        return self._series(executor, v)


def normalised(executor: Arithmetic, x: Share) -> AbstractContextManager[None]:
    """Inside are products of rows with factors up to twice what normalises them, and of these factors.

    No entry of a normalised row of D is larger than sqrt(D).
    """
    return executor.within(max(_FACTOR_PRODUCT, 4.0 * math.sqrt(x.shape[-1])))


def times_power_of_two(executor: Arithmetic, x: Share, power: int) -> Share:
    """x times 2^power: an exact product, or one truncation."""
    return executor.mul_integer(x, 1 << power) if power > 0 else executor.shift_down(x, -power)
