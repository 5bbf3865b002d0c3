"""What a gate has at hand in the clear: how to round, and checks of ranges."""

from __future__ import annotations

from enum import Enum

import torch

from parties.errors import RangeError
from parties.meter import Meter
from parties.randomness import Randomness
from protocols.tensors import drawn


class Rounding(Enum):
    """How the reference truncates."""

    FLOOR = "floor"
    """Rounds down, as exact truncation does: equal to a private run bit by bit."""
    SAMPLED = "sampled"
    """Rounds as probabilistic truncation does, with test randomness: up with the probability of the dropped
    bits."""


class ClearSide:
    """The reference, as a gate sees it.

    Args:
        meter: names the place in the program.
        randomness: for sampled rounding; None rounds down.
    """

    def __init__(self, meter: Meter, randomness: Randomness | None) -> None:
        self.meter, self._randomness = meter, randomness
        self._column_sums: dict[tuple[int, bool], tuple[torch.Tensor, float]] = {}

    @property
    def rounding(self) -> Rounding:
        """How it truncates."""
        return Rounding.FLOOR if self._randomness is None else Rounding.SAMPLED

    def mask(self, shape: tuple[int, ...], bits: int) -> torch.Tensor:
        """A mask for a gate whose rounding depends on its input's; zero where all is rounded down."""
        if self._randomness is None:
            return torch.zeros(shape, dtype=torch.int64)
        return drawn(self._randomness, shape, bits)

    def fits_words(self, x: torch.Tensor, weight: torch.Tensor, *, transposed: bool) -> bool:
        """Whether no product of x with this weight can leave int64; then the ring can be checked afterwards.

        By max|x| times the largest sum of magnitudes in a column of the weight. That is kept, and the weight
        with it, so that no other comes to lie at its address.
        """
        key = (weight.data_ptr(), transposed)
        if key not in self._column_sums:
            wide = weight.abs().double() if weight.dim() == 1 else _column_sums(weight, int(transposed))
            self._column_sums[key] = weight, float(wide.max())
        largest = float(x.abs().max()) if x.numel() else 0.0
        return largest * self._column_sums[key][1] < 2.0**62

    def check_magnitude(self, values: torch.Tensor, ring_bits: int, frac_bits: int) -> None:
        """Checks results that int64 might not hold, by the same results in float64; raises RangeError."""
        largest = float(values.abs().max()) if values.numel() else 0.0
        if largest >= 2.0 ** (ring_bits - 1):
            limit = 2.0 ** (ring_bits - 1 - frac_bits)
            got = largest / 2.0**frac_bits
            raise RangeError(f"{self.meter.label}: {got:.6g} does not fit, at most {limit:.6g}")


def _column_sums(weight: torch.Tensor, dim: int) -> torch.Tensor:
    """Sums of magnitudes along an axis, some rows at a time: a copy in wider numbers takes much memory."""
    parts = [weight[start : start + 1024].double().abs().sum(dim) for start in range(0, len(weight), 1024)]
    return torch.cat(parts) if dim else torch.stack(parts).sum(0)
