"""Floating point in place of an executor: protocols without rounding."""

from __future__ import annotations

import torch

from parties.meter import Meter
from protocols.arithmetic.cleartext import IdealCleartextArithmetic
from protocols.share import Share


class IdealFloatArithmetic(IdealCleartextArithmetic):
    """NOT SECURE, no parties: runs protocols on float64 numbers, with 53 significant bits and no truncation.

    A "share" here is the value times 2^frac_bits, unrounded. What is left of a protocol's error is that of
    its approximation.
    """

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter, rounding=lambda value, bits: value * 2.0**-bits)

    def mul(self, a: Share, b: Share) -> Share:
        return self._checked(self.rescaled(a.value * b.value, a, b))

    def _matrix_product(self, a: Share, b: Share) -> torch.Tensor:
        return a.value @ b.value

    def encode(self, value: torch.Tensor, frac_bits: int | None = None) -> torch.Tensor:
        return value.to(torch.float64) * 2.0 ** (self.frac_bits if frac_bits is None else frac_bits)
