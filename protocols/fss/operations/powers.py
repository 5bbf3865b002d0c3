"""Even powers of masked values by squarings."""

from __future__ import annotations

from dataclasses import dataclass

from parties.errors import ConfigError
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.gates.square import Square
from protocols.fss.operations.rescale import truncate_locally, view
from protocols.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFormats:
    """Rings and fraction bits around a power.

    Attributes:
        power: 2, 4, 6 or 8.
        integer_bits: of what is raised: it is below 2^integer_bits in magnitude, rounded up too.
        square_frac: fraction bits of what is squared on the way.
        factor_frac: of both factors of the last product; of one of them for power 6, whose other is a square.
        ring_bits: of the result.
    """

    power: int
    integer_bits: int
    square_frac: int
    factor_frac: int
    ring_bits: int

    @property
    def frac_bits(self) -> int:
        """Of the result."""
        return self.factor_frac + (self.square_frac if self.power == 6 else self.factor_frac)

    @property
    def read_frac(self) -> int:
        """Fraction bits of the base of the power as it is read."""
        return self.factor_frac if self.power == 2 else self.square_frac

    def inner_bits(self, power: int) -> int:
        """The ring in which a lower power is opened; a bit is for whoever views it."""
        return power * self.integer_bits + 2 * self.square_frac + 2


def even_power(executor: Executor, formats: PowerFormats, x: Share) -> Share:
    """x^p of a masked x, additive.

    1. p = 2: the square of a view of x.
    2. p = 4: the square of x^2, opened.  p = 6: x^2 times x^4.  p = 8: the square of x^4, opened.

    Lower powers are opened in rings of their own, with the fraction bits that a square has, and read with
    fewer. Cost: p = 2 no round; p = 4 one; p = 6 and 8 two.

    Error: every view is off by less than a unit of its last place u, and x^2 of a view by 2 |x| u + u^2;
    `power_error` adds it up.
    Source: docs/protocols.md, section 8: squarings instead of exponentials.
    """
    square_frac, last = formats.square_frac, formats.factor_frac

    def seen(value: Share, frac_bits: int) -> Share:
        return view(executor, value, frac_bits)

    def opened(value: Share, power: int, frac_bits: int) -> Share:
        square = executor.one(Square(formats.inner_bits(power)), value)
        (result,) = executor.apply(Open(), truncate_locally(executor, square, frac_bits))
        return result

    result = Square(formats.ring_bits)
    first = seen(x, formats.read_frac)
    if formats.power == 2:
        return executor.one(result, first)
    read = last if formats.power == 4 else square_frac
    second = seen(opened(first, 2, read), read)
    if formats.power == 4:
        return executor.one(result, second)
    fourth = seen(opened(second, 4, last), last)
    if formats.power == 6:
        return executor.one(Product(formats.ring_bits), second, fourth)
    if formats.power == 8:
        return executor.one(result, fourth)
    raise ConfigError(f"no power {formats.power}, one of 2, 4, 6 and 8")


def power_error(formats: PowerFormats, largest: float) -> float:
    """Bound on what `even_power` is off for |x| <= largest, x as it is opened."""

    def product(a: float, a_error: float, b: float, b_error: float) -> float:
        return a * b_error + b * a_error + a_error * b_error

    def squared(value: float, error: float, frac_bits: int) -> float:
        seen = error + 2.0**-frac_bits
        return product(value, seen, value, seen)

    square, last = formats.square_frac, formats.factor_frac
    if formats.power == 2:
        return squared(largest, 0.0, last)
    second = squared(largest, 0.0, square)
    if formats.power == 4:
        return squared(largest**2, second, last)
    fourth = squared(largest**2, second, square)
    if formats.power == 8:
        return squared(largest**4, fourth, last)
    return product(largest**2, second + 2.0**-square, largest**4, fourth + 2.0**-last)
