"""Ranges wider than a model's: what a second evaluation is made in, to find values that overflow."""

from __future__ import annotations

from collections.abc import Mapping

_SQUARES = ("variance", "mean_square")
_KEPT = ("epsilon_min", "epsilon_max")


def wider_ranges(ranges: Mapping[str, float], bits: int) -> dict[str, float]:
    """Ranges 2^bits times as wide at either end; mean squares, which norms have bits for at both ends, 4."""

    def stretched(key: str, value: float) -> float:
        quantity = key.rpartition("/")[2]
        if quantity in _KEPT:
            return value
        factor = 4.0 if quantity.startswith(_SQUARES) else 2.0**bits
        return value / factor if quantity.endswith("_min") else value * factor

    return {key: stretched(key, value) for key, value in ranges.items()}
