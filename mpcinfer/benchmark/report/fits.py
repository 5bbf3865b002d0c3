"""Cost against the number of tokens as a power law, and which points no other point beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = factor * T^exponent.

    Attributes:
        largest_deviation: of a point from the line, relative to the line.
        points: how many it was fitted to.
    """

    factor: float
    exponent: float
    largest_deviation: float
    points: int

    def __call__(self, tokens: float) -> float:
        return self.factor * tokens**self.exponent


def power_law(points: Sequence[tuple[float, float]]) -> PowerLaw | None:
    """Least squares in logarithms.

    Args:
        points: T and y.

    Returns:
        None where there are fewer than two lengths, or something is not above zero.
    """
    if len({tokens for tokens, _ in points}) < 2 or any(min(point) <= 0 for point in points):
        return None
    logs = [(math.log(tokens), math.log(y)) for tokens, y in points]
    mean_x = sum(x for x, _ in logs) / len(logs)
    mean_y = sum(y for _, y in logs) / len(logs)
    exponent = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    factor = math.exp(mean_y - exponent * mean_x)
    deviations = [abs(y / (factor * tokens**exponent) - 1) for tokens, y in points]
    return PowerLaw(factor, exponent, max(deviations), len(points))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of points that no other is below in one coordinate and not above in the other, by the first
    coordinate."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[index][1] < points[front[-1]][1]:
            front.append(index)
    return front
