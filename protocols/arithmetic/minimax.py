"""Best polynomials for a function on an interval: Remez' exchange, in Chebyshev's basis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocols.arithmetic.chebyshev import ChebyshevSeries

_POINTS_A_DEGREE = 40
_EXCHANGES = 30
_LEVELLED = 1.02
"""The largest error is at most this times that of the best polynomial when exchanges end."""


@dataclass(frozen=True, slots=True)
class Minimax:
    """A polynomial on [-1, 1] and the largest distance to its function there."""

    series: ChebyshevSeries
    error: float


def minimax(function: Callable[[float], float], degree: int) -> Minimax:
    """The polynomial of a degree whose largest distance to a function on [-1, 1] is least.

    1. Interpolate with an alternating error at degree + 2 points, at first the extremes of T_(degree + 1).
    2. Take the largest error of every stretch between sign changes as the next points.
    3. Until the largest is hardly larger than the alternating one.

    Numbers are Python's and the order of operations is fixed, so that two parties get the same polynomial
    from the same interval.

    Args:
        function: continuous on [-1, 1].
        degree: 4, 8, 16, ...: see `ChebyshevSeries`.

    Source: Remez 1934; the steps as in Trefethen, Approximation Theory and Practice (2013), chapter 10.
    """
    count = _POINTS_A_DEGREE * (degree + 2)
    grid = [math.cos(math.pi * (1 - i / count)) for i in range(count + 1)]
    values = [function(v) for v in grid]
    chosen = [round(i * count / (degree + 1)) for i in range(degree + 2)]
    best: Minimax | None = None
    for _ in range(_EXCHANGES):
        solution = _alternating([grid[i] for i in chosen], [values[i] for i in chosen])
        coefficients, level = solution[:-1], abs(solution[-1])
        errors = [value - clenshaw(coefficients, v) for v, value in zip(grid, values, strict=True)]
        largest = max(map(abs, errors))
        if best is None or largest < best.error:
            best = Minimax(ChebyshevSeries(tuple(coefficients)), largest)
        chosen = _extremes(errors, degree + 2)
        if largest <= _LEVELLED * level or len(chosen) < degree + 2:
            break
    assert best is not None
    return best


def clenshaw(coefficients: Sequence[float], v: float) -> float:
    """The sum of coefficients[i] * T_i(v)."""
    later = last = 0.0
    for coefficient in reversed(coefficients[1:]):
        later, last = 2.0 * v * later - last + coefficient, later
    return v * later - last + coefficients[0]


def _alternating(points: Sequence[float], values: Sequence[float]) -> list[float]:
    """Coefficients, and the h with which p(v_i) + (-1)^i h is the i-th value: elimination with pivots."""
    size = len(points)
    rows = [
        [*(math.cos(k * math.acos(max(-1.0, min(1.0, v)))) for k in range(size - 1)), (-1.0) ** i, value]
        for i, (v, value) in enumerate(zip(points, values, strict=True))
    ]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(column + 1, size):
            factor = rows[row][column] / rows[column][column]
            rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    result = [0.0] * size
    for row in reversed(range(size)):
        known = math.fsum(rows[row][k] * result[k] for k in range(row + 1, size))
        result[row] = (rows[row][-1] - known) / rows[row][row]
    return result


def _extremes(errors: Sequence[float], wanted: int) -> list[int]:
    """Where the error is largest between sign changes; of too many, the smaller ones at the ends go."""
    places: list[int] = []
    for i, error in enumerate(errors):
        if places and (error > 0) == (errors[places[-1]] > 0):
            if abs(error) > abs(errors[places[-1]]):
                places[-1] = i
        else:
            places.append(i)
    while len(places) > wanted:
        places.pop(0 if abs(errors[places[0]]) < abs(errors[places[-1]]) else -1)
    return places
