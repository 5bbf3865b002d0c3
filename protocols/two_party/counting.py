"""Bills without running: what the two parties send, on shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch

from parties.counted_link import CountedLink
from parties.meter import CLIENT, Meter
from protocols.arithmetic.lines import Lines
from protocols.arithmetic.shape_arithmetic import ShapeArithmetic, without_data
from protocols.arithmetic.shapes import broadcast_shape, matmul_shape
from protocols.arithmetic.weight import Weight
from protocols.share import Share
from protocols.two_party import steps
from protocols.two_party.codes import codes_of
from protocols.two_party.correlations import Request
from protocols.two_party.costs import SourceCosts
from protocols.two_party.kv_cache import Cached, CachingArithmetic, Factor, Queries
from protocols.two_party.primitives import CHOICE_FRAC_BITS
from protocols.two_party.steps import Step


@final
class CountingArithmetic(CachingArithmetic, ShapeArithmetic):
    """Charges what `TwoPartyArithmetic` sends online, and collects the correlations that it takes.

    Args:
        meter: made with `timed=False`, so that seconds stay None.
        ring_bits, frac_bits: as the executor's.

    Attributes:
        requests: what was taken since they were last settled, in order.
    """

    choice_frac_bits = CHOICE_FRAC_BITS

    def __init__(self, meter: Meter, ring_bits: int, frac_bits: int) -> None:
        super().__init__(CLIENT, meter, frac_bits, ring_bits)
        self._link, self._costs = CountedLink(meter), SourceCosts(meter)
        self.requests: list[Request] = []

    def settle(self) -> None:
        """Charges the making of what was taken: both parties announce a pass, and make all of it."""
        self._costs.charge(self.requests)
        self.requests.clear()

    def truncate(self, a: Share, frac_bits: int) -> Share:
        if a.frac_bits != frac_bits:
            ring = min(a.ring_bits, self.ring_bits)
            self._charge(steps.truncate(a.shape, self.ring_bits - ring + a.frac_bits - frac_bits))
        return Share(a.value, frac_bits)

    def mul(self, a: Share, b: Share) -> Share:
        bits = self.product_bits(a, b)
        self._charge(steps.product(a.shape, b.shape, bits))
        return self.rescaled(without_data(broadcast_shape(a.shape, b.shape), 0).value, a, b, bits)

    def square(self, a: Share) -> Share:
        bits = self.product_bits(a, a)
        self._charge(steps.square(a.shape, bits))
        return self.rescaled(a.value, a, a, bits)

    def attention_factors(
        self, name: str, q: Share, k: Share, v: Share, start: int, bits: tuple[int, int]
    ) -> tuple[Share, Share, Share]:
        self._charge(steps.attention_factors(name, q.shape, k.shape, v.shape, start, bits))
        factor = Factor(q.value, q.value)
        return (
            Queries(q.value, q.frac_bits, opened=q.value, factor=factor),
            Cached(k.value, k.frac_bits, opened=k.value, bits=bits[0]),
            Cached(v.value, v.frac_bits, opened=v.value, bits=bits[1], factor=factor),
        )

    def _times_cached(self, a: Share, b: Cached) -> Share:
        if not isinstance(a, Queries):
            self._charge(steps.mixed(a.shape, b.bits))
        return self.rescaled(without_data(matmul_shape(a.shape, b.shape), 0).value, a, b, b.bits)

    def matmul(self, a: Share, b: Share) -> Share:
        if isinstance(b, Cached):
            return self._times_cached(a, b)
        bits = self.product_bits(a, b)
        self._charge(steps.matmul(a.shape, b.shape, bits))
        return self.rescaled(without_data(matmul_shape(a.shape, b.shape), 0).value, a, b, bits)

    def select(self, a: Share, bit: Share) -> Share:
        shape = broadcast_shape(a.shape, bit.shape)
        self._charge(steps.select(shape, self.ring_bits))
        return without_data(shape, a.frac_bits)

    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> Share:
        count = math.prod(a.shape)
        self._charge(steps.compare(count, self.sign_bits(a, largest) - self.ignored_bits(a, tolerance) - 1))
        self._charge(steps.to_additive(count, self.ring_bits))
        return without_data(a.shape, 0)

    def positive_part(self, a: Share, largest: float, tolerance: float = 0.0) -> Share:
        bits = self.sign_bits(a, largest) - self.ignored_bits(a, tolerance)
        if not steps.sign_bits_by_place(bits):
            return super().positive_part(a, largest, tolerance)
        self._charge(steps.sign(math.prod(a.shape), bits))
        self._charge(steps.select(a.shape, self.ring_bits))
        return a

    def lines(self, x: Share, *tables: Lines) -> Share:
        codes = codes_of(tables, x.frac_bits)
        self._charge(steps.lines(math.prod(x.shape), codes))
        product = Share(x.value, x.frac_bits + codes.fraction_bits, codes.ring_bits)
        return self.truncate(product, x.frac_bits)

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        return without_data(tuple(shape), self.frac_bits if frac_bits is None else frac_bits)

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        return Weight(name, without_data(tuple(shape), self.frac_bits))

    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        bits = self.product_bits(x, weight.share)
        self._charge(steps.linear(x.shape, weight.shape, weight.name, bits, transposed=transposed))
        result = matmul_shape(x.shape, weight.shape[::-1] if transposed else weight.shape)
        return self.rescaled(without_data(result, 0).value, x, weight.share, bits)

    def open_to(self, receiver: int, a: Share) -> torch.Tensor | None:
        self._link.send((math.prod(a.shape) * self.ring_bits + 7) // 8, receiver)
        return torch.empty(a.shape, dtype=torch.float64, device="meta") if receiver == self.rank else None

    def encode(self, value: torch.Tensor, frac_bits: int | None = None) -> torch.Tensor:
        return torch.empty(value.shape, dtype=torch.int64, device="meta")

    def _charge(self, step: Step) -> None:
        for message in step.messages:
            self._link.send(message.payload_bytes, *message.receivers)
        self.requests.extend(step.requests)
