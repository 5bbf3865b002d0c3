"""Activations as one polynomial on a calibrated interval: additions and products alone."""

from __future__ import annotations

import math
from typing import ClassVar, final

from protocols.arithmetic.even_fit import fitted, interval_end, steepest
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.gates.square import Square
from protocols.fss.operations.activation_protocols import ActivationFormats, ActivationProtocol
from protocols.fss.operations.polynomial_series import (
    BASIS,
    BASIS_BITS,
    SCALE,
    MaskedSeries,
    integer_bits,
)
from protocols.fss.operations.rescale import truncate_locally, view
from protocols.share import Share

_SCALE_BITS = 21
"""Significant bits of the number 2 / R^2."""


class PolynomialActivation(ActivationProtocol):
    """x / 2 plus an even polynomial, the nearest to the function on [-R, R] of its degree, R the largest |x|.

    1. v = 2 (x / R)^2 - 1, opened.
    2. The minimax polynomial of half the degree in v (`MaskedSeries`), plus x / 2; opened.
    3. Times further factors.

    Outside of [-R, R] the result grows as T_(n/2)(2 (x / R)^2 - 1) does: at 2 R that is (2 + sqrt 3)^n / 2,
    and nothing clamps, as that would compare. The reference raises RangeError there; a private run is wrong
    in silence.

    Cost: degree 8, 3 rounds; degree 16, 4; degree 32, 5. Exact truncation takes a gate and two rounds for
        each opening.

    Attributes:
        degree: 8, 16 or 32.

    Source: Power-Softmax (Zimerman et al., arXiv 2410.09457) has GELU by Remez' algorithm. Deviation: the
        even part alone is fitted.
    """

    polynomial = True
    indexed = False
    degree: ClassVar[int]
    based_on: ClassVar[tuple[object, ...]] = (MaskedSeries, Square, Product)

    def reach(self, formats: ActivationFormats) -> float:
        return interval_end("activation", formats.largest)

    def __call__(
        self,
        executor: Executor,
        kind: str,
        formats: ActivationFormats,
        x: Share,
        index: Share,
        *factors: Share,
    ) -> Share:
        end = interval_end(kind, formats.largest)
        series = fitted(kind, self.degree, end).series
        seen = executor.view(x)
        even = MaskedSeries(series.coefficients)
        bits = SCALE + integer_bits(even.largest + end) + 2
        value = even(executor, self._place(executor, seen, end), bits)
        half = executor.scaled(executor.one(Product(bits), seen), -1)
        value = executor.add(
            value, executor.mul_integer(half, 1 << (SCALE - half.frac_bits), SCALE - half.frac_bits)
        )
        (value,) = executor.apply(Open(), truncate_locally(executor, value, formats.frac_bits))
        result = view(executor, value, formats.frac_bits)
        return executor.one(Product(formats.ring_bits), result, *map(executor.view, factors))

    def _place(self, executor: Executor, seen: Share, end: float) -> Share:
        """v, read with `BASIS` fraction bits."""
        frac = _SCALE_BITS + math.floor(2.0 * math.log2(end))
        ring_bits = BASIS_BITS + 2 * seen.frac_bits + frac - BASIS
        square = executor.one(Square(ring_bits), seen)
        scaled = executor.mul_integer(square, round(2.0 / end**2 * 2.0**frac), frac)
        place = executor.add_public(scaled, -(1 << scaled.frac_bits))
        (opened,) = executor.apply(Open(), truncate_locally(executor, place, BASIS))
        return view(executor, opened, BASIS)

    def max_abs_error(self, kind: str, formats: ActivationFormats) -> float:
        """The polynomial's own, what v is off times the steepest slope, the series' rounding, and a unit of
        the result.

        v is off by a unit of what is opened, and by 2^-21 of v + 1 for the encoded number.
        """
        end = interval_end(kind, formats.largest)
        best = fitted(kind, self.degree, end)
        of_v = 2.0**-BASIS + 2.0 ** (1 - _SCALE_BITS)
        rounding = MaskedSeries(best.series.coefficients).max_rounding()
        slope = steepest(kind, self.degree, end)
        return 1.02 * best.error + slope * of_v + rounding + 2.0**-formats.frac_bits


@final
class PolynomialActivation8(PolynomialActivation):
    """Degree 8: the fewest rounds, for intervals up to about 4."""

    degree = 8


@final
class PolynomialActivation16(PolynomialActivation):
    """Degree 16: for intervals up to about 8."""

    degree = 16


@final
class PolynomialActivation32(PolynomialActivation):
    """Degree 32: for intervals up to about 24."""

    degree = 32
