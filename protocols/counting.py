"""Bills without running: the CrypTen engine's costs in closed form, on shapes alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, final

import torch

from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER, Meter, Phase
from protocols.arithmetic import Arithmetic
from protocols.correlations import SEED_BYTES, broadcast_shape, matmul_shape
from protocols.plan import Plan
from protocols.share import Share
from protocols.source import SEED_LABEL
from protocols.weight import Weight

Shape = tuple[int, ...]
WORD_BYTES = 8
CARRY_LEVELS = 6
"""log2(64) levels of CrypTen's carry tree."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one primitive costs.

    Attributes:
        exchanges: a round each: bytes that either party sends the other at the same time.
        offline_bytes: correlated randomness from the dealer to the server; the client expands its seed.
    """

    exchanges: tuple[int, ...]
    offline_bytes: int


class PrimitiveCosts:
    """The CrypTen engine's primitives. `tests/conformance` compares every line with what the engine does.

    Operands are opened at their own shapes, before they broadcast; the dealer's part has the result's shape.
    """

    @staticmethod
    def mul(a: Shape, b: Shape) -> Cost:
        """Beaver: a - r and b - s are opened, the dealer sends r * s."""
        return Cost((_bytes(a) + _bytes(b),), _bytes(broadcast_shape(a, b)))

    @staticmethod
    def square(a: Shape) -> Cost:
        """a - r is opened, the dealer sends r^2."""
        return Cost((_bytes(a),), _bytes(a))

    @staticmethod
    def matmul(a: Shape, b: Shape) -> Cost:
        """As mul."""
        return Cost((_bytes(a) + _bytes(b),), _bytes(matmul_shape(a, b)))

    @staticmethod
    def linear(x: Shape, result: Shape) -> Cost:
        """x - r is opened; the weight minus its mask was opened when the session began."""
        return Cost((_bytes(x),), _bytes(result))

    @staticmethod
    def less_than_zero(a: Shape) -> Cost:
        """Both shares to 64-bit binary sharings, added by a carry tree, the sign bit back to a sum.

        One AND of words for the generate bits; on each of six levels two ANDs, of the propagate words with
        both kinds; one opened word for the sign bit. An AND opens two words and takes one from the dealer.
        """
        words = _bytes(a)
        return Cost((2 * words, *[4 * words] * CARRY_LEVELS, words), words + CARRY_LEVELS * 2 * words + words)

    @staticmethod
    def truncate(a: Shape) -> Cost:
        """Exact truncation: a + r is opened, the dealer sends r >> bits and r's top bit. Local: nothing."""
        return Cost((_bytes(a),), 2 * _bytes(a))


def _bytes(shape: Shape) -> int:
    return WORD_BYTES * math.prod(shape)


