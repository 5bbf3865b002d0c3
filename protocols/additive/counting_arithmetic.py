"""Bills without running: the CrypTen executor's costs in closed form, on shapes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NoReturn, final

import torch

from parties.counted_link import CountedLink
from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER, Meter, Phase
from protocols.additive.costs import Cost, PrimitiveCosts, payload_bytes
from protocols.additive.primitives import FRAC_BITS, check_primitives
from protocols.additive.schedule import Schedule
from protocols.additive.stock_maximum import maximum_steps
from protocols.arithmetic.shape_arithmetic import ShapeArithmetic, without_data
from protocols.arithmetic.shapes import Shape, broadcast_shape, matmul_shape
from protocols.arithmetic.weight import Weight
from protocols.plan import Plan
from protocols.seeding import SEED_BYTES, SEED_LABEL
from protocols.share import Share


@final
class CountingArithmetic(ShapeArithmetic):
    """Charges what the CrypTen executor would send and compute, and computes nothing.

    Shares lie on torch's `meta` device: a shape without data. The bill has no wire bytes and no seconds.

    Args:
        meter: made with `timed=False`, so that seconds stay None.
        frac_bits: as the executor's.
        linear: `session` or `beaver`, as the executor's.
        truncation: `local` or `exact`, as the executor's.
        comparison: `packed` or `words`, as the executor's.
        schedule: where given, collects the correlations that the executor would take, in order.
        dealer: a third party deals; False counts an insecure run, where the server does and nothing is sent.

    Attributes:
        truncated: how many numbers were truncated so far.

    Raises:
        ConfigError: an unknown choice.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        frac_bits: int = 16,
        linear: str = "session",
        truncation: str = "local",
        comparison: str = "packed",
        dealer: bool = True,
        schedule: Schedule | None = None,
    ) -> None:
        super().__init__(CLIENT, meter, frac_bits)
        check_primitives(linear=linear, truncation=truncation, comparison=comparison)
        self._linear, self._truncation, self._comparison = linear, truncation, comparison
        self._dealer = dealer
        self._link = CountedLink(meter)
        self._schedule = schedule
        self.truncated = 0
        with meter.span(SEED_LABEL, SEED_LABEL):
            for party in (SERVER, CLIENT):
                self._charge_offline(party, SEED_BYTES)

    @classmethod
    def of_plan(cls, plan: Plan, meter: Meter, schedule: Schedule | None = None) -> CountingArithmetic:
        """The counter of the executor that a plan describes."""
        return cls(
            meter,
            frac_bits=FRAC_BITS,
            linear=plan.choices["linear"],
            truncation=plan.choices["truncation"],
            comparison=plan.choices["comparison"],
            schedule=schedule,
        )

    # -- primitives ---------------------------------------------------------------------------------------

    def truncate(self, a: Share, frac_bits: int) -> Share:
        self.truncated += math.prod(a.shape) if a.frac_bits != frac_bits else 0
        if self._truncation == "exact" and a.frac_bits != frac_bits:
            self._charge(PrimitiveCosts.truncate(a.shape))
            if self._schedule is not None:
                self._schedule.truncate(a.shape, a.frac_bits - frac_bits)
        return Share(a.value, frac_bits)

    def mul(self, a: Share, b: Share) -> Share:
        self._charge(PrimitiveCosts.mul(a.shape, b.shape))
        if self._schedule is not None:
            self._schedule.mul(a.shape, b.shape)
        return self.rescaled(without_data(broadcast_shape(a.shape, b.shape), 0).value, a, b)

    def square(self, a: Share) -> Share:
        self._charge(PrimitiveCosts.square(a.shape))
        if self._schedule is not None:
            self._schedule.square(a.shape)
        return self.rescaled(without_data(a.shape, 0).value, a, a)

    def matmul(self, a: Share, b: Share) -> Share:
        self._charge(PrimitiveCosts.matmul(a.shape, b.shape))
        if self._schedule is not None:
            self._schedule.matmul(a.shape, b.shape)
        return self.rescaled(without_data(matmul_shape(a.shape, b.shape), 0).value, a, b)

    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> Share:
        bits = self.sign_bits(a, largest)
        packed = self._comparison == "packed"
        self._charge(
            PrimitiveCosts.packed_less_than_zero(a.shape, bits)
            if packed
            else PrimitiveCosts.less_than_zero(a.shape)
        )
        if self._schedule is not None and packed:
            self._schedule.packed_less_than_zero(a.shape, bits)
        elif self._schedule is not None:
            self._schedule.less_than_zero(a.shape)
        return without_data(a.shape, 0)

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        return without_data(tuple(shape), self.frac_bits if frac_bits is None else frac_bits)

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        share = without_data(tuple(shape), self.frac_bits)
        if self._linear == "beaver" or len(share.shape) != 2:
            return Weight(name, share)
        with self.meter.phase(Phase.SETUP):
            self._link.send(payload_bytes(share.shape), CLIENT)
        return Weight(name, share, opened=share.value)

    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        matrix = weight.shape[::-1] if transposed else weight.shape
        result = matmul_shape(x.shape, matrix)
        if weight.opened is None:
            self._charge(PrimitiveCosts.matmul(x.shape, matrix))
        else:  # the weight minus its mask was opened when the session began
            self._link.send(payload_bytes(x.shape), SERVER)
            self._charge_offline(SERVER, payload_bytes(result))
        if self._schedule is not None:
            self._plan_linear(self._schedule, x.shape, weight, transposed)
        return self.rescaled(without_data(result, 0).value, x, weight.share)

    def _plan_linear(self, schedule: Schedule, x: Shape, weight: Weight, transposed: bool) -> None:
        if weight.opened is None:
            schedule.matmul(x, weight.shape[::-1] if transposed else weight.shape)
        else:
            schedule.linear(x, weight.shape, weight.name, transposed=transposed)

    def open_to(self, receiver: int, a: Share) -> torch.Tensor | None:
        self._link.send(payload_bytes(a.shape), receiver)
        return torch.empty(a.shape, dtype=torch.float64, device="meta") if receiver == self.rank else None

    def native(
        self,
        name: str,
        *operands: Share,
        within: tuple[float, float] | None = None,
        settings: Mapping[str, object] | None = None,
        **options: object,
    ) -> Share:
        """CrypTen's `max` alone: over the last axis, kept with length 1."""
        if name != "max":
            return super().native(name, *operands, within=within, settings=settings, **options)
        for kind, shapes in maximum_steps(operands[0].shape, self.frac_bits):
            self._charge(PrimitiveCosts.step(kind, shapes))
            if self._schedule is not None:
                self._schedule.step(kind, *shapes)
        return without_data((*operands[0].shape[:-1], 1), operands[0].frac_bits)

    def encode(self, value: torch.Tensor, frac_bits: int | None = None) -> torch.Tensor:
        return torch.empty(value.shape, dtype=torch.int64, device="meta")

    def decode(self, ring: torch.Tensor, frac_bits: int) -> NoReturn:
        raise ConfigError("a counting executor has shapes and no values to decode")

    # -- the ledger ---------------------------------------------------------------------------------------

    def _charge(self, cost: Cost) -> None:
        for sent in cost.exchanges:
            self._link.send(sent, SERVER, CLIENT)
        self._charge_offline(SERVER, cost.offline_bytes)

    def _charge_offline(self, receiver: int, sent: int) -> None:
        if self._dealer:
            self.meter.charge_offline(receiver, sent)
