"""Activations as one polynomial on a calibrated interval: additions and products alone."""

from __future__ import annotations

import math
from typing import ClassVar, final

from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.even_fit import fitted, interval_end, steepest
from protocols.arithmetic.operation import UnaryProtocol
from protocols.share import Share

USUAL = {8: 8.0, 16: 8.0, 32: 24.0}
"""R by degree where none is asked for: samples, and shapes without ranges."""


class PolynomialActivation(UnaryProtocol):
    """x / 2 plus an even polynomial, the nearest to the function on [-R, R] of its degree.

    GELU, SiLU and ReLU are x / 2 plus an even function, so half the degree is for free.

    1. v = 2 (x / R)^2 - 1.
    2. The minimax polynomial of degree n / 2 in v, plus x / 2.

    Outside of [-R, R] the result grows as T_(n/2)(2 (x / R)^2 - 1) does: at 2 R that is (2 + sqrt 3)^n / 2,
    and nothing clamps, as that would compare. Calibrate on text like the prompts, train with
    `--range-activations`; the backend adds a margin.

    Cost under the suite `crypten`: degree 8, 3 rounds and 24 bytes an element each way; degree 16,
    4 and 56; degree 32, 5 and 88.

    Args:
        largest: R, the end of the interval; None for a usual one.

    Attributes:
        degree: n: 8, 16 or 32.

    Raises:
        RangeError: R beyond 64.

    Source: Power-Softmax (Zimerman et al., arXiv 2410.09457) has GELU by Remez' algorithm. Deviation: its
        degrees are not published; the even part alone is fitted.
    """

    polynomial = True
    calibrated = True
    degree: ClassVar[int]

    def __init__(self, largest: float | None = None) -> None:
        largest = USUAL[self.degree] if largest is None else largest
        self.largest = interval_end(self.name, largest)
        self.domain = (-self.largest, self.largest)
        best = fitted(self.name, self.degree, self.largest)
        self._series = best.series
        self.max_abs_error = 1.02 * best.error + self._rounding()

    def within(self, largest: float) -> PolynomialActivation:
        return type(self)(largest)

    @property
    def name(self) -> str:
        """The function's."""
        return type(self).__name__.lower().removeprefix("polynomial").rstrip("0123456789")

    def __call__(self, executor: Arithmetic, x: Share) -> Share:
        # The factor 2 / R^2 is the only number that depends on R by which x is multiplied: 16 bits of it are
        # worth a relative 2^-17 R^2, so that wide intervals are first divided by a power of two.
        small = executor.shift_down(x, self._shift)
        scale = 2.0 * 4.0**self._shift / self.largest**2
        v = executor.combination([(executor.square(small), scale)], -1.0)
        return self._series(executor, v, [(x, 0.5)])

    @property
    def _shift(self) -> int:
        return max(0, math.floor(math.log2(self.largest)))

    def _rounding(self) -> float:
        """Of 16 fraction bits: v is off by a few units, which the slope in v enlarges; the series by some
        more.

        With s = x / 2^shift below 2: s is off by a unit, its square by 2 |s| + 1 units, v by `scale` times
        that, plus 2^-17 of the encoded scale times 4, plus a unit. The even part's slope in v is that in x
        over 4 x / R^2, at most R / 4 over sqrt((v + 1) / 2) where the function is |x| / 2, and bounded by the
        quadratic's R^2 / 5 where it begins as x^2 / sqrt(2 pi) does. A product of the series is off by two
        units, and its factors' errors grow no more than linearly in the number of coefficients.
        """
        unit, scale = 2.0**-16, 2.0 * 4.0**self._shift / self.largest**2
        of_v = unit * (scale * (2.0 * self.largest * 2.0**-self._shift + 1.0) + 2.0 + 1.0)
        slope = steepest(self.name, self.degree, self.largest)
        sizes = sum(abs(c) for c in self._series.coefficients[2:])
        return slope * of_v + unit * (2.0 * sizes + 3.0)


_SOURCE = "Source: Power-Softmax (Zimerman et al., arXiv 2410.09457), GELU by Remez' algorithm."


def _documented(function: str, degree: int) -> str:
    return f"{function} as a polynomial of degree {degree} on a calibrated interval.\n\n{_SOURCE}"


@final
class PolynomialGelu8(PolynomialActivation):
    __doc__ = _documented("GELU", 8)
    degree = 8


@final
class PolynomialGelu16(PolynomialActivation):
    __doc__ = _documented("GELU", 16)
    degree = 16


@final
class PolynomialGelu32(PolynomialActivation):
    __doc__ = _documented("GELU", 32)
    degree = 32


@final
class PolynomialSilu8(PolynomialActivation):
    __doc__ = _documented("SiLU", 8)
    degree = 8


@final
class PolynomialSilu16(PolynomialActivation):
    __doc__ = _documented("SiLU", 16)
    degree = 16


@final
class PolynomialSilu32(PolynomialActivation):
    __doc__ = _documented("SiLU", 32)
    degree = 32


@final
class PolynomialRelu8(PolynomialActivation):
    __doc__ = _documented("ReLU", 8)
    degree = 8


@final
class PolynomialRelu16(PolynomialActivation):
    __doc__ = _documented("ReLU", 16)
    degree = 16


@final
class PolynomialRelu32(PolynomialActivation):
    __doc__ = _documented("ReLU", 32)
    degree = 32