@final
class CountingArithmetic(Arithmetic):
    """Charges what the CrypTen engine would send and compute, and computes nothing.

    Shares lie on torch's `meta` device: a shape without data. The bill has no wire bytes and no seconds.

    Args:
        meter: made with `timed=False`, so that seconds stay None.
        frac_bits: as the engine's.
        linear: `session` or `beaver`, as the engine's.
        truncation: `local` or `exact`, as the engine's.
        dealer: a third party deals; False counts an insecure run, where the server does and nothing is sent.

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
        dealer: bool = True,
    ) -> None:
        super().__init__(CLIENT, meter, frac_bits)
        if linear not in ("session", "beaver") or truncation not in ("local", "exact"):
            raise ConfigError(f"nothing counts linear={linear!r} with truncation={truncation!r}")
        self._linear, self._truncation, self._dealer = linear, truncation, dealer
        self._deepest_received = [0, 0]
        with meter.span(SEED_LABEL, SEED_LABEL):
            for party in (SERVER, CLIENT):
                self._charge_offline(party, SEED_BYTES)

    @classmethod
    def of_plan(cls, plan: Plan, meter: Meter) -> CountingArithmetic:
        """The counter of the engine that a plan describes."""
        return cls(meter, frac_bits=plan.frac_bits, linear=plan.linear, truncation=plan.truncation)

    # -- primitives ---------------------------------------------------------------------------------------

    def truncate(self, a: Share, frac_bits: int) -> Share:
        if self._truncation == "exact" and a.frac_bits != frac_bits:
            self._charge(PrimitiveCosts.truncate(a.shape))
        return Share(a.value, frac_bits)

    def mul(self, a: Share, b: Share) -> Share:
        self._charge(PrimitiveCosts.mul(a.shape, b.shape))
        return self._product(broadcast_shape(a.shape, b.shape), a, b)

    def square(self, a: Share) -> Share:
        self._charge(PrimitiveCosts.square(a.shape))
        return self._product(a.shape, a, a)

    def matmul(self, a: Share, b: Share) -> Share:
        self._charge(PrimitiveCosts.matmul(a.shape, b.shape))
        return self._product(matmul_shape(a.shape, b.shape), a, b)

    def less_than_zero(self, a: Share) -> Share:
        self._charge(PrimitiveCosts.less_than_zero(a.shape))
        return _empty(a.shape, 0)

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        return _empty(tuple(shape), self.frac_bits if frac_bits is None else frac_bits)

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        share = _empty(tuple(shape), self.frac_bits)
        if self._linear == "beaver" or len(share.shape) != 2:
            return Weight(name, share)
        with self.meter.phase(Phase.SETUP):
            self._message(CLIENT, _bytes(share.shape))
        return Weight(name, share, opened=share.value)

    def linear(self, x: Share, weight: Weight, *, transposed: bool = False) -> Share:
        matrix = weight.shape[::-1] if transposed else weight.shape
        result = matmul_shape(x.shape, matrix)
        opened_now = weight.opened is None
        self._charge(
            PrimitiveCosts.matmul(x.shape, matrix) if opened_now else PrimitiveCosts.linear(x.shape, result)
        )
        return self._product(result, x, weight.share)

    def open_to(self, receiver: int, a: Share) -> torch.Tensor | None:
        self._message(receiver, _bytes(a.shape))
        return torch.empty(a.shape, dtype=torch.float64, device="meta") if receiver == self.rank else None

    def encode(self, value: torch.Tensor, frac_bits: int | None = None) -> torch.Tensor:
        return torch.empty(value.shape, dtype=torch.int64, device="meta")

    def decode(self, ring: torch.Tensor, frac_bits: int) -> NoReturn:
        raise ConfigError("a counting engine has shapes and no values to decode")

    # -- the ledger ---------------------------------------------------------------------------------------

    def _charge(self, cost: Cost) -> None:
        for sent in cost.exchanges:
            depths = [received + 1 for received in self._deepest_received]
            for sender, depth in enumerate(depths):
                self._frame(1 - sender, sent, depth)
        self._charge_offline(SERVER, cost.offline_bytes)

    def _message(self, receiver: int, payload_bytes: int) -> None:
        """One message, one way."""
        self._frame(receiver, payload_bytes, self._deepest_received[1 - receiver] + 1)

    def _frame(self, receiver: int, payload_bytes: int, depth: int) -> None:
        """Depths as `Link` gives them to frames."""
        self._deepest_received[receiver] = max(self._deepest_received[receiver], depth)
        self.meter.charge_frame(receiver, payload_bytes=payload_bytes, wire_bytes=0, depth=depth)

    def _charge_offline(self, receiver: int, payload_bytes: int) -> None:
        if self._dealer:
            self.meter.charge_offline(receiver, payload_bytes)

    def _product(self, shape: Shape, a: Share, b: Share) -> Share:
        product = _empty(shape, a.frac_bits + b.frac_bits)
        return self.truncate(product, self.frac_bits) if a.frac_bits and b.frac_bits else product


def _empty(shape: Shape, frac_bits: int) -> Share:
    """A share of a shape, without data."""
    return Share(torch.empty(shape, dtype=torch.int64, device="meta"), frac_bits)
