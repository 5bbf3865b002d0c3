"""The reference: the same program on the secrets themselves, without sharing, with every range checked."""

from __future__ import annotations

from typing import final

import torch

from parties.meter import Meter
from parties.randomness import Randomness
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.executor import Executor, in_range
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.ring import low
from protocols.share import Share
from protocols.tensors import drawn


@final
class Clear(ClearSide, Executor):
    """Runs a program in the clear. Nothing wraps: a value outside its ring raises RangeError with its label.

    Args:
        randomness: for sampled rounding; None rounds down.
    """

    def __init__(
        self, meter: Meter, *, exact_truncation: bool = True, randomness: Randomness | None = None
    ) -> None:
        Executor.__init__(self, meter, exact_truncation=exact_truncation)
        ClearSide.__init__(self, meter, randomness)

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        return tuple(self._checked(result) for result in gate.clear(self, *inputs))

    def add_public(self, a: Share, value: int | torch.Tensor) -> Share:
        return self._checked(Share(a.value + value, a.frac_bits, a.ring_bits, a.held))

    def add_at_client(self, a: Share, value: torch.Tensor | None) -> Share:
        assert value is not None, "in the clear everything is known"
        return self._checked(Share(a.value + value, a.frac_bits, a.ring_bits, a.held))

    def view(self, a: Share, drop: int = 0) -> Share:
        """The value that readers see; they find it in their own rings."""
        in_range(a, 1, f"{self.meter.label}: view")
        return Share(self._shift(a, drop), a.frac_bits - drop, a.ring_bits, a.held, 0)

    def shifted(self, value: torch.Tensor, drop: int) -> torch.Tensor:
        """floor(value / 2^drop), plus the sampled rounding."""
        if drop == 0:
            return value
        if self._randomness is not None:
            noise = drawn(self._randomness, tuple(value.shape), min(drop, 62))
            value = value + low(noise, drop)
        return value >> drop

    def _shift(self, a: Share, drop: int) -> torch.Tensor:
        return self.shifted(a.value, drop)

    def _checked(self, a: Share) -> Share:
        return in_range(a, 0, self.meter.label)
