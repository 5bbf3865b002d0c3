"""Cleartext stand-in for an executor: the same steps on values that nobody hides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from parties.errors import ConfigError, RangeError
from parties.meter import SERVER, Meter
from protocols import fixed_point
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.lines import Lines
from protocols.arithmetic.weight import Weight
from protocols.share import Share


class IdealCleartextArithmetic(Arithmetic):
    """NOT SECURE, no parties, no messages: runs protocols on plain int64 fixed point.

    A "share" here is the value itself. It is the exact reference of every composition: products are exact,
    truncation is the floor, and a value that would not fit Z_2^64 with a bit to spare raises RangeError
    instead of wrapping.

    Args:
        meter: names the place in a RangeError; nothing is charged.
        rounding: drops a number of bits; the floor unless a test wants to see what another rounding does.
    """

    def __init__(
        self,
        meter: Meter,
        frac_bits: int = 16,
        rounding: Callable[[torch.Tensor, int], torch.Tensor] = fixed_point.truncate,
    ) -> None:
        super().__init__(SERVER, meter, frac_bits)
        self._rounding = rounding

    def truncate(self, a: Share, frac_bits: int) -> Share:
        dropped = a.frac_bits - frac_bits
        return a if dropped == 0 else Share(self._rounding(a.value, dropped), frac_bits)

    def mul(self, a: Share, b: Share) -> Share:
        return self._checked(self.rescaled(fixed_point.mul(a.value, b.value, *self._place(a, b)), a, b))

    def square(self, a: Share) -> Share:
        return self.mul(a, a)

    def matmul(self, a: Share, b: Share) -> Share:
        return self._checked(self.rescaled(self._matrix_product(a, b), a, b))

    def _matrix_product(self, a: Share, b: Share) -> torch.Tensor:
        return fixed_point.matmul(a.value, b.value, *self._place(a, b))

    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> Share:
        if largest is not None and fixed_point.largest_magnitude(a.value) > largest * 2.0**a.frac_bits:
            raise RangeError(f"{self.meter.label}: a comparison was promised numbers up to {largest:g}")
        return Share((a.value < 0).to(torch.int64), 0)

    def lines(self, x: Share, *tables: Lines) -> Share:
        for table in tables:
            low, high = (edge * 2.0**x.frac_bits for edge in table.domain)
            if x.value.numel() and not low <= int(x.value.min()) <= int(x.value.max()) < high:
                raise RangeError(f"{self.meter.label}: lines tell numbers in {table.domain} apart")
        exact = sum(
            (table.exact(x.value, x.frac_bits) for table in tables[1:]), tables[0].exact(x.value, x.frac_bits)
        )
        return self.truncate(Share(exact, x.frac_bits + tables[0].slope_bits), x.frac_bits)

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        if value is None:
            raise ConfigError("the cleartext executor stands for both parties and needs every value")
        bits = self.frac_bits if frac_bits is None else frac_bits
        return Share(self.encode(value, bits).expand(tuple(shape)), bits)

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        return Weight(name, self.share_from(SERVER, value, shape))

    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        matrix = weight.share.value.T if transposed else weight.share.value
        product = self._matrix_product(x, Share(matrix, weight.share.frac_bits))
        whole = self.with_bias(product, x, weight, bias)
        return self._checked(self.rescaled(whole, x, weight.share))

    def open_to(self, receiver: int, a: Share) -> torch.Tensor:
        return self.decode(a.value, a.frac_bits)

    def native(
        self,
        name: str,
        *operands: Share,
        within: tuple[float, float] | None = None,
        settings: Mapping[str, object] | None = None,
        **options: object,
    ) -> Share:
        """`max` alone: over the last axis, kept with length 1."""
        if name != "max":
            return super().native(name, *operands, within=within, settings=settings, **options)
        return Share(operands[0].value.amax(-1, keepdim=True), operands[0].frac_bits)

    def _checked(self, product: Share) -> Share:
        """That a promise about products was kept."""
        if self._largest is not None and product.value.numel() and product.frac_bits:
            got = fixed_point.largest_magnitude(product.value) * 2.0**-product.frac_bits
            if got > self._largest:
                raise RangeError(
                    f"{self.meter.label}: products were promised to be up to {self._largest:g}, got {got:g}"
                )
        return product

    def _place(self, a: Share, b: Share) -> tuple[int, str]:
        return a.frac_bits + b.frac_bits, self.meter.label
