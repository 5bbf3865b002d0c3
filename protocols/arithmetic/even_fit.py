"""Activations as x / 2 plus an even function, and the best polynomials for that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache

from parties.errors import RangeError
from protocols.arithmetic.minimax import Minimax, clenshaw, minimax

NARROWEST, WIDEST = 2.0, 64.0
"""Narrower intervals are widened to the one; beyond the other a polynomial says nothing of the function."""
EVEN_PARTS: Mapping[str, Callable[[float], float]] = {
    "gelu": lambda x: x * math.erf(x * math.sqrt(0.5)) / 2.0,
    "gelu_tanh": lambda x: x * math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)) / 2.0,
    "silu": lambda x: x * math.tanh(x / 2.0) / 2.0,
    "relu": lambda x: abs(x) / 2.0,
}
"""Each function minus x / 2, by a model's name for it."""


def interval_end(function: str, largest: float) -> float:
    """R of the interval [-R, R] on which a function is fitted.

    Raises:
        RangeError: beyond `WIDEST`.
    """
    if not 0 < largest <= WIDEST:
        raise RangeError(
            f"a polynomial for {function} on [-{largest:g}, {largest:g}]: at most {WIDEST:g}: train with a "
            "penalty on activations"
        )
    return max(largest, NARROWEST)


@lru_cache(maxsize=512)
def fitted(function: str, degree: int, largest: float) -> Minimax:
    """The best polynomial for the even part on [-R, R], in v = 2 (x / R)^2 - 1 and of half the degree."""
    even_part = EVEN_PARTS[function]
    return minimax(lambda v: even_part(largest * math.sqrt(max(v + 1.0, 0.0) / 2.0)), degree // 2)


@lru_cache(maxsize=512)
def steepest(function: str, degree: int, largest: float) -> float:
    """The largest slope of that polynomial in v, from differences on a grid of Chebyshev points."""
    coefficients = fitted(function, degree, largest).series.coefficients
    points = [math.cos(math.pi * i / 1000) for i in range(1001)]
    values = [clenshaw(coefficients, v) for v in points]
    return max(abs(values[i + 1] - values[i]) / (points[i] - points[i + 1]) for i in range(1000))
