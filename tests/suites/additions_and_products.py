"""An engine of additions, products and truncation, and nothing else: INSECURE, the server multiplies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn

import torch

from parties.link import Link
from protocols.additive.primitives import FRAC_BITS
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.shapes import broadcast_shape, matmul_shape
from protocols.arithmetic.weight import Weight
from protocols.share import Share
from tests.suites.insecure_ideal.functionality import InsecureParty


class NoSuchFunctionality(AssertionError):
    """Somebody asked for more than additions and products."""


class AdditionsAndProducts(Arithmetic):
    """Products and truncations are an ideal functionality's, as in `insecure_ideal`; all else raises."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.rank, link.meter, FRAC_BITS)
        self._functionality = InsecureParty(link)

    def truncate(self, a: Share, frac_bits: int) -> Share:
        dropped = a.frac_bits - frac_bits
        value = self._functionality.evaluate(a.value.shape, lambda x: x >> dropped, a.value)
        return Share(value, frac_bits)

    def mul(self, a: Share, b: Share) -> Share:
        return self._product(broadcast_shape(a.shape, b.shape), torch.mul, a, b)

    def square(self, a: Share) -> Share:
        return self._product(a.shape, torch.square, a, a)

    def matmul(self, a: Share, b: Share) -> Share:
        return self._product(matmul_shape(a.shape, b.shape), torch.matmul, a, b)

    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        matrix = weight.share
        product = self.matmul(x, Share(matrix.value.T if transposed else matrix.value, matrix.frac_bits))
        return product if bias is None else self.add(product, bias)

    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> NoReturn:
        raise NoSuchFunctionality(f"{self.meter.label}: a comparison")

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        bits = self.frac_bits if frac_bits is None else frac_bits
        if self.rank != owner:
            return Share(torch.zeros(tuple(shape), dtype=torch.int64), bits)
        assert value is not None
        return Share(self.encode(value, bits).expand(tuple(shape)), bits)

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        return Weight(name, self.share_from(0, value, shape))

    def open_to(self, receiver: int, a: Share) -> torch.Tensor | None:
        assert receiver == 1
        opened = self._functionality.open_to_client(a.value.contiguous())
        return None if opened is None else self.decode(opened, a.frac_bits)

    def _product(
        self, shape: tuple[int, ...], function: Callable[..., torch.Tensor], a: Share, b: Share
    ) -> Share:
        """One product, truncated where both factors have fractions."""
        shared = [a.value] if a is b else [a.value, b.value]
        product = self._functionality.evaluate(torch.Size(shape), function, *map(_whole, shared))
        return self.rescaled(product, a, b)


def _whole(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous()
